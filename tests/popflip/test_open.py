"""Devices opened by name, refused names, and the simulated chip against the golden model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from simulated import need_compiler

from popflip.devices.base import Device
from popflip.devices.golden import GoldenDevice
from popflip.devices.open import open_device
from popflip.errors import DeviceError
from popflip.golden.config import Config, LbeConfig
from popflip.golden.memory.weights import first_difference
from popflip.hw.config import ChipConfig

CONFIG = Config((20, 6, 3), k0=(9, 4), window=(2,), margin=4, batch=8, seed=3)
LBE = LbeConfig((45, 33, 7), 3, group=(8, 3), margin=(9, 4), reinforce_p256=5, seed=3)


def test_golden_is_opened_by_name():
    with open_device("golden", CONFIG) as device:
        assert isinstance(device, GoldenDevice)


def test_an_unknown_device_lists_the_known_ones():
    with pytest.raises(DeviceError) as error:
        open_device("goldn", CONFIG)
    assert str(error.value) == "device: 'goldn' is not golden, sim, usb or a serial port such as /dev/ttyUSB1 or COM3"


def test_only_the_simulated_chip_has_waves():
    with pytest.raises(
        DeviceError, match=r"^waves: only the simulated chip records signals, golden does not; use device sim$"
    ):
        open_device("golden", CONFIG, waves=Path("f.vcd"))


def test_a_port_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DeviceError) as error:
        open_device(str(tmp_path / "ttyNOPE"), CONFIG)
    assert str(tmp_path / "ttyNOPE") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_system_without_serial_ports_is_one_line(monkeypatch):
    """One without the module that pyserial needs there."""
    for name in [name for name in sys.modules if name.split(".")[0] == "serial"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "popflip.devices.serial", raising=False)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(DeviceError) as error:
        open_device("/dev/ttyUSB1", CONFIG)
    assert str(error.value) == (
        "/dev/ttyUSB1: this system has no serial ports that Python can use "
        "(import of fcntl halted; None in sys.modules)"
    )


@pytest.fixture(scope="module", params=[CONFIG, LBE], ids=["gft", "lbe"])
def simulated(request) -> Iterator[Device]:
    need_compiler()
    with open_device("sim", request.param, ChipConfig.of(request.param, 2, 8)) as device:
        yield device


def learn(device: Device, batches: int, seed: int) -> list[int]:
    """Train batches of noisy copies of one sample per class, and predict after each; the predictions."""
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
    """The first difference between ``device`` and ``golden``."""
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


def test_the_simulated_chip_continues_from_a_saved_state(simulated):
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
