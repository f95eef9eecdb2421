"""Every component with streams keeps their rules: ``valid`` is never withdrawn, the payload stays until it is taken.

The components are all those that the modules of ``hw/`` define, and their streams are read from their signatures. A new
component is proven with no word here if its constructor takes a chip, its environment is free, and a proof is possible.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from formal import ProofError, Verdict, missing_tools, mutant, prove, search
from small_components import ARGUMENTS, GFT, TERMS, components_without, example
from stream_rules import components, stream_rules, streams_of

import popflip.hw
from popflip.hw.lib import stream
from popflip.hw.link import sdram_store
from popflip.hw.link.sdram_store import SdramStore
from popflip.hw.memory.sdram import Sdram

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())} (extras build, proof)"
    ),
]

INDUCTION = 2  # cycles
BOUND = 12
"""Cycles from reset that a proof covers where induction does not decide."""

WITHOUT = {
    "Initialise": "a base class; GftInitialise and LbeInitialise are proven",
    "SdramStore": "its SDRAM starts up for longer than a solver follows; proven below with any SDRAM",
    "StatePass": "a base class that sends no stream",
    "WriteBack": "a base class; Flip and ReinforceRow are proven",
    "Chip": "receives and sends through Link; too large for a solver",
    "Controller": "depends on what PacketBuffer promises; sim/link/tb_controller.py checks its streams in every run",
    "SdramPads": "registers in pads, which send no stream",
    "Link": "FrameReceiver, Controller and FrameSender, each on its own; too large for a solver",
    "Trainer": "its parts are proven; too large for a solver",
    "UsbSerial": "LUNA and queues between two clocks; tests/link/test_usb.py runs it over the wires of the bus",
    "ConvForward": "too large for a solver; sim/conv/tb_forward.py checks its streams in every run",
    "ConvLearn": "sends no stream but through PatchWords; too large for a solver",
    "GftEngine": "sends what its parts send; too large for a solver",
    "LbeEngine": "sends what its parts send; too large for a solver",
}
"""Components that are not proven, each with the reason."""


def senders() -> dict[str, type[wiring.Component]]:
    """The components that send a stream, by name, without those of :data:`WITHOUT`."""
    found = {each.__name__: each for each in components_without(WITHOUT)}
    return {name: each for name, each in found.items() if any(port.sends for port in streams_of(example(each)))}


SENDERS = senders()


def verdict_on(component: wiring.Component, folder) -> Verdict:
    """By induction, for all runs; where that does not decide, for the first cycles of all runs."""
    terms = TERMS.get(type(component).__name__)
    m, inputs, _ = stream_rules(component, terms and terms.contract)
    try:
        return prove(m, inputs, INDUCTION, folder / "induction")
    except ProofError:
        return search(m, inputs, BOUND, folder / "bounded")


def test_the_lists_name_components_that_exist():
    names = {each.__name__ for each in components(popflip.hw)}
    assert WITHOUT.keys() | ARGUMENTS.keys() | TERMS.keys() <= names
    assert SENDERS.keys() >= TERMS.keys()


def test_every_component_that_sends_is_found():
    assert {"Forward", "Error", "Backward", "Select", "Flip", "Score", "FrameSender"} <= SENDERS.keys()


@pytest.mark.parametrize("name", SENDERS)
def test_streams_keep_the_rules(name, tmp_path):
    assert verdict_on(example(SENDERS[name]), tmp_path) in (Verdict.PROVEN, Verdict.HOLDS)


class AnySdram(wiring.Component):
    """The members of an :class:`Sdram`, with nothing behind them."""

    def __init__(self, sdram: Sdram):
        super().__init__(sdram.signature)

    def elaborate(self, platform) -> Module:
        return Module()


class StoreOfAnySdram(wiring.Component):
    """A store whose streams to and from its SDRAM are its own: the solver chooses what the SDRAM does."""

    def __init__(self, faulty: type[SdramStore] = SdramStore):
        self.store = faulty(replace(GFT, sdram="colorlight_i5", store_samples=4), 50e6)
        self.store.sdram = self.sdram = AnySdram(self.store.sdram)
        ends = {name: self.sdram.signature.members[name].flip() for name in ("requests", "write", "read")}
        super().__init__({"port": self.store.signature.members["port"], **ends})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.store = self.store
        wiring.connect(m, wiring.flipped(self.port), self.store.port)
        for name in ("requests", "write"):
            ours, theirs = getattr(self, name), getattr(self.sdram, name)
            m.d.comb += [ours.valid.eq(theirs.valid), ours.payload.eq(theirs.payload), theirs.ready.eq(ours.ready)]
        theirs = self.sdram.read
        m.d.comb += [theirs.valid.eq(self.read.valid), theirs.payload.eq(self.read.payload)]
        m.d.comb += self.read.ready.eq(theirs.ready)
        return m


def rules_of_a_store(store: StoreOfAnySdram, folder) -> Verdict:
    m, inputs, waits = stream_rules(store, TERMS["Store"].contract)
    assert len(waits) == 3  # samples, requests, words to write
    return search(m, inputs, BOUND, folder)


def test_the_store_in_an_sdram_keeps_the_rules(tmp_path):
    """With every SDRAM that keeps them: the chip's, and any other."""
    assert rules_of_a_store(StoreOfAnySdram(), tmp_path) == Verdict.HOLDS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("written.ready.eq(~sends_word & ~sends_request)", "written.ready.eq(~sends_request)"),
        ("words.ready.eq(skips | (taken & ", "words.ready.eq(skips | (shown & "),
        (
            "with m.If(sdram.requests.ready):\n            m.d.sync += sends_request.eq(0)",
            "m.d.sync += sends_request.eq(0)",
        ),
    ],
    ids=["word", "sample", "request"],
)
def test_the_proof_finds_a_fault_of_the_store(old, new, tmp_path):
    faulty = mutant(sdram_store, old, new).SdramStore
    assert rules_of_a_store(StoreOfAnySdram(faulty), tmp_path) == Verdict.DISPROVED


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("Unroll", "self.i.ready.eq(~self.o.valid | (taken & ends_group))", "self.i.ready.eq(1)"),
        ("RegisteredQueue", "with m.If(free):", "with m.If(free | (level == 1)):"),
    ],
)
def test_the_proof_of_the_rules_finds_a_fault(name, old, new, tmp_path):
    faulty = getattr(mutant(stream, old, new), name)
    m, inputs, _ = stream_rules(faulty(*ARGUMENTS[name]))
    assert search(m, inputs, BOUND, tmp_path) == Verdict.DISPROVED


@pytest.mark.parametrize("name", ["Prng", "Backward", "Scan"])
def test_without_its_terms_a_component_breaks_the_rules(name, tmp_path):
    """The terms are needed, and the proof sees a stream that waits."""
    m, inputs, _ = stream_rules(example(SENDERS[name]))
    assert search(m, inputs, BOUND, tmp_path) == Verdict.DISPROVED
