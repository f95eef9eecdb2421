"""Whole runs over a line with faults of eight kinds end equal to the golden model. ``make faults`` runs many more."""

from __future__ import annotations

import os

import numpy as np
import pytest
from faulty_line import KINDS, FaultyLine
from model_chip import CONFIG, LBE, SPARSE, ModelChip

from popflip.devices.base import Status
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.devices.pace import MAX_LENGTH, Pace
from popflip.errors import LinkError
from popflip.golden.config import AnyConfig, Rule

RUNS = int(os.environ.get("POPFLIP_FAULT_RUNS", "2"))
"""Runs of each kind and configuration."""
BATCHES = 8
CHIPS = {
    "plain": (CONFIG, {"buffer": 2048}),
    "stored": (CONFIG, {"buffer": 512, "store": 256}),
    "packed": (SPARSE, {"buffer": 2048, "lanes": 16}),
    "lbe": (LBE, {"buffer": 1024}),
}

Result = tuple[list[list[int]], str, Status]


def learn(device, config: AnyConfig, stored: bool) -> Result:
    """A short run with predictions after each batch: the predictions, the state's hash and the status."""
    rng = np.random.default_rng(3)
    samples = 12 if config.rule == Rule.LBE else config.batch
    x = (rng.random((200, config.inputs)) < 0.3).astype(np.uint8)
    y = rng.integers(0, config.classes, 200)
    device.reset()
    if stored and device.store_samples:
        device.store(x, y)
    predictions = []
    for batch in range(BATCHES):
        order = rng.permutation(200)[:samples]
        if stored and device.store_samples:
            device.train_stored(order)
        else:
            device.train(x[order], y[order])
        device.end_batch(config.schedule(batch, BATCHES))
        predictions.append(device.infer(x[:3]).tolist())
    return predictions, device.state().sha256(), Status(**{**vars(device.status()), "cycles": None})


@pytest.fixture(scope="module")
def golden() -> dict[str, Result]:
    """What each run gives without faults."""
    return {name: learn(GoldenDevice(config), config, False) for name, (config, _) in CHIPS.items()}


@pytest.mark.parametrize("kind", [*KINDS, "all"])
@pytest.mark.parametrize("name", CHIPS)
def test_runs_over_a_line_with_a_fault_in_a_thousand_bytes_end_equal(golden, name, kind):
    config, shape = CHIPS[name]
    faults = 0
    for seed in range(RUNS):
        line = FaultyLine(ModelChip(config, **shape), KINDS if kind == "all" else (kind,), 1e-3, seed)
        assert learn(ChipDevice(line, config), config, name == "stored") == golden[name], seed
        faults += line.faults
    assert faults >= RUNS // 2


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_with_a_fault_in_a_hundred_bytes_a_run_ends_equal_or_in_one_line(golden, kind):
    refused = 0
    for seed in range(-(-RUNS // 2)):
        line = FaultyLine(ModelChip(CONFIG, buffer=2048), KINDS if kind == "all" else (kind,), 1e-2, seed)
        try:
            assert learn(ChipDevice(line, CONFIG), CONFIG, False) == golden["plain"], seed
        except LinkError as error:
            assert type(error) is LinkError
            assert "\n" not in str(error)
            refused += 1
    assert refused <= RUNS // 4


def test_frames_shrink_while_the_line_is_bad_and_grow_again():
    class Recording(ModelChip):
        sizes: list[int]

        def write(self, data: bytes) -> None:
            self.sizes.append(len(data.strip(b"\0")))
            super().write(data)

    chip = Recording(CONFIG, buffer=2048)
    chip.sizes = []
    line = FaultyLine(chip, ("flip",), 0, 1)
    device = ChipDevice(line, CONFIG)

    def largest(rate: float) -> int:
        chip.sizes.clear()
        line.up.rate = rate
        rng = np.random.default_rng(1)
        for _ in range(8):
            device.train(rng.integers(0, 2, (400, 20), np.uint8), rng.integers(0, 3, 400))
        device.status()
        return max(chip.sizes[len(chip.sizes) // 2 :])

    assert largest(0) == 10 + 1012  # two frames fit the buffer
    assert largest(5e-3) < 10 + 256
    largest(0)
    assert largest(0) == 10 + 1012


def test_pace():
    pace = Pace(2048)
    assert (pace.payload, pace.ahead, pace.patience) == (MAX_LENGTH, 2048, 1)
    sizes = []
    for _ in range(8):
        pace.fault(1000)
        sizes.append(pace.payload)
    assert sizes == [500, 250, 125, 62, 32, 32, 32, 32]
    assert pace.ahead == 8 * 32
    for _ in range(15):
        pace.progress()
    assert pace.payload == 32
    pace.progress()
    assert pace.payload == 64
    for _ in range(16 * 6):
        pace.progress()
    assert (pace.payload, pace.ahead) == (MAX_LENGTH, 2048)
    pace.fault(0)  # a short frame says little about the line
    assert pace.payload == 128


def test_waits_grow_with_failures_and_attempts_end():
    pace, patience = Pace(2048), []
    while not pace.exhausted:
        pace.failed()
        patience.append(pace.patience)
    assert patience == [1, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]
    pace.progress()
    assert (pace.exhausted, pace.patience) == (False, 1)
