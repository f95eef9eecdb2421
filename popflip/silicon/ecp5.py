"""From an ECP5's packed bitstream to a netlist, by Project Trellis' database of the FPGA.

The decoder starts at the pin that the chip sends on. From each input of a cell, switches and fixed connections lead
back to the output that drives it, and so to the next cell. Nothing here knows the design: only the pins of the link.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from popflip.errors import BuildError
from popflip.silicon.dual_port import DualPortRam
from popflip.silicon.netlist import ONE, ZERO, ClockGate, FlipFlop, Lut, LutRam, Netlist
from popflip.silicon.trellis import Config, Fabric, Tile, TileType, Wire, fabric_of, parse

XOR, MUX = 0x6666, 0xCACA
"""LUTs of two inputs and of three: input 2 chooses input 1 over input 0."""
SLICES = "ABCD"
CARRY_OUT = ("FCOA_SLICE", "FCOB_SLICE", "FCOC_SLICE", "FCO_SLICE")
CARRY_IN = ("FCI_SLICE", "FCIB_SLICE", "FCIC_SLICE", "FCID_SLICE")
CARRY_INSIDE = "carry"
"""Name of the wire between the two carries of a slice, which the database leaves out."""
WRITE_DATA = (2, 0, 3, 1)
"""Which input (A to D) of slice C's second LUT is the data written to each LUT of slices A and B."""
WIDE = re.compile(r"F[5X]([ABCD])_SLICE")
"""The outputs of LUTs of more than four inputs."""
CIB_CONTROL = re.compile(r"J(CE|CLK|LSR)\d")
CIB_DATA = re.compile(r"J[A-D]\d")
MODES = {"NORMAL": 0, "READBEFOREWRITE": 1, "WRITETHROUGH": 2}
RAM_COLUMNS = 3
"""Columns whose tiles hold the settings of a block RAM, from its own column on."""


def unpack(text: str, package: str, rx: str, tx: str, clock: str, clock_hz: float) -> Netlist:
    """The netlist of the bitstream that ``ecpunpack`` printed as ``text``.

    ``rx``, ``tx`` and ``clock`` are the names of pins of ``package`` (``CABGA381``); ``clock`` has an oscillator of
    ``clock_hz``. Raises :class:`BuildError` if the bitstream uses something that no Popflip chip has.
    """
    config = parse(text)
    return _Decoder(fabric_of(config.device), config).netlist(package, rx, tx, clock, clock_hz)


class _Decoder:
    """``makers`` has, for a pattern of wires' names, what adds the cell that drives such a wire."""

    def __init__(self, fabric: Fabric, config: Config):
        self.fabric, self.config = fabric, config
        self.tiles: dict[tuple[int, int], list[Tile]] = {}
        self.sources: dict[Wire, Wire] = {}
        for tile in config.tiles:
            self.tiles.setdefault((tile.row, tile.column), []).append(tile)
            for arc in tile.arcs:
                sink, source = (fabric.wire(tile.row, tile.column, name) for name in arc)
                if (found := WIDE.fullmatch(arc[1])) and tile.settings.get(f"SLICE{found[1]}.MODE") == "CCU2":
                    continue  # in an adder this switch's bit means that the carry is used
                if sink is not None and source is not None:
                    self.sources[sink] = source
        self.makers: list[tuple[re.Pattern[str], Callable[[Wire, re.Match[str]], None]]] = [
            (re.compile(r"F(\d)_SLICE"), self._lut),
            (re.compile(r"FCO[ABC]?_SLICE|carry"), self._lut_of_carry),
            (re.compile(r"Q(\d)_SLICE"), self._flip_flop),
            (re.compile(r"JDO[AB]\d+_EBR"), self._block_ram),
            (re.compile(r"G_CLKO_([LRTB])DCC(\d+)"), self._clock_gate),
            (re.compile(r"JPADDI[ABCD]_PIO"), self._pin),
            (re.compile(r"J(CLKOP|CLKOS)_PLL"), self._pll_output),
            (re.compile(r"JLOCK_PLL"), self._pll_lock),
        ]
        self.pll: Wire | None = None
        self.pending: list[Wire] = []
        self.made: set[str] = set()

    def netlist(self, package: str, rx: str, tx: str, clock: str, clock_hz: float) -> Netlist:
        """The netlist; parameters as in :func:`unpack`."""
        sent, received, clocked = (self.fabric.pad(package, pin) for pin in (tx, rx, clock))
        self._check_pin(sent, "OUTPUT_", tx)
        self._check_pin(received, "INPUT_", rx)
        source = (clocked[0], clocked[1], f"JPADDI{clocked[2]}_PIO")
        self.result = Netlist(_net((received[0], received[1], f"JPADDI{received[2]}_PIO")), "", "", ONE, clock_hz)
        self.clock_pin = source
        self.result.source = _net(source)
        self.result.tx = self.net((sent[0], sent[1], f"PADDO{sent[2]}_PIO"))
        while self.pending:
            self._make(self.pending.pop())
        if self.pll is not None and _net(source) in self.made:
            raise BuildError("the chip uses the board's clock beside its PLL")
        return self.result

    # Wires ------------------------------------------------------------------------------------------------------------

    def end(self, wire: Wire) -> Wire:
        """Where the way back from ``wire`` ends: at a cell's output, or at a wire that nothing drives."""
        seen = set()
        while wire not in seen:
            seen.add(wire)
            if any(pattern.fullmatch(wire[2]) for pattern, _ in self.makers):
                return wire
            source = self.sources.get(wire) or self.fabric.driver(wire)
            if source is None:
                return wire
            wire = source
        raise BuildError(f"wire {wire[2]} of tile {wire[0]}, {wire[1]} drives itself")

    def net(self, wire: Wire, default: str | None = None) -> str:
        """The net that reaches ``wire``. ``default`` if nothing does; without one, what an unused input reads."""
        end = self.end(wire)
        if any(pattern.fullmatch(end[2]) for pattern, _ in self.makers):
            net = _net(end)
            if net not in self.made:
                self.made.add(net)
                self.pending.append(end)
            return net
        if default is not None:
            return default
        return self._constant(end)

    def _constant(self, wire: Wire) -> str:
        """What an input of the block beside the routing reads if no wire drives it: the tile sets a constant, or 1."""
        row, column, name = wire
        if CIB_CONTROL.fullmatch(name):  # the database calls their only constant 0 or 1; it is 1
            return ONE
        if CIB_DATA.fullmatch(name):
            value = self._settings(row, column).get(f"CIB.{name}MUX", "1")
            return {"0": ZERO, "1": ONE}[value]
        raise BuildError(f"nothing drives wire {name} of tile {row}, {column}")

    # Settings ---------------------------------------------------------------------------------------------------------

    def _settings(self, row: int, column: int) -> dict[str, str]:
        """The settings of all tiles at a place that differ from the defaults."""
        return {name: value for tile in self.tiles.get((row, column), ()) for name, value in tile.settings.items()}

    def _setting(self, row: int, column: int, name: str) -> str:
        """A setting of the logic tile at a place."""
        return self._settings(row, column).get(name) or self.fabric.types["PLC2"].defaults[name]

    def _word(self, row: int, column: int, name: str) -> str:
        """A number of a block RAM at a place. Of bits that lie in another tile, a tile shows 1."""
        shown = []
        for each in range(column, column + RAM_COLUMNS):
            for kind in self.fabric.at.get((row, each), ()):
                if name in (defaults := self.fabric.types[kind].defaults):
                    shown.append(self._settings(row, each).get(name) or defaults[name])
        return "".join("1" if set(bits) == {"1"} else "0" for bits in zip(*shown, strict=True))

    def _shared(self, row: int, column: int, name: str, absent: str | None = None) -> str:
        """A setting of a block RAM at a place, whose bits lie in several tiles: the value whose bits all of them have.

        Returns ``absent`` if no tile has the setting, and raises :class:`BuildError` if no value has the bits.
        """
        parts: list[tuple[TileType, str]] = []
        for each in range(column, column + RAM_COLUMNS):
            settings = self._settings(row, each)
            for kind in dict.fromkeys(self.fabric.at.get((row, each), ())):
                type_ = self.fabric.types[kind]
                if name in type_.options:
                    parts.append((type_, settings.get(name) or type_.defaults[name]))
        values = {value: None for type_, _ in parts for value in type_.options[name]}
        for value in values:
            if all(
                type_.options[name].get(value) == type_.options[name][shown]
                for type_, shown in parts
                if value in type_.options[name]
            ):
                return value
        if absent is not None and not parts:
            return absent
        raise BuildError(f"tile {row}, {column}: setting {name} has no value")

    def _check_pin(self, pad: tuple[int, int, str], direction: str, pin: str) -> None:
        row, column, letter = pad
        near = [self._settings(row + down, column + right) for down in range(3) for right in range(2)]
        shown = [value for settings in near for name, value in settings.items() if name == f"PIO{letter}.BASE_TYPE"]
        registered = any(name.startswith(f"PIO{letter}.DATAMUX") for settings in near for name in settings)
        if registered or not any(value.startswith(direction) for value in shown):
            raise BuildError(f"pin {pin} is no plain {direction.strip('_').lower()}")

    # Cells ------------------------------------------------------------------------------------------------------------

    def _make(self, wire: Wire) -> None:
        for pattern, make in self.makers:
            if (found := pattern.fullmatch(wire[2])) is not None:
                make(wire, found)
                return

    def _inputs(self, row: int, column: int, index: int) -> tuple[str, ...]:
        """The nets at inputs A to D of LUT ``index``."""
        slice_ = f"SLICE{SLICES[index // 2]}"
        return tuple(
            ONE
            if self._setting(row, column, f"{slice_}.{letter}{index % 2}MUX") == "1"
            else self.net((row, column, f"{letter}{index}_SLICE"), ONE)
            for letter in "ABCD"
        )

    def _table(self, row: int, column: int, index: int) -> int:
        return int(self._setting(row, column, f"SLICE{SLICES[index // 2]}.K{index % 2}.INIT"), 2)

    def _lut(self, wire: Wire, found: re.Match[str]) -> None:
        row, column, _ = wire
        index = int(found[1])
        mode = self._setting(row, column, f"SLICE{SLICES[index // 2]}.MODE")
        table, inputs, output = self._table(row, column, index), self._inputs(row, column, index), _net(wire)
        if mode == "LOGIC":
            self.result.luts.append(Lut(output, table, inputs))
        elif mode == "DPRAM":
            self.result.lut_rams.append(self._lut_ram(row, column, index, output, table, inputs))
        elif mode == "CCU2":
            lut = f"{output}_lut"
            carry = ZERO if self._injects(row, column, index) else self._carry(row, column, index)
            self.result.luts.append(Lut(lut, table, inputs))
            self.result.luts.append(Lut(output, XOR, (lut, carry, ZERO, ZERO)))
        else:
            raise BuildError(f"tile {row}, {column}: slice in mode {mode}")

    def _injects(self, row: int, column: int, index: int) -> bool:
        """Whether an adder's bit ignores the carry."""
        return self._setting(row, column, f"SLICE{SLICES[index // 2]}.CCU2.INJECT1_{index % 2}") == "YES"

    def _carry(self, row: int, column: int, index: int) -> str:
        """The net of the carry into bit ``index`` of a tile's adder."""
        if index % 2:
            net = _net(wire := (row, column, f"{CARRY_INSIDE}{index // 2}"))
            if net not in self.made:
                self.made.add(net)
                self._carry_out(wire, index - 1)
            return net
        return self.net((row, column, CARRY_IN[index // 2]), ZERO)  # a chain's first slice does not use it

    def _lut_of_carry(self, wire: Wire, found: re.Match[str]) -> None:
        self._carry_out(wire, 2 * CARRY_OUT.index(wire[2]) + 1)

    def _carry_out(self, wire: Wire, index: int) -> None:
        """Add the carry from bit ``index``: the carry into it if the LUT is 1, else the LUT of its inputs A and B."""
        row, column, _ = wire
        table, inputs, output = self._table(row, column, index), self._inputs(row, column, index), _net(wire)
        generated = ZERO
        if not self._injects(row, column, index):
            generated = f"{output}_generated"
            self.result.luts.append(Lut(generated, (table & 15) * 0x1111, (inputs[0], inputs[1], ZERO, ZERO)))
        propagated, carry = f"{output}_propagated", self._carry(row, column, index)
        self.result.luts.append(Lut(propagated, table, inputs))
        self.result.luts.append(Lut(output, MUX, (generated, carry, propagated, ZERO)))

    def _lut_ram(self, row: int, column: int, index: int, output: str, table: int, inputs: tuple[str, ...]) -> LutRam:
        """Slices A and B are memory; slice C has the address and the data of writes at its inputs."""
        write = {"1": ONE, "0": ZERO}.get(self._setting(row, column, "SLICEA.WREMUX"))
        if write is None:
            write = self.net((row, column, "LSR1"))
            if self._setting(row, column, "LSR1.LSRMUX") == "INV":
                write = self._inverse(write)
        data = self._inputs(row, column, 5)[WRITE_DATA[index]]
        return LutRam(
            output,
            table,
            inputs,
            self._inputs(row, column, 4),
            data,
            self.net((row, column, "CLK1")),
            self._setting(row, column, "CLK1.CLKMUX") == "INV",
            write,
        )

    def _inverse(self, net: str) -> str:
        if net in (ZERO, ONE):
            return ONE if net == ZERO else ZERO
        inverse = f"{net}_inverse"
        if inverse not in self.made:
            self.made.add(inverse)
            self.result.luts.append(Lut(inverse, 0x5555, (net, ZERO, ZERO, ZERO)))
        return inverse

    def _flip_flop(self, wire: Wire, found: re.Match[str]) -> None:
        row, column, _ = wire
        index = int(found[1])
        slice_, register = f"SLICE{SLICES[index // 2]}", f"REG{index % 2}"

        def setting(name: str) -> str:
            return self._setting(row, column, name)

        if setting(f"{slice_}.{register}.LSRMODE") != "LSR":
            raise BuildError(f"tile {row}, {column}: a flip-flop that loads its input at a reset")
        data = "DI" if setting(f"{slice_}.{register}.SD") == "1" else "M"
        clock, reset = (self._control(row, column, f"MUX{name}{index // 2}") for name in ("CLK", "LSR"))
        reset_net = ZERO if reset is None else self.net((row, column, reset), ZERO)
        if reset is not None and reset_net != ZERO and setting(f"{reset}.LSRMUX") == "INV":
            reset_net = self._inverse(reset_net)
        enable = {"1": ONE, "0": ZERO}.get(setting(f"{slice_}.CEMUX"))
        if enable is None:
            enable = self.net((row, column, f"CE{index // 2}_SLICE"))
            if setting(f"{slice_}.CEMUX") == "INV":
                enable = self._inverse(enable)
        if clock is None:
            raise BuildError(f"tile {row}, {column}: a flip-flop without a clock")
        value = int(setting(f"{slice_}.{register}.REGSET") == "SET")
        self.result.flip_flops.append(
            FlipFlop(
                _net(wire),
                self.net((row, column, f"{data}{index}_SLICE")),
                self.net((row, column, clock)),
                setting(f"{clock}.CLKMUX") == "INV",
                enable,
                reset_net,
                value,
                reset is not None and setting(f"{reset}.SRMODE") == "ASYNC",
                initial=value,
                reset_first=True,
            )
        )

    def _control(self, row: int, column: int, multiplexer: str) -> str | None:
        """The wire, ``CLK0`` for example, that reaches a slice's clock or reset."""
        source = self.sources.get((row, column, multiplexer))
        return None if source is None else source[2]

    def _clock_gate(self, wire: Wire, found: re.Match[str]) -> None:
        side, number = found.groups()
        gated = any(tile.settings.get(f"DCC_{side}{number}.MODE") == "DCCA" for tile in self.config.tiles)
        clock = self.net((wire[0], wire[1], f"G_CLKI_{side}DCC{number}"))
        enable = self.net((wire[0], wire[1], f"G_JCE_{side}DCC{number}")) if gated else ONE
        self.result.gates.append(ClockGate(_net(wire), clock, enable))

    def _pin(self, wire: Wire, found: re.Match[str]) -> None:
        """The pins of clock and link are inputs of the netlist; other pins are not read."""
        if _net(wire) != self.result.rx and wire != self.clock_pin:
            raise BuildError(f"the chip reads {wire[2]} of tile {wire[0]}, {wire[1]}, which is no pin of its link")

    def _pll_output(self, wire: Wire, found: re.Match[str]) -> None:
        """Let the netlist's source be an output of the PLL, and check what its dividers make of the clock's pin."""
        row, column, _ = wire
        if self.pll is not None:
            raise BuildError("the chip uses two outputs of PLLs")
        self.pll = wire
        settings: dict[str, str] = {}
        for tile in self.config.tiles:
            if tile.kind.startswith("PLL") and abs(tile.row - row) <= 1 and abs(tile.column - column) <= 1:
                settings |= tile.settings
        dividers = {name: int(settings.get(f"{name}_DIV", "0"), 2) + 1 for name in ("CLKI", "CLKFB", "CLKOP", "CLKOS")}
        if settings.get("MODE") != "EHXPLLL" or settings.get(f"{found[1]}_ENABLE") != "ENABLED":
            raise BuildError("the chip uses an output of a PLL that is off")
        if self.end((row, column, "CLKI_PLL")) != self.clock_pin:
            raise BuildError("the reference of a PLL is not the board's clock")
        if self.end((row, column, "CLKFB_PLL")) != (row, column, "JCLKOP_PLL"):
            raise BuildError("the feedback of a PLL is not its output CLKOP")
        self.result.source = _net(wire)
        self.result.source_hz *= dividers["CLKFB"] / dividers["CLKI"] * dividers["CLKOP"] / dividers[found[1]]

    def _pll_lock(self, wire: Wire, found: re.Match[str]) -> None:
        self.result.locked = _net(wire)

    # Block RAM --------------------------------------------------------------------------------------------------------

    def _block_ram(self, wire: Wire, found: re.Match[str]) -> None:
        row, column, _ = wire
        ram = self._ram_at(row, column)
        name = f"r{row}_c{column}_{ram}"
        if name in self.made:
            return
        self.made.add(name)
        mode = self._shared(row, column, f"{ram}.MODE")
        simple = mode == "PDPW16KD"
        if mode == "NONE" or any(self._shared(row, column, f"{ram}.REGMODE_{port}") != "NOREG" for port in "AB"):
            raise BuildError(f"tile {row}, {column}: block RAM that is off or has registers at its outputs")
        ports: dict[str, tuple[str, ...]] = {}
        for port in "AB":
            for signal, count in (("CLK", 0), ("CE", 0), ("WE", 0), ("AD", 14), ("DI", 18)):
                names = [f"{signal}{port}{bit}" for bit in range(count)] or [f"{signal}{port}"]
                ports[f"{signal}{port}"] = tuple(self._ram_input(row, column, ram, each) for each in names)
            ports[f"DO{port}"] = tuple(_net((row, column, f"JDO{port}{bit}_EBR")) for bit in range(18))
            self.made |= set(ports[f"DO{port}"])
            self._check_always_on(row, column, ram, port)
        if not simple and ZERO not in (*ports["WEA"], *ports["WEB"]):
            raise BuildError(f"tile {row}, {column}: block RAM that both ports write")
        widths, modes = self._widths(row, column, ram, simple), self._write_modes(row, column, ram, simple)
        identity = int(self._word(row, column, f"{ram}.WID")[::-1], 2)
        words = self.config.memories.get(identity)
        self.result.dual_port_rams.append(DualPortRam(name, words, simple, widths, modes, ports))

    def _ram_at(self, row: int, column: int) -> str:
        """The name, ``EBR0`` to ``EBR3``, that the settings of the block RAM at a place have."""
        for kind in self.fabric.at[row, column]:
            for number in range(4):
                if f"EBR{number}.CEAMUX" in self.fabric.types[kind].options:
                    return f"EBR{number}"
        raise BuildError(f"tile {row}, {column} has no block RAM")

    def _ram_input(self, row: int, column: int, ram: str, port: str) -> str:
        net = self.net((row, column, f"J{port}_EBR"))
        inverts = self._shared(row, column, f"{ram}.{port}MUX", absent="") == "INV"
        return self._inverse(net) if inverts else net

    def _check_always_on(self, row: int, column: int, ram: str, port: str) -> None:
        """Check that one port of a block RAM is always selected and never reset."""
        selected = [self.net((row, column, f"JCS{port}{bit}_EBR")) for bit in range(3)]
        decode = self._word(row, column, f"{ram}.CSDECODE_{port}")
        if selected != [ONE if bit == "1" else ZERO for bit in decode]:
            raise BuildError(f"tile {row}, {column}: block RAM whose port {port} is not always selected")
        if self._ram_input(row, column, ram, f"RST{port}") != ZERO:
            raise BuildError(f"tile {row}, {column}: block RAM whose port {port} has a reset")

    def _widths(self, row: int, column: int, ram: str, simple: bool) -> tuple[int, int]:
        """Bits of the two ports. One that writes 36 bits takes the data inputs of both."""
        if simple:
            return 36, int(self._shared(row, column, f"{ram}.PDPW16KD.DATA_WIDTH_R"))
        first, second = (int(self._shared(row, column, f"{ram}.DP16KD.DATA_WIDTH_{port}")) for port in "AB")
        return first, second

    def _write_modes(self, row: int, column: int, ram: str, simple: bool) -> tuple[int, int]:
        if simple:
            return 0, 0
        first, second = (MODES[self._shared(row, column, f"{ram}.DP16KD.WRITEMODE_{port}")] for port in "AB")
        return first, second


def _net(wire: Wire) -> str:
    row, column, name = wire
    place = f"r{row}_c{column}_" if row >= 0 else ""
    return f"{place}{name}"
