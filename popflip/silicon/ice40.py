"""From an iCE40's packed bitstream to a netlist, by nextpnr's database of the FPGA.

A switch connects a wire to another one if its configuration bits have a certain value. From each input of a used cell,
the switches lead back to the output that drives it. Nothing here knows the design: only the pins of the link, by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from popflip.errors import BuildError
from popflip.silicon.chipdb import TILES, Bel, ChipDatabase
from popflip.silicon.netlist import ONE, ZERO, BlockRam, Carry, FlipFlop, Lut, Netlist, SinglePortRam

TABLE_BITS = (4, 14, 15, 5, 6, 16, 17, 7, 3, 13, 12, 2, 1, 11, 10, 0)
"""Place of each LUT entry among the 20 bits of a logic cell."""
CARRY, REGISTER, SET, ASYNCHRONOUS = 8, 9, 18, 19
"""Places of the other bits of a logic cell."""
SINGLE_PORT_RAM_BITS = {1: (0, "CBIT_0"), 2: (0, "CBIT_1"), 3: (25, "CBIT_0"), 4: (25, "CBIT_1")}
"""Column and bit that switch on each single-port RAM, in row 1, by the RAM's number (UP5K)."""
PLL_AT_PAD = 2
"""PLLTYPE of ``SB_PLL40_PAD``, whose reference is its own pad."""
SIMPLE_FEEDBACK = 1
INPUT_PIN = (1, 0)
"""PINTYPE bits 0 and 1 of a pin that is read without a register."""
OUTPUT_PIN = (0, 1, 0, 1)
"""PINTYPE bits 2 to 5 of a pin that is driven without a register, if OUTPUT_ENABLE is 1."""
PULLED_UP = 0xBBBB
"""LUT of a pin: input 0 if input 1, the enable, is 1; else 1, as a line that nobody drives."""


@dataclass
class Ascii:
    """A bitstream as ``iceunpack`` writes it."""

    device: str = ""
    tiles: dict[tuple[int, int], tuple[str, list[str]]] = field(default_factory=dict)  # (x, y) → type, rows of 0 and 1
    rams: dict[tuple[int, int], list[str]] = field(default_factory=dict)  # (x, y) → 16 rows of 256 bits, hexadecimal
    extra_bits: set[tuple[int, int, int]] = field(default_factory=set)


def parse(text: str) -> Ascii:
    """The tiles, memory contents and extra bits in ``text``."""
    result, rows = Ascii(), None
    for line in text.splitlines():
        words = line.split()
        if not words:
            rows = None
        elif words[0] == ".device":
            result.device = words[1]
        elif words[0] == ".extra_bit":
            bank, x, y = map(int, words[1:])
            result.extra_bits.add((bank, x, y))
        elif words[0] == ".ram_data":
            rows = result.rams.setdefault((int(words[1]), int(words[2])), [])
        elif words[0].endswith("_tile"):
            kind, rows = words[0].removeprefix(".").removesuffix("_tile"), []
            result.tiles[int(words[1]), int(words[2])] = (kind, rows)
        elif words[0].startswith("."):
            rows = None
        elif rows is not None:
            rows.append(words[0])
    if not result.tiles:
        raise BuildError("the unpacked bitstream has no tiles")
    return result


def unpack(text: str, package: str, rx: str, tx: str, clock: str, clock_hz: float) -> Netlist:
    """The netlist of the bitstream that ``iceunpack`` printed as ``text``.

    ``rx``, ``tx`` and ``clock`` are the names of pins of ``package``; ``clock`` has an oscillator of ``clock_hz``.
    Raises :class:`BuildError` if the bitstream is for another FPGA or uses something that no Popflip chip has.
    """
    ascii_ = parse(text)
    return _Decoder(ChipDatabase(ascii_.device), ascii_).netlist(package, rx, tx, clock, clock_hz)


class _Decoder:
    def __init__(self, database: ChipDatabase, ascii_: Ascii):
        self.database, self.ascii = database, ascii_
        self.bits = self._bits()
        self.sources = self._sources()
        self.outputs = self._outputs()
        self._paths: dict[int, str] = {}

    # Configuration ----------------------------------------------------------------------------------------------------

    def _bits(self) -> NDArray[np.uint8]:
        """Every configuration bit, [y, x, row, column]."""
        height = max(len(rows) for _, rows in self.ascii.tiles.values())
        width = max(len(row) for _, rows in self.ascii.tiles.values() for row in rows)
        bits = np.zeros((self.database.height, self.database.width, height, width), np.uint8)
        for (x, y), (kind, rows) in self.ascii.tiles.items():
            if TILES[self.database.tiles[y, x]] != kind:
                raise BuildError(f"the bitstream is for another FPGA: tile {x}, {y} is {kind}")
            tile = np.array([list(row.encode()) for row in rows], np.uint8) - ord("0")
            bits[y, x, : tile.shape[0], : tile.shape[1]] = tile
        return bits

    def _entry(self, x: int, y: int, name: str) -> tuple[int, ...]:
        """The bits of configuration entry ``name`` of the tile at x, y."""
        places = self.database.tile_bits[self.database.tiles[y, x]].get(name)
        if places is None:
            raise BuildError(f"tile {x}, {y} has no configuration {name}")
        return tuple(int(self.bits[y, x, row, column]) for row, column in places)

    def _flag(self, x: int, y: int, name: str) -> bool:
        return any(self._entry(x, y, name))

    def _settings(self, bel: Bel) -> dict[str, int]:
        """The settings of a PLL; bits ``NAME_0``, ``NAME_1``, … are the number ``NAME``."""
        values: dict[str, int] = {}
        for setting, (x, y, entry) in self.database.bel_bits.get(bel.index, {}).items():
            if entry.startswith("PLLCONFIG"):
                name, _, place = setting.rpartition("_")
                name, place = (name, place) if place.isdigit() else (setting, "0")
                values[name] = values.get(name, 0) | self._flag(x, y, f"PLL.{entry}") << int(place)
        return values

    # Wires ------------------------------------------------------------------------------------------------------------

    def _sources(self) -> dict[int, int]:
        """The wire that a switch connects to each wire."""
        switches, pips = self.database.switches, self.database.pips
        places = switches["places"].astype(np.intp)
        y, x = switches["y"].astype(np.intp)[:, None], switches["x"].astype(np.intp)[:, None]
        bits = self.bits[y, x, places[:, :, 0], places[:, :, 1]].astype(np.int32)
        count = switches["bits"][:, None]
        rank = count - 1 - np.arange(places.shape[1])
        values = np.where(rank >= 0, bits << np.maximum(rank, 0), 0).sum(axis=1)
        used = (switches["bits"][pips["switch"]] > 0) & (values[pips["switch"]] == pips["mask"])
        sources: dict[int, int] = {}
        for pip in pips[used]:
            if sources.setdefault(int(pip["dst"]), int(pip["src"])) != pip["src"]:
                raise BuildError(f"wire {pip['dst']} has two drivers")
        return sources

    def _outputs(self) -> dict[int, str]:
        """The net of each wire that a cell drives."""
        outputs = {}
        ports = {
            "lc": ("O", "COUT", "LO"),
            "ram": tuple(f"RDATA_{bit}" for bit in range(16)),
            "spram": tuple(f"DATAOUT_{bit}" for bit in range(16)),
            "io": ("D_IN_0", "D_IN_1"),
            "pll": ("LOCK", "PLLOUT_A", "PLLOUT_B"),
        }
        for bel in self.database.bels:
            for port in ports.get(bel.kind, ()):
                if port in bel.wires:
                    outputs[bel.wires[port]] = f"{bel.kind}_{bel.x}_{bel.y}_{bel.z}_{port}"
        return outputs

    def net(self, wire: int, default: str = ZERO) -> str:
        """The net that reaches ``wire``; ``default`` if nothing does."""
        path = []
        while wire not in self._paths:
            path.append(wire)
            if wire in self.outputs:
                self._paths[wire] = self.outputs[wire]
            elif wire in self.sources:
                wire = self.sources[wire]
            else:
                self._paths[wire] = ""
        for each in path:
            self._paths[each] = self._paths[wire]
        return self._paths[wire] or default

    def _ports(self, bel: Bel, defaults: dict[str, str]) -> dict[str, tuple[str, ...]]:
        """The nets at the ports of a memory; ``DATA_0``, ``DATA_1``, … are one vector ``DATA``."""
        vectors: dict[str, dict[int, str]] = {}
        for port, wire in bel.wires.items():
            name, _, place = port.rpartition("_")
            name, place = (name, place) if place.isdigit() else (port, "0")
            vectors.setdefault(name, {})[int(place)] = self.net(wire, defaults.get(name, ZERO))
        return {name: tuple(vector[place] for place in sorted(vector)) for name, vector in vectors.items()}

    # Cells ------------------------------------------------------------------------------------------------------------

    def netlist(self, package: str, rx: str, tx: str, clock: str, clock_hz: float) -> Netlist:
        """The netlist; parameters as in :func:`unpack`."""
        pins = self.database.pins(package)
        plls = [bel for bel in self.database.bels if bel.kind == "pll" and self._settings(bel).get("PLLTYPE")]
        self._global_nets(plls)
        source = self.outputs[pins[clock].wires["D_IN_0"]]
        netlist = Netlist(self._input(pins[rx], rx), "tx_pin", source, ZERO, clock_hz)
        netlist.luts.append(Lut("tx_pin", PULLED_UP, self._output(pins[tx], tx)))
        names = self.database.wire_names("lutff_")
        for bel in self.database.bels:
            if bel.kind == "lc":
                self._logic_cell(bel, names, netlist)
            elif bel.kind == "ram" and self._flag(bel.x, bel.y, "RamConfig.PowerUp"):
                netlist.block_rams.append(self._block_ram(bel))
            elif bel.kind == "spram" and self._single_port_ram_used(bel):
                ports = self._ports(bel, {})
                netlist.single_port_rams.append(SinglePortRam(f"spram_{bel.z}", ports))
        wires = {lut.output: net for lut in netlist.luts if (net := lut.follows) is not None}
        for pll in plls:
            netlist.source_hz *= self._pll_factor(pll, pins[clock], wires)
            netlist.source, netlist.locked = self.outputs[pll.wires["PLLOUT_A"]], self.outputs[pll.wires["LOCK"]]
        return _without_unused(netlist)

    def _pll_factor(self, pll: Bel, clock: Bel, wires: dict[str, str]) -> float:
        """The frequency of the output of ``pll``, relative to that of the pin ``clock``, its reference.

        ``wires``: the net that each LUT follows which is used as a wire. nextpnr routes a reference from the fabric so.
        """
        settings, reference = self._settings(pll), clock.wires["D_IN_0"]
        if settings["PLLTYPE"] == PLL_AT_PAD:
            sound = reference == pll.wires["PLLOUT_A"]
        else:
            net = self.net(pll.wires["REFERENCECLK"])
            sound = wires.get(net, net) == self.outputs[reference]
        if not sound:
            raise BuildError("the reference of a PLL is not the board's clock")
        if settings["FEEDBACK_PATH"] != SIMPLE_FEEDBACK:
            raise BuildError("the feedback of a PLL is not the simple one")
        return (settings["DIVF"] + 1) / (settings["DIVR"] + 1) / 2 ** settings["DIVQ"]

    def _global_nets(self, plls: list[Bel]) -> None:
        """Let each global net come from a PLL or a pad, or through its buffer from a wire."""
        bels = self.database.bels
        of_pll = {pll.wires["PLLOUT_A_GLOBAL"]: pll.wires["PLLOUT_A"] for pll in plls}
        pads = [bel for bel in bels if bel.kind == "io" and "GLOBAL_BUFFER_OUTPUT" in bel.wires]
        of_pad = {pad.wires["GLOBAL_BUFFER_OUTPUT"]: pad.wires["D_IN_0"] for pad in pads}
        buffers = {bel.wires["GLOBAL_BUFFER_OUTPUT"]: bel for bel in bels if bel.kind == "gb"}
        for wire, buffer in buffers.items():
            information = next(each for each in self.database.globals if (each["x"], each["y"]) == (buffer.x, buffer.y))
            bit = tuple(int(information[name]) for name in ("bank", "bit_x", "bit_y"))
            if bit not in self.ascii.extra_bits:
                self.sources[wire] = buffer.wires["USER_SIGNAL_TO_GLOBAL_BUFFER"]
            else:
                self.sources[wire] = of_pll.get(wire) or of_pad[wire]

    def _pin_type(self, pad: Bel) -> tuple[int, ...]:
        return tuple(self._entry(pad.x, pad.y, f"IOB_{pad.z}.PINTYPE_{bit}")[0] for bit in range(6))

    def _input(self, pad: Bel, name: str) -> str:
        if self._pin_type(pad)[:2] != INPUT_PIN:
            raise BuildError(f"pin {name} is no plain input")
        return self.outputs[pad.wires["D_IN_0"]]

    def _output(self, pad: Bel, name: str) -> tuple[str, ...]:
        if self._pin_type(pad)[2:] != OUTPUT_PIN:
            raise BuildError(f"pin {name} is no plain output")
        return (self.net(pad.wires["D_OUT_0"]), self.net(pad.wires["OUTPUT_ENABLE"]), ZERO, ZERO)

    def _logic_cell(self, bel: Bel, names: dict[tuple[int, int, str], int], netlist: Netlist) -> None:
        bits = self._entry(bel.x, bel.y, f"LC_{bel.z}")
        output = self.outputs[bel.wires["O"]]
        if not any(bits):  # unused, or the source of constant 0
            netlist.luts.append(Lut(output, 0, (ZERO,) * 4))
            return
        inputs = tuple(self.net(names[bel.x, bel.y, f"lutff_{bel.z}:in_{place}"]) for place in range(4))
        table = sum(bits[place] << entry for entry, place in enumerate(TABLE_BITS))
        if bits[CARRY]:
            constant = ONE if bel.z == 0 and self._flag(bel.x, bel.y, "CarryInSet") else ZERO
            carry = self.net(bel.wires["CIN"], constant)
            netlist.carries.append(Carry(self.outputs[bel.wires["COUT"]], (inputs[1], inputs[2], carry)))
        if not bits[REGISTER]:
            netlist.luts.append(Lut(output, table, inputs))
        else:
            netlist.luts.append(Lut(f"{output}_next", table, inputs))
            netlist.flip_flops.append(
                FlipFlop(
                    output,
                    f"{output}_next",
                    self.net(bel.wires["CLK"]),
                    self._flag(bel.x, bel.y, "NegClk"),
                    self.net(bel.wires["CEN"], ONE),
                    self.net(bel.wires["SR"]),
                    bits[SET],
                    bool(bits[ASYNCHRONOUS]),
                )
            )
        if "LO" in bel.wires:  # to the next cell's LUT, before the register
            alias = f"{output}_next" if bits[REGISTER] else output
            netlist.luts.append(Lut(self.outputs[bel.wires["LO"]], 0xAAAA, (alias, ZERO, ZERO, ZERO)))

    def _block_ram(self, bel: Bel) -> BlockRam:
        x, y = bel.x, bel.y
        modes = [self._flag(x, y + 1, f"RamConfig.CBIT_{bit}") for bit in range(4)]
        rows = self.ascii.rams.get((x, y), ["0"] * 16)
        words = tuple(int(row, 16) >> 16 * place & 0xFFFF for row in rows for place in range(16))
        ports = self._ports(bel, {"RCLKE": ONE, "WCLKE": ONE})
        write, read = modes[0] + 2 * modes[1], modes[2] + 2 * modes[3]
        return BlockRam(
            f"ram_{x}_{y}", words, read, write, self._flag(x, y, "NegClk"), self._flag(x, y + 1, "NegClk"), ports
        )

    def _single_port_ram_used(self, bel: Bel) -> bool:
        column, bit = SINGLE_PORT_RAM_BITS[bel.z]
        return self._flag(column, 1, f"IpConfig.{bit}")


def _without_unused(netlist: Netlist) -> Netlist:
    """``netlist`` without the LUTs and carries that nothing reads."""
    drivers = {lut.output: lut.inputs for lut in netlist.luts}
    drivers |= {carry.output: carry.inputs for carry in netlist.carries}
    ports = [ram.ports for ram in netlist.block_rams] + [ram.ports for ram in netlist.single_port_rams]
    needed = [netlist.tx, *(net for table in ports for nets in table.values() for net in nets)]
    needed += [net for cell in netlist.flip_flops for net in (cell.data, cell.clock, cell.enable, cell.reset)]
    used: set[str] = set()
    while needed:
        net = needed.pop()
        if net in drivers and net not in used:
            used.add(net)
            needed += drivers[net]
    netlist.luts = [cell for cell in netlist.luts if cell.output in used]
    netlist.carries = [cell for cell in netlist.carries if cell.output in used]
    return netlist
