"""Prefetcher: holds a word of inputs for use while the next one is fetched.

::

    next ─▶ request ─▶ fetched: data of the memory ─ moves ─▶ valid: the word in use ─ done ─▶
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value


class Prefetcher:
    """The control of a prefetch of up to ``count`` words. It adds its logic to the owner's module ``m``. The owner
    connects requests and data to the memory.

    Attributes
    ----------
    ``next`` : number of the next word to request, while ``fetching``.
    ``fetched`` : the memory shows a fetched word. ``fetched_last`` : it is the last one.
    ``fetched_number`` : its number, if ``numbered``.
    ``moves`` : it becomes the word in use. The owner registers it and sets ``valid``.
    ``valid`` : a word is in use. ``done`` : this is its last use; the owner drives it.
    ``wanted`` : word ``next`` may be requested.
    """

    def __init__(self, m: Module, count: int, *, numbered: bool):
        self._m = m
        self.next = Signal(range(count), name="next_word")
        self.fetching = Signal()
        self.fetched = Signal()
        self.fetched_number = Signal.like(self.next, name="fetched_number") if numbered else None
        self.fetched_last = Signal()
        self.valid = Signal(name="word_valid")
        self.done = Signal(name="word_done")
        self.moves = self.fetched & (~self.valid | self.done)
        self.wanted = self.fetching & (~self.fetched | self.moves)

    def request(self, enable: Value, last: Value) -> None:
        """The owner requests word ``next`` if ``enable`` is high. ``last`` : it is the last one."""
        m = self._m
        number = [] if self.fetched_number is None else [self.fetched_number.eq(self.next)]
        with m.If(self.moves | ~self.fetched):
            m.d.sync += [self.fetched.eq(enable), *number, self.fetched_last.eq(last)]
        with m.If(enable):
            m.d.sync += [self.next.eq(self.next + 1), self.fetching.eq(~last)]

    def start(self, when: Value | int = 1) -> list:
        """Statements that begin a prefetch at word 0."""
        return [self.fetching.eq(when), self.next.eq(0)]
