"""The first steps of the program, before anything heavy is imported: signals, and safe child processes.

Until a command says that it is :func:`interruptible`, nothing has been written and no other program runs. Ctrl-C then
ends the program at once: an exception would reach the middle of an import, where libraries catch it or change it.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

from popflip.cli.signals import STOP, interrupt_on_stop

INTERRUPTED = 130
"""Exit code after Ctrl-C, SIGTERM or SIGHUP."""
STOPPED = b"popflip: interrupted; nothing was written\n"


def prepare() -> None:
    """Handle signals as long as nothing is written, and keep the current folder out of the imports of children."""
    for number in STOP:
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    os.environ["PYTHONSAFEPATH"] = "1"  # a child started with -m does not import from the current folder


def interruptible() -> None:
    """From here on, signals raise :class:`KeyboardInterrupt`: there is something to save or to stop."""
    if signal.getsignal(signal.SIGINT) is _stop:
        interrupt_on_stop()


def ended() -> None:
    """The command has ended: signals no longer stop Python from ending, too."""
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(2, STOPPED)
    os._exit(INTERRUPTED)
