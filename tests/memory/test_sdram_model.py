"""The model of an SDRAM chip, command by command: each rule at its limit, and a cycle before it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from sdram import HARD, HZ

from popflip.hw.memory.sdram_part import ALL_BANKS, Command
from popflip.sim.memory.sdram_model import SdramError, SdramModel

NOP, ACTIVATE, READ, WRITE = Command.NOP, Command.ACTIVATE, Command.READ, Command.WRITE
PRECHARGE, REFRESH, MODE, STOP = Command.PRECHARGE, Command.REFRESH, Command.MODE, Command.BURST_STOP
ALL = 1 << ALL_BANKS


class Chip(SdramModel):
    """A chip that is given commands at cycles, counted from the end of its initialisation."""

    def __init__(self, burst: int = 0, latency: int = 2, first_refreshes: int = 8):
        super().__init__(replace(HARD, refresh_ns=1e6), HZ)
        self.start = 0
        self.at(30, PRECHARGE, address=ALL)
        for number in range(first_refreshes):
            self.at(33 + 15 * number, REFRESH)
        self.at(153, MODE, address=latency << 4 | burst)
        self.start = 165

    def at(self, cycle: int, command: Command, bank: int = 0, address: int = 0, **pins: int) -> list[int | None]:
        """``command`` in ``cycle``. Returns what the chip has driven in each cycle since the last command."""
        shown = [self.clock(NOP, 3, 0x7FF) for _ in range(self.start + cycle - self.now - 1)]
        return [*shown, self.clock(command, bank, address, **pins)]

    def rest(self, cycles: int) -> list[int | None]:
        """What the chip drives in ``cycles`` cycles without a command."""
        return [self.clock(NOP, 0, 0) for _ in range(cycles)]


def refuse(chip: Chip, message: str, cycle: int, *command, **pins) -> None:
    """The chip refuses a command with ``message`` after the time."""
    ns = (chip.start + cycle) * 10
    with pytest.raises(SdramError, match=f"^{re.escape(f'{ns:.1f} ns: {message}')}$"):
        chip.at(cycle, *command, **pins)


@pytest.mark.parametrize(
    ("before", "limit", "command", "message"),
    [
        ([(0, ACTIVATE, 1, 2)], 4, (READ, 1), "READ of bank 1: tRCD is at least 35 ns and 1 cycles"),
        ([(0, ACTIVATE, 1, 2)], 4, (WRITE, 1), "WRITE of bank 1: tRCD is at least 35 ns and 1 cycles"),
        ([(0, ACTIVATE, 1, 2)], 12, (PRECHARGE, 1), "PRECHARGE of bank 1: tRAS is at least 115 ns and 1 cycles"),
        ([(0, ACTIVATE, 1, 2)], 12, (PRECHARGE, 0, ALL), "PRECHARGE of bank 1: tRAS is at least 115 ns and 1 cycles"),
        ([(0, ACTIVATE, 1, 2)], 11, (ACTIVATE, 2), "ACTIVATE of bank 2: tRRD is at least 105 ns and 1 cycles"),
        (
            [(0, ACTIVATE, 1, 2), (12, PRECHARGE, 1)],
            20,
            (ACTIVATE, 1),
            "ACTIVATE of bank 1: tRC is at least 195 ns and 1 cycles",
        ),
        (
            [(0, ACTIVATE, 1, 2), (30, PRECHARGE, 1)],
            33,
            (ACTIVATE, 1),
            "ACTIVATE of bank 1: tRP is at least 25 ns and 1 cycles",
        ),
        ([(0, ACTIVATE, 1, 2), (30, PRECHARGE, 1)], 33, (REFRESH,), "REFRESH: tRP is at least 25 ns and 1 cycles"),
        ([(0, REFRESH)], 15, (REFRESH,), "REFRESH: tRFC is at least 145 ns and 1 cycles"),
        ([(0, REFRESH)], 15, (ACTIVATE, 0), "ACTIVATE of bank 0: tRFC is at least 145 ns and 1 cycles"),
        ([(0, REFRESH)], 15, (MODE, 0, 0x20), "MODE: tRFC is at least 145 ns and 1 cycles"),
        ([(0, MODE, 0, 0x20)], 12, (ACTIVATE, 0), "ACTIVATE of bank 0: tMRD is at least 115 ns and 1 cycles"),
        ([(0, MODE, 0, 0x20)], 12, (REFRESH,), "REFRESH: tMRD is at least 115 ns and 1 cycles"),
    ],
)
def test_a_command_comes_no_cycle_too_early(before, limit, command, message):
    pins = {"data": 0} if command[0] == WRITE else {}
    for cycle in (limit - 1, limit):
        chip = Chip()
        for other in before:
            chip.at(*other)
        if cycle == limit:
            chip.at(cycle, *command, **pins)
            continue
        when, event, *_ = before[0 if "tRC " in message else -1]
        name = f"{event.name} of another bank" if "tRRD" in message else event.name
        since = cycle - when
        refuse(chip, f"{message}; it comes {since * 10}.0 ns, {since} cycles, after {name}", cycle, *command, **pins)


def test_write_recovery_counts_from_the_last_word():
    late = "PRECHARGE of bank 0: tWR is at least 6 cycles; it comes 50.0 ns, 5 cycles, after its last word"
    for burst, last in ((0, 20), (1, 21), (3, 27)):
        for cycle in (last + 5, last + 6):
            chip = Chip(burst)
            chip.at(0, ACTIVATE)
            chip.at(20, WRITE, data=1)
            for _ in range(last - 20):
                chip.clock(NOP, 0, 0, 0, 2)
            if cycle == last + 6:
                chip.at(cycle, PRECHARGE)
            else:
                refuse(chip, late, cycle, PRECHARGE)


@pytest.mark.parametrize(
    ("before", "command", "message"),
    [
        ([], (READ, 1), "READ of bank 1: no row is open"),
        ([], (WRITE, 1), "WRITE of bank 1: no row is open"),
        ([(0, ACTIVATE, 1, 2)], (ACTIVATE, 1, 3), "ACTIVATE of bank 1: row 2 is open"),
        ([(0, ACTIVATE, 1, 2)], (REFRESH,), "REFRESH: row 2 of bank 1 is open"),
        ([(0, ACTIVATE, 1, 2)], (MODE, 0, 0x20), "MODE: row 2 of bank 1 is open"),
        ([(0, ACTIVATE, 1, 2)], (READ, 1, ALL), "READ of bank 1: auto precharge is not modelled"),
        ([(0, ACTIVATE, 1, 2)], (READ, 1, 8), "READ of bank 1: there is no column 8"),
        ([], (ACTIVATE, 1, 4), "ACTIVATE of bank 1: there is no row 4"),
        ([], (MODE, 0, 0x10), "MODE: CAS latency 1 does not work at 100 MHz"),
        ([], (MODE, 0, 0x24), "MODE: mode 0x24 of bank 0 is not modelled"),
        ([], (MODE, 0, 0x28), "MODE: mode 0x28 of bank 0 is not modelled"),
        ([], (MODE, 1, 0x20), "MODE: mode 0x20 of bank 1 is not modelled"),
        ([(0, ACTIVATE, 1, 2)], (WRITE, 1), "WRITE of bank 1: the controller drives no data"),
    ],
)
def test_a_command_that_the_state_forbids_is_refused(before, command, message):
    chip = Chip()
    for other in before:
        chip.at(*other)
    refuse(chip, message, 50, *command)


def test_initialisation_is_complete_and_in_order():
    cold = SdramModel(HARD, HZ)
    with pytest.raises(SdramError, match=r"^0\.0 ns: PRECHARGE: power-up takes 0\.295 µs$"):
        cold.clock(PRECHARGE, 0, ALL)
    for command in (REFRESH, MODE):
        cold = SdramModel(HARD, HZ)
        for _ in range(30):
            cold.clock(NOP, 0, 0)
        with pytest.raises(SdramError, match=f"{command.name}: the banks have not been closed since power-up$"):
            cold.clock(command, 0, 0x20)
    refuse(Chip(first_refreshes=7), "ACTIVATE of bank 0: the chip is not initialised", 20, ACTIVATE)


def test_every_row_is_refreshed_in_time():
    chip = SdramModel(HARD, HZ)  # eight refreshes in 1,200 cycles
    chip.start = 0
    script = {30: (PRECHARGE, ALL), **{33 + 15 * n: (REFRESH, 0) for n in range(8)}, 153: (MODE, 0x20)}
    script |= {153 + 150 * n: (REFRESH, 0) for n in range(1, 9)}
    with pytest.raises(SdramError, match=r"^15040\.0 ns: refresh: not 8 REFRESH in 0\.012 ms$"):
        for cycle in range(2000):  # the last eight begin with that of cycle 303
            command, address = script.get(cycle, (NOP, 0))
            chip.clock(command, 0, address)


def test_a_row_stays_open_for_a_limited_time():
    chip = Chip()
    chip.at(0, ACTIVATE)
    chip.at(10_000, READ)
    refuse(chip, "READ of bank 0: its row is open for more than 100 µs", 10_001, READ)
    refuse(chip, "PRECHARGE of bank 0: its row is open for more than 100 µs", 10_002, PRECHARGE)


@pytest.mark.parametrize("latency", [2, 3])
@pytest.mark.parametrize(
    ("burst", "columns"), [(0, [5]), (1, [5, 4]), (2, [5, 6, 7, 4]), (3, [5, 6, 7, 0, 1, 2, 3, 4])]
)
def test_a_burst_is_read_after_the_latency(latency, burst, columns):
    chip = Chip(burst, latency)
    chip.at(0, ACTIVATE, 2, 3)
    words = [chip.read((3 * 4 + 2) * 8 + column) for column in columns]
    shown = [*chip.at(20, READ, 2, 5)[-1:], *chip.rest(12)]
    assert shown == [None] * (latency - 1) + words + [None] * (14 - latency - len(words))


@pytest.mark.parametrize(("command", "cycles"), [(STOP, 3), (PRECHARGE, 3)])
def test_a_command_cuts_a_burst_after_the_latency(command, cycles):
    chip = Chip(burst=3)
    chip.at(0, ACTIVATE)
    words = [chip.read(column) for column in range(8)]
    shown = [*chip.at(20, READ)[-1:], *chip.at(20 + cycles, command), *chip.rest(10)]
    assert shown == [None, *words[:cycles], *[None] * (13 - cycles)]


def test_a_read_cuts_the_one_before():
    chip = Chip(burst=2)
    chip.at(0, ACTIVATE)
    shown = [*chip.at(20, READ)[-1:], *chip.at(21, READ, 0, 4), *chip.rest(6)]
    assert shown == [None, *(chip.read(column) for column in (0, 4, 5, 6, 7)), None, None]


def test_masks_hide_bytes():
    """Of a word written at once; of one read two cycles later."""
    chip = Chip()
    chip.at(0, ACTIVATE)
    chip.at(20, WRITE, 0, 3, mask=0, data=0x1234)
    chip.at(21, WRITE, 0, 3, mask=1, data=0x5678)
    assert chip.read(3) == 0x5634
    shown = [*chip.at(30, READ, 0, 3, mask=2), *chip.rest(3)]
    assert shown[-4:] == [None, 0x5634 ^ 0xFF00, None, None]


def test_a_burst_is_written_and_cut():
    chip = Chip(burst=2)
    chip.at(0, ACTIVATE)
    before = chip.read(7)
    chip.at(20, WRITE, 0, 5, data=0xA)
    chip.at(21, NOP, data=0xB)
    chip.at(22, READ, 0, 0)
    assert [chip.read(column) for column in (5, 6, 7)] == [0xA, 0xB, before]


def test_two_never_drive_the_data_pins():
    chip = Chip()
    chip.at(0, ACTIVATE)
    chip.at(20, READ)  # the word comes in cycle 22
    refuse(chip, "WRITE of bank 0: the data pins need a free cycle after the chip's last word", 23, WRITE, data=1)
    chip = Chip()
    chip.at(0, ACTIVATE)
    chip.at(20, READ)
    chip.at(24, WRITE, data=1)
    refuse(chip, "data: the controller drives 0x1 without a WRITE", 25, NOP, data=1)
