"""Answers in a transport's bytes: whole frames, found between damaged ones and noise."""

from __future__ import annotations

from popflip.devices.transport import Transport
from popflip.hw.link.codec import HEADER_BYTES, OPEN, OVERHEAD, SYNC, Frame, decode, payload_length


class FrameReader:
    """Finds open frames and frames of ``session`` in a transport's bytes, and skips all bytes between them."""

    def __init__(self, transport: Transport, session: int = OPEN):
        self.session = session
        self._transport = transport
        self._bytes = bytearray()
        self._late_bytes = 0  # that may still be taken after the deadline

    def read(self, deadline: float, longest: int) -> Frame:
        """The next undamaged frame with a payload of at most ``longest`` bytes.

        Raises :class:`TimeoutError` at ``deadline``, whether nothing comes or noise without end.
        """
        self._late_bytes = OVERHEAD + longest  # a frame that was cut short may hide as many
        while True:
            self._skip_to_sync(deadline)
            frame = self._frame(deadline, longest)
            if frame is not None:
                del self._bytes[: OVERHEAD + len(frame.payload)]
                return frame
            del self._bytes[0]

    def _frame(self, deadline: float, longest: int) -> Frame | None:
        """The frame that begins here, if one does."""
        header = self._peek(HEADER_BYTES, deadline)
        for session in (self.session, OPEN):
            length = payload_length(header, session)
            if length is None or length > longest:
                continue
            try:
                frame = decode(self._peek(OVERHEAD + length, deadline), session)
            except TimeoutError:  # cut short, or noise: a frame may begin inside
                return None
            if frame is not None:
                return frame
        return None

    def _skip_to_sync(self, deadline: float) -> None:
        """Drop all bytes before one that can begin a frame, and wait for that one."""
        while (place := self._bytes.find(SYNC)) < 0:
            self._bytes.clear()
            self._peek(1, deadline)
        del self._bytes[:place]

    def _peek(self, count: int, deadline: float) -> bytes:
        """The next ``count`` bytes, which stay."""
        missing = count - len(self._bytes)
        if missing > 0:
            if self._transport.now >= deadline:
                self._late_bytes -= missing
                if self._late_bytes < 0:
                    raise TimeoutError("noise, but no frame")
            self._bytes += self._transport.read(missing, deadline)
        return bytes(self._bytes[:count])
