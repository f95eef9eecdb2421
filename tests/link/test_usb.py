"""USB: a host enumerates the simulated chip over the wires of the bus, and trains it with the frames of the link."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import need_compiler

pytest.importorskip("luna", reason="luna-usb is not installed (extra usb)")

from usb_bus import UsbBoard, UsbHost

from popflip.devices.base import Status
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.golden.config import Config
from popflip.hw.config import ChipConfig
from popflip.hw.link.usb_names import PRODUCT, VENDOR
from popflip.hw.top import Chip
from popflip.sim.cxxrtl.compile import build_library
from popflip.sim.cxxrtl.simulation import Simulation
from popflip.training import train

pytestmark = pytest.mark.long

CONFIG = Config((40, 9, 4), k0=(30, 9), window=(3,), margin=5, batch=32, epochs=1, seed=5)
SILENT = 6_000
"""Cycles without a byte after which the device does not answer."""


def data(samples: int = 160) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).integers(0, 2, (samples, CONFIG.inputs), np.uint8)
    return x, x[:, :2] @ np.array([1, 2])


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    need_compiler()
    folder = tmp_path_factory.mktemp("usb")
    chip = ChipConfig.of(CONFIG, array_rows=2, array_synapses=16)
    return build_library(UsbBoard(Chip(chip, 48_000_000, 512), "ulx3s_85f"), folder, folder / "log")


@pytest.fixture
def simulation(library):
    with Simulation(library, timeout_cycles=SILENT) as simulation:
        yield simulation


def text(descriptor: bytes) -> str:
    """What a string descriptor says."""
    assert descriptor[:2] == bytes([len(descriptor), 3])
    return descriptor[2:].decode("utf-16-le")


def test_a_host_sees_a_serial_port(simulation):
    host = UsbHost(simulation)
    found = host.plug_in()
    assert found["device"].hex(" ") == "12 01 00 02 ef 02 01 40 09 12 01 00 00 00 01 02 03 01"
    assert [text(found[f"string {index}"]) for index in (1, 2, 3)] == [VENDOR, PRODUCT, "ulx3s_85f"]
    whole = found["configuration"]
    assert int.from_bytes(whole[2:4], "little") == len(whole)
    kinds, endpoints, place = [], [], 0
    while place < len(whole):
        kinds.append(whole[place + 1])
        if whole[place + 1] == 5:
            endpoints.append(tuple(whole[place + 2 : place + 6]))
        place += whole[place]
    assert kinds == [2, 11, 4, 0x24, 0x24, 0x24, 5, 4, 5, 5]
    assert endpoints == [(0x83, 3, 64, 0), (0x84, 2, 64, 0), (0x04, 2, 64, 0)]
    assert host.control(bytes.fromhex("2120000000000700"), bytes.fromhex("00c20100000008")) == b""  # SET_LINE_CODING
    assert host.control(bytes.fromhex("2122030000000000")) == b""  # SET_CONTROL_LINE_STATE
    assert host.control(bytes.fromhex("a121000000000700")) is None  # GET_LINE_CODING
    assert host.control(bytes.fromhex("c001000000000100")) is None  # a vendor's request


def learned(host: UsbHost) -> None:
    """Train over USB; everything equals golden."""
    x, y = data()
    golden = GoldenDevice(CONFIG)
    golden.reset()
    train(golden, x, y)
    device = ChipDevice(host, CONFIG)
    device.reset()
    train(device, x, y)
    status = device.status()
    assert status == Status(**{**vars(golden.status()), "cycles": status.cycles})
    assert device.state().sha256() == golden.state().sha256()
    assert device.infer(x).tolist() == golden.infer(x).tolist()


def test_training_over_usb_equals_golden(simulation):
    host = UsbHost(simulation)
    host.plug_in()
    learned(host)
    assert host.refused == 0  # packets without a gap: the chip always had room for the next one


def test_damaged_packets_and_lost_answers_change_nothing(simulation):
    """The bus repeats packets; the sequence bit drops those that came twice."""
    host = UsbHost(simulation)
    host.plug_in()
    host.faults = 0.2
    learned(host)
    assert host.damaged > 60


def test_a_chip_that_was_unplugged_goes_on(simulation):
    """It has kept its power. What was on its way is lost, and after a reset of the bus both ends begin with DATA0."""
    host = UsbHost(simulation)
    host.plug_in()
    host.write(bytes(64))  # an odd number of packets: the chip expects DATA1 next
    host.replug = {7, 8, 20}
    learned(host)
    assert not host.replug
