"""Faults of the hardware that no test can see: a solver finds no run in which the faulty component answers differently.

The faults are those of ``tests/mutants/equivalent.toml`` below ``hw/``. The proof is by induction if equal registers
stay equal, or those of :data:`RELATED` related, else for the first cycles after a reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from amaranth.hdl import Assert, Module, Mux, Signal, Value
from amaranth.lib import wiring
from fair import states as fsm_states
from formal import ProofError, Verdict, inputs_of, missing_tools, mutant, opened, prove, search
from mutate import ROOT, equivalent
from mutations import fault_of
from small_components import components_without, example

from popflip.hw.lib import stream

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())} (extras build, proof)"
    ),
]

BOUND = 20
"""Cycles from a reset that a comparison covers where induction does not decide."""
HARDWARE = [entry for entry in equivalent() if entry["path"].startswith("hw/")]


def _phase(mine: dict[str, Signal]) -> Value:
    """A receiver's place in a header, counted downwards."""
    state, phase = mine["fsm_state"], mine["phase"]
    return Mux(state == fsm_states(state)["HEADER"], (-phase)[: len(phase)], phase)


RELATED: dict[tuple[str, str], Callable[[dict[str, Signal]], Value]] = {("FrameReceiver", "phase"): _phase}
"""Registers of a faulty component that follow from those of the right one though they differ, by class and name."""


def side_by_side(one: wiring.Component, other: wiring.Component, registers: bool) -> tuple[Module, list[Value]]:
    """Both components get the same inputs; all outputs are equal, and with ``registers`` all registers."""
    m = Module()
    m.submodules.one, m.submodules.other = one_part, other_part = Module(), Module()
    states = opened(one_part, one), opened(other_part, other)
    m.d.comb += [Value.cast(theirs).eq(mine) for mine, theirs in zip(inputs_of(one), inputs_of(other), strict=True)]
    for (_, member, mine), (_, _, theirs) in zip(
        one.signature.flatten(one), other.signature.flatten(other), strict=True
    ):
        if member.flow is wiring.Out and len(Value.cast(mine)):
            m.d.comb += Assert(Value.cast(mine) == Value.cast(theirs))
    if registers:
        mine, theirs = states
        for name, register in mine.items():
            related = RELATED.get((type(one).__name__, name))
            m.d.comb += Assert(theirs[name] == (related(mine) if related else register))
    return m, list(inputs_of(one))


def verdict_on(one: wiring.Component, other: wiring.Component, folder: Path) -> Verdict:
    """Whether the two components answer alike."""
    try:
        verdict = prove(*side_by_side(one, other, True), 1, folder / "induction")
    except ProofError:
        verdict = Verdict.DISPROVED
    if verdict == Verdict.PROVEN:
        return verdict
    return search(*side_by_side(one, other, False), BOUND, folder / "bounded")


def faulty_parts(entry: dict[str, str]) -> Iterator[tuple[type[wiring.Component], type[wiring.Component]]]:
    """The components of a module, and the same ones of its faulty source."""
    name = f"popflip.{entry['path'].removesuffix('.py').replace('/', '.')}"
    source = (ROOT / entry["path"]).read_bytes()
    faulty = ModuleType(name)
    faulty.__package__ = name.rpartition(".")[0]
    exec(compile(fault_of(entry, source).apply(source), entry["path"], "exec"), vars(faulty))
    for component in components_without({}):
        if component.__module__ == name:
            yield component, getattr(faulty, component.__name__)


@pytest.mark.parametrize("entry", HARDWARE, ids=lambda entry: f"{entry['path']}:{entry['text']}")
def test_a_listed_fault_changes_nothing(entry, tmp_path):
    parts = list(faulty_parts(entry))
    assert parts, "a fault outside of components needs a proof of its own"
    for component, faulty in parts:
        assert verdict_on(example(component), example(faulty), tmp_path / component.__name__) != Verdict.DISPROVED


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("self.o.valid.eq(level != 0)", "self.o.valid.eq(level > 0)", Verdict.PROVEN),
        ("self.o.valid.eq(level != 0)", "self.o.valid.eq(level > 1)", Verdict.DISPROVED),
        ("level.eq(level + put - get)", "level.eq(Mux(put == get, level, level + put - get))", Verdict.PROVEN),
        ("self.i.ready.eq(level != self.depth)", "self.i.ready.eq(level < 9)", Verdict.DISPROVED),
    ],
    ids=["alike", "late", "alike registers", "overflows"],
)
def test_the_comparison_tells_faults_from_rewritings(old, new, verdict, tmp_path):
    faulty = mutant(stream, old, new).Queue
    assert verdict_on(stream.Queue(3, 3), faulty(3, 3), tmp_path) == verdict
