"""Registers and status words of :mod:`.registers`, as hardware."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .config import ChipConfig
from .registers import CYCLE_COUNTERS, registers, status_words

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

    Members
    -------
    ``clear`` : In(1)
        Zeroes all counts.
    ``samples``, ``batches``, ``errors``, ``correct`` : In(1)
        One more of them.
    ``flips_layer`` : In(range(L)), ``flips_count`` : In
        So many more flips in a layer; 0 in most cycles.
    ``cycles`` : In(StructLayout)
        Which cycle counters go up in this cycle, by name.
    ``crc``, ``rng`` : In(32)
        Shown as they are.
    ``index`` : In(range(words)), ``value`` : Out(32)
        The value of a word, one cycle after its index.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.words = status_words(chip)
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
                "value": Out(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
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
        shown = {"signature": self.crc, "rng": self.rng}
        for name, step in steps.items():
            count = shown[name] = Signal(32, name=name)
            m.d.sync += count.eq(Mux(self.clear, Const(0, 32), count + step))
        m.d.sync += self.value.eq(Array(shown[word.name] for word in self.words)[self.index])
        return m
