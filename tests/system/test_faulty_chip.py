"""The simulated chip behind a line with faults, and after a restart: whole runs end equal to the golden model."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_line import FaultyLine
from simulated import need_compiler

from popflip.devices.base import Device, Status
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.errors import ChipLost
from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.sim.chip import SimulatedChip

CONFIG = Config((20, 6, 3), k0=(9, 4), window=(2,), margin=4, batch=8, seed=3)
SHAPE = ChipConfig.of(CONFIG, 2, 8)  # other tests use it too: it is built once
TIMEOUT_CYCLES = 20_000


@pytest.fixture
def chip():
    need_compiler()
    with SimulatedChip(SHAPE) as chip:
        chip._timeout_cycles = TIMEOUT_CYCLES
        yield chip


def learn(device: Device, first: int, last: int) -> list[list[int]]:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 2, (last, 60, 20), np.uint8), rng.integers(0, 3, (last, 60))
    predictions = []
    for batch in range(first, last):
        device.train(x[batch], y[batch])
        device.end_batch(CONFIG.schedule(batch, 20))
        predictions.append(device.infer(x[batch, :5]).tolist())
    return predictions


def result(device: Device) -> tuple[str, Status]:
    return device.state().sha256(), Status(**{**vars(device.status()), "cycles": None})


def test_a_run_over_a_line_with_all_kinds_of_faults_ends_equal(chip):
    line = FaultyLine(chip, rate=2e-3, seed=4)
    device, golden = ChipDevice(line, CONFIG), GoldenDevice(CONFIG)
    for each in (device, golden):
        each.reset()
    assert learn(device, 0, 20) == learn(golden, 0, 20)
    assert result(device) == result(golden)
    assert line.faults >= 20


def test_a_chip_that_restarts_in_mid_run_is_repaired(chip):
    device, golden = ChipDevice(chip, CONFIG), GoldenDevice(CONFIG)
    for each in (device, golden):
        each.reset()
        learn(each, 0, 3)
    saved = device.state(), device.status()
    learn(device, 3, 5)
    chip.power_cycle()
    with pytest.raises(ChipLost) as error:
        learn(device, 5, 6)
    assert str(error.value) == "the chip: it was restarted; its state is not that of this run"
    device.reopen()
    device.load(*saved)
    assert learn(device, 3, 8) == learn(golden, 3, 8)
    assert result(device) == result(golden)
