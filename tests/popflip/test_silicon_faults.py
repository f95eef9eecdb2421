"""Faults planted in what ``make silicon`` has built: each is found, at each level. Run by ``make silicon``."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from paths import ROOT

from popflip.cli.main import run_command
from popflip.silicon.netlist import Instance, Netlist
from popflip.silicon.simulation import LEVELS, Bitstream

BUILT = ROOT / "build" / "silicon" / "icebreaker.bin"

pytestmark = pytest.mark.silicon


def invert_a_lut(netlist: Netlist) -> None:
    """Invert the constant of the LUT, without a register, whose output most cells read."""
    readers = Counter(net for lut in netlist.luts for net in lut.inputs)
    readers.update(net for each in netlist.instances for port in each.ports for net in each.ports[port])
    if netlist.luts:
        place = max(range(len(netlist.luts)), key=lambda index: readers[netlist.luts[index].output])
        lut = netlist.luts[place]
        netlist.luts[place] = replace(lut, table=lut.table ^ 0xFFFF)
        return

    def read(index: int) -> int:
        each = netlist.instances[index]
        plain = "LUT_INIT" in each.parameters and each.parameters.get("DFF_ENABLE", "0")[-1] == "0"
        constant = plain and set(each.parameters["LUT_INIT"].partition("b")[2]) != {"0", "1"}
        return readers[each.ports["O"][0]] if plain and not constant else -1

    place = max(range(len(netlist.instances)), key=read)
    each = netlist.instances[place]
    bits = each.parameters["LUT_INIT"].partition("b")[2][-16:].zfill(16)
    inverted = f"16'b{bits.translate(str.maketrans('01', '10'))}"
    netlist.instances[place] = Instance(
        each.name, each.kind, each.parameters | {"LUT_INIT": inverted}, each.ports, each.outputs
    )


def flip_bits_of_block_ram(netlist: Netlist) -> None:
    """Flip a bit of each word that is not 0 in the first block RAM with contents: of the link controller's program.

    A single bit may belong to an instruction that a run never reaches.
    """
    place = next(index for index, ram in enumerate(netlist.block_rams) if any(ram.words))
    ram = netlist.block_rams[place]
    netlist.block_rams[place] = replace(ram, words=tuple(word ^ (word & -word) for word in ram.words))


@pytest.mark.parametrize("fault", [invert_a_lut, flip_bits_of_block_ram])
@pytest.mark.parametrize("level", LEVELS)
def test_a_fault_is_found(tmp_path, monkeypatch, level, fault):
    intact = Bitstream.netlist

    def faulty(bitstream: Bitstream, level: str) -> Netlist:
        netlist = intact(bitstream, level)
        fault(netlist)
        return netlist

    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))  # which holds no chip without the fault
    monkeypatch.setattr(Bitstream, "netlist", faulty)
    assert run_command(["verify", "--bitstream", str(BUILT), "--level", level]) in (1, 2)
