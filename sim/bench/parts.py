"""Several components in one netlist: one build for many configurations, each tested on its own.

A test passes :class:`SideBySide` to :func:`popflip.sim.bench.runner.run_testbench`. The testbench starts a check of
each part with :func:`each_part`; the check sees one :class:`Part`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import cocotb
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from cocotb.triggers import FallingEdge, ReadOnly

from popflip.sim.bench.clock import Agent, start
from popflip.sim.bench.ports import Port, port
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import StreamSink, StreamSource


class SideBySide(wiring.Component):
    """``parts`` by name, without connections between them. Member ``b`` of part ``a`` is the port ``a__b``."""

    def __init__(self, parts: Mapping[str, wiring.Component]):
        self.parts = dict(parts)
        super().__init__({name: Out(part.signature) for name, part in self.parts.items()})

    def elaborate(self, platform) -> Module:
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            wiring.connect(m, wiring.flipped(getattr(self, name)), part)
        return m


class Part:
    """The ports of part ``name`` of ``dut``, without its prefix.

    A port of width 0, which Verilog does not have, reads as 0 and ignores writes.
    """

    def __init__(self, dut: Any, name: str):
        self.dut, self.name = dut, name
        self._ports: dict[str, Port] = {}

    def port(self, name: str) -> Port:
        """Port ``name``."""
        if name not in self._ports:
            self._ports[name] = port(self.dut, f"{self.name}__{name}", missing=0)
        return self._ports[name]

    def get(self, name: str) -> int:
        """The bits of port ``name``, as an unsigned integer."""
        return self.port(name).get()

    def set(self, name: str, value: int) -> None:
        """Drive input ``name``."""
        self.port(name).set(value)

    def scramble(self, name: str, draw: random.Random) -> None:
        """Drive input ``name`` with random bits, in a cycle in which the part must ignore it."""
        port = self.port(name)
        port.set(draw.getrandbits(port.width))

    def source(self, name: str, shape: Any, **options: Any) -> StreamSource:
        """A :class:`StreamSource` at input stream ``name``."""
        return StreamSource(self.dut, f"{self.name}__{name}", shape, **options)

    def sink(self, name: str, shape: Any, **options: Any) -> StreamSink:
        """A :class:`StreamSink` at output stream ``name``."""
        return StreamSink(self.dut, f"{self.name}__{name}", shape, **options)

    async def next_cycle(self) -> None:
        """Wait for the next falling edge, when testbenches drive inputs."""
        await FallingEdge(self.dut.clk)

    async def settled(self) -> None:
        """Wait until all signals of this cycle are stable."""
        await ReadOnly()


class EachCycle(Agent):
    """An agent at the ports of ``part``."""

    def __init__(self, part: Part):
        self.part = part
        super().__init__()


class Activity(EachCycle):
    """Counts the cycles in which an engine is ``busy`` or ``waiting``, and asserts that it is never both."""

    def __init__(self, part: Part):
        self.busy = self.waiting = 0
        super().__init__(part)

    def look(self) -> None:
        busy, waiting = self.part.get("busy"), self.part.get("waiting")
        assert not (busy and waiting), f"{self.part.name}: busy and waiting at once"
        self.busy += busy
        self.waiting += waiting


async def each_part(dut: Any, check: Callable[..., Awaitable[None]], **arguments: Any) -> None:
    """Reset ``dut``, then run ``check(part, **description, **arguments)`` for all parts concurrently.

    The testbench's parameter ``parts`` maps the name of each part to its description. A failure names the part.
    """
    await start(dut)

    async def named(name: str, description: dict[str, Any]) -> None:
        try:
            await check(Part(dut, name), **description, **arguments)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error

    tasks = [cocotb.start_soon(named(name, description)) for name, description in parameters()["parts"].items()]
    for task in tasks:
        await task
