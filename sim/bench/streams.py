"""Streams in cocotb testbenches: a source and a sink with random stalls, and a monitor that checks the stream rules.

Testbenches drive inputs at the falling edge of the clock and read signals later in the same half cycle, when they are
stable until the rising edge. The values read are those that the registers take, in every simulator.

Stream ``o`` has the ports ``o__valid``, ``o__ready`` and ``o__payload``. A payload with a layout is packed into bits;
see :func:`pack` and :func:`unpack`.
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
PATIENCE = 10_000  # cycles without a transfer until a wait fails
PROBES = 0.25  # share of the cycles in which a sink tests whether valid depends on ready


async def start(dut: Any) -> None:
    """Start the clock and reset ``dut`` for two cycles. Returns at a falling edge with reset low."""
    dut.rst.value = 1
    Clock(dut.clk, PERIOD, unit="ns").start()
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0


def cycle() -> int:
    """Number of the current clock cycle. It changes at falling edges, as inputs do."""
    return int(get_sim_time("ns") + PERIOD // 2) // PERIOD


def pack(shape: Any, value: Any) -> int:
    """The bits of ``value`` in ``shape``, as an unsigned integer.

    ``value`` is a number, an enum member, or, for a layout, a list or dict of those.
    """
    constant = Const.cast(shape.const(value)) if isinstance(shape, ShapeCastable) else Const(value, shape)
    return constant.value & ((1 << len(constant)) - 1)


def unpack(shape: Any, bits: int) -> Any:
    """Inverse of :func:`pack`. Layouts become dicts and lists."""
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
    """The ports of stream ``name`` of ``dut``. A missing ``valid`` or ``ready`` counts as always high."""

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
        """Wait until all signals of the next cycle out of reset are stable."""
        while True:
            await FallingEdge(self.dut.clk)
            await ReadOnly()
            if not self.dut.rst.value:
                return


class StreamMonitor:
    """Records the transfers of a stream, and asserts that an offered payload stays, unchanged, until it is taken.

    ``items`` are the payloads taken so far, ``cycles`` the cycles (:func:`cycle`) in which they were taken.
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
        """Wait until ``count`` payloads have been taken in total. Fails after :data:`PATIENCE` cycles without one."""
        idle = seen = 0
        while len(self.items) < count:
            await FallingEdge(self._stream.dut.clk)
            idle = idle + 1 if len(self.items) == seen else 0
            seen = len(self.items)
            assert idle < PATIENCE, f"stream {self._stream.name}: stuck after {seen} of {count} payloads"


class StreamSource:
    """Drives input stream ``name``. It stalls with probability ``stall`` in each cycle ahead of a payload.

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
        """Queue ``values`` to be offered in order."""
        self._queue.extend(pack(self._stream.shape, value) for value in values)
        self._sent += len(values)

    async def drain(self) -> None:
        """Wait until all queued payloads have been taken."""
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
    """Takes the payloads of output stream ``name``, except for each cycle with probability ``stall``.

    Also asserts that ``valid`` and the payload do not depend on ``ready``.
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
