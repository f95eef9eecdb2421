"""The rules of streams as assumptions and assertions, for any component: its streams are found in its signature."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

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


def stream_rules(dut: wiring.Component, kept: tuple[str, ...] = ()) -> tuple[Module, list[Value]]:
    """The rules: ``valid`` is never withdrawn, and the payload is stable until it is taken.

    Assumes them of the streams that ``dut`` receives and asserts them of those that it sends, whatever ``ready`` is.
    The inputs named in ``kept`` are assumed not to change while a stream that it sends waits; a name stands for all
    members below it.
    """
    m = Module()
    m.submodules.dut = dut
    waits = []
    for each in streams_of(dut):
        waiting, before = Signal(name=f"{each.name}_waiting"), Signal(len(each.payload), name=f"{each.name}_before")
        m.d.sync += [waiting.eq(each.valid & ~each.ready), before.eq(each.payload)]
        rule = Assert if each.sends else Assume
        with m.If(waiting):
            m.d.comb += rule(each.valid)
            if len(each.payload):
                m.d.comb += rule(each.payload == before)
        if each.sends:
            waits.append(waiting)
    inputs = [
        Value.cast(port)
        for path, member, port in dut.signature.flatten(dut)
        if member.flow is wiring.In and f"{'.'.join(map(str, path))}.".startswith(tuple(f"{name}." for name in kept))
    ]
    if any(len(value) for value in inputs):
        now = Cat(*inputs)
        before = Signal(len(now), name="kept_before")
        m.d.sync += before.eq(now)
        with m.If(Cat(waits).any()):
            m.d.comb += Assume(now == before)
    return m, list(inputs_of(dut))


def other_inputs(dut: wiring.Component) -> tuple[str, ...]:
    """Names of the inputs of ``dut`` that belong to no stream."""
    streams = tuple(f"{each.name}." for each in streams_of(dut))
    return tuple(
        name
        for path, member, _ in dut.signature.flatten(dut)
        if member.flow is wiring.In and not (name := ".".join(map(str, path))).startswith(streams)
    )
