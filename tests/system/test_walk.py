"""A simulated chip with SDRAM: its own walk through the stored set equals golden's run, and faults are found."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import need_compiler

from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.golden.common.order import key_of, permutation
from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.hw.link.commands import Command
from popflip.sim.chip import SimulatedChip
from popflip.training import run

CONFIG = Config((40, 9, 4), k0=(30, 9), window=(3,), margin=5, batch=64, epochs=3, seed=5, order="chip")
CHIP = ChipConfig.of(CONFIG, array_rows=2, array_synapses=16, store_samples=2**17, sdram="ulx3s", walks=True)


def data(samples: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).integers(0, 2, (samples, CONFIG.inputs), np.uint8)
    return x, x[:, :2] @ np.array([1, 2])


@pytest.fixture
def device():
    need_compiler()
    with ChipDevice(SimulatedChip(CHIP), CONFIG) as device:
        yield device


def test_a_walk_through_sdram_equals_golden_after_every_batch(device):
    """Batches go on from one epoch to the next. A run cut in the middle ends as one that was not."""
    x, y = data(200)
    with GoldenDevice(CONFIG) as golden:
        watched = run(device, x, y, golden=golden)
    assert (watched.verified, watched.replayed) == (9, True)
    assert device.infer(x).tolist() == golden.infer(x).tolist()
    first = run(device, x, y, limit=5)
    resumed = run(device, x, y, start=(first.end.state, first.end.status))
    assert len(first.history + resumed.history) == 4  # steps end with epochs, and where the run was cut
    assert resumed.end.state.sha256() == watched.end.state.sha256()
    assert resumed.end.status.signature == watched.end.status.signature


def test_samples_anywhere_in_the_sdram_are_found_by_number(device):
    """Numbers of three bytes; the last sample of the store, and rows of every bank."""
    x, y = data(96)
    last = CHIP.store_samples - 1
    numbers = np.unique(np.append(np.random.default_rng(2).integers(0, last, 60), [0, 1, last]))
    chosen = x[: len(numbers)]
    for place, number in enumerate(numbers):
        (payload,) = device._samples.storing(x[place : place + 1], y[place : place + 1])
        device.link.post(Command.STORE, int(number).to_bytes(4, "little") + payload.data[4:])
    device.reset()
    device.train_stored(numbers[::-1])
    golden = GoldenDevice(CONFIG)
    golden.reset()
    golden.train(chosen[::-1], y[: len(numbers)][::-1])
    assert device.state().sha256() == golden.state().sha256()


def test_predictions_over_the_stored_set(device):
    x, y = data(70)
    device.reset()
    device.store(x, y)
    key = key_of(3, 1)
    assert device.infer_set(key, 0, 70).tolist() == device.infer(x)[permutation(key, 70)].tolist()
