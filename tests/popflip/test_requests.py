"""Lengths of answers, and requests cut into smaller ones, against a chip that runs both."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from model_chip import CONFIG, LBE, SPARSE, ModelChip

from popflip.devices.link import Link
from popflip.devices.requests import Formats, Request
from popflip.devices.sample_codec import SampleCodec
from popflip.hw.config import ChipConfig
from popflip.hw.link.commands import Command
from popflip.hw.registers import registers

CHIP = ChipConfig.of(SPARSE, 2, 16, store_samples=256, walks=True)


def random_requests(draw: random.Random, link: Link) -> list[tuple[Command, bytes]]:
    """Requests of every command with items or words, valid for ``CHIP``."""
    rng = np.random.default_rng(draw.getrandbits(32))
    x, y = (rng.random((12, 150)) < 0.05).astype(np.uint8), rng.integers(0, 3, 12)
    codec = SampleCodec(link.chip, 2000)
    words = draw.randrange(1, 20)
    names = [register.name for register in registers(link.chip)]
    key = names.index("key")
    first = draw.randrange(10)
    content = rng.integers(0, 256, (words, 16), np.uint8) & 0x01
    return [
        (Command.CONFIGURE, b"".join(struct.pack("<BI", *item) for item in [(1, 5), (2, 9), (3, 4), (1, 7), (2, 100)])),
        *((payload.command, struct.pack("<I", first) + payload.data[4:]) for payload in codec.storing(x, y)),
        (Command.CONFIGURE, struct.pack("<BI", names.index("last_sample"), first + 11)),
        (
            Command.CONFIGURE,
            struct.pack("<BIBIBI", *(each for word in rng.integers(2**32, size=3) for each in (key, word))),
        ),
        (Command.TRAIN_SET, struct.pack("<HI10I", 2, first, *rng.integers(0, 9, 10))),
        (Command.TRAIN_SET, struct.pack("<HI", 3, 0)),
        (Command.INFER_SET, struct.pack("<HI", 12, first)),
        (Command.TRAIN, codec.labelled(x, y).tobytes()),
        *((payload.command, payload.data) for payload in codec.training(x, y)),
        *((payload.command, payload.data) for payload in codec.inference(x)),
        (Command.INFER, np.packbits(x, axis=1, bitorder="little").tobytes()),
        (Command.TRAIN_STORED, rng.integers(first, first + 12, 30).astype("<u2").tobytes()),
        (Command.END_BATCH, b""),
        (Command.STATUS, b""),
        (Command.READ_WEIGHTS, struct.pack("<HI", words, first)),
        (Command.READ_COUNTERS, struct.pack("<HI", words, first)),
        (Command.WRITE_COUNTERS, struct.pack("<I", first) + content.tobytes()),
        (Command.READ_COUNTERS, struct.pack("<HI", words, first)),
        (Command.SIGNATURE, b""),
    ]


@pytest.mark.parametrize("limit", [1, 32, 50, 333])
def test_smaller_requests_have_the_effect_of_the_whole_one(limit):
    ends = [ModelChip(SPARSE, buffer=4096, lanes=16, store=256, walks=True) for _ in range(2)]
    whole, cut = (Link(end) for end in ends)
    cut._pace.payload = limit
    cut._pace.progress = lambda: None
    for command, payload in random_requests(random.Random(limit), whole):
        assert cut.call(command, payload) == whole.call(command, payload), command
    assert ends[0].golden.state.sha256() == ends[1].golden.state.sha256()
    assert ends[0].model.store == ends[1].model.store
    assert ends[0].model.trainer.registers == ends[1].model.trainer.registers


@pytest.mark.parametrize("limit", [1, 32, 50, 333])
def test_parts_are_no_longer_than_the_limit_or_a_single_item(limit):
    link, formats = Link(ModelChip(SPARSE, buffer=4096, lanes=16, store=256, walks=True)), Formats(CHIP)
    items = {Command.CONFIGURE: 5, Command.STORE: 4 + 25, Command.TRAIN: 20, Command.TRAIN_PACKED: 24}
    items |= {Command.INFER: 19, Command.INFER_PACKED: 23, Command.TRAIN_STORED: 2, Command.WRITE_COUNTERS: 20}
    items |= {Command.TRAIN_SET: 6 + 8, Command.INFER_SET: 6}
    items |= {Command.READ_WEIGHTS: 6, Command.READ_COUNTERS: 16, Command.STATUS: 60, Command.SIGNATURE: 4}
    for command, payload in random_requests(random.Random(limit), link):
        request = formats.request(command, payload)
        parts = formats.divide(request, limit)
        assert all(max(len(part.payload), part.answer_bytes) <= max(limit, items.get(command, 0)) for part in parts)
        if max(len(payload), request.answer_bytes) <= limit:
            assert parts == [request]


@pytest.mark.parametrize("config", [CONFIG, LBE], ids=["gft", "lbe"])
def test_answers_have_the_announced_length(config):
    """Every command that answers with a payload."""
    transport = ModelChip(config, buffer=4096, store=16)
    link = Link(transport)
    size = link.chip.input_bytes
    for command, payload in (
        (Command.STATUS, b""),
        (Command.CYCLES, b""),
        (Command.SIGNATURE, b""),
        (Command.INFER, bytes(5 * size)),
        (Command.READ_WEIGHTS, struct.pack("<HI", 7, 1)),
        (Command.READ_COUNTERS, struct.pack("<HI", 7, 1)),
    ):
        request = link.post(command, payload)
        assert len(link.answer(request)) == request.answer_bytes > 0


def test_the_answer_of_a_divided_request_is_that_of_its_parts_in_order():
    parts = [Request(Command.INFER, bytes(3), 1) for _ in range(3)]
    request = Request(Command.INFER, bytes(9), 3, parts=parts)
    for part, answer in ((2, b"c"), (0, b"a"), (1, b"b")):
        assert request.answer is None
        parts[part].received = answer
    assert request.answer == b"abc"


def test_a_request_takes_no_more_cycles_than_allowed_for():
    """Bounds grow with the work: twice the samples, twice the cycles."""
    formats = Formats(CHIP)
    one, two = (formats.request(Command.TRAIN, bytes(20 * count)).cycles for count in (1, 2))
    assert (one, two) == (formats.sample_cycles, 2 * formats.sample_cycles)
    assert formats.request(Command.END_BATCH, b"").cycles == formats.batch_cycles
    assert formats.busy_cycles > formats.batch_cycles
