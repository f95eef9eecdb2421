"""The host's end of the link: frames, refusals, and recovery from every kind of damage."""

from __future__ import annotations

import random

import pytest
from model_chip import CONFIG, SPARSE, ModelChip

from popflip.devices.link import FrameReader, Link
from popflip.errors import LinkError
from popflip.hw.link.codec import Frame, encode
from popflip.hw.link.commands import Command


def test_reader_finds_frames_between_noise():
    draw = random.Random(1)
    frames = [Frame(number, 0, draw.randbytes(draw.randrange(30))) for number in range(40)]
    transport = ModelChip(CONFIG)
    for frame in frames:
        noise = draw.choice([b"", b"\xa5", encode(*frame)[:-1], draw.randbytes(9), b"\xa5" * 9])
        transport.bytes += noise + encode(*frame)
    reader = FrameReader(transport)
    assert [reader.read() for _ in frames] == frames
    with pytest.raises(TimeoutError):
        reader.read()


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
    before = link.call(Command.STATUS), transport.model.trainer.golden.state.sha256()
    refused = link.post(command, payload)
    with pytest.raises(LinkError) as error:
        link.answer(refused)
    assert str(error.value) == f"the chip: {message}"
    assert (link.call(Command.STATUS), transport.model.trainer.golden.state.sha256()) == before


def test_a_refusal_drops_later_requests():
    transport = ModelChip(CONFIG)
    link = Link(transport)
    link.post(Command.RESET, bytes(4))
    link.post(Command.END_BATCH)
    with pytest.raises(LinkError):
        link.wait()
    link.wait()
    assert transport.model.trainer.golden.batches == 0


def test_unanswered_requests_fit_the_buffer():
    class Counting(ModelChip):
        unanswered = most = 0

        def write(self, data: bytes) -> None:
            self.unanswered += len(data)
            self.most = max(self.most, self.unanswered)
            super().write(data)

        def read(self, count: int) -> bytes:
            self.unanswered = len(self.bytes) and self.unanswered
            data = super().read(count)
            self.unanswered -= min(self.unanswered, 1)
            return data

    transport = Counting(CONFIG)
    link = Link(transport)
    requests = [link.post(Command.TRAIN, bytes(4 * 20)) for _ in range(50)]
    assert sum(request.answer is None for request in requests) * 90 <= 256
    link.wait()
    assert transport.model.trainer.golden.samples == 1000


def test_restarted_chip_is_one_line():
    transport = ModelChip(CONFIG)
    link = Link(transport)
    for _ in range(20):
        link.call(Command.END_BATCH)
    transport.restart()
    with pytest.raises(LinkError) as error:
        link.call(Command.END_BATCH)
    assert str(error.value) == "the chip: it was restarted or reprogrammed during the run; start again"


def test_a_chip_that_stops_answering_is_one_line():
    transport = ModelChip(CONFIG)
    link = Link(transport)
    transport.fault = 1
    with pytest.raises(LinkError) as error:
        link.call(Command.STATUS)
    assert str(error.value) == "the chip: stopped answering; gave up after 8 attempts; check the cable and power"


def test_a_port_without_a_chip_is_one_line():
    with pytest.raises(LinkError) as error:
        Link(ModelChip(CONFIG, fault=1), "/dev/ttyUSB1")
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
    assert transport.model.trainer.golden.samples == 1
