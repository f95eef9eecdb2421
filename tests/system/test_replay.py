"""Replay on a simulated board: stored samples give the same results, and the line never waits."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from simulated import need_compiler

from popflip.devices.base import Status
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.hw.link.codec import OVERHEAD
from popflip.hw.link.commands import Command
from popflip.sim.board import SimulatedBoard
from popflip.sim.cxxrtl.compile import build_library
from popflip.sim.cxxrtl.simulation import Simulation
from popflip.steps import sample_order
from popflip.training import store_training_set, train

CONFIG = Config((40, 9, 4), k0=(30, 9), window=(3,), margin=5, batch=64, epochs=6, seed=5)
CLOCK, BAUD, CYCLES_A_BYTE = 1_000_000, 125_000, 80
"""As 24 MHz at 3 Mbaud. At 6 Mbaud a bit has the fewest cycles that it can have."""
FASTEST = 2 * BAUD
STORE = 256


def data(samples: int = 200, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).integers(0, 2, (samples, CONFIG.inputs), np.uint8)
    return x, x[:, :2] @ np.array([1, 2])


class Line(Simulation):
    """A simulated board that counts the bytes sent to it, and keeps them."""

    def write(self, data: bytes) -> None:
        self.sent = getattr(self, "sent", b"") + data
        super().write(data)

    def requests(self, start: int) -> list[tuple[Command, int]]:
        """The requests sent since byte ``start``, and the bytes of each."""
        found = []
        while start < len(self.sent):
            _, _, command, length = struct.unpack_from("<BBBH", self.sent, start)
            size = OVERHEAD + length
            found.append((Command(command), size))
            start += size
        return found


def built(folder, baud: int):
    """The library of a board at ``baud``."""
    need_compiler()
    chip = ChipConfig.of(CONFIG, array_rows=2, array_synapses=16, store_samples=STORE)
    board = SimulatedBoard(chip, CLOCK, baud, buffer=512)
    assert board.cycles_per_byte == CYCLES_A_BYTE * BAUD // baud
    return build_library(board, folder, folder / "log")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return built(tmp_path_factory.mktemp("board"), BAUD)


@pytest.fixture
def board(library):
    with Line(library) as line:
        yield line, ChipDevice(line, CONFIG, baud=BAUD)


def test_replay_has_the_effect_of_sent_samples(library):
    """The same state, signature, counts and predictions as golden's, in fewer cycles."""
    x, y = data()
    golden = GoldenDevice(CONFIG)
    golden.reset()
    train(golden, x, y)
    cycles = []
    for stored in (False, True):
        with Line(library) as line:
            device = ChipDevice(line, CONFIG)
            device.reset()
            assert store_training_set(device, x, y, stored) == stored
            start = len(line.sent)
            run = train(device, x, y, stored=stored)
            commands = {command for command, _ in line.requests(start)}
            status = device.status()
            assert status == Status(**{**vars(golden.status()), "cycles": status.cycles})
            assert device.state().sha256() == golden.state().sha256()
            assert device.infer(x).tolist() == golden.infer(x).tolist()
        cycles.append(run.cycles["total"])
        assert (Command.TRAIN in commands, Command.TRAIN_STORED in commands) == (not stored, stored)
    assert cycles[1] < cycles[0]


def busy_share(line: Line, device: ChipDevice, work: Callable[[], object], cycles_a_byte: int = CYCLES_A_BYTE) -> float:
    """The share of the cycles of ``work`` in which a byte is on its way to the chip."""
    device.status()
    start, cycles = len(line.sent), line.cycles
    work()
    device.link.wait()
    return (len(line.sent) - start) * cycles_a_byte / (line.cycles - cycles)


@pytest.mark.parametrize("stored", [False, True], ids=["samples", "numbers"])
def test_the_line_never_idles_if_the_chip_is_faster(board, stored):
    """Whole batches, with their ends: the chip works on one frame while the next is on the line."""
    line, device = board
    x, y = data()
    device.reset()
    device.store(x, y)

    def learn() -> None:
        for numbers in list(sample_order(len(x), CONFIG)):
            if stored:
                device.train_stored(numbers)
            else:
                device.train(x[numbers], y[numbers])
            device.end_batch((30, 9))

    assert 0.95 <= busy_share(line, device, learn) <= 1


def test_the_line_never_idles_while_a_set_is_stored_or_classified(board):
    line, device = board
    x, y = data(STORE)
    device.reset()
    for work in (partial(device.store, x, y), partial(device.infer, x)):
        assert 0.95 <= busy_share(line, device, work) <= 1


@pytest.mark.long
def test_the_line_never_idles_at_the_fewest_cycles_a_bit(tmp_path):
    """Samples stored, classified, and learned in whole batches with their ends."""
    x, y = data(STORE)

    def learn() -> None:
        for numbers in list(sample_order(len(x), CONFIG)):
            device.train(x[numbers], y[numbers])
            device.end_batch((30, 9))

    with Line(built(tmp_path, FASTEST)) as line:
        device = ChipDevice(line, CONFIG, baud=FASTEST)
        device.reset()
        for work in (partial(device.store, x, y), partial(device.infer, x), learn):
            assert 0.95 <= busy_share(line, device, work, CYCLES_A_BYTE * BAUD // FASTEST) <= 1


def test_bytes_a_sample_are_those_on_the_line(board):
    line, device = board
    x, y = data(STORE)
    speed = device.link_speed
    for command, size, send in (
        (Command.TRAIN, speed.sample_bytes, lambda: device.train(x, y)),
        (Command.TRAIN_STORED, speed.number_bytes, lambda: device.train_stored(np.arange(STORE))),
    ):
        start = len(line.sent)
        send()
        device.link.wait()
        requests = line.requests(start)
        assert {name for name, _ in requests} == {command}
        skipped = 4 if command == Command.TRAIN_STORED else 0  # shorter ones, to begin with
        whole = [sent for _, sent in requests[skipped:-1]]  # the last one may be shorter
        assert all(before == after for before, after in pairwise(whole))
        per_frame = {Command.TRAIN: 246 // 6, Command.TRAIN_STORED: 64}[command]
        assert whole[0] / per_frame == size
    assert (speed.clock_hz, speed.baud) == (CLOCK, BAUD)
