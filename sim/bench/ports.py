"""Ports of the design under test, as unsigned integers.

A testbench reads some hundred ports in each cycle. cocotb's values are arrays of four-valued logic, which take far
longer to make than these integers. An undefined bit raises ValueError in both.
"""

from __future__ import annotations

from typing import Any

_ports: dict[str, Port] = {}
"""Those in use, so that there is one :class:`Port` for each."""


class Port:
    """The port behind ``handle``. All of a testbench's writes to it must pass here: an unchanged value is not written.

    A port of width 0, which Verilog does not have, has no ``handle``: it reads as ``constant`` and ignores writes.
    """

    def __init__(self, handle: Any, constant: int = 0):
        self.width = 0 if handle is None else len(handle)
        self._handle, self._constant = handle, constant
        # The simulator's own object. cocotb, whose version is pinned, has no public way to the bits alone.
        self._bits = None if handle is None else handle._handle.get_signal_val_binstr
        self._driven: int | None = None

    def get(self) -> int:
        """The bits of the port."""
        return self._constant if self._bits is None else int(self._bits(), 2)

    def set(self, value: int) -> None:
        """Drive the port."""
        if self._handle is not None and value != self._driven:
            self._handle.value = int(value)
            self._driven = value


def port(dut: Any, name: str, missing: int | None = None) -> Port:
    """Port ``name`` of ``dut``. One that is not there reads as ``missing``; without that it raises AttributeError."""
    if name in _ports:
        return _ports[name]
    handle = getattr(dut, name) if missing is None else getattr(dut, name, None)
    if handle is None:
        return Port(None, missing or 0)
    bounds = getattr(handle, "range", None)
    empty = bounds is not None and bounds.left < bounds.right  # how a width of 0 comes out of Verilog
    return _ports.setdefault(name, Port(None if empty else handle))


def forget() -> None:
    """Forget what is driven, ahead of a test: the design keeps the inputs of the test before."""
    _ports.clear()
