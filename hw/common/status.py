"""Registers and status words of :mod:`.registers`, as hardware."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.registers import CYCLE_COUNTERS, registers, status_words

HALF = 16  # bits of a count that are added to at a time, which is how wide a small block of memory is

HELD_ELSEWHERE = ("rng", "signature")
"""Registers that belong to another component; a write to them is passed on as a strobe."""


def register_shape(low: int, high: int):
    """Shape that holds ``low … high``."""
    return signed(max(high.bit_length(), (-low - 1).bit_length()) + 1) if low < 0 else range(high + 1)


class RegisterFile(wiring.Component):
    """The run-time registers.

    Members
    -------
    ``write`` : In(1), ``index`` : In(range(registers)), ``value`` : In(32)
        A write lands at the end of its cycle. Values outside a register's range must not come.
    ``values`` : Out(StructLayout)
        All registers by name, except those in :data:`HELD_ELSEWHERE`.
    ``write_rng``, ``write_signature`` : Out(1)
        ``value`` is meant for them.
    """

    def __init__(self, chip: ChipConfig):
        self.registers = registers(chip)
        super().__init__(
            {
                "write": In(1),
                "index": In(range(len(self.registers))),
                "value": In(32),
                "values": Out(
                    data.StructLayout(
                        {
                            register.name: register_shape(register.low, register.high)
                            for register in self.registers
                            if register.name not in HELD_ELSEWHERE
                        }
                    )
                ),
                **{f"write_{name}": Out(1) for name in HELD_ELSEWHERE},
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        for number, register in enumerate(self.registers):
            written = self.write & (self.index == number)
            if register.name in HELD_ELSEWHERE:
                m.d.comb += getattr(self, f"write_{register.name}").eq(written)
                continue
            value = Signal.like(self.values[register.name], name=register.name, init=register.init)
            with m.If(written):
                m.d.sync += value.eq(self.value)
            m.d.comb += self.values[register.name].eq(value)
        return m


class Status(wiring.Component):
    """Counts what happens, and shows it word by word.

    The counts lie in a memory, and a walk adds to one of them, a half a cycle, what has happened to it since its last
    turn: a 32-bit counter for each would take as much logic as the learning engine of a small chip.

    Members
    -------
    ``clear`` : In(1)
        Zeroes all counts.
    ``samples``, ``batches``, ``errors``, ``correct`` : In(1)
        One more of them.
    ``flips_layer`` : In(range(L)), ``flips_count`` : In(range(N + 1))
        So many more flips in a layer; 0 in most cycles.
    ``cycles`` : In(StructLayout)
        Which cycle counters go up in this cycle, by name.
    ``crc``, ``rng`` : In(32)
        Shown as they are.
    ``index`` : In(range(words)), ``read`` : In(1), ``value`` : Out(32), ``valid`` : Out(1)
        With ``read`` a word is asked for, and ``index`` stays as it is until ``valid``: then the word is ``value``, and
        has in it all that happened before it was asked for.

    A word is shown at most :attr:`latency` cycles after it was asked for.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.words = status_words(chip)
        self.latency = 2 * len(self.words) + 3
        super().__init__(
            {
                "clear": In(1),
                "samples": In(1),
                "batches": In(1),
                "errors": In(1),
                "correct": In(1),
                "flips_layer": In(range(chip.depth)),
                "flips_count": In(range(chip.array_synapses + 1)),
                "cycles": In(data.StructLayout({counter.name: 1 for counter in CYCLE_COUNTERS})),
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
        steps = {
            "samples": self.samples,
            "batches": self.batches,
            "errors": self.errors,
            "correct": self.correct,
            **{
                f"flips{layer}": Mux(self.flips_layer == layer, self.flips_count, 0) for layer in range(self.chip.depth)
            },
            **{counter.name: self.cycles[counter.name] for counter in CYCLE_COUNTERS},
        }
        m.submodules.memory = memory = Memory(shape=HALF, depth=2 * count, init=[])
        write, read = memory.write_port(), memory.read_port()

        # The walk: the next half is read while the one before it is added to and written, lower halves first.
        ahead, turn = Signal(range(2 * count)), Signal(range(2 * count))
        upper, number = turn[0], turn[1:]
        m.d.comb += read.addr.eq(ahead)
        m.d.sync += [ahead.eq(Mux(ahead == 2 * count - 1, 0, ahead + 1)), turn.eq(ahead)]
        clearing = Signal(range(2 * count + 2), init=2 * count + 1)  # halves still to be zeroed
        with m.If(self.clear):
            m.d.sync += clearing.eq(2 * count)
        with m.Elif(clearing != 0):
            m.d.sync += clearing.eq(clearing - 1)

        happened = []  # to each word since its last turn, this cycle not counted
        for index, word in enumerate(self.words):
            if word.name not in steps:
                happened.append(Const(0))
                continue
            step = steps[word.name]
            since = Signal(range((2 ** len(step) - 1) * 2 * count + 1), name=f"{word.name}_since")
            m.d.sync += since.eq(Mux(self.clear, 0, Mux(turn == 2 * index, 0, since) + step))
            happened.append(since)
        carry = Signal()  # into the upper half
        total = Signal(HALF + 1)
        m.d.comb += [
            total.eq(Mux(clearing != 0, 0, read.data) + Mux(upper, carry, Array(happened)[number])),
            write.addr.eq(turn),
            write.data.eq(Mux(self.clear, 0, total)),
            write.en.eq(1),
        ]
        m.d.sync += carry.eq(total[-1] & ~self.clear)

        # A word is shown at its turn.
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
        return m
