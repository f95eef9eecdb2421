"""Ctrl-C, SIGTERM and SIGHUP: at once, or at a moment that loses nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE = 5.0
"""Seconds after which a signal that is held back interrupts all the same."""

STOP = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that ask a program to end. Windows has no SIGHUP."""


def interrupt_on_stop() -> None:
    """Let every signal of :data:`STOP` raise :class:`KeyboardInterrupt`, so that child tools stop with us.

    A shell ignores SIGINT for the jobs that a script starts in the background, so its handler is set all the same.
    ``nohup`` ignores SIGHUP, and that stays.
    """
    for number in STOP:
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def held() -> Iterator[Callable[[], bool]]:
    """Hold back the first signal of :data:`STOP` within the block, and yield a function that says whether one came.

    It raises :class:`KeyboardInterrupt` at the end of the block, unless another error ends the block. A second signal
    raises it at once, as do :data:`GRACE` seconds.
    """
    came = False

    def note(number: int, frame: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, GRACE)

    if threading.current_thread() is not threading.main_thread():  # only that one receives signals
        yield lambda: False
        return
    watched = [number for number in STOP if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    if hasattr(signal, "setitimer"):
        watched.append(signal.SIGALRM)
    before = {number: signal.signal(number, note) for number in watched}
    try:
        yield lambda: came
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
