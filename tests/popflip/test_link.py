"""The host's end of the link: frames, refusals, sessions, and answers that cannot be true."""

from __future__ import annotations

import random
import struct

import pytest
from model_chip import CONFIG, SPARSE, ModelChip

from popflip.devices.frames import FrameReader
from popflip.devices.link import Link
from popflip.devices.transport import PortStuck
from popflip.errors import ChipLost, DeviceError, LinkError
from popflip.hw.link.codec import Frame, encode
from popflip.hw.link.commands import Command


def test_reader_finds_frames_between_noise():
    draw = random.Random(1)
    frames = [Frame(number, 0, draw.randbytes(draw.randrange(30)), draw.choice([0, 77])) for number in range(40)]
    transport = ModelChip(CONFIG)
    for frame in frames:
        noise = draw.choice([b"", b"\xa5", encode(*frame)[:-1], draw.randbytes(9), b"\xa5" * 9, encode(1, 2, b"3", 78)])
        transport.bytes += noise + encode(*frame)
    reader = FrameReader(transport, 77)
    assert [reader.read(1, 30) for _ in frames] == frames
    with pytest.raises(TimeoutError):
        reader.read(1, 30)


class Babbler(ModelChip):
    """A port that sends ``text`` without end, at 100 bytes a second."""

    def __init__(self, text: bytes):
        super().__init__(CONFIG)
        self.text, self.taken = text, 0

    def write(self, data: bytes) -> None:
        pass

    def read(self, count: int, deadline: float) -> bytes:
        self.now += 0.01 * count
        first, self.taken = self.taken % len(self.text), self.taken + count
        return (self.text * (2 + count // len(self.text)))[first : first + count]


@pytest.mark.parametrize(
    "text",
    [
        b"\xa5",
        b"boot 1.2.3\r\n",
        b"\0",
        encode(200, 0),
        encode(0, 3, struct.pack("<IB", 0, 0)),
        encode(9, 0, b"abc", 5),
    ],
    ids=["sync", "text", "zeros", "answers", "refusals", "frames of another session"],
)
def test_a_port_that_never_stops_talking_is_one_line_in_bounded_time(text):
    transport = Babbler(text)
    with pytest.raises(LinkError) as error:
        Link(transport, "/dev/ttyUSB1")
    assert str(error.value) == "/dev/ttyUSB1: no answer; check that its bitstream is Popflip's, and the baud rate"
    assert transport.now < 130


@pytest.mark.parametrize("text", [b"\xa5", b"boot 1.2.3\r\n", encode(200, 0)], ids=["sync", "text", "answers"])
def test_a_chip_that_begins_to_babble_is_one_line_in_bounded_time(text):
    transport = ModelChip(CONFIG)
    link = Link(transport)
    babbler = Babbler(text)
    link._transport = link._reader._transport = babbler
    with pytest.raises(LinkError) as error:
        link.call(Command.STATUS)
    assert str(error.value) == "the chip: it does not answer; gave up after 12 attempts; check the cable and power"
    assert babbler.now < 200


@pytest.mark.parametrize(
    ("command", "payload", "message"),
    [
        (Command.CONFIGURE, bytes([0] * 5 + [99] * 5), "CONFIGURE was refused: no such register"),
        (Command.CONFIGURE, bytes([2, 1, 1, 0, 0]), "CONFIGURE was refused: a value outside its range"),
        (Command.TRAIN, bytes([2, 1, 1, 1, 3, 0, 0, 0]), "TRAIN was refused: a label that is not a class"),
        (
            Command.READ_WEIGHTS,
            bytes([1, 0, 0, 0, 1, 0]),
            "READ_WEIGHTS was refused: words or samples outside the memory",
        ),
        (Command.RESET, bytes(4), "RESET was refused: a value outside its range"),
        (Command.TRAIN_STORED, bytes(2), "TRAIN_STORED was refused: no such command"),
        (Command.TRAIN_PACKED, bytes([2, 1, 0]), "TRAIN_PACKED was refused: no such command"),
    ],
)
def test_a_refused_request_changes_nothing(command, payload, message):
    transport = ModelChip(CONFIG)
    link = Link(transport)
    before = link.call(Command.STATUS), transport.golden.state.sha256()
    refused = link.post(command, payload)
    with pytest.raises(LinkError) as error:
        link.answer(refused)
    assert str(error.value) == f"the chip: {message}"
    assert (link.call(Command.STATUS), transport.golden.state.sha256()) == before


def test_a_refusal_drops_later_requests():
    transport = ModelChip(CONFIG)
    link = Link(transport)
    link.post(Command.RESET, bytes(4))
    dropped = link.post(Command.END_BATCH)
    with pytest.raises(LinkError):
        link.wait()
    link.wait()
    assert transport.golden.batches == 0
    with pytest.raises(LinkError, match=r"^the chip: END_BATCH was dropped after an earlier error$"):
        link.answer(dropped)


def test_unanswered_requests_fit_the_buffer():
    class Counting(ModelChip):
        unanswered = most = 0

        def write(self, data: bytes) -> None:
            self.unanswered += len(data)
            self.most = max(self.most, self.unanswered)
            super().write(data)

        def read(self, count: int, deadline: float) -> bytes:
            self.unanswered = len(self.bytes) and self.unanswered
            data = super().read(count, deadline)
            self.unanswered -= min(self.unanswered, 1)
            return data

    transport = Counting(CONFIG)
    link = Link(transport)
    requests = [link.post(Command.TRAIN, bytes(4 * 20)) for _ in range(50)]
    assert sum(request.answer is None for request in requests) * 90 <= 256
    link.wait()
    assert transport.golden.samples == 1000


# One session, one chip ------------------------------------------------------------------------------------------------


def test_a_restart_is_noticed_at_every_sequence_number():
    """Between requests and with requests on their way."""
    transport = ModelChip(CONFIG)
    link = Link(transport)
    for position in range(256):
        transport.model.expected = link._next = position  # a run that has come so far
        requests = [link.post(Command.END_BATCH) for _ in range(position % 3)]
        transport.restart()
        transport.bytes.clear()
        with pytest.raises(ChipLost) as error:
            link.call(Command.STATUS)
        assert str(error.value) == "the chip: it was restarted; its state is not that of this run"
        assert [request.answer for request in requests] == [None] * (position % 3)
        assert transport.golden.batches == 0
        link.reopen()


def test_two_hosts_notice_each_other():
    """A hub: both write to the chip, and what it answers reaches both."""

    class Port(ModelChip):
        def __init__(self, chip: ModelChip, ports: list[Port]):
            self.chip, self.ports, self.now, self.bytes = chip, ports, 0.0, bytearray()
            ports.append(self)

        def write(self, data: bytes) -> None:
            self.chip.write(data)
            for port in self.ports:
                port.bytes += self.chip.bytes
            self.chip.bytes.clear()

    chip, ports = ModelChip(CONFIG), []
    first = Link(Port(chip, ports), "first")
    first.call(Command.END_BATCH)
    second = Link(Port(chip, ports), "second")
    second.call(Command.END_BATCH)
    with pytest.raises(ChipLost) as error:
        first.call(Command.END_BATCH)
    assert str(error.value) == "first: another program opened it; its state is not that of this run"
    assert chip.golden.batches == 2
    first.reopen()
    assert first.call(Command.SIGNATURE) == bytes(4)
    with pytest.raises(ChipLost, match=r"^second: another program opened it; its state is not that of this run$"):
        second.wait() or second.call(Command.STATUS)


def test_a_count_that_runs_ahead_is_noticed():
    transport = ModelChip(CONFIG)
    link = Link(transport)
    transport.model.expected += 3  # requests that this host never sent
    with pytest.raises(ChipLost) as error:
        link.call(Command.STATUS)
    assert str(error.value) == (
        "the chip: it expects request 4, which the host has not reached; its state is not that of this run"
    )


@pytest.mark.parametrize("change", [lambda answer: answer[:-1], lambda answer: answer + b"\0", lambda _: b""])
@pytest.mark.parametrize(
    ("command", "payload", "size"),
    [
        (Command.STATUS, b"", 60),
        (Command.CYCLES, b"", 28),
        (Command.SIGNATURE, b"", 4),
        (Command.INFER, bytes(6), 2),
        (Command.READ_WEIGHTS, bytes([2, 0, 0, 0, 0, 0]), 4),
        (Command.READ_COUNTERS, bytes([3, 0, 0, 0, 0, 0]), 24),
        (Command.END_BATCH, b"", 0),
    ],
)
def test_an_answer_of_another_length_is_one_line(command, payload, size, change):
    class Liar(ModelChip):
        lies = False

        def write(self, data: bytes) -> None:
            answers = self.model.feed(data)
            if self.lies:
                answers = [answer._replace(payload=change(answer.payload)) for answer in answers]
            self.bytes += b"".join(encode(*answer) for answer in answers)

    transport = Liar(CONFIG)
    link = Link(transport)
    transport.lies = True
    got = len(change(bytes(size)))
    if got == size:
        assert link.call(command, payload) == b""
        return
    with pytest.raises(ChipLost) as error:
        link.call(command, payload)
    assert str(error.value) == (
        f"the chip: it answers {command.name} with {got} bytes instead of {size}; its state is not that of this run"
    )


def test_a_refusal_of_another_length_is_one_line():
    class Liar(ModelChip):
        def write(self, data: bytes) -> None:
            self.bytes += b"".join(encode(answer.sequence, 8, b"abc") for answer in self.model.feed(data))

    transport = ModelChip(CONFIG)
    link = Link(transport)
    transport.write = Liar.write.__get__(transport)
    with pytest.raises(ChipLost) as error:
        link.call(Command.STATUS)
    assert str(error.value) == "the chip: 3 bytes are not a refusal; its state is not that of this run"


def test_another_chip_is_not_taken_up():
    transport = ModelChip(CONFIG)
    link = Link(transport, "/dev/ttyUSB1")
    transport.identity = ModelChip(SPARSE).identity
    transport.restart()
    with pytest.raises(DeviceError) as error:
        link.reopen()
    assert str(error.value) == "/dev/ttyUSB1: another chip answers; connect the one that the run began with"


@pytest.mark.parametrize("cut", [7, 1000, 16_370])
def test_a_frame_that_another_program_left_unfinished_does_not_hide_the_chip(cut):
    transport = ModelChip(CONFIG, buffer=2**14)
    frame = encode(0, Command.TRAIN, bytes(2**14 - 8))
    transport.write(frame[: len(frame) - cut])
    link = Link(transport)
    assert link.identity.buffer_bytes == 2**14
    assert link.call(Command.SIGNATURE) == bytes(4)


def test_an_older_chip_is_one_line():
    class Older(ModelChip):
        def write(self, data: bytes) -> None:
            self.bytes += encode(0, 6, b"\0")  # version 5 refuses IDENTIFY with a payload

    with pytest.raises(LinkError) as error:
        Link(Older(CONFIG))
    assert str(error.value) == "the chip: it speaks an older version of the protocol; rebuild its bitstream"


def test_numbers_of_probes_differ_from_recent_ones_and_from_those_of_requests():
    link = Link(ModelChip(CONFIG))
    numbers = []
    for step in range(300):
        link._next = (link._next + step % 3) % 256
        numbers.append(link._probe_number())
        assert 64 < (numbers[-1] - link._next) % 256 < 128
    assert all(len(set(numbers[first : first + 33])) == 33 for first in range(300 - 33))


# Ends -----------------------------------------------------------------------------------------------------------------


def test_a_chip_that_stops_answering_is_one_line():
    transport = ModelChip(CONFIG)
    link = Link(transport)
    transport.write = lambda data: None
    with pytest.raises(LinkError) as error:
        link.call(Command.STATUS)
    assert str(error.value) == "the chip: it does not answer; gave up after 12 attempts; check the cable and power"


def test_a_port_that_takes_no_bytes_is_one_line():
    def stuck(data: bytes) -> None:
        raise PortStuck

    transport = ModelChip(CONFIG)
    link = Link(transport, "/dev/ttyUSB1")
    transport.write = stuck
    with pytest.raises(LinkError) as error:
        link.call(Command.STATUS)
    assert str(error.value) == (
        "/dev/ttyUSB1: the port takes no bytes; gave up after 12 attempts; check the cable and power"
    )
    with pytest.raises(LinkError) as error:
        link.reopen()
    assert str(error.value) == "/dev/ttyUSB1: the port takes no bytes; unplug it and plug it in again"


def test_a_port_without_a_chip_is_one_line():
    transport = ModelChip(CONFIG)
    transport.write = lambda data: None
    with pytest.raises(LinkError) as error:
        Link(transport, "/dev/ttyUSB1")
    assert str(error.value) == "/dev/ttyUSB1: no answer; check that its bitstream is Popflip's, and the baud rate"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ([3, 1, 1], "the payload does not fit the command, or the answer does not fit a frame"),
        ([2, 1, 0, 1], "the payload does not fit the command, or the answer does not fit a frame"),
        ([2, 1, 0, 1, 1, 0], "the payload does not fit the command, or the answer does not fit a frame"),
        ([2, 1, 0, 4, 0, 1, 1], "the payload does not fit the command, or the answer does not fit a frame"),
        ([2, 1, 0, 2, 3, 0], "a label that is not a class"),
    ],
)
def test_a_packed_request_that_is_wrong_changes_nothing(payload, reason):
    transport = ModelChip(SPARSE, lanes=16)
    link = Link(transport)
    with pytest.raises(LinkError) as error:
        link.call(Command.TRAIN_PACKED, bytes(payload))
    assert str(error.value) == f"the chip: TRAIN_PACKED was refused: {reason}"
    assert link.call(Command.TRAIN_PACKED, bytes([2, 1, 0])) == b""
    assert transport.golden.samples == 1
