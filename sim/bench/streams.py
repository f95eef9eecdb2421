"""Streams in cocotb testbenches: a source and a sink that stall at random, and the one monitor of the stream rules.

Everything is driven at the falling edge of the clock and looked at later in the same half cycle, when nothing changes
any more before the rising edge. What is seen there is what the registers take, in every simulator.

Ports have the flattened names of :func:`popflip.sim.bench.runner.run_testbench`: stream ``o`` is ``o__valid``,
``o__ready`` and ``o__payload``; a payload with a layout is packed bits, see :func:`pack`, :func:`unpack`.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb
from amaranth.hdl import Const, Shape, ShapeCastable
from amaranth.lib import data
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge, Timer
from cocotb.utils import get_sim_time

PERIOD = 10  # ns
PATIENCE = 10_000  # cycles without a transfer after which a wait fails
PROBES = 0.25  # part of the cycles in which a sink looks whether valid follows ready


async def start(dut: Any) -> None:
    """Start the clock and reset ``dut`` for two cycles; returns at a falling edge, with reset low."""
    dut.rst.value = 1
    Clock(dut.clk, PERIOD, unit="ns").start()
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0


def cycle() -> int:
    """Number of the current clock cycle: it changes at falling edges, as everything a testbench drives."""
    return int(get_sim_time("ns") + PERIOD // 2) // PERIOD


def pack(shape: Any, value: Any) -> int:
    """The bits of ``value`` (number, enum member, or lists and dicts for a layout) in ``shape``, as a whole number."""
    constant = Const.cast(shape.const(value)) if isinstance(shape, ShapeCastable) else Const(value, shape)
    return constant.value & ((1 << len(constant)) - 1)


def unpack(shape: Any, bits: int) -> Any:
    """Inverse of :func:`pack`; a layout gives dicts and lists."""
    if isinstance(shape, data.StructLayout):
        return {name: unpack(field.shape, _slice(field, bits)) for name, field in shape}
    if isinstance(shape, data.ArrayLayout):
        return [unpack(field.shape, _slice(field, bits)) for _, field in shape]
    if isinstance(shape, ShapeCastable):
        return shape.from_bits(bits)
    return Const(bits, Shape.cast(shape)).value


def _slice(field: data.Field, bits: int) -> int:
    return bits >> field.offset & ((1 << field.width) - 1)


class _Stream:
    """The ports of stream ``name`` of ``dut``. A stream without ``valid`` or ``ready`` has it always 1."""

    def __init__(self, dut: Any, name: str, shape: Any):
        self.dut, self.name, self.shape = dut, name, shape
        self.valid = getattr(dut, f"{name}__valid", None)
        self.ready = getattr(dut, f"{name}__ready", None)
        self.payload = getattr(dut, f"{name}__payload")

    @property
    def offered(self) -> bool:
        return self.valid is None or bool(self.valid.value)

    @property
    def taken(self) -> bool:
        return self.offered and (self.ready is None or bool(self.ready.value))

    async def settled(self) -> None:
        """Wait for the end of the next cycle that is not in reset, when its values are final."""
        while True:
            await FallingEdge(self.dut.clk)
            await ReadOnly()
            if not self.dut.rst.value:
                return


class StreamMonitor:
    """Records the transfers of a stream and asserts its rules.

    Once offered (``valid`` high), a payload stays offered and unchanged until it is taken (``ready`` high as well).

    ``items`` are the payloads taken, ``cycles`` the numbers of the cycles (:func:`cycle`) they were taken in.
    """

    def __init__(self, dut: Any, name: str, shape: Any):
        self.items: list[Any] = []
        self.cycles: list[int] = []
        self._stream = _Stream(dut, name, shape)
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        stream, waiting = self._stream, None
        while True:
            await stream.settled()
            if waiting is not None:
                assert stream.offered, f"stream {stream.name}: valid dropped before the payload was taken"
                payload = int(stream.payload.value)
                assert payload == waiting, (
                    f"stream {stream.name}: the payload changed before it was taken, from {waiting:#x} to {payload:#x}"
                )
            waiting = int(stream.payload.value) if stream.offered else None
            if stream.taken:
                self.items.append(unpack(stream.shape, waiting))
                self.cycles.append(cycle())
                waiting = None

    async def wait(self, count: int) -> None:
        """Wait until ``count`` payloads have been taken in all; fails after :data:`PATIENCE` cycles without one."""
        idle = seen = 0
        while len(self.items) < count:
            await FallingEdge(self._stream.dut.clk)
            idle = idle + 1 if len(self.items) == seen else 0
            seen = len(self.items)
            assert idle < PATIENCE, f"stream {self._stream.name}: stuck after {seen} of {count} payloads"


class StreamSource:
    """Offers payloads to input stream ``name``, waiting at random before each with probability ``stall`` a cycle.

    The payload is random while ``valid`` is low.
    """

    def __init__(self, dut: Any, name: str, shape: Any, *, stall: float = 0.3, seed: int = 1):
        self.monitor = StreamMonitor(dut, name, shape)
        self._stream = _Stream(dut, name, shape)
        self._random, self._stall = random.Random(f"{seed} {name}"), stall
        self._queue: deque[int] = deque()
        self._sent = 0
        self._stream.valid.value = 0
        cocotb.start_soon(self._drive())

    def send(self, *values: Any) -> None:
        """Queue ``values``."""
        self._queue.extend(pack(self._stream.shape, value) for value in values)
        self._sent += len(values)

    async def drain(self) -> None:
        """Wait until all that was queued has been taken."""
        await self.monitor.wait(self._sent)

    async def _drive(self) -> None:
        stream, offering = self._stream, False
        while True:
            await FallingEdge(stream.dut.clk)
            if stream.dut.rst.value:
                continue
            if not offering:
                offering = bool(self._queue) and self._random.random() >= self._stall
                bits = self._queue.popleft() if offering else self._random.getrandbits(len(stream.payload))
                stream.valid.value, stream.payload.value = offering, bits
            await ReadOnly()
            offering = offering and not stream.taken


class StreamSink:
    """Takes the payloads of output stream ``name``, not ready at random with probability ``stall`` a cycle.

    Asserts as well that ``valid`` and the payload do not follow ``ready`` within a cycle.
    """

    def __init__(self, dut: Any, name: str, shape: Any, *, stall: float = 0.3, seed: int = 1):
        self.monitor = StreamMonitor(dut, name, shape)
        self._stream = _Stream(dut, name, shape)
        self._random, self._stall = random.Random(f"{seed} {name}"), stall
        self._received = 0
        self._stream.ready.value = 0
        cocotb.start_soon(self._drive())

    async def receive(self, count: int) -> list[Any]:
        """The next ``count`` payloads."""
        start = self._received
        self._received += count
        await self.monitor.wait(self._received)
        return self.monitor.items[start : self._received]

    async def _drive(self) -> None:
        stream = self._stream
        while True:
            await FallingEdge(stream.dut.clk)
            stream.ready.value = self._random.random() >= self._stall
            await RisingEdge(stream.dut.clk)
            if self._random.random() < PROBES and not stream.dut.rst.value:
                offers = [await self._offer(ready) for ready in (0, 1)]
                assert offers[0] == offers[1], f"stream {stream.name}: valid or the payload waits for ready"

    async def _offer(self, ready: int) -> tuple[bool, int | None]:
        self._stream.ready.value = ready
        await Timer(1, unit="ns")
        offered = self._stream.offered
        return offered, int(self._stream.payload.value) if offered else None
