"""Progress as assertions, for any component: in a fair environment no stream waits longer than a bound.

A fair environment withholds nothing for two cycles in a row:

* it takes an item that the component offers in that cycle or the next one;
* it offers an item, on each stream that the component receives, in the cycle in which it may come or the next one.

So the component alone can make a stream wait. For each stream a counter tells for how many cycles in a row nothing was
taken; the assertion is that it never exceeds the stream's bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from amaranth.hdl import Assert, Assume, Const, Module, Signal, Value
from amaranth.lib import wiring
from formal import inputs_of, opened
from small_components import TERMS, example
from stream_rules import Contract, Stream, stays, streams_of

Registers = Mapping[str, Signal]
Waits = Callable[[Module, Any, Registers], Mapping[str, Value]]
"""For a component and its registers: when something waits, by name. It may add invariants, as assertions."""


@dataclass(frozen=True)
class Fair:
    """A proof of progress.

    ``bounds`` : the most cycles in a row in which a stream waits, by its name, or something else of ``waits``.
    ``cycles`` : cycles that the proof looks at: the length of the induction, or the cycles from reset.
    ``fault`` : a text in the component's module, or in ``where``, and one that makes the component get stuck.
    ``environment`` : what the component requires besides its :data:`.small_components.TERMS`.
    ``waits`` : when a stream waits that does not always do so: an answer is due. Further waits have names of their own.
    ``small`` : makes the component that is proven; by default the usual small example.
    ``simpler`` : texts of its module and what replaces them in the proof, alternately; ``fault`` comes on top.
    ``shows`` : cycles from reset within which the fault shows; ``cycles`` by default.
    """

    bounds: Mapping[str, int]
    cycles: int
    fault: tuple[str, str]
    where: ModuleType | None = None
    environment: Contract | None = None
    waits: Waits | None = None
    small: Callable[[], wiring.Component] | None = None
    simpler: tuple[str, ...] = ()
    shows: int | None = None

    def component(self, kind: type[wiring.Component]) -> wiring.Component:
        """The ``kind`` of component, as small as it is proven."""
        return example(kind) if self.small is None else self.small()


def progress(component: wiring.Component, fair: Fair) -> tuple[Module, list[Value]]:
    """The proof's module, and the inputs that the solver chooses."""
    m = Module()
    registers = opened(m, component)
    streams = {each.name: each for each in streams_of(component)}
    may_come = _environment(m, component, fair)
    waits = {name: may_come.get(name, Const(1)) for name in streams}
    if fair.waits is not None:
        waits |= fair.waits(m, component, registers)
    for name, each in streams.items():
        _be_fair(m, each, may_come.get(name, Const(1)))
        waits[name] = waits[name] & ~taken(each)
    for name, bound in fair.bounds.items():
        still = Signal(range(bound + 2), name=f"{name}_still")
        m.d.sync += still.eq(still + 1)
        with m.If(~waits[name]):
            m.d.sync += still.eq(0)
        m.d.comb += Assert(still <= bound)
    return m, list(inputs_of(component))


def _environment(m: Module, component: Any, fair: Fair) -> dict[str, Value]:
    """Add what the component requires. Returns when streams may come that come only at times."""
    terms = TERMS.get(type(component).__name__)
    may_come: dict[str, Value] = {}
    for contract in (terms and terms.contract, fair.environment):
        if contract is not None:
            may_come |= contract(m, component) or {}
    return may_come


def _be_fair(m: Module, each: Stream, may_come: Value) -> None:
    """The environment's side of a stream."""
    if each.sends:
        at_times(m, ~each.valid | each.ready)
    else:
        stays(m, each, Assume)
        at_times(m, ~may_come | each.valid)


# What environments do -------------------------------------------------------------------------------------------------


def taken(each: Any) -> Value:
    """An item of a stream is taken in this cycle."""
    return each.valid & each.ready


def at_times(m: Module, value: Value) -> None:
    """Assume that ``value`` is never low for two cycles in a row."""
    low = Signal(name="was_low")
    m.d.sync += low.eq(~value)
    m.d.comb += Assume(value | ~low)


def ends_within(m: Module, each: Any, last: Value, items: int) -> None:
    """Assume that at most ``items`` items of a stream come up to one with ``last``."""
    count = Signal(range(items), name="items")
    with m.If(taken(each)):
        m.d.sync += count.eq(count + 1)
        with m.If(last):
            m.d.sync += count.eq(0)
    m.d.comb += Assume(~each.valid | last | (count < items - 1))


def owed(m: Module, comes: Value, goes: Value, most: int) -> Signal:
    """How much has come and not gone, up to ``most``."""
    count = Signal(range(most + 1), name="owed")
    m.d.sync += count.eq(count + comes - goes)
    return count


def states(state: Signal) -> dict[str, int]:
    """The states of a state machine with register ``state``, by name."""
    numbers: dict[str, int] = {}
    with suppress(KeyError):  # the decoder knows the states, numbered from 0
        for number in range(1 << len(state)):
            numbers[str(state.decoder(number)).split("/")[0]] = number
    return numbers
