"""One session, one chip: a simulated chip that restarts, gets frames twice or late, or is shared by two hosts."""

from __future__ import annotations

import random
import struct
from itertools import islice

import pytest
from model_chip import ModelChip
from simulated import need_compiler

from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import BUFFER_BYTES
from popflip.hw.link.codec import HEADER_BYTES, OPEN, OVERHEAD, Frame, decode, encode
from popflip.hw.link.commands import SESSION_BYTES, Command, Refusal, Result, commands_of
from popflip.hw.link.identity import Identity
from popflip.hw.link.tables import NONCE_BITS
from popflip.sim.bench.link_model import TrainerModel
from popflip.sim.chip import SimulatedChip

SEED = struct.pack("<I", 77)

CONFIG = Config((20, 6, 3), k0=(9, 4), window=(2,), margin=4, batch=8, seed=3)
SHAPE = ChipConfig.of(CONFIG, 2, 8)  # other tests use it too: it is built once


class Host:
    """Frames to and from a simulated chip, one at a time, and the numbers that a host keeps."""

    def __init__(self, chip: SimulatedChip, seed: int = 1):
        self.chip, self.random = chip, random.Random(seed)
        self.session, self.next = OPEN, 0

    def identify(self, session: int = OPEN) -> bytes:
        """Begin a session in place of ``session``. Returns the frame sent."""
        number = self.random.getrandbits(32) | 1
        request = encode(self.next, Command.IDENTIFY, struct.pack("<I", number), session)
        answer = self.send(request)
        assert (answer.sequence, answer.code, answer.session) == (self.next, Result.OK, OPEN)
        self.session = int.from_bytes(answer.payload[:SESSION_BYTES], "little")
        assert (self.session ^ number) % 2**NONCE_BITS == 0
        assert Identity.unpack(answer.payload[SESSION_BYTES:]).chip() == SHAPE
        self.next = (self.next + 1) % 256
        return request

    def request(self, command: Command, payload: bytes = b"") -> bytes:
        """The frame of the host's next request."""
        frame = encode(self.next, command, payload, self.session)
        self.next = (self.next + 1) % 256
        return frame

    def call(self, command: Command, payload: bytes = b"") -> bytes:
        """Send a request, which the chip accepts. Returns the answer's payload."""
        answer = self.send(self.request(command, payload))
        assert answer == Frame((self.next - 1) % 256, Result.OK, answer.payload, self.session)
        return answer.payload

    def send(self, data: bytes) -> Frame:
        """Send the request ``data``, and return its answer.

        The zeros end a frame that the chip found in the rest of a request that it refused.
        """
        self.chip.write(bytes(HEADER_BYTES) + data)
        while (answer := self.receive()).sequence != data[1]:
            pass
        return answer

    def receive(self) -> Frame:
        header = self.chip.read(HEADER_BYTES)
        content = header + self.chip.read(OVERHEAD - HEADER_BYTES + int.from_bytes(header[3:5], "little"))
        frame = decode(content, OPEN) or decode(content, self.session)
        assert frame is not None
        return frame

    def status(self) -> bytes:
        """All status words but the cycle counters, which never stand still."""
        return self.call(Command.STATUS)[: 4 * (6 + CONFIG.depth)]


@pytest.fixture(scope="module")
def simulated():
    need_compiler()
    with SimulatedChip(SHAPE) as chip:
        yield chip


@pytest.fixture
def chip(simulated):
    simulated.power_cycle()
    return simulated


def refused(answer: Frame, session: int, expected: int, *results: Result) -> bool:
    """Whether ``answer`` is an open refusal for one of ``results``, with these numbers in it."""
    told = Refusal.unpack(answer.payload)
    return (answer.code in results, answer.session, told) == (True, OPEN, (session, expected))


DAMAGE = (Result.BAD_HEADER, Result.BAD_CRC)
"""Results of frames of another session."""


@pytest.mark.parametrize("command", [command for command in commands_of(SHAPE) if command != Command.IDENTIFY])
def test_a_chip_without_a_session_takes_only_identify(chip, command):
    assert refused(Host(chip).send(encode(0, command)), OPEN, 0, Result.BAD_SESSION)


def test_a_restart_is_noticed_at_every_position(chip):
    """Whatever number the host's next request has, and whatever the chip expects after its restart."""
    for position in range(256):
        host = Host(chip, position)
        host.next = position
        host.identify()
        host.call(Command.RESET, SEED)
        chip.power_cycle()
        for command in (Command.END_BATCH, Command.STATUS):
            assert refused(host.send(host.request(command)), OPEN, 0, *DAMAGE)


def test_identify_after_a_restart_begins_another_session(chip):
    """The same frame, at another time since power-up: the chip's half of the number differs."""
    host = Host(chip)
    request = host.identify()
    chip.power_cycle()
    chip.write(bytes(100))
    answer = host.send(request)
    assert (answer.code, answer.session) == (Result.OK, OPEN)
    session = int.from_bytes(answer.payload[:SESSION_BYTES], "little")
    assert session != host.session
    assert refused(host.send(host.request(Command.END_BATCH)), session, 1, *DAMAGE)


@pytest.mark.parametrize("late", [0, 1, 5])
def test_identify_twice_or_late_changes_nothing(chip, late):
    host = Host(chip)
    request = host.identify()
    for _ in range(late):
        host.call(Command.RESET, SEED)
    assert refused(host.send(request), host.session, host.next, *DAMAGE)
    assert host.call(Command.END_BATCH) == b""


def test_identify_whose_number_is_half_zero_is_refused(chip):
    host = Host(chip)
    for number in (0, 0x1234_0000):
        request = encode(9, Command.IDENTIFY, struct.pack("<I", number))
        assert refused(host.send(request), OPEN, 0, Result.BAD_VALUE)
    for payload in (b"", b"\1", bytes(5)):
        assert refused(host.send(encode(9, Command.IDENTIFY, payload)), OPEN, 0, Result.BAD_LENGTH)
    assert refused(host.send(encode(0, Command.STATUS)), OPEN, 0, Result.BAD_SESSION)


def test_a_second_host_is_noticed_by_the_first(chip):
    first, second = Host(chip, 1), Host(chip, 2)
    first.identify()
    first.call(Command.RESET, SEED)
    answer = second.send(encode(0, Command.IDENTIFY, SEED))
    assert refused(answer, first.session, first.next, *DAMAGE)
    assert first.call(Command.END_BATCH) == b"", "a host that only looks changes nothing"
    second.identify(Refusal.unpack(answer.payload).session)
    before = second.status()
    for command, payload in ((Command.END_BATCH, b""), (Command.RESET, SEED), (Command.IDENTIFY, SEED)):
        assert refused(second.send(first.request(command, payload)), second.session, second.next, *DAMAGE)
    assert second.status() == before


def test_a_request_behind_identify_belongs_to_the_session_that_ended(chip):
    """It came undamaged and has the number that the chip expects after IDENTIFY."""
    host, other = Host(chip, 1), Host(chip, 2)
    host.identify()
    host.call(Command.RESET, SEED)
    other.next, host.next = 40, 41
    chip.write(encode(40, Command.IDENTIFY, SEED, host.session) + host.request(Command.END_BATCH))
    answers = [other.receive(), other.receive()]
    session = int.from_bytes(answers[0].payload[:SESSION_BYTES], "little")
    assert answers[0].code == Result.OK
    assert refused(answers[1], session, 41, Result.BAD_SESSION)


# Frames inside payloads -----------------------------------------------------------------------------------------------

WIDE = Config(layers=(150, 9, 3), k0=(12, 4), window=(3,), batch=16, seed=5)
"""A sample of it has 19 bytes, more than a whole RESET frame."""
FOREIGN = 0x0BAD_CAFE


def with_a_frame_inside(inner: bytes, session: int) -> bytes:
    """A valid TRAIN request with two samples, the first of which holds the frame ``inner``."""
    samples = b"\0" + inner.ljust(19, b"\0") + b"\1" + bytes(19)
    return encode(1, Command.TRAIN, samples, session)


def damaged_headers(frame: bytes):
    """``frame`` with every wrong value of every byte of its header."""
    for place in range(HEADER_BYTES):
        for value in range(1, 256):
            yield frame[:place] + bytes([frame[place] ^ value]) + frame[place + 1 :]


@pytest.mark.parametrize(
    ("command", "session"),
    [(Command.RESET, OPEN), (Command.RESET, FOREIGN), (Command.IDENTIFY, OPEN), (Command.IDENTIFY, FOREIGN)],
)
def test_no_frame_inside_a_sample_is_executed(command, session):
    assert executions(encode(1, command, SEED, session)) == 0


def test_a_frame_inside_a_sample_would_be_executed_if_its_author_knew_the_session():
    """So that the test above can fail."""
    assert executions(encode(1, Command.RESET, SEED, OWN), step=32) > 30


OWN = 0x0102_0304


def executions(inner: bytes, step: int = 1) -> int:
    """How many wrong values of bytes in its header let a TRAIN request with ``inner`` in a sample change the chip.

    Tries every ``step``-th one.
    """
    transport = ModelChip(WIDE, buffer=64)
    frame = with_a_frame_inside(inner, OWN)
    changes = 0
    for damaged in islice(damaged_headers(frame), 0, None, step):
        model = transport.model
        if model.expected != 1:  # at the beginning, and after a change
            transport.restart()
            model, model.nonce = transport.model, 0
            model.trainer = TrainerModel(model.chip, seed=1)
            model.feed(encode(0, Command.IDENTIFY, struct.pack("<I", OWN)))
        answers = model.feed(damaged + bytes(64))
        changed = bool(model.trainer.events) or (model.session, model.expected) != (OWN, 1)
        assert changed == any(answer.code == Result.OK for answer in answers)
        changes += changed
        if changed:
            model.expected = 0
    return changes


def test_the_chip_ignores_frames_inside_a_payload_too(chip):
    """Bit errors in the header of a request whose payload holds RESET and IDENTIFY, open and of another session."""
    host = Host(chip)
    host.identify()
    host.call(Command.RESET, SEED)
    for _ in range(3):
        host.call(Command.END_BATCH)
    before = host.status()
    inner = b"".join(
        encode(sequence % 256, command, SEED, session)
        for command in (Command.RESET, Command.IDENTIFY)
        for session in (OPEN, FOREIGN)
        for sequence in (host.next, host.next + 1)
    )
    for bit in range(8 * HEADER_BYTES):
        frame = bytearray(encode(host.next, Command.TRAIN, inner, host.session))
        frame[bit // 8] ^= 1 << bit % 8
        chip.write(bytes(frame) + bytes(BUFFER_BYTES) + host.request(Command.STATUS))
        answers = [host.receive()]
        while answers[-1].session != host.session:
            assert refused(answers[-1], host.session, (host.next - 1) % 256, *DAMAGE)
            answers.append(host.receive())
        assert len(answers) > 1
        assert answers[-1].payload[: len(before)] == before
