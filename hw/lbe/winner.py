"""Winner: of each group of neurons, the one that is wrong and easiest to put right (golden ``winner.winners``).

    argmin |z_o|  over the neurons of the group with a'_o ≠ ρ_t[o], lowest index on ties        (arXiv 2412.00119)

A running minimum while the sums stream by. No sum is kept: what a layer leaves is a list of rows.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.hw.common.forward import active
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sum_shape


def winner_layout(chip: ChipConfig) -> data.StructLayout:
    """A row to be taught, and the activation it should have had: bit 1 is +1."""
    return data.StructLayout({"row": range(max(chip.rows)), "desired": 1})


class Winner(wiring.Component):
    """Keeps the lists of two layers: one that is growing, and one that is being taught.

    Members
    -------
    ``valid`` : In(1), ``z`` : In(signed), ``desired`` : In(1), ``last`` : In(1)
        A neuron: its sum, what its activation should be, and whether it is the layer's last one. Only while ``ready``.
    ``ready`` : Out(1)
        Low where a layer would start and both lists are still wanted.
    ``group`` : In(range)
        Neurons in a group of the layer, 1 or more; the last group may have fewer.
    ``rows`` : Out(range)
        Length of the older list, once its layer has ended.
    ``position`` : In(range), ``winner`` : Out(winner_layout)
        The row at a place of the older list that was asked for in the cycle before.
    ``release`` : In(1)
        The older list is not wanted any more.

    A neuron a cycle. The list is complete :attr:`latency` cycles after the layer's last neuron.
    """

    latency = 2

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        most = max(chip.rows)
        super().__init__(
            {
                "valid": In(1),
                "z": In(sum_shape(chip)),
                "desired": In(1),
                "last": In(1),
                "ready": Out(1),
                "group": In(range(most + 1)),
                "rows": Out(range(most + 1)),
                "position": In(range(most)),
                "winner": Out(winner_layout(chip)),
                "release": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        most = max(chip.rows)

        # The neuron, registered: its magnitude, and whether it may win ------------------------------------------------
        row = Signal(range(most))
        place = Signal(range(most))  # in the group
        ends_group = self.last | (place + 1 == self.group)
        neuron = Signal(
            data.StructLayout(
                {
                    "valid": 1,
                    "wrong": 1,
                    "magnitude": range(chip.v_max + 1),
                    "winner": winner_layout(chip),
                    "starts": 1,
                    "ends": 1,
                    "last": 1,
                }
            )
        )
        m.d.sync += neuron.valid.eq(self.valid)
        with m.If(self.valid):
            m.d.sync += [
                row.eq(Mux(self.last, 0, row + 1)),
                place.eq(Mux(ends_group, 0, place + 1)),
                neuron.wrong.eq(active(chip, self.z) != self.desired),
                neuron.magnitude.eq(Mux(self.z < 0, -self.z, self.z)),
                neuron.winner.row.eq(row),
                neuron.winner.desired.eq(self.desired),
                neuron.starts.eq(place == 0),
                neuron.ends.eq(ends_group),
                neuron.last.eq(self.last),
            ]

        # Running minimum ----------------------------------------------------------------------------------------------
        found = Signal()
        smallest = Signal(range(chip.v_max + 1))
        leader = Signal(winner_layout(chip))
        led = found & ~neuron.starts
        leads = neuron.wrong & (~led | (neuron.magnitude < smallest))
        with m.If(neuron.valid):
            m.d.sync += found.eq(led | leads)
            with m.If(leads):
                m.d.sync += [smallest.eq(neuron.magnitude), leader.eq(neuron.winner)]

        # Two lists ----------------------------------------------------------------------------------------------------
        bits = ceil_log2(most)
        m.submodules.lists = lists = Memory(shape=winner_layout(chip), depth=2 << bits, init=[])
        write, read = lists.write_port(), lists.read_port()
        length = Array(Signal(range(most + 1), name=f"length{index}") for index in range(2))
        growing, older = Signal(), Signal()
        wanted = Array(Signal(name=f"wanted{index}") for index in range(2))
        m.d.comb += [
            write.en.eq(neuron.valid & neuron.ends & (led | leads)),
            write.addr.eq(Cat(length[growing][:bits], growing)),
            write.data.eq(Mux(leads, neuron.winner, leader)),
            read.addr.eq(Cat(self.position[:bits], older)),
            self.winner.eq(read.data),
            self.rows.eq(length[older]),
        ]
        with m.If(write.en):
            m.d.sync += length[growing].eq(length[growing] + 1)
        with m.If(self.release):
            m.d.sync += [wanted[older].eq(0), older.eq(~older)]
        with m.If(neuron.valid & neuron.last):
            m.d.sync += growing.eq(~growing)

        # The list a neuron goes into is claimed by its layer's first one.
        claims = Signal(init=1)  # the next neuron is a layer's first one
        claimed = Signal()  # the list it would claim
        m.d.comb += self.ready.eq(~claims | ~wanted[claimed])
        with m.If(self.valid):
            m.d.sync += claims.eq(self.last)
            with m.If(claims):
                m.d.sync += [wanted[claimed].eq(1), length[claimed].eq(0)]
            with m.If(self.last):
                m.d.sync += claimed.eq(~claimed)
        return m
