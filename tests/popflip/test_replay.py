"""Replay: when a training set is kept on the chip, that it changes no result, and what bounds a run on a board."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from popflip.data.augment import MovingImages
from popflip.devices.base import LinkSpeed, Status
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.errors import DeviceError
from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.hw.link.codec import decode, payload_length
from popflip.hw.link.commands import Command
from popflip.replay import bounds, busy_cycles, keep, summary
from popflip.sim.board import SimulatedBoard
from popflip.sim.cxxrtl.compile import build_library, compiler
from popflip.sim.cxxrtl.simulation import Simulation
from popflip.sim.errors import SimulatorError
from popflip.training import sample_order, train

CONFIG = Config((40, 9, 4), k0=(30, 9), window=(3,), margin=5, batch=64, epochs=6, seed=5)
CLOCK, BAUD, CYCLES_A_BYTE = 1_000_000, 125_000, 80
STORE = 256


def data(samples: int = 200, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).integers(0, 2, (samples, CONFIG.inputs), np.uint8)
    return x, x[:, :2] @ np.array([1, 2])


# What is kept ---------------------------------------------------------------------------------------------------------


class Storing(GoldenDevice):
    """A golden device with a store, and no other way to train."""

    store_samples = STORE

    def store(self, x, y):
        self.kept = x.copy(), y.copy()

    def train(self, x, y):
        raise AssertionError("samples were sent")

    def train_stored(self, numbers):
        x, y = self.kept
        super().train(x[numbers], y[numbers])


def kept(device, samples: int, wanted: bool | None) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return keep(device, *data(samples), wanted, lines.append), lines


@pytest.mark.parametrize("samples", [1, STORE])
@pytest.mark.parametrize("wanted", [None, True])
def test_what_fits_is_kept(samples, wanted):
    device = Storing(CONFIG)
    assert kept(device, samples, wanted) == (True, [f"storing {samples} training samples on the chip"])
    assert [part.tolist() for part in device.kept] == [part.tolist() for part in data(samples)]


def test_what_does_not_fit_is_sent_and_said_once():
    line = "257 training samples do not fit the chip's store of 256: all are sent in every epoch"
    assert kept(Storing(CONFIG), STORE + 1, None) == (False, [line])


def test_nothing_is_kept_where_nobody_wants_it_or_nothing_can():
    assert kept(Storing(CONFIG), 1, False) == (False, [])
    assert kept(GoldenDevice(CONFIG), 1, None) == (False, [])


def test_images_that_are_moved_have_to_be_sent():
    x, y = data(4)
    images = MovingImages(x[:, :36], (6, 6), np.array([1]))
    assert keep(Storing(CONFIG), images, y) is False
    with pytest.raises(DeviceError) as error:
        keep(Storing(CONFIG), images, y, True)
    assert str(error.value) == "--replay: training images are moved anew in each epoch, so they have to be sent"


@pytest.mark.parametrize(("kind", "place"), [(Storing, "holds 256"), (GoldenDevice, "does not exist")])
def test_replay_that_cannot_be_is_one_line(kind, place):
    with pytest.raises(DeviceError) as error:
        kept(kind(CONFIG), 257, True)
    assert str(error.value) == f"--replay: the data set has 257 training samples, the device's store {place}"


@pytest.mark.parametrize("verified", [False, True])
def test_a_replayed_run_trains_the_same_samples(verified):
    x, y = data()
    device, golden, plain = Storing(CONFIG), GoldenDevice(CONFIG), GoldenDevice(CONFIG)
    for each in (device, golden, plain):
        each.reset()
    assert keep(device, x, y)
    run = train(device, x, y, golden=golden if verified else None, stored=True)
    assert run.history == train(plain, x, y).history
    assert run.replayed
    assert device.state().sha256() == plain.state().sha256()
    assert device.status() == plain.status()


# What bounds a run ----------------------------------------------------------------------------------------------------

CYCLES = {
    "total": 800,
    "forward_busy": 300,
    "forward_stall": 20,
    "learn_busy": 250,
    "learn_stall": 60,
    "select": 50,
    "flip": 30,
}


def test_busy_cycles_leave_out_waiting_for_the_link():
    assert busy_cycles(CYCLES) == 320 + 50 + 30
    assert busy_cycles(CYCLES | {"learn_stall": 100}) == 350 + 50 + 30


def test_bounds_are_bytes_and_cycles_a_second():
    assert bounds(LinkSpeed(12_000_000, 1_000_000, 25.0, 2.5), CYCLES, samples=2, replayed=False) == {
        "clock_hz": 12_000_000,
        "baud": 1_000_000,
        "replayed": False,
        "bytes_per_sample": 25.0,
        "bytes_per_sample_replayed": 2.5,
        "samples_per_second": 30_000.0,
        "chip_samples_per_second": 60_000.0,
        "link_samples_per_second": 4_000.0,
        "link_samples_per_second_replayed": 40_000.0,
    }


@pytest.mark.parametrize(
    ("clock", "number_bytes", "replayed", "line"),
    [
        (12e6, 2.5, False, "link-bound at 30,000 samples/s, with replay link-bound at up to 40,000"),
        (4e6, 2.5, False, "link-bound at 10,000 samples/s, with replay chip-bound at up to 20,000"),
        (4e5, 2.5, False, "chip-bound at 1,000 samples/s, with replay chip-bound at up to 2,000"),
        (12e6, None, False, "link-bound at 30,000 samples/s"),
        (12e6, 2.5, True, "link-bound at 30,000 samples/s with replay, without it link-bound at up to 4,000"),
        (4e6, 2.5, True, "chip-bound at 10,000 samples/s with replay, without it link-bound at up to 4,000"),
        (4e5, 2.5, True, "chip-bound at 1,000 samples/s with replay, without it chip-bound at up to 2,000"),
    ],
)
def test_summary_says_what_bounds_the_run(clock, number_bytes, replayed, line):
    link = LinkSpeed(int(clock), 1_000_000, 25.0, number_bytes)
    assert summary(bounds(link, CYCLES, 2, replayed)) == line


# On a simulated board -------------------------------------------------------------------------------------------------


class Line(Simulation):
    """A simulated board that counts the bytes sent to it, and keeps them."""

    def write(self, data: bytes) -> None:
        self.sent = getattr(self, "sent", b"") + data
        super().write(data)

    def requests(self, start: int) -> list[tuple[Command, int]]:
        """The requests sent since byte ``start``, and the bytes of each."""
        found = []
        while start < len(self.sent):
            size = 10 + payload_length(self.sent[start : start + 6])
            found.append((Command(decode(self.sent[start : start + size]).code), size))
            start += size
        return found


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    try:
        compiler()
    except SimulatorError as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("board")
    chip = ChipConfig.of(CONFIG, array_rows=2, array_synapses=16, store_samples=STORE)
    board = SimulatedBoard(chip, CLOCK, BAUD, buffer=512)
    assert board.cycles_per_byte == CYCLES_A_BYTE
    return build_library(board, folder, folder / "log")


@pytest.fixture
def board(library):
    with Line(library) as line:
        yield line, ChipDevice(line, CONFIG, baud=BAUD)


def test_replay_leaves_what_sent_samples_do(library):
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
            assert keep(device, x, y, stored) == stored
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


def test_the_line_never_waits_where_the_chip_is_faster(board):
    """Whole batches, with their ends: the chip works on one frame while the next is on the line."""
    line, device = board
    x, y = data()
    device.reset()
    device.status()
    start, cycles = len(line.sent), line.cycles
    for numbers in list(sample_order(len(x), CONFIG)):
        device.train(x[numbers], y[numbers])
        device.end_batch((30, 9))
    device.link.wait()
    busy = (len(line.sent) - start) * CYCLES_A_BYTE / (line.cycles - cycles)
    assert 0.95 <= busy <= 1


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
