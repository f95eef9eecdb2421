"""Winner: in each group of neurons, the wrong one that is easiest to correct, or a right one that is nearly wrong
(golden ``winner.winners``).

    argmin |z_o|  over the neurons of the group with a'_o ≠ ρ_t[o], lowest index on ties        (arXiv 2412.00119)

or, if there is none, of those with |z_o| < NEAR.

The component keeps a running minimum over the stream of sums. It keeps no sum: each layer leaves a list of rows.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from popflip.hw.common.forward import active
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sum_shape


def winner_layout(chip: ChipConfig) -> data.StructLayout:
    """A row to update, and its desired activation: bit 1 is +1."""
    return data.StructLayout({"row": range(max(chip.rows)), "desired": 1})


class Winner(wiring.Component):
    """Keeps the lists of two layers: one grows while the rows of the other are updated.

    Members
    -------
    ``valid`` : In(1), ``z`` : In(signed), ``desired`` : In(1), ``last`` : In(1)
        A neuron: its sum, its desired activation, and whether it is the layer's last one. Only while ``ready``.
    ``ready`` : Out(1)
        Low when a layer would start and both lists are in use.
    ``group`` : In(range)
        Neurons in a group of the layer, 1 or more; the last group may have fewer.
    ``near`` : In(range)
        Right neurons of the layer win with a smaller ``|z|``, in groups without a wrong one.
    ``rows`` : Out(range)
        Length of the older list; valid after the end of its layer.
    ``position`` : In(range), ``winner`` : Out(winner_layout)
        The row at a position of the older list, a cycle later.
    ``release`` : In(1)
        Frees the older list.

    Takes a neuron a cycle. The list is complete :attr:`latency` cycles after the layer's last neuron.
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
                "near": In(range(chip.v_max + 2)),
                "rows": Out(range(most + 1)),
                "position": In(range(most)),
                "winner": Out(winner_layout(chip)),
                "release": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        neuron = self._register_neuron(m)
        winner, found = self._find_minimum(m, neuron)
        most = max(self.chip.rows)
        self.length = Array(Signal(range(most + 1), name=f"length{index}") for index in range(2))
        self.in_use = Array(Signal(name=f"in_use{index}") for index in range(2))
        self._keep_lists(m, neuron, winner, found)
        self._claim_list(m)
        return m

    def _register_neuron(self, m: Module) -> data.View:
        """The neuron a cycle later: its magnitude, and whether it may win."""
        chip = self.chip
        row = Signal(range(max(chip.rows)))
        place = Signal(range(max(chip.rows)))  # in the group
        ends_group = self.last | (place + 1 == self.group)
        neuron = Signal(
            data.StructLayout(
                {
                    "valid": 1,
                    "wrong": 1,
                    "near": range(chip.v_max + 2),
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
                neuron.near.eq(self.near),
                neuron.magnitude.eq(Mux(self.z < 0, -self.z, self.z)),
                neuron.winner.row.eq(row),
                neuron.winner.desired.eq(self.desired),
                neuron.starts.eq(place == 0),
                neuron.ends.eq(ends_group),
                neuron.last.eq(self.last),
            ]
        return neuron

    def _find_minimum(self, m: Module, neuron: data.View) -> tuple[Value, Value]:
        """The winner among the neurons of the group up to ``neuron``, and whether there is one."""
        found = Signal()
        distance = Cat(neuron.magnitude, ~neuron.wrong)  # wrong neurons come first
        smallest = Signal(len(distance), name="smallest")
        leader = Signal(winner_layout(self.chip))
        led = found & ~neuron.starts
        may_win = neuron.wrong | (neuron.magnitude < neuron.near)
        leads = may_win & (~led | (distance < smallest))
        with m.If(neuron.valid):
            m.d.sync += found.eq(led | leads)
            with m.If(leads):
                m.d.sync += [smallest.eq(distance), leader.eq(neuron.winner)]
        return Mux(leads, neuron.winner, leader), led | leads

    def _keep_lists(self, m: Module, neuron: data.View, winner: Value, found: Value) -> None:
        """One list grows at its end; ``position`` reads the older one."""
        bits = ceil_log2(max(self.chip.rows))
        m.submodules.lists = lists = Memory(shape=winner_layout(self.chip), depth=2 << bits, init=[])
        write, read = lists.write_port(), lists.read_port()
        growing, older = Signal(), Signal()
        m.d.comb += [
            write.en.eq(neuron.valid & neuron.ends & found),
            write.addr.eq(Cat(self.length[growing][:bits], growing)),
            write.data.eq(winner),
            read.addr.eq(Cat(self.position[:bits], older)),
            self.winner.eq(read.data),
            self.rows.eq(self.length[older]),
        ]
        with m.If(write.en):
            m.d.sync += self.length[growing].eq(self.length[growing] + 1)
        with m.If(self.release):
            m.d.sync += [self.in_use[older].eq(0), older.eq(~older)]
        with m.If(neuron.valid & neuron.last):
            m.d.sync += growing.eq(~growing)

    def _claim_list(self, m: Module) -> None:
        """A layer's first neuron claims the list for the layer."""
        claims = Signal(init=1)  # the next neuron is a layer's first one
        claimed = Signal()  # the list it would claim
        m.d.comb += self.ready.eq(~claims | ~self.in_use[claimed])
        with m.If(self.valid):
            m.d.sync += claims.eq(self.last)
            with m.If(claims):
                m.d.sync += [self.in_use[claimed].eq(1), self.length[claimed].eq(0)]
            with m.If(self.last):
                m.d.sync += claimed.eq(~claimed)
