"""``--baud auto`` and ``popflip info --device``: a chip at one speed behind a pseudo-terminal."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from model_chip import CONFIG, ModelChip
from serial_chip import Chip

from popflip import constraints
from popflip.bitstream import builds
from popflip.cli.main import run_command
from popflip.devices import baud
from popflip.devices.baud import ROUNDS, SPEEDS, ask, find_baud
from popflip.devices.chip import ChipDevice
from popflip.devices.open import open_device
from popflip.devices.serial import SerialTransport
from popflip.errors import DeviceError, LinkError
from popflip.golden.presets import PRESETS
from popflip.hw.link.codec import encode
from popflip.hw.link.commands import PROTOCOL_VERSION, Command

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def chip_at(tmp_path):
    """A function that connects a chip whose link runs at a speed."""
    chips: list[Chip] = []

    def connect(speed: int, model: ModelChip | None = None) -> Chip:
        chips.append(Chip(tmp_path / "ttyUSB1", model or ModelChip(CONFIG), speed))
        return chips[-1]

    yield connect
    for chip in chips:
        with suppress(FileNotFoundError):
            chip.unplug()


@pytest.mark.parametrize("speed", [1_000_000, 3_000_000, 115_200])
def test_the_speed_of_the_chip_is_found(speed, chip_at):
    chip, said = chip_at(speed), []
    found, identity = find_baud(str(chip.name), announce=said.append)
    assert (found, identity) == (speed, chip.model.identity)
    assert said == [f"{chip.name}: a chip answers at {speed} baud"]


def test_a_chip_in_a_session_with_an_unfinished_frame_is_found(chip_at):
    chip = chip_at(230_400)
    name = str(chip.name)
    ChipDevice(SerialTransport(name, 230_400), CONFIG, name).close()
    before = chip.model.golden.state.sha256()
    transport = SerialTransport(name, 230_400)
    transport.write(encode(1, Command.TRAIN, bytes(200), chip.model.model.session)[:-20])
    transport.close()
    assert find_baud(name)[0] == 230_400
    assert chip.model.golden.state.sha256() == before


def test_a_device_opens_at_the_speed_that_is_found(chip_at):
    chip, said = chip_at(115_200), []
    with open_device(str(chip.name), CONFIG, baud="auto", announce=said.append) as device:
        device.reset()
        assert device._baud == 115_200
    assert said == [f"{chip.name}: a chip answers at 115200 baud"]


def test_speeds_of_this_machine_s_builds_are_tried_early(chip_at, monkeypatch):
    board = constraints.board("ulx3s_85f")
    for speed in (460_800, 750_000):
        builds._note(bytes([speed % 251]), board.linked(None, speed))
    asked: list[int] = []

    def listen(name: str, speed: int, *_: object) -> object:
        asked.append(speed)
        return ask(name, speed, *_)

    monkeypatch.setattr(baud, "ask", listen)
    open_device(str(chip_at(460_800).name), CONFIG, baud="auto").close()
    assert asked == [1_000_000, 460_800]


def test_no_chip_is_one_line_in_bounded_time(chip_at, monkeypatch):
    chip = chip_at(150)  # noise at every speed that is tried
    monkeypatch.setattr(baud, "SPEEDS", (1_000_000, 115_200, 57_600))
    begin = time.monotonic()
    with pytest.raises(LinkError) as error:
        find_baud(str(chip.name))
    assert str(error.value) == (
        f"{chip.name}: no chip answers at 57600 to 1000000 baud (3 speeds); check that its bitstream is Popflip's, or "
        "name its baud"
    )
    assert time.monotonic() - begin < 20


def test_all_passes_take_less_than_20_seconds():
    """Bytes both ways at each speed, as the transport counts them, and the allowances."""
    total = sum(
        (zeros + 24 + 600) * 10 / speed + patience * baud.ALLOWANCE for zeros, patience in ROUNDS for speed in SPEEDS
    )
    assert total < 20


def test_a_speed_that_the_port_lacks_is_left_out(chip_at, monkeypatch):
    chip = chip_at(115_200)
    real = SerialTransport._open

    def refuse(self):
        if self._baud > 500_000:
            raise DeviceError(f"{self.name}: the port does not work (Invalid argument)")
        return real(self)

    monkeypatch.setattr(SerialTransport, "_open", refuse)
    assert find_baud(str(chip.name))[0] == 115_200


def test_a_port_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(DeviceError) as error:
        find_baud(str(tmp_path / "ttyNOPE"))
    assert str(error.value) == f"{tmp_path}/ttyNOPE: there is no such port; `popflip info` lists the serial ports"


def test_a_chip_of_another_version_is_said_at_once(chip_at, monkeypatch):
    chip = chip_at(921_600)
    monkeypatch.setattr("popflip.devices.session.PROTOCOL_VERSION", PROTOCOL_VERSION + 1)
    with pytest.raises(LinkError) as error:
        find_baud(str(chip.name))
    assert str(error.value) == (
        f"{chip.name}: it speaks version {PROTOCOL_VERSION} of the protocol, this program version "
        f"{PROTOCOL_VERSION + 1}; rebuild its bitstream"
    )


@pytest.mark.parametrize("value", ["fast", "1000000"])
def test_another_word_is_one_line(value):
    with pytest.raises(DeviceError) as error:
        open_device("loop://", CONFIG, baud=value)
    assert str(error.value) == f"baud: {value!r} is neither a number nor auto"


# popflip info ---------------------------------------------------------------------------------------------------------


def board_chip(name: str, **changes: int) -> ModelChip:
    """The chip of a board's first network, without its trainer's model of time."""
    board = constraints.board(name)
    fit = board.fit()
    model = ModelChip(PRESETS[fit.preset].config)
    model.identity = builds.identity_of(board, fit, replace(board.chip(fit), **changes))
    model.restart()
    return model


def info(capsys, *flags: str) -> dict[str, str]:
    """The table of ``popflip info``."""
    assert run_command(["info", *flags]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return dict(line.split(": ", 1) for line in output.out.splitlines())


def test_a_board_is_known_by_its_chip_with_usb():
    boards = [constraints.board("orangecrab_25f").linked(link) for link in ("usb", "uart")]
    with_usb, without = (builds.identity_of(board, board.fit(), board.chip(board.fit())) for board in boards)
    assert (with_usb.buffer_bytes, without.buffer_bytes) == (4096, 2048)
    assert (with_usb.clock_hz, without.clock_hz) == (88_000_000, 98_000_000)
    assert builds.boards_of(with_usb) == builds.boards_of(without) == ["orangecrab_25f"]


def test_info_shows_a_board_s_chip(chip_at, capsys):
    chip = chip_at(1_000_000, board_chip("ulx3s_85f"))
    assert info(capsys, "--device", str(chip.name), "--baud", "auto") == {
        str(chip.name): "a chip answers at 1000000 baud",
        "board": "ulx3s_85f",
        "network": "256-64-10 ternary, rule gft",
        "array": "8 rows × 32 synapses, 1 learned at once",
        "clock": "25 MHz",
        "link": "1000000 baud, 2048 bytes of requests ahead",
        "sample store": "524288 samples",
        "protocol": str(PROTOCOL_VERSION),
        "build hash": chip.model.identity.build_hash.hex(),
    }


def test_info_knows_what_it_does_not_know(chip_at, capsys):
    chip = chip_at(1_000_000, board_chip("ulx3s_85f", array_rows=4))
    shown = info(capsys, "--device", str(chip.name))
    assert shown["board"] == "unknown: no board's network makes this chip, and no build of this machine did"
    builds._note(chip.model.identity.pack(), constraints.board("ulx3s_85f"))
    assert info(capsys, "--device", str(chip.name))["board"] == "ulx3s_85f"
    builds._note(chip.model.identity.pack(), constraints.board("icebreaker"))
    assert info(capsys, "--device", str(chip.name))["board"] == "icebreaker or ulx3s_85f"


def test_info_shows_a_chip_of_other_sources(chip_at, capsys):
    chip = chip_at(1_000_000)  # its build hash is 0
    shown = info(capsys, "--device", str(chip.name))
    assert shown["board"] == "unknown: built from other sources, or for another version of Amaranth"
    assert (shown["clock"], shown["sample store"]) == ("simulated", "none")


def test_info_shows_a_store(chip_at, capsys):
    chip = chip_at(1_000_000, board_chip("icebreaker"))
    assert info(capsys, "--device", str(chip.name))["sample store"] == "4096 samples"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--baud", "auto"], "--baud: is for a chip; name its port with --device"),
        (["--device", "sim"], "--device: 'sim' is not usb or a serial port such as /dev/ttyUSB1 or COM3"),
        (["--device", "golden"], "--device: 'golden' is not usb or a serial port such as /dev/ttyUSB1 or COM3"),
    ],
)
def test_bad_input_of_info_is_one_line(flags, message, capsys):
    assert run_command(["info", *flags]) == 2
    assert capsys.readouterr().err == f"popflip: {message}\n"


@pytest.mark.parametrize("command", ["build", "load", "estimate"])
def test_a_bitstream_needs_a_number(command, capsys):
    assert run_command([command, "--board", "icebreaker", "--baud", "auto"]) == 2
    assert capsys.readouterr().err == "popflip: --baud: a bitstream needs a number; auto is for a chip that answers\n"
