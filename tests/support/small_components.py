"""For proofs: a small example of each component of ``hw/`` with streams, and what it requires of its environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from amaranth.hdl import Assume, Module, Signal, Value
from amaranth.lib import wiring
from chips import chip, lbe_chip
from stream_rules import Contract, Offers, components, kept_while, only_after

import popflip.hw
from popflip.golden.layers import Layer, Planes
from popflip.hw.link.identity import Identity
from popflip.hw.memory.sdram_part import COLORLIGHT_I5

GFT = chip(5, 3, 2, rows=2, lanes=4, mmax=3)
LBE = lbe_chip(5, 2, classes=2, rows=2, lanes=4, mmax=3)
CONV = chip("3x2", "c2k3", 2, rows=2, lanes=4, mmax=3, slots=2)
SERIAL = chip("3x2", "c4k3", 2, rows=4, lanes=4, mmax=3, slots=2, compact=True)

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "BlockBytes": (16,),
    "Controller": (GFT, Identity.of(GFT, 64, 0, bytes(8))),
    "Crc32": (),
    "FrameReceiver": (20,),
    "FrameSender": (),
    "Link": (GFT, Identity.of(GFT, 64, 0, bytes(8))),
    "Order": (37,),
    "PacketBuffer": (16,),
    "Patches": (Layer(Planes(2, 3), 1, 3, pool=2), 4),
    "Popcount": (4,),
    "Prng": (2,),
    "Queue": (3, 3),
    "RegisteredQueue": (3, 3),
    "Sdram": (replace(COLORLIGHT_I5, rows=2, columns=4, data_bits=1), COLORLIGHT_I5.cycles(72e6)),
    "Spram": (),
    "Store": (replace(GFT, store_samples=2),),
    "SpramBytes": (16,),
    "Uart": (8,),
    "UartReceiver": (8,),
    "UartSender": (8,),
    "Unroll": (2, 3, 2),
}
"""Arguments of constructors that take something else than a chip."""


def example(component: type[wiring.Component]) -> wiring.Component:
    """A small ``component``."""
    rooms = {".lbe.": LBE, ".conv.": CONV, ".serial.": SERIAL}
    chip = next((chip for room, chip in rooms.items() if room in component.__module__), GFT)
    return component(*ARGUMENTS.get(component.__name__, (chip,)))


def components_without(left_out: dict[str, str]) -> Iterator[type[wiring.Component]]:
    """The components of ``hw/``, without those of the names in ``left_out``."""
    return (each for each in components(popflip.hw) if each.__name__ not in left_out)


# What components require ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terms:
    """What a component requires of its environment. ``reason``: the sentence of its documentation that says so."""

    contract: Contract
    reason: str


def _backward(m: Module, dut: Any) -> None:
    m.d.comb += Assume(~(dut.valid & dut.ends_word) | dut.free)


def _ingest(m: Module, dut: Any) -> None:
    m.d.comb += Assume(dut.filled.ready)


def _gather(m: Module, dut: Any) -> None:
    kept_while(m, dut.o.valid & ~dut.o.ready, dut.activations.active.as_value())


def _patch_words(m: Module, dut: Any) -> None:
    request, place = dut.start.payload, dut.o.payload.place
    answers = dut.activations.active.as_value(), Value.cast(dut.patches.data)
    kept_while(m, dut.o.valid & ~dut.o.ready, *answers)
    passes, layer = Signal(4, name="passes"), Signal.like(request.layer, name="pass_layer")
    listed = layer == 0  # a list ends with its last entry, whatever that says of pools
    ends = dut.o.valid & dut.o.ready & place.ends_layer & (place.ends_position | listed)
    m.d.sync += passes.eq(passes + (dut.start.valid & dut.start.ready) - ends)
    with m.If(dut.start.valid):
        m.d.sync += layer.eq(request.layer)
        m.d.comb += Assume(((passes == 0) & ~dut.o.valid) | (request.layer == layer))
        m.d.comb += Assume(request.words != 0)
        m.d.comb += Assume(request.layer < dut.chip.depth)


def _prng(m: Module, dut: Any) -> None:
    m.d.comb += Assume(~dut.load)


def _scan(m: Module, dut: Any) -> None:
    kept_while(m, dut.o.valid & ~dut.o.ready, dut.flowing, dut.data.as_value())


def _schedule(m: Module, dut: Any) -> None:
    kept_while(m, dut.o.valid & ~dut.o.ready, dut.winner.as_value(), dut.rows)


def _sender(m: Module, dut: Any) -> None:
    kept_while(m, dut.tx.valid, dut.session)


def _store(m: Module, dut: Any) -> Offers:
    port, reads = dut.port, Signal(8, name="reads")
    number, sample = port.numbers, port.samples
    m.d.sync += reads.eq(reads + (number.valid & number.ready) - (sample.valid & sample.ready & sample.payload.last))
    idle = (reads == 0) & ~number.valid
    m.d.comb += Assume(~port.written.valid | idle)
    return {"port.written": idle}


def _write_back(m: Module, dut: Any) -> Offers:
    return {"i": only_after(m, dut.mask_start, dut.i, dut.i.payload.position.last)}


def _initialise(m: Module, dut: Any) -> Offers:
    return {"i": only_after(m, dut.scan, dut.i, dut.i.payload.last)}


TERMS = {
    "Backward": Terms(_backward, "the last row of a word may come only while free"),
    "ConvIngest": Terms(_ingest, "a slot must be taken"),
    "Flip": Terms(_write_back, "words come between the request for their masks and the last one"),
    "FrameSender": Terms(_sender, "the session changes only between frames"),
    "Gather": Terms(_gather, "data are held until those of the next request"),
    "GftInitialise": Terms(_initialise, "words come after they are requested, up to the last one"),
    "PatchWords": Terms(_patch_words, "another layer starts when all words are taken; data are held; no list is empty"),
    "Prng": Terms(_prng, "a new state is loaded while nobody draws"),
    "ReinforceRow": Terms(_write_back, "words come between the request for their masks and the last one"),
    "Schedule": Terms(_schedule, "the list of winners answers a cycle after the position, which stays"),
    "Store": Terms(_store, "items are written only while no sample is being read"),
    "Scan": Terms(_scan, "data are stable until those of the next request; flowing changes between scans"),
}
