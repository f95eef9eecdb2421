"""A line that damages bytes in eight ways, around any transport."""

from __future__ import annotations

import random

KINDS = ("flip", "lose", "double", "insert", "burst", "cut", "repeat", "delay")
LONGEST = 40  # bytes of a burst, a cut or a repetition


class Damage:
    """One direction of a line. Each byte is the place of a fault with probability ``rate``."""

    def __init__(self, kinds: tuple[str, ...], rate: float, seed: int):
        self.kinds, self.rate = kinds, rate
        self.random = random.Random(seed)
        self.held = bytearray()  # bytes on their way, in order
        self.waits = 0  # vain reads until they go on
        self.faults = 0

    def send(self, data: bytes) -> bytes:
        """What arrives at once when ``data`` is sent."""
        for place, kind in reversed(self._faults(len(data))):
            data = getattr(self, f"_{kind}")(data, place)
            self.faults += 1
        if self.waits:
            self.held += data
            return b""
        arrived, self.held = bytes(self.held) + data, bytearray()
        return arrived

    def time_passes(self) -> None:
        """A read waited in vain."""
        self.waits = max(0, self.waits - 1)

    def _faults(self, size: int) -> list[tuple[int, str]]:
        """Places and kinds of the faults in ``size`` bytes."""
        if not self.rate:
            return []
        found, place = [], int(self.random.expovariate(self.rate))
        while place < size:
            found.append((place, self.random.choice(self.kinds)))
            place += 1 + int(self.random.expovariate(self.rate))
        return found

    def _flip(self, data: bytes, place: int) -> bytes:
        return data[:place] + bytes([data[place] ^ 1 << self.random.randrange(8)]) + data[place + 1 :]

    def _lose(self, data: bytes, place: int) -> bytes:
        return data[:place] + data[place + 1 :]

    def _double(self, data: bytes, place: int) -> bytes:
        return data[:place] + data[place : place + 1] + data[place:]

    def _insert(self, data: bytes, place: int) -> bytes:
        return data[:place] + self.random.randbytes(1) + data[place:]

    def _burst(self, data: bytes, place: int) -> bytes:
        size = len(data[place : place + self.random.randint(2, LONGEST)])
        return data[:place] + self.random.randbytes(size) + data[place + size :]

    def _cut(self, data: bytes, place: int) -> bytes:
        return data[:place] + data[place + self.random.randint(2, LONGEST) :]

    def _repeat(self, data: bytes, place: int) -> bytes:
        again = data[max(0, place - self.random.randint(2, LONGEST)) : place]
        return data[:place] + again + data[place:]

    def _delay(self, data: bytes, place: int) -> bytes:
        """Everything from here on waits; earlier bytes of the same write too, which is no fault of its own."""
        self.waits = self.random.randint(1, 2)
        return data


class FaultyLine:
    """``transport`` behind a line whose two directions have faults of ``kinds`` at ``rate`` per byte."""

    def __init__(self, transport, kinds: tuple[str, ...] = KINDS, rate: float = 1e-3, seed: int = 1):
        self.transport = transport
        self.up, self.down = Damage(kinds, rate, seed), Damage(kinds, rate, seed + 1_000_000)
        self._come = bytearray()

    @property
    def faults(self) -> int:
        return self.up.faults + self.down.faults

    @property
    def now(self) -> float:
        return self.transport.now

    def deadline(self, *arguments) -> float:
        return self.transport.deadline(*arguments)

    def write(self, data: bytes) -> None:
        self.transport.write(self.up.send(data))

    def read(self, count: int, deadline: float) -> bytes:
        while len(self._come) < count:
            try:
                self._come += self.down.send(self.transport.read(count - len(self._come), deadline))
            except TimeoutError:
                self._time_passes()
                if len(self._come) < count:
                    raise
        data = bytes(self._come[:count])
        del self._come[:count]
        return data

    def _time_passes(self) -> None:
        for direction in (self.up, self.down):
            direction.time_passes()
        if not self.up.waits:
            self.transport.write(self.up.send(b""))
        if not self.down.waits:
            self._come += self.down.send(b"")

    def restore(self) -> None:
        self.transport.restore()

    def close(self) -> None:
        self.transport.close()
