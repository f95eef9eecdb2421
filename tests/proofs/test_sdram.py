"""Proofs about the SDRAM controller: no command breaks a time or comes in a wrong state, and refreshes come in time.

The rules are written down once more, from the pins alone, as :class:`Chip`. The proofs are by induction, for all runs.
What makes it possible is that both sides count in the same way: a rule's ones in the chip never outlast the
controller's. What the controller decides reaches the pins a cycle later, so the chip is compared with the controller's
state of the cycle before.
"""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Assert, Cat, Module, Mux, Signal, Value
from formal import Verdict, inputs_of, missing_tools, mutant, opened, prove, search

from popflip.hw.memory import sdram
from popflip.hw.memory.sdram_part import (
    ALL_BANKS,
    BANKS,
    COLORLIGHT_I5,
    REFRESH_SLACK,
    TIMES,
    ULX3S,
    Command,
    SdramCycles,
)

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())} (extras build, proof)"
    ),
]

PART = replace(COLORLIGHT_I5, rows=2, columns=4, data_bits=1)
CYCLES = SdramCycles(
    rcd=3, rp=2, ras=5, rc=9, rfc=6, rrd=8, wr=3, mrd=6, cas=2, refresh=40, power_up=1, first_refreshes=1
)
"""Every time binds: a controller with one cycle fewer breaks it."""
DEPTH = 22
"""Cycles within which every planted fault shows."""
POWER_UP, CLOSE, REFRESH, RUN, MODE = range(5)  # states of the sequence, in the order in which the code names them
LOOK, COMPARE, DECIDE, ACTIVATE, WAIT = range(5)  # states of the opener


def controller(module: ModuleType = sdram, cycles: SdramCycles = CYCLES) -> Any:
    """A small one."""
    return module.Sdram(PART, cycles, longest=2, buffer=2)


def ones(cycles: int) -> int:
    """Cycles in which a command must not come, if it may come ``cycles`` cycles after another."""
    return (1 << max(0, cycles - 1)) - 1


class Hold:
    """``left``: ones that move out, as many as cycles in which a command must not come."""

    def __init__(self, m: Module, name: str, *events: tuple[Value, int]):
        self.left = Signal(max(1, max(cycles for _, cycles in events) - 1), name=name)
        following: Value = self.left >> 1
        for event, cycles in events:
            following = following | Mux(event, ones(cycles), 0)
        m.d.sync += self.left.eq(following)


class Chip:
    """What the pins have told the chip so far: rows, and for each bank and rule how long commands must wait."""

    def __init__(self, m: Module, pins: Any, cycles: SdramCycles, warm: bool):
        def of(command: Command, bank: int | None = None) -> Value:
            everything = pins.address[ALL_BANKS] if command == Command.PRECHARGE else 0
            place = (pins.bank == bank) | everything if bank is not None else 1
            return (pins.command == command) & place

        every = {each: of(each) for each in Command}
        self.open, self.row = Signal(BANKS, name="chip_open"), [Signal(name=f"chip_row{b}") for b in range(BANKS)]
        self.mode = Signal(name="chip_mode", init=warm)
        with m.If(every[Command.MODE]):
            m.d.sync += self.mode.eq(1)
        self.activate, self.close, self.access = [], [], []
        for bank in range(BANKS):
            activates, closes = of(Command.ACTIVATE, bank), of(Command.PRECHARGE, bank)
            with m.If(activates):
                m.d.sync += [self.open[bank].eq(1), self.row[bank].eq(pins.address)]
            with m.If(closes):
                m.d.sync += self.open[bank].eq(0)
            self.activate.append(
                Hold(
                    m,
                    f"chip_activate{bank}",
                    (activates, cycles.rc),
                    (every[Command.ACTIVATE], cycles.rrd),
                    (closes, cycles.rp),
                    (every[Command.REFRESH], cycles.rfc),
                    (every[Command.MODE], cycles.mrd),
                )
            )
            writes = of(Command.WRITE, bank)
            self.close.append(Hold(m, f"chip_close{bank}", (activates, cycles.ras), (writes, cycles.wr)))
            self.access.append(Hold(m, f"chip_access{bank}", (activates, cycles.rcd)))
        self.write = Hold(m, "chip_write", (every[Command.READ], cycles.cas + 2))
        self.all = Hold(m, "chip_all", (every[Command.REFRESH], cycles.rfc), (every[Command.MODE], cycles.mrd))
        all_closed = ~self.open.any() & ~Cat(hold.left for hold in self.activate).any()
        for bank in range(BANKS):
            access = of(Command.READ, bank) | of(Command.WRITE, bank)
            m.d.comb += [
                Assert(~of(Command.ACTIVATE, bank) | (self.mode & ~self.open[bank])),
                Assert(~of(Command.ACTIVATE, bank) | ~self.activate[bank].left[0]),
                Assert(~access | (self.open[bank] & ~self.access[bank].left[0])),
                Assert(~(of(Command.PRECHARGE, bank) & self.open[bank]) | ~self.close[bank].left[0]),
            ]
        m.d.comb += [
            Assert(~(every[Command.REFRESH] | every[Command.MODE]) | all_closed),
            Assert(~every[Command.PRECHARGE] | ~self.all.left[0]),
            Assert(~every[Command.WRITE] | ~self.write.left[0]),
            Assert(pins.drive == every[Command.WRITE]),
            Assert(~every[Command.BURST_STOP]),
        ]


def before(m: Module, value: Any) -> Signal:
    """``value`` in the cycle before."""
    was = Signal(len(Value.cast(value)), name="was")
    m.d.sync += was.eq(value)
    return was


def within(part: Value, whole: Value) -> Value:
    """Whether every one of ``part`` is one of ``whole``."""
    return (part & ~whole) == 0


def row_of_ones(left: Signal) -> Value:
    """Whether the ones of ``left`` begin at bit 0 and have no gap."""
    return (left & (left + 1)[: len(left)]) == 0


def commands_proof(module: ModuleType) -> tuple[Module, list[Value]]:
    """No command breaks a rule. The rest are invariants, which exclude states that no run reaches."""
    m = Module()
    dut = controller(module)
    registers = opened(m, dut)
    chip = Chip(m, dut.pins, CYCLES, warm=False)
    timers = (*dut._may_activate, *dut._may_close, dut._may_access, dut._may_write)
    m.d.comb += [Assert(row_of_ones(timer.left)) for timer in timers]
    m.d.comb += Assert(chip.mode == before(m, dut._initialised))
    m.d.comb += Assert(chip.open == before(m, dut._open_banks))
    for bank in range(BANKS):
        m.d.comb += [
            Assert(within(chip.activate[bank].left, before(m, dut._may_activate[bank].left))),
            Assert(within(chip.close[bank].left, before(m, dut._may_close[bank].left))),
        ]
        m.d.comb += Assert(within(chip.all.left, before(m, dut._may_activate[bank].left)))
    m.d.comb += Assert(within(chip.write.left, before(m, dut._may_write.left)))
    m.d.comb += Assert(~chip.open.any() | (chip.all.left == 0))
    access_rules(m, dut, chip, registers)
    row_rules(m, dut, registers)
    return m, list(inputs_of(dut))


def access_rules(m: Module, dut: Any, chip: Chip, registers: dict[str, Signal]) -> None:
    """tRCD: the controller has one timer, for the bank that the opener is at."""
    opener, sequence = registers["opener_state"], registers["sequence_state"]
    wait = [
        Hold(m, f"access{bank}", (dut._activate & (dut._target.bank == bank), CYCLES.rcd)).left for bank in range(BANKS)
    ]
    runs = (sequence == RUN) & dut._running
    left = dut._may_access.left
    for bank in range(BANKS):
        here = (opener == WAIT) & (dut._target.bank == bank)
        m.d.comb += [
            Assert(chip.access[bank].left == before(m, wait[bank])),
            Assert(~here | within(wait[bank] >> 1, left)),
            Assert(~(runs & dut._open_banks[bank] & ~here) | (wait[bank] == 0)),
            Assert(~(dut._current_open & (dut._current.place.bank == bank)) | (wait[bank] == 0)),
            Assert(~(dut._next_open & (dut._next.place.bank == bank)) | (wait[bank] == 0)),
        ]


def row_rules(m: Module, dut: Any, registers: dict[str, Signal]) -> None:
    """A segment whose row counts as open has its row open; the opener is at the first one whose row does not."""
    opener, sequence = registers["opener_state"], registers["sequence_state"]
    hit, is_open = registers["hit"], registers["is_open"]
    current, following, target = dut._current.place, dut._next.place, dut._target

    def row_open(place: Any) -> Value:
        rows = Cat(dut._rows[bank] for bank in range(BANKS))
        return dut._open_banks.bit_select(place.bank, 1) & (rows.word_select(place.bank, 1) == place.row)

    target_row = Cat(dut._rows[bank] for bank in range(BANKS)).word_select(target.bank, 1)
    bank_open = dut._open_banks.bit_select(target.bank, 1)
    of_current = dut._current_valid & ~dut._current_open
    of_next = ~of_current & dut._next_valid & ~dut._next_open
    same = Mux(
        of_current, current.as_value() == target.as_value(), of_next & (following.as_value() == target.as_value())
    )
    m.d.comb += [
        Assert(sequence <= MODE),
        Assert(opener <= WAIT),
        Assert(~dut._current_open | (dut._current_valid & row_open(current))),
        Assert(~dut._next_open | (dut._next_valid & row_open(following))),
        Assert(~dut._next_open | ~dut._current_valid | dut._current_open),
        Assert((opener == LOOK) | same),
        Assert((opener == LOOK) | (sequence == RUN)),
        Assert((sequence != RUN) | dut._initialised),
        Assert((sequence != MODE) | ~dut._initialised),
        Assert((sequence != POWER_UP) | ~dut._initialised),
        Assert(dut._initialised | ~dut._open_banks.any()),
        Assert(((sequence != REFRESH) & (sequence != MODE)) | ~(dut._open_banks.any() | dut._current_open)),
        Assert(~((sequence != RUN) & (sequence != CLOSE)) | ~(dut._current_open | dut._next_open)),
        Assert(dut._initialised | ~(dut._current_open | dut._next_open)),
        Assert((opener != DECIDE) | (is_open == bank_open)),
        Assert((opener != DECIDE) | ~is_open | (hit == (target_row == target.row))),
        Assert((opener != ACTIVATE) | ~bank_open),
        Assert((opener != WAIT) | (bank_open & (target_row == target.row))),
    ]


def test_no_command_breaks_a_rule(tmp_path):
    assert prove(*commands_proof(sdram), 2, tmp_path) == Verdict.PROVEN


WARM = (
    'm.FSM(name="sequence")',
    'm.FSM(init="RUN", name="sequence")',
    "self._initialised = Signal()",
    "self._initialised = Signal(init=1)",
)
"""Starts initialised, which brings faults nearer."""


def rules_alone(cycles: SdramCycles, of_chip: SdramCycles, warm: bool) -> tuple[Module, list[Value]]:
    """A controller with times ``cycles``, and a chip with ``of_chip``; both initialised if ``warm``."""
    m = Module()
    dut = controller(mutant(sdram, *WARM) if warm else sdram, cycles)
    opened(m, dut)
    Chip(m, dut.pins, of_chip, warm)
    return m, list(inputs_of(dut))


@pytest.mark.parametrize("name", TIMES)
def test_the_proof_finds_a_time_that_is_a_cycle_too_short(tmp_path, name):
    """All other times are as short as they can be, so that the fault shows early."""
    of_chip = replace(CYCLES, **{**dict.fromkeys(TIMES, 1), name: getattr(CYCLES, name)})
    shorter = replace(of_chip, **{name: getattr(CYCLES, name) - 1}, refresh=8 if name == "rfc" else CYCLES.refresh)
    assert search(*rules_alone(shorter, of_chip, warm=name != "mrd"), DEPTH, tmp_path) == Verdict.DISPROVED


# Refresh --------------------------------------------------------------------------------------------------------------


def most_late(cycles: SdramCycles) -> int:
    """Cycles from the end of an interval to its REFRESH, at most: all times pass, the rows close, and tRP passes."""
    activate = max(cycles.rp, cycles.rc, cycles.rrd, cycles.rfc, cycles.mrd)
    return max(cycles.ras, cycles.wr, activate) + activate + 2


def refresh_proof(module: ModuleType) -> tuple[Module, list[Value]]:
    """After initialisation, from one REFRESH to the next there are at most an interval and :func:`most_late` cycles."""
    m = Module()
    dut = controller(module)
    registers = opened(m, dut)
    sequence, due, left = registers["sequence_state"], registers["due"], registers["left"]
    most = most_late(CYCLES)
    since, late = Signal(range(2 * (CYCLES.refresh + most))), Signal(range(2 * most))
    m.d.sync += [since.eq(since + 1), late.eq(late + 1)]
    with m.If(~dut._initialised | dut._refresh):
        m.d.sync += since.eq(0)
    with m.If(~dut._initialised | ~due | dut._refresh):
        m.d.sync += late.eq(0)
    close_left = [timer.left for timer in dut._may_close]
    activate_left = [timer.left for timer in dut._may_activate]
    longest_activate = len(activate_left[0])
    longest = max(len(close_left[0]), longest_activate)
    m.d.comb += [Assert(row_of_ones(hold)) for hold in (*close_left, *activate_left)]
    # Of a timer that is a row of ones, bit n is 0 when at most n cycles are left.
    for hold in (*close_left, *activate_left):
        for number in range(len(hold)):
            running_out = (sequence == CLOSE) & (late > longest - number)
            m.d.comb += Assert(~(running_out & dut._initialised) | ~hold[number])
    for number in range(longest_activate):
        running_out = (sequence == REFRESH) & (late > longest + 1 + longest_activate - number)
        m.d.comb += [Assert(~(running_out & dut._initialised) | ~hold[number]) for hold in activate_left]
    m.d.comb += [
        Assert(left < CYCLES.refresh),
        Assert(sequence <= MODE),
        Assert((sequence != RUN) | dut._initialised),
        Assert((sequence != MODE) | ~dut._initialised),
        Assert((sequence != POWER_UP) | ~dut._initialised),
        Assert(~(dut._initialised & (sequence != RUN)) | due),
        Assert(~((sequence == RUN) & due) | (late == 0)),
        Assert(~((sequence == CLOSE) & dut._initialised) | ((late >= 1) & (late <= 1 + longest))),
        Assert(~((sequence == REFRESH) & dut._initialised) | (late <= 2 + longest + longest_activate)),
        Assert(~dut._initialised | due | (since + left <= CYCLES.refresh)),
        Assert(~dut._initialised | ~due | (since <= CYCLES.refresh + 1 + late)),
        Assert(since <= CYCLES.refresh + most),
    ]
    return m, list(inputs_of(dut))


def test_refreshes_come_in_time(tmp_path):
    assert prove(*refresh_proof(sdram), 2, tmp_path) == Verdict.PROVEN


def test_the_proof_finds_a_longer_interval(tmp_path):
    faulty = mutant(sdram, "left.eq(self.cycles.refresh - 1), due", "left.eq(self.cycles.refresh), due")
    assert search(*refresh_proof(faulty), CYCLES.refresh + 4, tmp_path) == Verdict.DISPROVED


@pytest.mark.parametrize(("part", "hz"), [(ULX3S, 62.5e6), (ULX3S, 100e6), (COLORLIGHT_I5, 72e6)])
def test_all_rows_are_refreshed_within_64_ms(part, hz):
    """As many intervals as there are refreshes, and one late refresh, fit into 64 ms."""
    cycles = part.cycles(hz)
    assert most_late(cycles) < REFRESH_SLACK
    assert (part.refreshes * cycles.refresh + most_late(cycles)) / hz <= 64e-3
