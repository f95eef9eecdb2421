"""Every component with streams keeps their rules: ``valid`` is never withdrawn, the payload stays until it is taken.

The components are all those that the modules of ``hw/`` define, and their streams are read from their signatures. A new
component is proven with no word here if its constructor takes a chip, its environment is free, and a proof is possible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from amaranth.hdl import Assert, Assume, Cat, Module, Signal
from amaranth.lib import wiring
from chips import chip, lbe_chip
from formal import ProofError, Verdict, missing_tools, mutant, prove, search
from stream_rules import Contract, components, kept_while, only_after, stream_rules, streams_of

import popflip.hw
from popflip.hw.lib import stream
from popflip.hw.memory.sdram_part import COLORLIGHT_I5

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())} (extras build, proof)"
    ),
]

GFT = chip(5, 3, 2, rows=2, lanes=4, mmax=3)
LBE = lbe_chip(5, 2, classes=2, rows=2, lanes=4, mmax=3)
INDUCTION = 2  # cycles
BOUND = 12
"""Cycles from reset that a proof covers where induction does not decide."""

WITHOUT = {
    "Initialise": "a base class; GftInitialise and LbeInitialise are proven",
    "StatePass": "a base class that sends no stream",
    "WriteBack": "a base class; Flip and ReinforceRow are proven",
    "Chip": "receives and sends through Link; too large for a solver",
    "Controller": "depends on what PacketBuffer promises; sim/link/tb_controller.py checks its streams in every run",
    "SdramPads": "registers in pads, which send no stream",
    "Link": "FrameReceiver, Controller and FrameSender, each on its own; too large for a solver",
    "Trainer": "its parts are proven; too large for a solver",
    "GftEngine": "sends what its parts send; too large for a solver",
    "LbeEngine": "sends what its parts send; too large for a solver",
}
"""Components that are not proven, each with the reason."""

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "BlockBytes": (16,),
    "Crc32": (),
    "FrameReceiver": (20,),
    "FrameSender": (),
    "Order": (37,),
    "PacketBuffer": (16,),
    "Popcount": (4,),
    "Prng": (2,),
    "Queue": (3, 3),
    "RegisteredQueue": (3, 3),
    "Sdram": (replace(COLORLIGHT_I5, rows=2, columns=4, data_bits=1), COLORLIGHT_I5.cycles(72e6)),
    "Spram": (),
    "SpramBytes": (16,),
    "Uart": (8,),
    "UartReceiver": (8,),
    "UartSender": (8,),
    "Unroll": (2, 3, 2),
}
"""Arguments of constructors that take something else than a chip."""


@dataclass(frozen=True)
class Terms:
    """What a component requires of its environment. ``reason``: the sentence of its documentation that says so."""

    contract: Contract
    reason: str


def _backward(m: Module, dut: Any) -> None:
    m.d.comb += Assume(~(dut.valid & dut.ends_word) | dut.free)


def _prng(m: Module, dut: Any) -> None:
    m.d.comb += Assume(~dut.load)


def _scan(m: Module, dut: Any) -> None:
    kept_while(m, dut.o.valid & ~dut.o.ready, dut.flowing, dut.data.as_value())


def _schedule(m: Module, dut: Any) -> None:
    kept_while(m, dut.o.valid & ~dut.o.ready, dut.winner.as_value(), dut.rows)


def _sender(m: Module, dut: Any) -> None:
    kept_while(m, dut.tx.valid, dut.session)


def _write_back(m: Module, dut: Any) -> None:
    only_after(m, dut.mask_start, dut.i, dut.i.payload.position.last)


def _initialise(m: Module, dut: Any) -> None:
    only_after(m, dut.scan, dut.i, dut.i.payload.last)


TERMS = {
    "Backward": Terms(_backward, "the last row of a word may come only while free"),
    "Flip": Terms(_write_back, "words come between the request for their masks and the last one"),
    "FrameSender": Terms(_sender, "the session changes only between frames"),
    "GftInitialise": Terms(_initialise, "words come after they are requested, up to the last one"),
    "Prng": Terms(_prng, "a new state is loaded while nobody draws"),
    "ReinforceRow": Terms(_write_back, "words come between the request for their masks and the last one"),
    "Schedule": Terms(_schedule, "the list of winners answers a cycle after the position, which stays"),
    "Scan": Terms(_scan, "data are stable until those of the next request; flowing changes between scans"),
}


def example(component: type[wiring.Component]) -> wiring.Component:
    """A small ``component``."""
    arguments = ARGUMENTS.get(component.__name__, (LBE if ".lbe." in component.__module__ else GFT,))
    return component(*arguments)


def senders() -> dict[str, type[wiring.Component]]:
    """The components that send a stream, by name, without those of :data:`WITHOUT`."""
    found = {each.__name__: each for each in components(popflip.hw) if each.__name__ not in WITHOUT}
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


# Progress -------------------------------------------------------------------------------------------------------------

PATIENCE = {"Queue": 1, "RegisteredQueue": 2, "Unroll": 2, "Error": 6, "FrameSender": 3}
"""Bound on the cycles in a row in which nothing moves, while every sender offers and every receiver takes.

For components that wait for nothing but their streams.
"""


def progress(component: wiring.Component, patience: int) -> tuple[Module, list]:
    """Something moves in every ``patience + 1`` cycles: no deadlock within the bound."""
    m, inputs, _ = stream_rules(component)
    streams = streams_of(component)
    still = Signal(range(patience + 2))  # cycles in a row in which nothing moved
    m.d.sync += still.eq(0)
    with m.If(Cat(each.valid & each.ready for each in streams) == 0):
        m.d.sync += still.eq(still + 1)
    m.d.comb += [Assume(each.ready if each.sends else each.valid) for each in streams]
    m.d.comb += Assert(still <= patience)
    return m, inputs


@pytest.mark.parametrize("name", PATIENCE)
def test_nothing_waits_for_ever(name, tmp_path):
    assert search(*progress(example(SENDERS[name]), PATIENCE[name]), BOUND, tmp_path) == Verdict.HOLDS


def test_the_proof_of_progress_finds_a_deadlock(tmp_path):
    faulty = mutant(stream, "self.o.valid.eq(level != 0)", "self.o.valid.eq(level > self.depth)").Queue
    assert search(*progress(faulty(*ARGUMENTS["Queue"]), PATIENCE["Queue"]), BOUND, tmp_path) == Verdict.DISPROVED
