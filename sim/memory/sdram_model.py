"""A model of an SDRAM chip: answers its pins cycle by cycle, and refuses whatever its data sheet forbids.

It knows a chip by its :class:`.SdramPart` alone, in nanoseconds, and nothing of the controller. Whoever simulates calls
:meth:`SdramModel.clock` once at every rising edge of the chip's clock.

Modelled: commands and the states of the banks they are legal in, all times, power-up and initialisation, refresh, mode
register, CAS latency, bursts of 1, 2, 4 and 8 words in sequence and what cuts them short, byte masks with their latency
for reads, and who drives the data pins. Not modelled, and refused: auto precharge, other modes, self refresh.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from popflip.hw.memory.sdram_part import ALL_BANKS, BANKS, Command, SdramPart, Time

LONG_AGO = -(10**12)
"""Cycle of events that have not happened."""
MASK_LATENCY = 2
"""Cycles from a mask to the word that it hides, when reading."""
BURSTS = {0: 1, 1: 2, 2: 4, 3: 8}
"""Words of a burst, by the lowest three bits of the mode register."""


class SdramError(AssertionError):
    """The data sheet forbids what the pins did. One line: when, which command, which rule."""


@dataclass
class Bank:
    """``row``: open row, or None. The rest are cycles of the last events."""

    row: int | None = None
    activated: int = LONG_AGO
    closed: int = LONG_AGO
    written: int = LONG_AGO


class SdramModel:
    """A chip of kind ``part`` with a clock of ``hz``. Words never written read as a number made of their address."""

    def __init__(self, part: SdramPart, hz: float):
        self.part, self.hz, self.period = part, hz, 1e9 / hz
        self.now = -1  # cycles since power-up
        self.memory: dict[int, int] = {}
        self.counts = dict.fromkeys(Command, 0)
        self._banks = [Bank() for _ in range(BANKS)]
        self._known = False  # the banks' states are unknown until all have been closed
        self._refreshed = self._set = LONG_AGO
        self._first_refreshes = 0
        self._refreshes: deque[int] = deque()  # the last ones, as many as must come in every ``refresh_ns``
        self._latency, self._burst = 0, 1  # latency 0: no mode has been set
        self._outputs: dict[int, tuple[int, int]] = {}  # by cycle: the bank and the word that the chip drives
        self._masks = [0] * (MASK_LATENCY + 1)
        self._writing: tuple[int, int, int] | None = None  # bank, column and words left of a write burst

    # Called by the simulation -----------------------------------------------------------------------------------------

    def clock(self, command: int, bank: int, address: int, mask: int = 0, data: int | None = None) -> int | None:
        """The next rising edge, with the levels at the pins, 1 for active: ``command`` of :class:`.Command`.

        ``data``: the word that the controller drives, None if it drives none. Returns the word that the chip drives
        until the edge after, None if it drives none. Raises :class:`SdramError`.
        """
        self.now += 1
        now = self.now
        self._masks = [mask, *self._masks[:MASK_LATENCY]]
        if command and command is not Command.NOP:
            self._obey(Command(command), bank, address)
        if data is not None and self._writing is None:
            self._refuse("data", f"the controller drives {data:#x} without a WRITE")
        if self._writing is not None:
            self._write(mask, data)
        if self._refreshes and (now - self._refreshes[0]) * self.period > self.part.refresh_ns:
            ms = self.part.refresh_ns / 1e6
            self._refuse("refresh", f"not {self.part.refreshes} REFRESH in {ms:g} ms")
        return self._output(now + 1)

    # Commands ---------------------------------------------------------------------------------------------------------

    def _obey(self, command: Command, bank: int, address: int) -> None:
        if self.now * self.period < self.part.power_up_ns:
            self._refuse(command.name, f"power-up takes {self.part.power_up_ns / 1e3:g} µs")
        self.counts[command] += 1
        match command:
            case Command.ACTIVATE:
                self._activate(bank, address)
            case Command.READ | Command.WRITE:
                self._access(command, bank, address)
            case Command.PRECHARGE:
                self._precharge(range(BANKS) if address >> ALL_BANKS & 1 else (bank,), address)
            case Command.REFRESH:
                self._refresh()
            case Command.MODE:
                self._set_mode(bank, address)
            case Command.BURST_STOP:
                self._cut_from(self.now + self._latency)
                self._writing = None

    def _activate(self, number: int, row: int) -> None:
        bank, name = self._banks[number], f"ACTIVATE of bank {number}"
        if not self._latency or self._first_refreshes < self.part.first_refreshes:
            self._refuse(name, "the chip is not initialised")
        if bank.row is not None:
            self._refuse(name, f"row {bank.row} is open")
        if row >= self.part.rows:
            self._refuse(name, f"there is no row {row}")
        self._wait(name, "tRC", self.part.rc, bank.activated, "ACTIVATE")
        self._wait(name, "tRP", self.part.rp, bank.closed, "PRECHARGE")
        for other in self._banks:
            self._wait(name, "tRRD", self.part.rrd, other.activated, "ACTIVATE of another bank")
        self._wait_for_all(name)
        bank.row, bank.activated = row, self.now

    def _access(self, command: Command, number: int, address: int) -> None:
        bank, name = self._banks[number], f"{command.name} of bank {number}"
        if bank.row is None:
            self._refuse(name, "no row is open")
        if address >> ALL_BANKS:
            self._refuse(name, "auto precharge is not modelled")
        if address >= self.part.columns:
            self._refuse(name, f"there is no column {address}")
        self._wait(name, "tRCD", self.part.rcd, bank.activated, "ACTIVATE")
        self._check_open_time(name, bank)
        self._writing = None
        if command == Command.READ:
            self._cut_from(self.now + self._latency)
            for word in range(self._burst):
                self._outputs[self.now + self._latency + word] = number, self._address(number, address, word)
        else:
            if any(cycle >= self.now - 1 for cycle in self._outputs):
                self._refuse(name, "the data pins need a free cycle after the chip's last word")
            self._writing = number, address, self._burst

    def _precharge(self, numbers: range | tuple[int, ...], address: int) -> None:
        for number in numbers:
            bank, name = self._banks[number], f"PRECHARGE of bank {number}"
            if bank.row is not None:
                self._wait(name, "tRAS", self.part.ras, bank.activated, "ACTIVATE")
                self._wait(name, "tWR", self.part.wr, bank.written, "its last word")
                self._check_open_time(name, bank)
                bank.row = None
            bank.closed = self.now
            cut = [cycle for cycle, (of, _) in self._outputs.items() if of == number]
            for cycle in cut:
                if cycle >= self.now + self._latency:
                    del self._outputs[cycle]
            if self._writing and self._writing[0] == number:
                self._writing = None
        self._wait_for_all("PRECHARGE")
        self._known |= len(numbers) == BANKS

    def _refresh(self) -> None:
        self._all_closed("REFRESH")
        self._refreshed = self.now
        self._first_refreshes += 1
        if self._refreshes:
            self._refreshes.append(self.now)
            self._refreshes.popleft()

    def _set_mode(self, bank: int, mode: int) -> None:
        self._all_closed("MODE")
        latency, burst = mode >> 4 & 7, BURSTS.get(mode & 7)
        if burst is None or bank or mode & ~0b1110111:
            self._refuse("MODE", f"mode {mode:#x} of bank {bank} is not modelled")
        if self.hz > dict(self.part.fastest).get(latency, 0):
            self._refuse("MODE", f"CAS latency {latency} does not work at {self.hz / 1e6:g} MHz")
        self._latency, self._burst, self._set = latency, burst, self.now
        self._refreshes = deque([self.now] * self.part.refreshes)  # every row counts as fresh

    # Data -------------------------------------------------------------------------------------------------------------

    def _write(self, mask: int, data: int | None) -> None:
        assert self._writing is not None
        number, column, left = self._writing
        if data is None:
            self._refuse(f"WRITE of bank {number}", "the controller drives no data")
        address = self._address(number, column, 0)
        old, bytes_kept = self.read(address), 0
        for byte in range(self.part.data_bits // 8):
            bytes_kept |= 0xFF << 8 * byte if mask >> byte & 1 else 0
        self.memory[address] = (old & bytes_kept) | (data & ~bytes_kept)
        self._banks[number].written = self.now
        self._writing = (number, self._in_burst(column, 1), left - 1) if left > 1 else None

    def _output(self, cycle: int) -> int | None:
        """The word at the pins in ``cycle``; bytes that a mask hides are inverted."""
        self._outputs.pop(cycle - 2, None)
        if cycle not in self._outputs:
            return None
        hidden = self._masks[MASK_LATENCY - 1]
        word = self.read(self._outputs[cycle][1])
        for byte in range(self.part.data_bits // 8):
            word ^= 0xFF << 8 * byte if hidden >> byte & 1 else 0
        return word

    def read(self, address: int) -> int:
        """The word at ``address``, a number that counts columns, then banks, then rows."""
        word = self.memory.get(address)
        return (address * 0x9E3779B1 >> 7) & self._full if word is None else word

    @cached_property
    def _full(self) -> int:
        return (1 << self.part.data_bits) - 1

    def _address(self, number: int, column: int, word: int) -> int:
        row = self._banks[number].row
        assert row is not None
        return (row * BANKS + number) * self.part.columns + self._in_burst(column, word)

    def _in_burst(self, column: int, word: int) -> int:
        """The column ``word`` words after ``column``: a burst wraps at a multiple of its length."""
        start = column - column % self._burst
        return start + (column - start + word) % self._burst

    def _cut_from(self, cycle: int) -> None:
        for later in [each for each in self._outputs if each >= cycle]:
            del self._outputs[later]

    # Rules ------------------------------------------------------------------------------------------------------------

    def _all_closed(self, name: str) -> None:
        """Rules of commands that need every bank closed."""
        if not self._known:
            self._refuse(name, "the banks have not been closed since power-up")
        for number, bank in enumerate(self._banks):
            if bank.row is not None:
                self._refuse(name, f"row {bank.row} of bank {number} is open")
            self._wait(name, "tRP", self.part.rp, bank.closed, "PRECHARGE")
            self._wait(name, "tRC", self.part.rc, bank.activated, "ACTIVATE")
        self._wait_for_all(name)

    def _wait_for_all(self, name: str) -> None:
        """Rules after the commands for the whole chip."""
        self._wait(name, "tRFC", self.part.rfc, self._refreshed, "REFRESH")
        self._wait(name, "tMRD", self.part.mrd, self._set, "MODE")

    def _check_open_time(self, name: str, bank: Bank) -> None:
        if (self.now - bank.activated) * self.period > self.part.ras_most_ns:
            self._refuse(name, f"its row is open for more than {self.part.ras_most_ns / 1e3:g} µs")

    def _wait(self, name: str, rule: str, time: Time, since: int, event: str) -> None:
        cycles = self.now - since
        if cycles < time.cycles or cycles * self.period < time.ns - 1e-6:
            least = f"{time.ns:g} ns and {time.cycles} cycles" if time.ns else f"{time.cycles} cycles"
            self._refuse(
                name,
                f"{rule} is at least {least}; it comes {cycles * self.period:.1f} ns, {cycles} cycles, after {event}",
            )

    def _refuse(self, name: str, rule: str) -> NoReturn:
        raise SdramError(f"{self.now * self.period:.1f} ns: {name}: {rule}")
