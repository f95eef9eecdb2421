"""A chip behind a pseudo-terminal, which takes the place of a serial port."""

from __future__ import annotations

import os
import random
import select
import termios
import threading
import time
import tty
from pathlib import Path

from model_chip import ModelChip


class Chip:
    """``model`` at the other end of the port ``name``, which can be unplugged.

    Its link runs at ``baud``, one of termios' speeds: at any other, both ends hear noise. None: at every speed.
    """

    def __init__(self, name: Path, model: ModelChip, baud: int | None = None):
        self.name, self.model, self.baud = name, model, baud
        self.noise = random.Random(1)
        self.ours = -1
        self.plug()

    def plug(self) -> None:
        self.ours, theirs = os.openpty()
        os.set_blocking(self.ours, False)  # a closed port is ready to be read, and opened a moment later it is not
        tty.setraw(theirs)
        self.name.symlink_to(os.ttyname(theirs))
        os.close(theirs)
        self.running = True
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def unplug(self) -> None:
        self.running = False
        self.thread.join()
        self.name.unlink()
        os.close(self.ours)

    def _serve(self) -> None:
        while self.running:
            if select.select([self.ours], [], [], 0.01)[0]:
                try:
                    self.model.write(self._heard(os.read(self.ours, 4096)))
                    self._answer()
                except OSError:  # nobody has the port open, or who has just opened it is silent
                    time.sleep(0.01)

    def _answer(self) -> None:
        answer = self._heard(bytes(self.model.bytes))
        self.model.bytes.clear()
        while answer and self.running:  # the port takes some, and more when the host has read those
            if select.select([], [self.ours], [], 0.01)[1]:
                answer = answer[os.write(self.ours, answer) :]

    def _heard(self, data: bytes) -> bytes:
        """``data`` as the other end of the line hears it."""
        if self.baud is None or termios.tcgetattr(self.ours)[5] == getattr(termios, f"B{self.baud}"):
            return data
        return self.noise.randbytes(len(data))
