"""The simulation in a compiled library, as a transport for bytes."""

from __future__ import annotations

import ctypes
import os
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from popflip.sim.cxxrtl.load import load
from popflip.sim.errors import SimulationTimeout, SimulatorError

TIMEOUT_CYCLES = 1_000_000  # without a byte in either direction
INTERRUPT_PERIOD = 0.1  # s that a read simulates before it looks for Ctrl-C

_FUNCTIONS = {
    "create": (ctypes.c_void_p, [ctypes.c_char_p]),
    "destroy": (None, [ctypes.c_void_p]),
    "write": (None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    "run": (ctypes.c_size_t, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_double]),
    "read": (None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    "cycles": (ctypes.c_uint64, [ctypes.c_void_p]),
    "waves_error": (ctypes.c_int, [ctypes.c_void_p]),
    "idle": (ctypes.c_uint64, [ctypes.c_void_p]),
    "error": (ctypes.c_char_p, [ctypes.c_void_p]),
    "restart_timeout": (None, [ctypes.c_void_p]),
    "power_cycle": (None, [ctypes.c_void_p]),
}
"""Result and argument types of the functions ``popflip_…`` of ``shim.cc``."""


class Simulation:
    """The component in ``library``, as a transport: what is written reaches stream ``rx``, what is read left ``tx``.

    ``library`` is the contents of a shared library, or the path of one.

    **Simulated time passes only inside** :meth:`read`. :meth:`write` queues its bytes and returns in the same clock
    cycle. :meth:`read` runs the clock until ``count`` bytes have come, and stops in that cycle: work that the component
    has not finished then goes on in the next read. Cycle counts therefore depend on the bytes written and read alone,
    not on the speed of the computer.

    ``waves`` names a VCD file for all signals (10 ns a cycle, memories left out), complete after every read, even an
    interrupted one. A read gives up after ``timeout_cycles`` in which no byte moves. Raises :class:`SimulatorError` if
    the file cannot be opened. If a later write fails, the simulation goes on without it, and :meth:`close` says so.
    """

    def __init__(
        self, library: bytes | Path | str, waves: Path | str | None = None, timeout_cycles: int = TIMEOUT_CYCLES
    ):
        self._timeout_cycles = timeout_cycles
        self._waves = waves
        self._library = load(library if isinstance(library, bytes) else Path(library).read_bytes())
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._library, f"popflip_{name}")
            function.restype, function.argtypes = result, arguments
        self._handle = self._library.popflip_create(None if waves is None else os.fsencode(waves))
        if not self._handle:
            raise SimulatorError(f"cannot write waves to {waves}: {os.strerror(ctypes.get_errno())}")

    @property
    def cycles(self) -> int:
        """Clock cycles simulated so far."""
        return self._library.popflip_cycles(self._open())

    def write(self, data: bytes) -> None:
        """Queue ``data`` for the component, which takes it during later reads."""
        self._library.popflip_write(self._open(), bytes(data), len(data))

    @property
    def now(self) -> float:
        """The time on this transport's clock: :attr:`cycles`."""
        return self.cycles

    def deadline(self, expected: int, cycles: int, clock_hz: int, patience: float) -> float:
        """The time by which ``expected`` more bytes have come if the component works for up to ``cycles`` cycles.

        Bytes take as many cycles as the component needs for them. Therefore :meth:`read` waits while bytes move, and
        this limits only how long noise may go on.
        """
        return self.cycles + cycles + expected + patience * self._timeout_cycles

    def read(self, count: int, deadline: float = 0) -> bytes:
        """Run the clock until ``count`` bytes have come, and return exactly those. Only silence ends it before.

        Raises :class:`SimulationTimeout` if they do not come; a later read returns those that did. Raises
        :class:`SimulatorError` if the SDRAM beside the chip refuses a command.
        """
        handle, library = self._open(), self._library
        library.popflip_restart_timeout(handle)
        while (come := library.popflip_run(handle, count, self._timeout_cycles, INTERRUPT_PERIOD)) < count:
            if refused := library.popflip_error(handle):
                raise SimulatorError(f"the simulated SDRAM refuses the chip's commands: {refused.decode()}")
            if library.popflip_idle(handle) >= self._timeout_cycles:
                raise SimulationTimeout(
                    f"the simulated chip sent {come} of {count} bytes, then nothing for {self._timeout_cycles} cycles"
                )
        buffer = ctypes.create_string_buffer(count)
        library.popflip_read(handle, buffer, count)
        return buffer.raw

    def power_cycle(self) -> None:
        """Return the component to its state at power-up. Bytes on the way, in both directions, still come."""
        self._library.popflip_power_cycle(self._open())

    def restore(self) -> None:
        """Does nothing: a simulation does not go away."""

    def close(self) -> None:
        """End the simulation. A second call does nothing.

        Raises :class:`SimulatorError` if the file of waves is cut short because it could not be written.
        """
        if not self._handle:
            return
        error = self._library.popflip_waves_error(self._handle)
        self._library.popflip_destroy(self._handle)
        self._handle = None
        if error:
            raise SimulatorError(f"{self._waves}: cut short, it cannot be written: {os.strerror(error).lower()}")

    def _open(self) -> int:
        if not self._handle:
            raise SimulatorError("the simulated chip is closed")
        return self._handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with nullcontext() if error is None else suppress(SimulatorError):
            self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            with suppress(SimulatorError):
                self.close()
