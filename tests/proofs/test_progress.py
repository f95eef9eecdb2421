"""No component with streams gets stuck: in a fair environment something moves within a bound, from every reset on.

A fair environment offers an item on every stream that the component receives and takes every item that it sends.
:data:`FAIR` has the bound of a component, and what else its environment does; :data:`OPEN` has those that are still to
be proven. The components are found in ``hw/`` by their signatures. Each entry plants a fault in the component's source
that the proof must find, which also shows that the assumptions leave a run to look at.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Assert, Assume, Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from formal import Verdict, inputs_of, missing_tools, mutant, search
from small_components import TERMS, components_without, example
from stream_rules import Contract, stays, streams_of

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())} (extras build, proof)"
    ),
]

WITHOUT = {
    "Chip": "Uart, Link and Trainer",
    "GftEngine": "Error, Learn and EndOfBatch, each on its own; too large for a solver",
    "Initialise": "a base class; GftInitialise and LbeInitialise are proven",
    "LbeEngine": "Unroll, Score, Error, Schedule and Update, each on its own; too large for a solver",
    "Link": "FrameReceiver, Controller and FrameSender, each on its own; too large for a solver",
    "SdramPads": "registers in pads, without streams",
    "StatePass": "a base class; EndOfBatch and Update are its rules' passes",
    "Trainer": "Ingest, Forward and an engine, each on its own; too large for a solver",
    "WriteBack": "a base class; Flip and ReinforceRow are proven",
}
"""Components that are not proven, each with the reason.

Parts that do not get stuck on their own may still wait for each other. Whole chips run in ``tests/system/`` and in the
testbenches, where a chip that gets stuck ends at a deadline.
"""

OPEN = (
    *("Backward", "BlockScan", "Controller", "EndOfBatch", "Flip", "FlipSignature", "Forward", "GftInitialise"),
    *("Ingest", "LbeInitialise", "Learn", "Order", "ReinforceRow", "Scan", "Schedule", "Score", "Sdram", "Select"),
    *("Uart", "UartReceiver", "UartSender", "Unpack", "Update"),
)
"""Components for which no bound has been proven yet. Whoever proves one moves it to :data:`FAIR`."""


@dataclass(frozen=True)
class Fair:
    """How soon something moves in a fair environment.

    ``patience`` : most cycles in a row in which nothing moves. ``depth`` : cycles from a reset that the proof covers.
    ``fault`` : a text in the component's module, and one that makes the component get stuck. ``environment`` : what a
    fair environment does besides offering and taking. ``moves`` : names of the streams that count; none: all of them.
    """

    patience: int
    depth: int
    fault: tuple[str, str]
    environment: Contract | None = None
    moves: tuple[str, ...] = ()


def progress(component: wiring.Component, fair: Fair) -> tuple[Module, list[Value]]:
    """The proof's module, and the inputs that the solver chooses."""
    m = Module()
    m.submodules.dut = component
    terms = TERMS.get(type(component).__name__)
    offers: dict[str, Value] = {}
    for contract in (terms and terms.contract, fair.environment):
        if contract is not None:
            offers |= contract(m, component) or {}
    streams = streams_of(component)
    for each in streams:
        if each.sends:
            m.d.comb += Assume(each.ready)
        else:
            stays(m, each, Assume)
            m.d.comb += Assume(each.valid | ~offers.get(each.name, Const(1)))
    still = Signal(range(fair.patience + 2))  # cycles in a row in which nothing moved
    moved = Cat(each.valid & each.ready for each in streams if not fair.moves or each.name in fair.moves).any()
    m.d.sync += still.eq(still + 1)
    with m.If(moved):
        m.d.sync += still.eq(0)
    m.d.comb += Assert(still <= fair.patience)
    return m, list(inputs_of(component))


# What a fair environment does -----------------------------------------------------------------------------------------


def _receiver(m: Module, dut: Any) -> None:
    """The buffer has room."""
    m.d.comb += Assume(~dut.buffer.full)


FAIR: dict[str, Fair] = {
    "Error": Fair(
        6,
        14,
        ("moves.eq(~self.o.valid | self.o.ready | ~leader.ended)", "moves.eq(self.o.valid & ~leader.ended)"),
    ),
    "FrameReceiver": Fair(1, 12, ('m.next = "HUNT"', 'm.next = "VERDICT"'), environment=_receiver),
    "FrameSender": Fair(
        3, 12, ("tx.valid.eq(payload.valid)", "tx.valid.eq(payload.valid & (phase == 7))"), moves=("tx",)
    ),
    "Mask": Fair(2, 12, ("(left != 0) & (~self.o.valid | self.o.ready)", "(left != 0) & self.o.valid")),
    "Prng": Fair(0, 4, ("self.words.valid.eq(1)", "self.words.valid.eq(self.load)")),
    "Queue": Fair(1, 8, ("self.o.valid.eq(level != 0)", "self.o.valid.eq(level > self.depth)"), moves=("o",)),
    "RegisteredQueue": Fair(1, 8, ("with m.If(free):", "with m.If(free & (level != 0)):"), moves=("o",)),
    "Unroll": Fair(
        1,
        8,
        ("self.i.ready.eq(~self.o.valid | (taken & ends_group))", "self.i.ready.eq(taken & ends_group)"),
        moves=("o",),
    ),
}


def with_streams() -> dict[str, type[wiring.Component]]:
    """The components that receive or send a stream, by name, without those of :data:`WITHOUT`."""
    found = {each.__name__: each for each in components_without(WITHOUT)}
    return {name: each for name, each in found.items() if streams_of(example(each))}


COMPONENTS = with_streams()


def test_every_component_has_an_entry():
    assert {*FAIR, *OPEN} == COMPONENTS.keys()
    assert not FAIR.keys() & {*OPEN}


@pytest.mark.parametrize("name", FAIR)
def test_nothing_waits_for_ever(name, tmp_path):
    fair = FAIR[name]
    assert search(*progress(example(COMPONENTS[name]), fair), fair.depth, tmp_path) == Verdict.HOLDS


@pytest.mark.parametrize("name", FAIR)
def test_the_proof_finds_a_component_that_gets_stuck(name, tmp_path, monkeypatch):
    fair = FAIR[name]
    plant(monkeypatch, sys.modules[COMPONENTS[name].__module__], *fair.fault)
    assert search(*progress(example(COMPONENTS[name]), fair), fair.depth, tmp_path) == Verdict.DISPROVED


def plant(monkeypatch: pytest.MonkeyPatch, module: ModuleType, old: str, new: str) -> None:
    """Replace ``old`` by ``new`` in the methods of the classes of ``module``."""
    for name, faulty in vars(mutant(module, old, new)).items():
        if inspect.isclass(faulty) and faulty.__module__ == module.__name__ and not issubclass(faulty, tuple):
            for method, code in vars(faulty).items():
                if inspect.isfunction(code) and "__class__" not in code.__code__.co_freevars:  # without super()
                    monkeypatch.setattr(getattr(module, name), method, code)
