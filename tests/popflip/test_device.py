"""The device API on the golden model and the simulated chip, and what opening a device refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from popflip.devices.base import Device, DeviceError, GoldenDevice, Status, open_device
from popflip.golden.config import Config, LbeConfig
from popflip.golden.errors import ConfigError
from popflip.golden.memory.weights import first_difference
from popflip.sim.cxxrtl import compile as cxxrtl

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


def test_a_loaded_device_goes_on_as_the_saved_one():
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


def test_golden_is_opened_by_name():
    with open_device("golden", CONFIG) as device:
        assert isinstance(device, GoldenDevice)


def test_an_unknown_device_lists_what_there_is():
    with pytest.raises(DeviceError) as error:
        open_device("goldn", CONFIG)
    assert str(error.value) == "--device goldn: not golden, sim, nor a serial port such as /dev/ttyUSB1 or COM3"


def test_only_the_simulated_chip_has_waves():
    with pytest.raises(DeviceError, match=r"^--waves: only the simulated chip has signals to record, golden does not$"):
        open_device("golden", CONFIG, waves=Path("f.vcd"))


def test_a_port_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError) as error:
        open_device(str(tmp_path / "ttyNOPE"), CONFIG)
    assert str(tmp_path / "ttyNOPE") in str(error.value)
    assert "\n" not in str(error.value)


# The simulated chip ---------------------------------------------------------------------------------------------------

LBE = LbeConfig((45, 33, 7), 3, group=(8, 3), margin=(9, 4), reinforce_p256=5, seed=3)


@pytest.fixture(scope="module", params=[CONFIG, LBE], ids=["gft", "lbe"])
def simulated(request) -> Iterator[Device]:
    try:
        cxxrtl.compiler()
    except cxxrtl.SimulatorError as missing:
        pytest.skip(str(missing))
    with open_device("sim", request.param, rows=2, synapses=8) as device:
        yield device


def learn(device: Device, batches: int, seed: int) -> list[int]:
    """Batches of samples that are each near their class's first one, with a question after each; the predictions."""
    config, generator = device.config, np.random.default_rng(seed)
    first = generator.integers(0, 2, (config.classes, config.inputs), np.uint8)
    predictions: list[int] = []
    for batch in range(batches):
        y = generator.integers(0, config.classes, 60)
        x = first[y] ^ (generator.random((len(y), config.inputs)) < 0.2).astype(np.uint8)
        device.train(x, y)
        device.end_batch(config.schedule(batch, batches))
        predictions += device.infer(x[:4]).tolist()
    return predictions


def difference(device: Device, golden: Device) -> str | None:
    """What is not the same in ``device``."""
    mine, theirs = device.status(), golden.status()
    cycles = mine.cycles
    assert cycles is not None and cycles["total"] > 0
    counts = {name: (value, vars(theirs)[name]) for name, value in vars(mine).items() if name != "cycles"}
    unlike = [f"{name} is {value}, golden has {other}" for name, (value, other) in counts.items() if value != other]
    return first_difference(device.state(), golden.state()) or next(iter(unlike), None)


def test_the_simulated_chip_equals_golden(simulated):
    golden = GoldenDevice(simulated.config)
    for device in (simulated, golden):
        device.reset()
    assert difference(simulated, golden) is None
    assert learn(simulated, 20, seed=1) == learn(golden, 20, seed=1)
    assert difference(simulated, golden) is None
    assert all(golden.status().flips)
    golden.trainer.state.counters[1][2, 5] ^= 1
    assert difference(simulated, golden).startswith("layer 1, row 2, word 0, synapse 5: counter is ")


def test_the_simulated_chip_goes_on_from_a_saved_state(simulated):
    golden = GoldenDevice(simulated.config)
    for device in (simulated, golden):
        device.reset()
        learn(device, 5, seed=2)
    state, status = simulated.state(), simulated.status()
    learn(simulated, 3, seed=3)
    assert difference(simulated, golden)
    simulated.load(state, status)
    assert difference(simulated, golden) is None
    assert learn(simulated, 5, seed=4) == learn(golden, 5, seed=4)
    assert difference(simulated, golden) is None
    before = golden.state()
    simulated.load(golden.state())
    assert (simulated.state().sha256(), simulated.state().rng) == (before.sha256(), before.rng)
