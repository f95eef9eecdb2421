"""How the link adapts to a bad line: smaller frames, fewer of them ahead, and longer waits."""

from __future__ import annotations

from popflip.hw.link.codec import MAX_LENGTH

RETRIES = 12
"""Attempts in a row that bring no request further, after which the link gives up."""
MOST_PATIENCE = 4
"""Largest factor on the allowance of a wait."""
LEAST_PAYLOAD = 32
"""Bytes below which frames do not shrink: the overhead of smaller ones outweighs what is saved."""
LEAST_BLAMED = 256
"""Payload bytes that a fault is blamed on at least: one in a short frame says little about the line."""
CLEAN_ANSWERS = 16
"""Answers in a row without a fault after which frames grow again."""
AHEAD = 8
"""Frames ahead of their answers while the line is bad: after a fault, all behind the damaged one are sent again."""


class Pace:
    """Sizes and waits for a line to a chip whose buffer holds ``buffer`` bytes.

    Each fault halves the frames. Sixteen answers in a row double them, until they are whole again.
    """

    def __init__(self, buffer: int):
        self._buffer = buffer
        self._failures = 0
        self._clean = 0
        self.payload = MAX_LENGTH
        """Most bytes in the payload of a frame, and of its answer. Requests of a single item may be longer."""

    @property
    def ahead(self) -> int:
        """Most bytes of unanswered frames."""
        return min(self._buffer, AHEAD * self.payload)

    @property
    def patience(self) -> int:
        """Factor on the allowance of a wait: 1 on a good line and for a first attempt, doubled by each further one."""
        return min(MOST_PATIENCE, 1 << max(0, self._failures - 1))

    @property
    def exhausted(self) -> bool:
        """Whether the last of the attempts has failed."""
        return self._failures > RETRIES

    def fault(self, largest: int) -> None:
        """A frame was damaged or lost. ``largest`` is the largest payload on its way, in either direction."""
        self._clean = 0
        self.payload = max(LEAST_PAYLOAD, min(self.payload, max(largest, LEAST_BLAMED)) // 2)

    def failed(self) -> None:
        """Another attempt begins, since the last one brought nothing further."""
        self._failures += 1

    def progress(self) -> None:
        """A request got through."""
        self._failures = 0
        self._clean += 1
        if self._clean == CLEAN_ANSWERS:
            self._clean = 0
            self.payload = MAX_LENGTH if self.payload >= self._buffer else 2 * self.payload
