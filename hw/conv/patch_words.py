"""Patch words: the words of a layer's patches, from wherever they lie.

The first layer's come from the list that ingest made of the sample's nonzero words (:mod:`.patches`), those of the
layers above are gathered from the activations (:mod:`.gather`).
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.conv.gather import Gather, gathered_layout
from popflip.hw.conv.signatures import GroupReadSignature, PatchReadSignature


def pass_layout(chip: ChipConfig) -> data.StructLayout:
    """A request for all words of ``layer`` of the sample in ``slot``, whose list has ``words`` entries."""
    return data.StructLayout(
        {"layer": range(chip.depth), "slot": range(chip.slots), "words": range(chip.list_words + 1)}
    )


class PatchWords(wiring.Component):
    """Streams the words of a layer's patches, once for each ``start``.

    Members
    -------
    ``start`` : In(stream of :func:`pass_layout`)
        Taken with the request of the last word of the previous pass. Another layer may start only when all words of the
        previous one have been taken.
    ``patches`` : Out(PatchReadSignature), ``activations`` : Out(GroupReadSignature)
    ``o`` : Out(stream of :func:`.gather.gathered_layout`)
        In the first layer ``units`` are 0, and a word that is its pool's last has all of ``ends_position`` and
        ``ends_pool``; others have neither.

    A word a cycle in the first layer, as in :class:`.gather.Gather` above. Latency :attr:`latency` cycles at most.
    """

    latency = Gather.latency

    def __init__(self, chip: ChipConfig):
        self.chip, self.gather = chip, Gather(chip)
        super().__init__(
            {
                "start": In(stream.Signature(pass_layout(chip))),
                "patches": Out(PatchReadSignature(chip)),
                "activations": Out(GroupReadSignature(chip)),
                "o": Out(stream.Signature(gathered_layout(chip))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.gather = gather = self.gather
        wiring.connect(m, gather.activations, wiring.flipped(self.activations))
        request, first = self.start.payload, self.start.payload.layer == 0
        list_ready, listed, listed_last = self._read_list(m, self.start.valid & first)
        m.d.comb += [
            gather.start.valid.eq(self.start.valid & ~first),
            gather.start.payload.layer.eq(request.layer),
            gather.start.payload.slot.eq(request.slot),
            self.start.ready.eq(Mux(first, list_ready, gather.start.ready)),
            gather.o.ready.eq(self.o.ready),
            self.o.valid.eq(listed | gather.o.valid),
            self.o.payload.eq(gather.o.payload),
        ]
        entry, place, lanes = self.patches.data, self.o.payload.place, self.o.payload.lanes
        with m.If(listed):
            m.d.comb += [
                place.index.eq(entry.index),
                place.pool.eq(entry.pool),
                place.ends_position.eq(entry.last),
                place.ends_pool.eq(entry.last),
                place.ends_layer.eq(listed_last),
                lanes.enable.eq(entry.bits),
                lanes.positive.eq(entry.bits),
                self.o.payload.units.eq(0),
            ]
        return m

    def _read_list(self, m: Module, starts: Value) -> tuple[Value, Signal, Signal]:
        """Read the sample's list. Returns whether its last entry is requested, whether an entry is here, and whether it
        is the last one. The request stays at ``start`` meanwhile."""
        request = self.start.payload
        position = Signal(range(self.chip.list_words))
        listed, listed_last = Signal(), Signal()
        moves = ~listed | self.o.ready
        last = position == request.words - 1
        m.d.comb += [
            self.patches.en.eq(starts & moves),
            self.patches.slot.eq(request.slot),
            self.patches.position.eq(position),
        ]
        with m.If(moves):
            m.d.sync += [listed.eq(starts), listed_last.eq(last)]
        with m.If(starts & moves):
            m.d.sync += position.eq(Mux(last, 0, position + 1))
        return moves & last, listed, listed_last
