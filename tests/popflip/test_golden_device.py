"""The device API on the golden model."""

from __future__ import annotations

import numpy as np

from popflip.devices.base import Status
from popflip.devices.golden import GoldenDevice
from popflip.golden.config import Config, LbeConfig

CONFIG = Config((20, 6, 3), k0=(9, 4), window=(2,), margin=4, batch=8, seed=3)


def trained(batches: int) -> GoldenDevice:
    device = GoldenDevice(CONFIG)
    device.reset()
    generator = np.random.default_rng(7)
    for _ in range(batches):
        device.train(generator.integers(0, 2, (8, 20), np.uint8), generator.integers(0, 3, 8))
        device.end_batch((9, 4))
    return device


def test_status_counts_since_reset():
    device = trained(3)
    status = device.status()
    assert (status.samples, status.batches, status.cycles) == (24, 3, None)
    assert sum(status.flips) > 0
    device.reset()
    first_rng = trained(0).status().rng
    assert device.status() == Status(rng=first_rng, flips=(0, 0))


def test_state_is_a_copy():
    device = trained(2)
    before = device.state().sha256()
    device.state().weights[0][:] = 0
    assert device.state().sha256() == before


def test_a_loaded_device_continues_like_the_saved_one():
    device, other = trained(2), GoldenDevice(CONFIG)
    other.load(device.state(), device.status())
    x, y = np.random.default_rng(8).integers(0, 2, (8, 20), np.uint8), np.arange(8) % 3
    for each in (device, other):
        each.train(x, y)
        each.end_batch((5, 2))
    assert other.state().sha256() == device.state().sha256()
    assert other.status() == device.status()


def test_a_loaded_state_without_a_status_counts_from_zero():
    device, other = trained(2), trained(1)
    other.load(device.state())
    assert other.status() == Status(rng=device.status().rng, flips=(0, 0))


def test_infer_changes_nothing():
    device = trained(2)
    before = device.status(), device.state().sha256()
    x = np.random.default_rng(9).integers(0, 2, (5, 20), np.uint8)
    assert device.infer(x).shape == (5,)
    assert (device.status(), device.state().sha256()) == before


def test_lbe_has_the_same_api():
    config = LbeConfig((20, 9), 3, group=(4,), margin=(4,))
    device, other = GoldenDevice(config), GoldenDevice(config)
    x, y = np.random.default_rng(8).integers(0, 2, (30, 20), np.uint8), np.arange(30) % 3
    device.train(x, y)
    device.end_batch(())
    status = device.status()
    assert (status.samples, status.batches, len(status.flips), status.cycles) == (30, 30, 1, None)
    assert status.errors > 0 and status.flips[0] > 0
    other.load(device.state(), status)
    for each in (device, other):
        each.train(x[::-1], y[::-1])
    assert other.state().sha256() == device.state().sha256()
    assert other.status() == device.status()
    assert other.infer(x).tolist() == device.infer(x).tolist()
    device.reset()
    assert device.status() == Status(rng=GoldenDevice(config).status().rng, flips=(0,))


def test_reopening_changes_nothing():
    device = GoldenDevice(CONFIG)
    before = device.state().sha256(), device.status()
    device.reopen()
    assert (device.state().sha256(), device.status()) == before
