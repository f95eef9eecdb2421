"""The registers and status words that :mod:`popflip.hw.registers` lists, as hardware."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popflip.hw.common.signature import bits_a_cycle
from popflip.hw.config import ChipConfig
from popflip.hw.registers import KEY, LAST_SAMPLE, registers, status_words

HALF = 16  # bits of a count that are added in a cycle: the width of a small block of memory

HELD_ELSEWHERE = ("rng", "signature")
"""Registers that another component of the trainer holds. The register file turns a write to them into a strobe."""
OF_THE_LINK = (LAST_SAMPLE, KEY)
"""Registers that the link holds."""


def register_shape(low: int, high: int):
    """Shape that holds ``low … high``."""
    return signed(max(high.bit_length(), (-low - 1).bit_length()) + 1) if low < 0 else range(high + 1)


def register_values_layout(chip: ChipConfig) -> data.StructLayout:
    """The values of all registers by name, except those in :data:`HELD_ELSEWHERE` and :data:`OF_THE_LINK`."""
    return data.StructLayout(
        {
            register.name: register_shape(register.low, register.high)
            for register in registers(chip)
            if register.name not in (*HELD_ELSEWHERE, *OF_THE_LINK)
        }
    )


class RegisterFile(wiring.Component):
    """The run-time registers.

    Members
    -------
    ``write`` : In(1), ``index`` : In(range(registers)), ``value`` : In(32)
        A write lands at the end of its cycle. ``value`` is in the register's range.
    ``values`` : Out(:func:`register_values_layout`)
    ``write_rng``, ``write_signature`` : Out(1)
        A write to the register of that name.
    """

    def __init__(self, chip: ChipConfig):
        self.registers = registers(chip)
        super().__init__(
            {
                "write": In(1),
                "index": In(range(len(self.registers))),
                "value": In(32),
                "values": Out(register_values_layout(chip)),
                **{f"write_{name}": Out(1) for name in HELD_ELSEWHERE},
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        for number, register in enumerate(self.registers):
            if register.name in OF_THE_LINK:
                continue
            written = self.write & (self.index == number)
            if register.name in HELD_ELSEWHERE:
                m.d.comb += getattr(self, f"write_{register.name}").eq(written)
                continue
            value = Signal.like(self.values[register.name], name=register.name, init=register.init)
            with m.If(written):
                m.d.sync += value.eq(self.value)
            m.d.comb += self.values[register.name].eq(value)
        return m


class EventSignature(wiring.Signature):
    """Events in an engine that :class:`Status` counts; directions are the engine's.

    Members
    -------
    ``samples``, ``batches``, ``errors``, ``correct`` : Out(1)
        The count of that name goes up.
    ``flips`` : Out(range(bits + 1)), ``flips_layer`` : Out(range(L))
        Number of flips to add to a layer's count; 0 in most cycles, at most :func:`.signature.bits_a_cycle`.
    ``learn_busy``, ``learn_stall``, ``select``, ``flip`` : Out(1)
        The cycle counter of that name goes up.
    """

    def __init__(self, chip: ChipConfig):
        single = ("samples", "batches", "errors", "correct", "learn_busy", "learn_stall", "select", "flip")
        super().__init__(
            {
                **{name: Out(1) for name in single},
                "flips": Out(range(bits_a_cycle(chip) + 1)),
                "flips_layer": Out(range(chip.depth)),
            }
        )


class Status(wiring.Component):
    """Counts events and shows the counts, word by word.

    The counts lie in a memory, because 32-bit counters would take as much logic as the learning engine of a small chip.
    A walk goes through the memory, half a count a cycle. It adds to each count the events since the count's last turn.

    Members
    -------
    ``clear`` : In(1)
        Zeroes all counts.
    ``events`` : In(EventSignature)
    ``forward_busy``, ``forward_stall`` : In(1)
        The cycle counter of that name goes up.
    ``crc``, ``rng`` : In(32)
        The current values of the words ``signature`` and ``rng``.
    ``index`` : In(range(words)), ``read`` : In(1), ``value`` : Out(32), ``valid`` : Out(1)
        ``read`` requests a word. ``index`` is stable until ``valid``; ``value`` is then the word. A count includes all
        events before the request.

    ``valid`` follows a request within :attr:`latency` cycles.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.words = status_words(chip)
        self.latency = 2 * len(self.words) + 3
        super().__init__(
            {
                "clear": In(1),
                "events": In(EventSignature(chip)),
                "forward_busy": In(1),
                "forward_stall": In(1),
                "crc": In(32),
                "rng": In(32),
                "index": In(range(len(self.words))),
                "read": In(1),
                "value": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        count = len(self.words)
        m.submodules.memory = memory = Memory(shape=HALF, depth=2 * count, init=[])
        write, read = memory.write_port(), memory.read_port()

        # The walk reads the next half while it adds to the previous one and writes it, lower halves first.
        ahead, turn = Signal(range(2 * count)), Signal(range(2 * count))
        upper, number = turn[0], turn[1:]
        m.d.comb += read.addr.eq(ahead)
        m.d.sync += [ahead.eq(Mux(ahead == 2 * count - 1, 0, ahead + 1)), turn.eq(ahead)]
        clearing = Signal(range(2 * count + 2), init=2 * count + 1)  # halves still to be zeroed
        with m.If(self.clear):
            m.d.sync += clearing.eq(2 * count)
        with m.Elif(clearing != 0):
            m.d.sync += clearing.eq(clearing - 1)

        happened = self._happened(m, turn)
        carry = Signal()  # into the upper half
        total = Signal(HALF + 1)
        m.d.comb += [
            total.eq(Mux(clearing != 0, 0, read.data) + Mux(upper, carry, Array(happened)[number])),
            write.addr.eq(turn),
            write.data.eq(Mux(self.clear, 0, total)),
            write.en.eq(1),
        ]
        m.d.sync += carry.eq(total[-1] & ~self.clear)
        self._show(m, number, upper, total)
        return m

    def _happened(self, m: Module, turn: Signal) -> list[Value]:
        """The events of each word since its last turn, without those of this cycle."""
        events, count = self.events, len(self.words)
        steps = {
            "samples": events.samples,
            "batches": events.batches,
            "errors": events.errors,
            "correct": events.correct,
            **{f"flips{layer}": Mux(events.flips_layer == layer, events.flips, 0) for layer in range(self.chip.depth)},
            "total": Const(1),
            "forward_busy": self.forward_busy,
            "learn_busy": events.learn_busy,
            "forward_stall": self.forward_stall,
            "learn_stall": events.learn_stall,
            "select": events.select,
            "flip": events.flip,
        }
        happened: list[Value] = []
        for index, word in enumerate(self.words):
            if word.name not in steps:
                happened.append(Const(0))
                continue
            step = steps[word.name]
            since = Signal(range((2 ** len(step) - 1) * 2 * count + 1), name=f"{word.name}_since")
            m.d.sync += since.eq(Mux(self.clear, 0, Mux(turn == 2 * index, 0, since) + step))
            happened.append(since)
        return happened

    def _show(self, m: Module, number: Value, upper: Value, total: Signal) -> None:
        """Show the requested word at its turn."""
        asked, half_shown = Signal(), Signal()
        numbers = {word.name: index for index, word in enumerate(self.words)}
        m.d.sync += half_shown.eq(0)
        with m.If(self.read):
            m.d.sync += [asked.eq(1), self.valid.eq(0)]
        with m.Elif(asked & ~upper & (number == self.index)):
            m.d.sync += [asked.eq(0), half_shown.eq(1), self.value[:HALF].eq(total)]
        with m.If(half_shown):
            m.d.sync += [self.valid.eq(1), self.value[HALF:].eq(total)]
            with m.If(self.index == numbers["signature"]):
                m.d.sync += self.value.eq(self.crc)
            with m.If(self.index == numbers["rng"]):
                m.d.sync += self.value.eq(self.rng)
