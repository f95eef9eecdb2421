"""The serial port, with a pseudo-terminal as its other end."""

from __future__ import annotations

import os
import re
import select
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from model_chip import CONFIG, ModelChip
from serial_chip import Chip

from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.devices.open import open_device
from popflip.devices.serial import SerialTransport
from popflip.devices.transport import PortLost, PortStuck
from popflip.errors import ChipLost, DeviceError, LinkError


def test_port_that_is_not_there_is_one_line(tmp_path):
    name = str(tmp_path / "ttyUSB7")
    with pytest.raises(DeviceError) as error:
        SerialTransport(name)
    assert str(error.value) == f"{name}: there is no such port; `popflip info` lists the serial ports"


@pytest.mark.parametrize("baud", [2**31, 2**64, 0, -1, 299, 20_000_001])
def test_a_speed_that_no_port_has_is_one_line(baud):
    with pytest.raises(DeviceError) as error:
        SerialTransport("loop://", baud)
    assert str(error.value) == f"baud: {baud} is not between 300 and 20000000; boards use 1000000"


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("loop://?logging=nope", "KeyError: 'nope'"),
        ("nonsense://x", "invalid URL, protocol 'nonsense' not known"),
        ("socket://127.0.0.1:1", "Could not open port socket://127.0.0.1:1: [Errno 111] Connection refused"),
    ],
)
def test_a_url_that_pyserial_rejects_is_one_line(url, detail):
    with pytest.raises(DeviceError) as error:
        open_device(url, CONFIG)
    assert str(error.value) == f"{url}: the port does not work ({detail})"


def test_waits_follow_from_bytes_baud_and_cycles():
    transport = SerialTransport("loop://", 2400)
    transport.write(bytes(240))  # 1 s on the line
    begin = transport.now
    seconds = transport.deadline(48, 24_000_000, 12_000_000, 2) - begin
    assert 1 + 0.2 + 2 + 2 * 0.5 - 0.1 < seconds < 1 + 0.2 + 2 + 2 * 0.5 + 0.1
    assert transport._port.write_timeout > 1024 * 10 / 2400


def learn(device, first: int, last: int) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 2, (last, 16, 20), np.uint8), rng.integers(0, 3, (last, 16))
    for batch in range(first, last):
        device.train(x[batch], y[batch])
        device.end_batch(CONFIG.schedule(batch, 9))


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")
class TestPseudoTerminal:
    """A port whose other end is in the test."""

    @pytest.fixture
    def ends(self):
        ours, theirs = os.openpty()
        yield ours, os.ttyname(theirs)
        os.close(ours)
        os.close(theirs)

    @pytest.fixture
    def chip(self, tmp_path):
        chip = Chip(tmp_path / "ttyUSB1", ModelChip(CONFIG))
        yield chip
        with suppress(FileNotFoundError):
            chip.unplug()

    def test_bytes_go_both_ways(self, ends):
        ours, name = ends
        transport = SerialTransport(name)
        transport.write(b"to the chip")
        assert os.read(ours, 100) == b"to the chip"
        os.write(ours, b"from")
        os.write(ours, b" it")
        assert transport.read(7, transport.now + 2) == b"from it"
        transport.close()

    def test_bytes_before_a_timeout_are_kept(self, ends):
        ours, name = ends
        transport = SerialTransport(name)
        os.write(ours, b"ab")
        with pytest.raises(TimeoutError):
            transport.read(3, transport.now + 0.05)
        os.write(ours, b"c")
        assert transport.read(3, transport.now) == b"abc"  # it is late, but they have come
        transport.close()

    def test_bytes_that_dribble_do_not_extend_the_wait(self, ends):
        ours, name = ends
        transport = SerialTransport(name)
        dribble = threading.Thread(target=lambda: [(os.write(ours, b"x"), time.sleep(0.01)) for _ in range(60)])
        dribble.start()
        begin = transport.now
        with pytest.raises(TimeoutError):
            transport.read(1000, begin + 0.2)
        assert transport.now - begin < 0.5
        dribble.join()
        transport.close()

    def test_silence_is_one_line(self, ends):
        ours, name = ends
        transport = SerialTransport(name, allowance=0.01)

        def swallow() -> None:
            with suppress(OSError):  # the end of the test
                while os.read(ours, 4096):
                    pass

        threading.Thread(target=swallow, daemon=True).start()
        with pytest.raises(LinkError) as error:
            ChipDevice(transport, CONFIG, name)
        assert str(error.value) == f"{name}: no answer; check that its bitstream is Popflip's, and the baud rate"

    def test_a_port_that_takes_no_bytes_is_one_class(self, ends, monkeypatch):
        monkeypatch.setattr("popflip.devices.serial.STALL", 0.05)
        transport = SerialTransport(ends[1])
        with pytest.raises(PortStuck):
            transport.write(bytes(10**6))  # nobody reads at the other end
        transport.close()

    def test_a_port_that_prints_lines_is_one_line(self, ends):
        ours, name = ends
        stop = threading.Event()

        def talk() -> None:
            while not stop.wait(0.02):
                os.write(ours, b"boot 1.2.3 \xa5\r\n")
                while select.select([ours], [], [], 0)[0]:
                    os.read(ours, 4096)

        thread = threading.Thread(target=talk)
        thread.start()
        begin = time.monotonic()
        with pytest.raises(LinkError) as error:
            ChipDevice(SerialTransport(name, allowance=0.05), CONFIG, name)
        stop.set()
        thread.join()
        assert str(error.value) == f"{name}: no answer; check that its bitstream is Popflip's, and the baud rate"
        assert time.monotonic() - begin < 30

    def test_port_in_use_is_one_line(self, ends):
        _, name = ends
        transport = SerialTransport(name)
        with pytest.raises(DeviceError) as error:
            SerialTransport(name)
        assert str(error.value) == f"{name}: another program uses it; close that program"
        transport.close()

    @pytest.mark.parametrize("baud", [2400, 4800])
    def test_a_slow_line_works(self, chip, baud):
        device, golden = open_device(str(chip.name), CONFIG, baud=baud), GoldenDevice(CONFIG)
        for each in (device, golden):
            learn(each, 0, 2)
        assert device.state().sha256() == golden.state().sha256()
        device.close()

    def test_a_port_that_comes_back_is_taken_up_again(self, chip):
        said: list[str] = []
        device, golden = open_device(str(chip.name), CONFIG, announce=said.append), GoldenDevice(CONFIG)
        for each in (device, golden):
            learn(each, 0, 2)
        chip.unplug()
        threading.Timer(0.3, chip.plug).start()
        for each in (device, golden):
            learn(each, 2, 4)
        assert device.state().sha256() == golden.state().sha256()
        assert [re.sub(r"after \d+ s", "after N s", line) for line in said] == [
            f"{chip.name}: the port went away; waiting 60 s for it",
            f"{chip.name}: the port is back after N s",
        ]
        device.close()

    def test_a_chip_that_lost_its_power_with_its_port_is_repaired(self, chip):
        device, golden = open_device(str(chip.name), CONFIG), GoldenDevice(CONFIG)
        for each in (device, golden):
            learn(each, 0, 2)
        saved = device.state(), device.status()
        chip.unplug()
        chip.model.restart()
        chip.plug()
        with pytest.raises(ChipLost) as error:
            learn(device, 2, 4)
            device.status()
        assert str(error.value) == f"{chip.name}: it was restarted; its state is not that of this run"
        device.reopen()
        device.load(*saved)
        for each in (device, golden):
            learn(each, 2, 4)
        assert device.state().sha256() == golden.state().sha256()
        device.close()

    def test_a_port_that_stays_away_is_one_line(self, chip):
        transport = SerialTransport(str(chip.name), absence=0.2)
        device = ChipDevice(transport, CONFIG, str(chip.name))
        chip.unplug()
        with pytest.raises(LinkError) as error:
            device.status()
        assert re.sub(r"after \d+ s", "after N s", str(error.value)) == (
            f"{chip.name}: the port went away, and after N s it is not back ({chip.name}: there is no such port; "
            "`popflip info` lists the serial ports); plug it in and resume"
        )
        device.close()

    def test_every_failure_of_a_lost_port_has_one_class(self, chip):
        transport = SerialTransport(str(chip.name))
        chip.unplug()
        with pytest.raises(PortLost):
            transport.read(1, transport.now + 1)
        transport.close()
        with pytest.raises(PortLost):
            transport.write(b"x")
