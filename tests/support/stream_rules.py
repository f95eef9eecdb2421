"""The rules of streams as assumptions and assertions, for any component: its streams are found in its signature."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from amaranth.hdl import Assert, Assume, Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from formal import inputs_of


@dataclass(frozen=True)
class Stream:
    """A stream of a component. ``sends``: the component drives ``valid`` and ``payload``."""

    name: str
    sends: bool
    valid: Value
    ready: Value
    payload: Value


def components(package: ModuleType) -> Iterator[type[wiring.Component]]:
    """All components that the modules of ``package`` define, by module and name."""
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for _, found in inspect.getmembers(module, inspect.isclass):
            if issubclass(found, wiring.Component) and found.__module__ == info.name:
                yield found


def streams_of(dut: wiring.Component) -> list[Stream]:
    """The streams in the signature of ``dut``, at any depth."""
    found = []
    for path, member, valid in dut.signature.flatten(dut):
        if path[-1] == "valid":
            port = dut
            for name in path[:-1]:
                port = getattr(port, str(name)) if isinstance(name, str) else port[name]
            if isinstance(port.signature, stream.Signature) or isinstance(port.signature.flip(), stream.Signature):
                values = (Value.cast(value) for value in (valid, port.ready, port.payload))
                found.append(Stream(".".join(map(str, path[:-1])), member.flow is wiring.Out, *values))
    return found


Offers = Mapping[str, Value]
"""For a stream that a component receives only at times: its name, and when it may come."""
Contract = Callable[[Module, wiring.Component], Offers | None]
"""Adds what a component requires of its environment, as assumptions, to a proof's module."""


def stream_rules(dut: wiring.Component, contract: Contract | None = None) -> tuple[Module, list[Value], list[Signal]]:
    """The rules: ``valid`` is never withdrawn, and the payload is stable until it is taken.

    Assumes them of the streams that ``dut`` receives and asserts them of those that it sends, whatever ``ready`` is.
    Returns the module, the inputs that the solver chooses, and for each sent stream whether it waited in the cycle
    before.
    """
    m = Module()
    m.submodules.dut = dut
    waits = []
    for each in streams_of(dut):
        waiting = stays(m, each, Assert if each.sends else Assume)
        if each.sends:
            waits.append(waiting)
    if contract is not None:
        contract(m, dut)
    return m, list(inputs_of(dut)), waits


def stays(m: Module, each: Stream, rule: Any) -> Signal:
    """Add ``rule`` (assume or assert) that ``each`` stays until it is taken. Returns whether it waited before."""
    waiting, before = Signal(name=f"{each.name}_waiting"), Signal(len(each.payload), name=f"{each.name}_before")
    m.d.sync += [waiting.eq(each.valid & ~each.ready), before.eq(each.payload)]
    with m.If(waiting):
        m.d.comb += rule(each.valid & (each.payload == before))
    return waiting


def kept_while(m: Module, condition: Value, *values: Value) -> None:
    """Assume that ``values`` do not change in a cycle that follows one with ``condition``."""
    now = Cat(*values)
    before, last = Signal(len(now), name="kept_before"), Signal(name="kept_last")
    m.d.sync += [before.eq(now), last.eq(condition)]
    with m.If(last):
        m.d.comb += Assume(now == before)


def only_after(m: Module, request: Any, answers: Any, last: Value) -> Signal:
    """Assume that stream ``answers`` begins after an item of ``request`` was taken, and pauses after its ``last``.

    Returns when it may come.
    """
    asked = Signal(name="asked")
    with m.If(request.valid & request.ready):
        m.d.sync += asked.eq(1)
    with m.Elif(answers.valid & answers.ready & last):
        m.d.sync += asked.eq(0)
    m.d.comb += Assume(~answers.valid | asked)
    return asked
