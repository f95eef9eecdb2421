"""Streams in cocotb testbenches: a source and a sink with random stalls, and a monitor that checks the stream rules.

Testbenches drive inputs at the falling edge of the clock and read signals later in the same half cycle, when they are
stable until the rising edge. The values read are those that the registers take, in every simulator.

Stream ``o`` has the ports ``o__valid``, ``o__ready`` and ``o__payload``. A payload with a layout is packed into bits;
see :func:`pack` and :func:`unpack`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import index
from typing import Any

from amaranth.hdl import Const, Shape, ShapeCastable
from amaranth.lib import data
from cocotb.triggers import Event, FallingEdge

from popflip.sim.bench.clock import Agent, cycle
from popflip.sim.bench.ports import port

PATIENCE = 10_000  # cycles without a transfer until a wait fails


def pack(shape: Any, value: Any) -> int:
    """The bits of ``value`` in ``shape``, as an unsigned integer.

    ``value`` is a number, an enum member, or, for a layout, a list or dict of those.
    """
    return packer(shape)(value)


def packer(shape: Any) -> Callable[[Any], int]:
    """:func:`pack` for values of ``shape``, to be called many times."""
    if isinstance(shape, data.StructLayout | data.ArrayLayout):
        fields = {key: (field.offset, packer(field.shape)) for key, field in shape}

        def of_fields(value: Mapping[str, Any] | Sequence[Any]) -> int:
            bits = 0
            for key, member in value.items() if isinstance(value, Mapping) else enumerate(value):
                offset, convert = fields[key]
                bits |= convert(member) << offset
            return bits

        return of_fields
    mask = (1 << Shape.cast(shape).width) - 1
    if isinstance(shape, ShapeCastable):
        return lambda value: Const.cast(shape.const(value)).value & mask
    return lambda value: index(value) & mask


def unpack(shape: Any, bits: int) -> Any:
    """Inverse of :func:`pack`. Layouts become dicts and lists."""
    return unpacker(shape)(bits)


def unpacker(shape: Any) -> Callable[[int], Any]:
    """:func:`unpack` for values of ``shape``, to be called many times."""
    if isinstance(shape, data.StructLayout | data.ArrayLayout):
        fields = [(key, field.offset, (1 << field.width) - 1, unpacker(field.shape)) for key, field in shape]
        if isinstance(shape, data.ArrayLayout):
            return lambda bits: [convert(bits >> offset & mask) for _, offset, mask, convert in fields]
        return lambda bits: {key: convert(bits >> offset & mask) for key, offset, mask, convert in fields}
    if isinstance(shape, ShapeCastable):
        return shape.from_bits
    number = Shape.cast(shape)
    sign = 1 << number.width - 1 if number.signed else 0
    return lambda bits: (bits ^ sign) - sign


class StreamMonitor(Agent):
    """Records the transfers of a stream, and asserts that an offered payload stays, unchanged, until it is taken.

    ``items`` are the payloads taken so far, ``cycles`` the cycles (:func:`popflip.sim.bench.clock.cycle`) in which
    they were taken. ``taken`` : the payload of the current cycle is taken. A missing ``valid`` or ``ready`` counts as
    always high. ``patience`` : cycles without a transfer until a wait fails, :data:`PATIENCE` at first.
    """

    def __init__(self, dut: Any, name: str, shape: Any):
        self.patience = PATIENCE
        self.items: list[Any] = []
        self.cycles: list[int] = []
        self.taken = False
        self._dut, self._name, self._unpack = dut, name, unpacker(shape)
        self._valid, self._ready = port(dut, f"{name}__valid", missing=1), port(dut, f"{name}__ready", missing=1)
        self._payload = port(dut, f"{name}__payload")
        self._waiting: int | None = None  # the payload that was offered in the previous cycle and not taken
        self._goals: list[tuple[int, Event]] = []
        self._idle = 0  # cycles without a transfer, while somebody waits for one
        super().__init__()

    def offer(self) -> int | None:
        """The payload that is offered now, or None."""
        return self._payload.get() if self._valid.get() else None

    def look(self) -> None:
        offered, waiting = self.offer(), self._waiting
        if waiting is not None:
            assert offered is not None, f"stream {self._name}: valid dropped before the payload was taken"
            assert offered == waiting, (
                f"stream {self._name}: the payload changed before it was taken, from {waiting:#x} to {offered:#x}"
            )
        self.taken = offered is not None and bool(self._ready.get())
        self._waiting = None if self.taken else offered
        if self.taken:
            self.items.append(self._unpack(offered))
            self.cycles.append(cycle())
        if self._goals:
            self._wake()

    def _wake(self) -> None:
        """Wake those whose goal is reached, or, after :attr:`patience` idle cycles, all."""
        self._idle = 0 if self.taken else self._idle + 1
        for goal in list(self._goals):
            count, reached = goal
            if len(self.items) >= count or self._idle >= self.patience:
                self._goals.remove(goal)
                reached.set()

    async def wait(self, count: int) -> None:
        """Wait until ``count`` payloads have been taken in total. Fails after :attr:`patience` cycles without one."""
        if len(self.items) >= count:
            return
        reached, self._idle = Event(), 0
        self._goals.append((count, reached))
        await reached.wait()
        await FallingEdge(self._dut.clk)
        seen = len(self.items)
        assert seen >= count, f"stream {self._name}: stuck after {seen} of {count} payloads"


class StreamSource(Agent):
    """Drives input stream ``name``. It stalls with probability ``stall`` in each cycle ahead of a payload.

    The payload is random while ``valid`` is low.
    """

    def __init__(self, dut: Any, name: str, shape: Any, *, stall: float = 0.3, seed: int = 1):
        self.monitor = StreamMonitor(dut, name, shape)
        self._pack = packer(shape)
        self._valid, self._payload = port(dut, f"{name}__valid"), port(dut, f"{name}__payload")
        self._random, self._stall = random.Random(f"{seed} {name}"), stall
        self._queue: deque[int] = deque()
        self._sent = 0
        self._offering = False
        self._valid.set(0)
        super().__init__()

    def send(self, *values: Any) -> None:
        """Queue ``values`` to be offered in order."""
        self._queue.extend(map(self._pack, values))
        self._sent += len(values)

    async def drain(self) -> None:
        """Wait until all queued payloads have been taken."""
        await self.monitor.wait(self._sent)

    def drive(self) -> None:
        if self._offering and not self.monitor.taken:
            return
        self._offering = bool(self._queue) and self._random.random() >= self._stall
        self._valid.set(self._offering)
        self._payload.set(self._queue.popleft() if self._offering else self._random.getrandbits(self._payload.width))


class StreamSink(Agent):
    """Takes the payloads of output stream ``name``, except for each cycle with probability ``stall``.

    Also asserts that ``valid`` and the payload do not depend on ``ready``.
    """

    probed = True

    def __init__(self, dut: Any, name: str, shape: Any, *, stall: float = 0.3, seed: int = 1):
        self.monitor = StreamMonitor(dut, name, shape)
        self._name, self._ready = name, port(dut, f"{name}__ready")
        self._random, self._stall = random.Random(f"{seed} {name}"), stall
        self._received = 0
        self._unready: int | None = None  # what is offered while ready is low
        self._ready.set(0)
        super().__init__()

    async def receive(self, count: int) -> list[Any]:
        """The next ``count`` payloads."""
        start = self._received
        self._received += count
        await self.monitor.wait(self._received)
        return self.monitor.items[start : self._received]

    def drive(self) -> None:
        self._ready.set(self._random.random() >= self._stall)

    def set_ready(self, ready: int) -> None:
        self._ready.set(ready)

    def compare_offer(self, ready: int) -> None:
        offered = self.monitor.offer()
        if ready:
            assert offered == self._unready, f"stream {self._name}: valid or the payload waits for ready"
        self._unready = offered
