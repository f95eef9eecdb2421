"""Pool accumulator: adds the array's products over the words and the positions of a pool, for ``P`` rows (sum pooling).

    v_oq = Σ_{positions of pool q} Σ_g product_og

Positions come row by row, so the positions of a pool come in ``pool`` runs, with those of its neighbours in between. A
register holds the sums of the current pool; a memory holds those of the pools beside it until their next run.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.utils import ceil_log2

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import sum_shape


class PoolAccumulator:
    """A part of :class:`.forward.ConvForward`. It adds its logic to that component's module ``m``.

    ``v`` : the sums of ``P`` rows, complete in the cycle after a word that ends a pool.

    Pools that are open at the same time lie in one row of pools: the lowest bits of their numbers tell them apart.
    """

    def __init__(self, m: Module, chip: ChipConfig):
        self._m, self._chip = m, chip
        self.v = Signal(data.ArrayLayout(sum_shape(chip), chip.array_rows))
        self._across = max((layer.outputs.width for layer in chip.plan if layer.pool > 1), default=0)

    def add(self, tag_before: data.View, tag: data.View, products: data.View) -> None:
        """Add ``products``, one a row, of the word with ``tag``: ``valid``, its ``pool``, and whether it ``ends_pool``.
        ``tag_before`` : the tag of the next cycle."""
        m, v = self._m, self.v
        open_ = Signal(name="pool_open")  # `v` holds sums of a pool that is not complete
        starts = [0] * len(v)
        if self._across:
            starts = self._resume(tag_before, tag, open_)
        with m.If(tag.valid):
            m.d.sync += open_.eq(~tag.ends_pool)
            for row, start in enumerate(starts):
                m.d.sync += v[row].eq(Mux(open_ & self._same, v[row], start) + products[row])

    def _resume(self, tag_before: data.View, tag: data.View, open_: Signal) -> list:
        """Keep the sums of a pool when another one follows, and read them back. Returns where a pool's run starts."""
        m, chip, bits = self._m, self._chip, ceil_log2(self._across)
        memory = Memory(shape=self.v.shape(), depth=1 << bits, init=[])
        m.submodules.pools = memory
        write = memory.write_port()
        read = memory.read_port(transparent_for=(write,))
        begun = Signal(1 << bits, name="pools_begun")  # pools with sums in the memory
        held = Signal(bits, name="pool_held")  # the pool in `v`
        here = tag.pool[:bits]
        self._same = held == here
        kept = tag.valid & open_ & ~self._same
        m.d.comb += [
            read.en.eq(tag_before.valid),
            read.addr.eq(tag_before.pool),
            write.en.eq(kept),
            write.addr.eq(held),
            write.data.eq(self.v),
        ]
        resumes = begun.bit_select(here, 1)
        with m.If(tag.valid):
            m.d.sync += held.eq(here)
            with m.If(kept):
                m.d.sync += begun.bit_select(held, 1).eq(1)
            with m.If(tag.ends_pool):
                m.d.sync += begun.bit_select(here, 1).eq(0)
        return [Mux(resumes, read.data[row], 0) for row in range(chip.array_rows)]

    _same = 1
