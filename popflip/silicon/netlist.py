"""A netlist of an FPGA's cells, as Verilog for simulation.

A net is a Verilog name, or ``1'b0`` or ``1'b1``. Bit 0 of a vector comes first. What a data sheet leaves undefined, the
Verilog fills with random bits: a memory word read in the cycle of its write, and an output of single-port RAM in the
cycle of a write. Verilator fills the contents of single-port RAM and the outputs of memories at power-up with random
bits too (``+verilator+rand+reset+2``). A chip that works in simulation therefore depends on none of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations

from popflip.silicon import dual_port
from popflip.silicon.dual_port import DualPortRam

ZERO, ONE = "1'b0", "1'b1"
MEMORY_OUTPUTS = frozenset(("RDATA", "DATAOUT", "DOA", "DOB"))


@dataclass(frozen=True)
class Lut:
    """``output = table[inputs]``; ``inputs`` are four nets."""

    output: str
    table: int
    inputs: tuple[str, ...]

    @property
    def follows(self) -> str | None:
        """The input that the output always equals, if there is one: then routing uses the LUT as a wire."""
        possible = [entry for entry in range(16) if all(self._may_be(place, entry) for place in range(4))]
        for place, net in enumerate(self.inputs):
            if net not in (ZERO, ONE) and all(self.table >> entry & 1 == entry >> place & 1 for entry in possible):
                return net
        return None

    def _may_be(self, place: int, entry: int) -> bool:
        """Whether the input at ``place`` can have its value in ``entry`` of the table."""
        return self.inputs[place] != (ZERO if entry >> place & 1 else ONE)


@dataclass(frozen=True)
class Carry:
    """``output`` is the majority of three ``inputs``."""

    output: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class FlipFlop:
    """``output`` takes ``data`` at an edge of ``clock`` if ``enable`` is 1; if ``reset`` is 1, ``value``.

    It starts as ``initial``. With ``reset_first`` a reset needs no enable.
    """

    output: str
    data: str
    clock: str
    falling: bool
    enable: str
    reset: str
    value: int
    asynchronous: bool
    initial: int = 0
    reset_first: bool = False


@dataclass(frozen=True)
class ClockGate:
    """``output`` is ``clock`` while ``enable`` is 1. It opens and closes while ``clock`` is 0."""

    output: str
    clock: str
    enable: str


@dataclass(frozen=True)
class LutRam:
    """``output = table[inputs]``. At an edge of ``clock``, if ``enable`` is 1, ``table[address]`` takes ``data``."""

    output: str
    table: int
    inputs: tuple[str, ...]
    address: tuple[str, ...]
    data: str
    clock: str
    falling: bool
    enable: str


@dataclass(frozen=True)
class BlockRam:
    """``SB_RAM40_4K``: 256 words of 16 bits, or up to 2,048 of 2 (modes 0 to 3); ``words`` holds its contents."""

    name: str
    words: tuple[int, ...]
    read_mode: int
    write_mode: int
    falling_read: bool
    falling_write: bool
    ports: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class SinglePortRam:
    """``SB_SPRAM256KA``: 16,384 words of 16 bits."""

    name: str
    ports: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Instance:
    """A cell of type ``kind``, whose model is Verilog of another source.

    ``parameters`` are Verilog literals. ``outputs`` are the ports that it drives.
    """

    name: str
    kind: str
    parameters: dict[str, str]
    ports: dict[str, tuple[str, ...]]
    outputs: frozenset[str]


@dataclass
class Netlist:
    """The cells of a bitstream, or of a step of its build.

    ``rx`` and ``tx`` are the nets at the link's pins, ``source`` the PLL's output. ``models`` are Verilog, of the types
    of ``instances``.
    """

    rx: str
    tx: str
    source: str
    locked: str
    source_hz: float
    luts: list[Lut] = field(default_factory=list)
    carries: list[Carry] = field(default_factory=list)
    flip_flops: list[FlipFlop] = field(default_factory=list)
    block_rams: list[BlockRam] = field(default_factory=list)
    single_port_rams: list[SinglePortRam] = field(default_factory=list)
    dual_port_rams: list[DualPortRam] = field(default_factory=list)
    lut_rams: list[LutRam] = field(default_factory=list)
    gates: list[ClockGate] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @property
    def clocks(self) -> set[str]:
        """The nets that clock a cell."""
        memories = (
            net for ram in self.block_rams for port in ("RCLK", "WCLK") for net in ram.ports[port] if net != ZERO
        )
        single = (net for ram in self.single_port_rams for net in ram.ports["CLOCK"])
        dual = (net for ram in self.dual_port_rams for net in ram.clocks)
        gates, lut_rams = (gate.clock for gate in self.gates), (ram.clock for ram in self.lut_rams)
        return {*(cell.clock for cell in self.flip_flops), *memories, *single, *dual, *gates, *lut_rams}

    def clock_of_a_lut(self) -> str | None:
        """A clock that can have glitches, as the output of a LUT with inputs; None if there is none."""
        constant = {lut.output for lut in self.luts if lut.table in (0, 0xFFFF)}
        sound = {self.source, ZERO, ONE} | constant | {cell.output for cell in self.flip_flops}
        sound |= {gate.output for gate in self.gates}
        return min(self.clocks - sound, default=None)

    def undriven(self) -> set[str]:
        """The nets that a cell or pin ``tx`` reads and nothing drives."""
        logic: list[Lut | Carry | LutRam] = [*self.luts, *self.carries, *self.lut_rams]
        memories: list[BlockRam | SinglePortRam | DualPortRam | Instance] = [
            *self.block_rams,
            *self.single_port_rams,
            *self.dual_port_rams,
            *self.instances,
        ]
        driven = {self.source, self.locked, self.rx, ZERO, ONE} | {cell.output for cell in logic}
        driven |= {cell.output for cell in self.flip_flops} | {gate.output for gate in self.gates}
        read = {net for cell in logic for net in cell.inputs} | self.clocks
        read |= {net for cell in self.flip_flops for net in (cell.data, cell.enable, cell.reset)}
        read |= {gate.enable for gate in self.gates} | set(re.findall(r"\w+(?:'b\d)?", self.tx))
        for memory in memories:
            for port, nets in memory.ports.items():
                (driven if port in _outputs(memory) else read).update(nets)
        return read - driven

    def verilog(self) -> str:
        """The module ``dut`` with ports ``source``, ``locked``, ``rx`` and ``tx``."""
        return "\n".join((*self.models, _MODELS, dual_port.MODEL, *self._module())) + "\n"

    def _module(self) -> Iterator[str]:
        yield "module dut(input source, input locked, input rx, output tx);"
        registers = {cell.output: cell.initial for cell in self.flip_flops}
        combinational = {lut.output for lut in self.luts} | {carry.output for carry in self.carries}
        read = {net for ram in self.block_rams for net in ram.ports["RDATA"]}
        read |= {net for ram in self.single_port_rams for net in ram.ports["DATAOUT"]}
        read |= {net for ram in self.dual_port_rams for net in ram.outputs}
        combinational |= {ram.output for ram in self.lut_rams} | {gate.output for gate in self.gates}
        combinational |= {net for cell in self.instances for port in cell.outputs for net in cell.ports[port]}
        inputs = {self.source, self.locked, self.rx}
        for net in sorted((combinational | read | inputs) - registers.keys() - {ZERO, ONE}):
            yield f"wire {net};"
        for net, initial in sorted(registers.items()):
            yield f"reg {net} = 1'b{initial};"
        for net, port in ((self.source, "source"), (self.locked, "locked"), (self.rx, "rx")):
            if net not in (ZERO, ONE):
                yield f"assign {net} = {port};"
        yield f"assign tx = {self.tx};"
        for lut in self.luts:
            yield f"assign {lut.output} = {_expression(lut.table).format(*lut.inputs)};"
        for carry in self.carries:
            a, b, c = carry.inputs
            yield f"assign {carry.output} = ({a} & {b}) | (({a} | {b}) & {c});"
        yield from map(_flip_flop, self.flip_flops)
        yield from map(_block_ram, self.block_rams)
        yield from map(_single_port_ram, self.single_port_rams)
        yield from (ram.verilog() for ram in self.dual_port_rams)
        yield from map(_lut_ram, self.lut_rams)
        yield from map(_clock_gate, self.gates)
        yield from map(_instance, self.instances)
        yield "endmodule"


def _outputs(cell: BlockRam | SinglePortRam | DualPortRam | Instance) -> frozenset[str]:
    return cell.outputs if isinstance(cell, Instance) else MEMORY_OUTPUTS


@cache
def _expression(table: int) -> str:
    """The shortest expression found for a function of ``{0}`` … ``{3}``: a decision tree for each order of inputs."""
    return min((_tree(table, order) for order in permutations(range(4))), key=len)


def _tree(table: int, order: tuple[int, ...]) -> str:
    if table in (0, 0xFFFF):
        return ONE if table else ZERO
    (index, *rest) = order
    low, high = _cofactor(table, index, 0), _cofactor(table, index, 1)
    name, zero, one = f"{{{index}}}", _tree(low, tuple(rest)), _tree(high, tuple(rest))
    if low == high:
        return zero
    if (zero, one) == (ZERO, ONE):
        return name
    if (zero, one) == (ONE, ZERO):
        return f"~{name}"
    if low == high ^ 0xFFFF:
        return f"({name} ^ {zero})"
    if zero == ZERO:
        return f"({name} & {one})"
    if one == ZERO:
        return f"(~{name} & {zero})"
    if zero == ONE:
        return f"(~{name} | {one})"
    if one == ONE:
        return f"({name} | {zero})"
    return f"(({name} & {one}) | (~{name} & {zero}))"


def _cofactor(table: int, index: int, value: int) -> int:
    """``table`` with input ``index`` fixed to ``value``; it no longer depends on that input."""
    entries = (entry & ~(1 << index) | value << index for entry in range(16))
    return sum((table >> entry & 1) << place for place, entry in enumerate(entries))


def _flip_flop(cell: FlipFlop) -> str:
    edge = f"{'neg' if cell.falling else 'pos'}edge {cell.clock}"
    take = f"{cell.output} <= {cell.data};"
    reset = f"{cell.output} <= 1'b{cell.value};"
    if cell.asynchronous and cell.reset != ZERO:
        return f"always @({edge}, posedge {cell.reset}) if ({cell.reset}) {reset} else if ({cell.enable}) {take}"
    if cell.reset_first and cell.reset != ZERO:
        return f"always @({edge}) if ({cell.reset}) {reset} else if ({cell.enable}) {take}"
    if cell.reset != ZERO:
        take = f"{cell.output} <= {cell.reset} ? 1'b{cell.value} : {cell.data};"
    return f"always @({edge}) " + (take if cell.enable == ONE else f"if ({cell.enable}) {take}")


def _lut_ram(cell: LutRam) -> str:
    memory = f"{cell.output}_memory"
    edge = "neg" if cell.falling else "pos"
    return (
        f"reg [15:0] {memory} = 16'h{cell.table:04x};\n"
        f"assign {cell.output} = {memory}[{_vector(cell.inputs)}];\n"
        f"always @({edge}edge {cell.clock}) if ({cell.enable}) {memory}[{_vector(cell.address)}] <= {cell.data};"
    )


def _clock_gate(gate: ClockGate) -> str:
    if gate.enable == ONE:
        return f"assign {gate.output} = {gate.clock};"
    open_ = f"{gate.output}_open"
    return (
        f"reg {open_} = 1'b0;\nalways @(negedge {gate.clock}) {open_} <= {gate.enable};\n"
        f"assign {gate.output} = {gate.clock} & {open_};"
    )


def _instance(cell: Instance) -> str:
    parameters = ", ".join(f".{name}({value})" for name, value in cell.parameters.items())
    ports = ", ".join(f".{port}({_vector(nets)})" for port, nets in cell.ports.items())
    return f"{cell.kind} #({parameters}) {cell.name} ({ports});"


def _vector(nets: Iterable[str]) -> str:
    """A Verilog concatenation of ``nets``, bit 0 first."""
    return "{" + ", ".join(reversed(tuple(nets))) + "}"


def _block_ram(ram: BlockRam) -> str:
    content = "".join(f"{word:04x}" for word in reversed(ram.words))
    clocks = {"RCLK": ram.falling_read, "WCLK": ram.falling_write}
    ports = []
    for port, nets in ram.ports.items():
        invert = "~" if clocks.get(port) else ""
        if port == "RDATA":
            ports.append(f".RDATA({_read_data(ram.name)})")
        else:
            ports.append(f".{port}({invert}{_vector(nets)})")
    outputs = "".join(
        f"assign {net} = {_read_data(ram.name)}[{bit}];\n" for bit, net in enumerate(ram.ports["RDATA"]) if net != ZERO
    )
    return (
        f"wire [15:0] {_read_data(ram.name)};\n{outputs}"
        f"block_ram #(.READ_MODE({ram.read_mode}), .WRITE_MODE({ram.write_mode}), .WORDS(4096'h{content})) "
        f"{ram.name} ({', '.join(ports)});"
    )


def _single_port_ram(ram: SinglePortRam) -> str:
    data = _read_data(ram.name)
    ports = [f".{port}({data if port == 'DATAOUT' else _vector(nets)})" for port, nets in ram.ports.items()]
    outputs = "".join(f"assign {net} = {data}[{bit}];\n" for bit, net in enumerate(ram.ports["DATAOUT"]))
    return f"wire [15:0] {data};\n{outputs}single_port_ram {ram.name} ({', '.join(ports)});"


def _read_data(name: str) -> str:
    return f"{name}_data"


_MODELS = """\
// In a mode of fewer bits, address bits above 7 choose every second (fourth, eighth) bit of a word of 16.
module block_ram #(parameter READ_MODE = 0, parameter WRITE_MODE = 0, parameter [4095:0] WORDS = 0)
  (output [15:0] RDATA, input RCLK, RCLKE, RE, WCLK, WCLKE, WE, input [10:0] RADDR, WADDR, input [15:0] MASK, WDATA);
  reg [15:0] words [0:255];
  reg [15:0] read;
  reg [2:0] part;
  wire writes = WE & WCLKE;
  integer i;
  initial for (i = 0; i < 256; i = i + 1) words[i] = WORDS[16 * i +: 16];

  function [15:0] spread(input [2:0] place, input integer mode);  // the bits of a word that an address chooses
    case (mode)
      0: spread = 16'hffff;
      1: spread = 16'h5555 << place[0];
      2: spread = 16'h1111 << place[1:0];
      default: spread = 16'h0101 << place;
    endcase
  endfunction

  wire [15:0] chosen = WRITE_MODE == 0 ? ~MASK : spread(WADDR[10:8], WRITE_MODE);
  wire [15:0] data =
    WRITE_MODE == 0 ? WDATA :
    WRITE_MODE == 1 ? {{2{WDATA[14]}}, {2{WDATA[12]}}, {2{WDATA[10]}}, {2{WDATA[8]}},
                       {2{WDATA[6]}}, {2{WDATA[4]}}, {2{WDATA[2]}}, {2{WDATA[0]}}} :
    WRITE_MODE == 2 ? {{4{WDATA[13]}}, {4{WDATA[9]}}, {4{WDATA[5]}}, {4{WDATA[1]}}} :
                      {{8{WDATA[11]}}, {8{WDATA[3]}}};
  always @(posedge WCLK) if (writes) words[WADDR[7:0]] <= (words[WADDR[7:0]] & ~chosen) | (data & chosen);

  wire [15:0] noise = writes && WADDR[7:0] == RADDR[7:0] ? chosen & $urandom : 16'h0;
  always @(posedge RCLK) if (RE & RCLKE) begin
    read <= words[RADDR[7:0]] ^ noise;
    part <= RADDR[10:8];
  end
  wire [15:0] mine = read & spread(part, READ_MODE);
  assign RDATA =
    READ_MODE == 0 ? mine :
    READ_MODE == 1 ? {1'b0, |mine[15:14], 1'b0, |mine[13:12], 1'b0, |mine[11:10], 1'b0, |mine[9:8],
                      1'b0, |mine[7:6], 1'b0, |mine[5:4], 1'b0, |mine[3:2], 1'b0, |mine[1:0]} :
    READ_MODE == 2 ? {2'b0, |mine[15:12], 3'b0, |mine[11:8], 3'b0, |mine[7:4], 3'b0, |mine[3:0], 1'b0} :
                     {4'b0, |mine[15:8], 7'b0, |mine[7:0], 3'b0};
endmodule

module single_port_ram(input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN,
  input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF, output reg [15:0] DATAOUT);
  reg [15:0] words [0:16383];
  wire on = CHIPSELECT & POWEROFF & ~SLEEP & ~STANDBY;  // POWEROFF is active low
  wire [15:0] chosen = {{4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}};
  always @(posedge CLOCK) begin
    if (on & WREN) words[ADDRESS] <= (words[ADDRESS] & ~chosen) | (DATAIN & chosen);
    if (on) DATAOUT <= WREN ? $urandom : words[ADDRESS];
  end
endmodule
"""
