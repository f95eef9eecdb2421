"""The serial port, with a pseudo-terminal as its other end."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest
from model_chip import CONFIG

from popflip.devices.chip import ChipDevice
from popflip.devices.serial import SerialTransport
from popflip.errors import DeviceError, LinkError


def test_port_that_is_not_there_is_one_line(tmp_path):
    name = str(tmp_path / "ttyUSB7")
    with pytest.raises(DeviceError) as error:
        SerialTransport(name)
    assert str(error.value) == f"{name}: there is no such port; `popflip info` lists the serial ports"


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")
class TestPseudoTerminal:
    """A port whose other end is in the test."""

    @pytest.fixture
    def ends(self):
        ours, theirs = os.openpty()
        yield ours, os.ttyname(theirs)
        os.close(ours)
        os.close(theirs)

    def test_bytes_go_both_ways(self, ends):
        ours, name = ends
        transport = SerialTransport(name, silence=2)
        transport.write(b"to the chip")
        assert os.read(ours, 100) == b"to the chip"
        os.write(ours, b"from")
        os.write(ours, b" it")
        assert transport.read(7) == b"from it"
        transport.close()

    def test_bytes_before_a_timeout_are_kept(self, ends):
        ours, name = ends
        transport = SerialTransport(name, silence=0.05)
        os.write(ours, b"ab")
        with pytest.raises(TimeoutError):
            transport.read(3)
        os.write(ours, b"c")
        assert transport.read(3) == b"abc"
        transport.close()

    def test_silence_is_one_line(self, ends):
        ours, name = ends
        transport = SerialTransport(name, silence=0.05)

        def swallow() -> None:
            with suppress(OSError):  # the end of the test
                while os.read(ours, 4096):
                    pass

        threading.Thread(target=swallow, daemon=True).start()
        with pytest.raises(LinkError) as error:
            ChipDevice(transport, CONFIG, name)
        assert str(error.value) == f"{name}: no answer; check that its bitstream is Popflip's, and the baud rate"

    def test_port_in_use_is_one_line(self, ends):
        _, name = ends
        transport = SerialTransport(name)
        with pytest.raises(DeviceError) as error:
            SerialTransport(name)
        assert str(error.value) == f"{name}: another program uses it; close that program"
        transport.close()
