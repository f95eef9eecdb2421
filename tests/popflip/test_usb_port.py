"""The device ``usb``: a chip found among the serial ports by what it calls itself, wherever its port is."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from model_chip import CONFIG, ModelChip
from serial_chip import Chip

from popflip.cli.main import run_command
from popflip.constraints.links import USB_BYTES
from popflip.devices import open as opening
from popflip.devices import serial, usb
from popflip.devices.golden import GoldenDevice
from popflip.devices.open import open_device
from popflip.errors import DeviceError, LinkError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")


class Desk:
    """What is plugged in: the ports that pyserial lists, and chips behind some of them."""

    def __init__(self, folder):
        self.folder, self.ports, self.chips = folder, [], []

    def port(self, name: str, serial_number="ulx3s_85f", vid=0x1209, pid=0x0001, product="Popflip chip"):
        """A port that is listed."""
        device = str(self.folder / name)
        self.ports.append(
            SimpleNamespace(device=device, vid=vid, pid=pid, product=product, serial_number=serial_number)
        )
        return device

    def plug(self, name: str, model: ModelChip, **about) -> Chip:
        """A chip at a port that is listed."""
        self.port(name, **about)
        self.chips.append(Chip(self.folder / name, model))
        return self.chips[-1]

    def unplug(self, chip: Chip) -> None:
        chip.unplug()
        self.ports = [port for port in self.ports if port.device != str(chip.name)]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    desk = Desk(tmp_path)
    monkeypatch.setattr(usb, "_listed", lambda: desk.ports)
    yield desk
    for chip in desk.chips:
        with suppress(FileNotFoundError):
            chip.unplug()


def test_the_chip_is_found_among_other_ports(desk):
    desk.port("ttyUSB0", vid=0x0403, pid=0x6015, product="ULX3S FPGA 85K v3.0.8")
    desk.port("ttyACM0", product="another test device")
    device = desk.port("ttyACM1")
    assert usb.find_port("usb") == usb.find_port("usb:ulx3s_85f") == device
    assert [usb.serial_number(port.device) for port in desk.ports] == [None, None, "ulx3s_85f"]


def test_a_system_that_tells_no_product_names_finds_it(desk):
    port = desk.port("COM7", product=None)
    assert usb.find_port("usb") == port


def test_none_is_one_line(desk):
    desk.port("ttyUSB0", vid=0x0403, pid=0x6015)
    for name, whose in (("usb", ""), ("usb:orangecrab_25f", " of orangecrab_25f")):
        with pytest.raises(DeviceError) as error:
            open_device(name, CONFIG)
        assert str(error.value) == (
            f"{name}: no chip{whose} at USB (1209:0001); plug in the port of its FPGA, or name another device"
        )


def test_two_are_one_line(desk):
    one, two = desk.port("ttyACM0"), desk.port("ttyACM1", serial_number="orangecrab_25f")
    with pytest.raises(DeviceError) as error:
        open_device("usb", CONFIG)
    assert str(error.value) == (
        f"usb: 2 chips at USB: {one} (ulx3s_85f), {two} (orangecrab_25f); name one of these ports"
    )
    assert usb.find_port("usb:orangecrab_25f") == two


def test_a_baud_rate_is_one_line(desk):
    port = desk.port("ttyACM0")
    for name in ("usb", port):
        with pytest.raises(DeviceError) as error:
            open_device(name, CONFIG, baud=3_000_000)
        assert str(error.value) == "baud: USB has a speed of its own; leave it out"


def learn(device, first: int, last: int) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 2, (last, 16, 20), np.uint8), rng.integers(0, 3, (last, 16))
    for batch in range(first, last):
        device.train(x[batch], y[batch])
        device.end_batch(CONFIG.schedule(batch, 9))


def test_a_chip_that_vanishes_goes_on_at_another_port(desk, monkeypatch):
    monkeypatch.setattr(serial, "_RETRY", 0.02)
    monkeypatch.setattr(serial, "ALLOWANCE", 0.05)
    model, said = ModelChip(CONFIG), []
    chip = desk.plug("ttyACM0", model)
    golden = GoldenDevice(CONFIG)
    golden.reset()
    learn(golden, 0, 4)
    learn(golden, 4, 9)
    with open_device("usb", CONFIG, announce=said.append) as device:
        assert device._baud == 10 * USB_BYTES
        device.reset()
        learn(device, 0, 4)
        device.status()
        desk.unplug(chip)
        desk.plug("ttyACM3", model)
        learn(device, 4, 9)
        assert device.state().sha256() == golden.state().sha256()
        assert device.status().signature == golden.status().signature
    assert said == ["usb: the port is back after 0 s"]


def test_a_chip_that_stays_away_is_one_line(desk, monkeypatch):
    monkeypatch.setattr(serial, "_RETRY", 0.02)
    chip = desk.plug("ttyACM0", ModelChip(CONFIG))
    transport = serial.SerialTransport("usb", usb.BAUD, absence=0.1, find=lambda: usb.find_port("usb"))
    desk.unplug(chip)
    with pytest.raises(LinkError) as error:
        transport.restore()
    assert re.sub(r"after \d+ s", "after 0 s", str(error.value)) == (  # a busy computer waits longer
        "usb: the port went away, and after 0 s it is not back (usb: no chip at USB (1209:0001); plug in the port of "
        "its FPGA, or name another device); plug it in and resume"
    )


@pytest.mark.parametrize("by_port", [False, True], ids=["usb", "port"])
def test_info_names_the_link(desk, by_port, capsys):
    chip = desk.plug("ttyACM0", ModelChip(CONFIG))
    assert run_command(["info", "--device", str(chip.name) if by_port else "usb"]) == 0
    link = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("link"))
    buffer = chip.model.identity.buffer_bytes
    assert " ".join(link.split()) == f"link: USB, full speed, at {chip.name}, {buffer} bytes of requests ahead"


def test_a_serial_port_is_no_usb(desk):
    assert opening._finder(desk.port("ttyUSB0", vid=0x0403, pid=0x6015)) is None
