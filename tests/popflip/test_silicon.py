"""Bitstreams back to netlists. ``tests/data/silicon`` holds a small chip's, packed: 9-3 ternary for an iCEBreaker."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from paths import DATA

from popflip.cli.main import run_command
from popflip.errors import BuildError
from popflip.silicon.ice40 import parse
from popflip.silicon.netlist import ONE, ZERO, FlipFlop, Lut, Netlist, _expression
from popflip.silicon.simulation import Bitstream

REPORT = {"board": "icebreaker", "rule": "gft", "layers": [9, 3], "clock_hz": 12e6, "baud": 1_000_000}


@pytest.fixture(scope="session")
def bitstream(tmp_path_factory) -> Bitstream:
    file = tmp_path_factory.mktemp("silicon") / "icebreaker.bin"
    file.write_bytes(gzip.decompress((DATA / "silicon" / "icebreaker.bin.gz").read_bytes()))
    file.with_suffix(".json").write_text(json.dumps(REPORT))
    return Bitstream.load(file)


def test_a_lut_s_expression_is_its_table():
    rng = np.random.default_rng(1)
    tables = {0, 0xFFFF, 0x8000, 0x6996, 0xBBBB, *rng.integers(0, 2**16, 40).tolist()}
    for table in tables:
        text = re.sub(r"1'b([01])", r"\1", _expression(table))
        for entry in range(16):
            inputs = [entry >> place & 1 for place in range(4)]
            assert eval(text.format(*inputs)) & 1 == table >> entry & 1, (table, entry)


@pytest.mark.parametrize(
    ("table", "inputs", "expected"),
    [
        (0xAAAA, ("a", ZERO, ZERO, ZERO), "a"),
        (0xFF00, ("a", "b", "c", "d"), "d"),
        (0x8888, ("a", "b", ZERO, ZERO), None),  # a AND b
        (0x8888, ("a", ONE, ZERO, ZERO), "a"),  # a AND 1
        (0x8888, ("a", ZERO, ZERO, ZERO), None),  # 0
        (0x5555, ("a", ZERO, ZERO, ZERO), None),  # NOT a
    ],
)
def test_a_lut_that_is_a_wire_is_known(table, inputs, expected):
    assert Lut("y", table, inputs).follows == expected


def test_the_netlist_is_what_place_and_route_made(bitstream):
    """The numbers of cells are nextpnr's own."""
    netlist = bitstream.netlist()
    assert len(netlist.flip_flops) == 645 + 499
    assert len(netlist.block_rams) == 6
    assert len(netlist.single_port_rams) == 1
    assert netlist.source_hz == 24e6
    assert netlist.clock_of_a_lut() is None
    registers = {cell.output for cell in netlist.flip_flops}
    (clock,) = {ram.ports["CLOCK"][0] for ram in netlist.single_port_rams}
    assert clock in registers  # the flip-flop that halves the PLL's frequency
    assert {cell.clock for cell in netlist.flip_flops} == {netlist.source, clock}
    driven = registers | {cell.output for cell in (*netlist.luts, *netlist.carries)}
    memories = (*netlist.block_rams, *netlist.single_port_rams)
    driven |= {net for ram in memories for port in ("RDATA", "DATAOUT") for net in ram.ports.get(port, ())}
    driven |= {netlist.source, netlist.locked, netlist.rx, ZERO, ONE}
    read = {net for cell in (*netlist.luts, *netlist.carries) for net in cell.inputs}
    read |= {net for cell in netlist.flip_flops for net in (cell.data, cell.clock, cell.enable, cell.reset)}
    read |= {net for ram in memories for nets in ram.ports.values() for net in nets}
    assert read <= driven


def test_a_clock_of_a_lut_is_found():
    register = FlipFlop("q", "d", "gated", False, ZERO, ZERO, 0, False)
    netlist = Netlist("rx", "q", "source", ZERO, 12e6, [Lut("gated", 0x8888, ("source", "ready", ZERO, ZERO))])
    netlist.flip_flops.append(register)
    assert netlist.clock_of_a_lut() == "gated"


def test_tiles_memories_and_extra_bits():
    text = ".device 5k\n.logic_tile 1 2\n01\n10\n\n.ram_data 6 1\nabcd\n\n.extra_bit 0 690 334\n.sym 3 a\n"
    parsed = parse(text)
    assert parsed.device == "5k"
    assert parsed.tiles == {(1, 2): ("logic", ["01", "10"])}
    assert parsed.rams == {(6, 1): ["abcd"]}
    assert parsed.extra_bits == {(0, 690, 334)}
    with pytest.raises(BuildError, match=r"^the unpacked bitstream has no tiles$"):
        parse("")


@pytest.mark.parametrize("text", [None, "", "[]", '{"board": 3}'])
def test_a_bitstream_without_its_report_is_one_line(tmp_path, monkeypatch, capsys, text):
    monkeypatch.chdir(tmp_path)
    Path("mine.bin").write_bytes(b"")
    if text is not None:
        Path("mine.json").write_text(text)
    assert run_command(["verify", "--bitstream", "mine.bin"]) == 2
    reason = "no such file or directory" if text is None else "is not the report of a build"
    assert re.fullmatch(rf"popflip: --bitstream: mine.json:? {reason}\n", capsys.readouterr().err)


def test_a_bitstream_with_usb_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.bit").write_bytes(b"")
    report = {"board": "ulx3s_85f", "rule": "gft", "layers": [2, 2], "clock_hz": 25e6, "link": "usb", "baud": 1}
    Path("mine.json").write_text(json.dumps(report))
    assert run_command(["verify", "--bitstream", "mine.bit"]) == 2
    assert capsys.readouterr().err == (
        "popflip: --bitstream: the link of mine.bit is USB; popflip verify drives a UART: build it with link uart\n"
    )


def test_a_missing_bitstream_and_a_needless_flag_are_one_line(tmp_path, monkeypatch, capsys, bitstream):
    monkeypatch.chdir(tmp_path)
    assert run_command(["verify", "--bitstream", "none.bin"]) == 2
    assert capsys.readouterr().err == "popflip: --bitstream: none.bin: no such file or directory\n"
    assert run_command(["verify", "--bitstream", str(bitstream.file), "--device", "sim"]) == 2
    assert capsys.readouterr().err == "popflip: --device: the bitstream decides it; leave it out\n"
    assert run_command(["verify", "--bitstream", str(bitstream.file)]) == 2
    assert "is not of a network of icebreaker" in capsys.readouterr().err
