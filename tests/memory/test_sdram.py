"""The SDRAM controller behind its pads, with a model of the chip that refuses what the data sheet forbids."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from amaranth.sim import Simulator
from formal import mutant
from sdram import HARD, HZ, run_python

from popflip.hw.memory import sdram
from popflip.hw.memory.sdram import Sdram
from popflip.hw.memory.sdram_part import COLORLIGHT_I5, TIMES, ULX3S, Command
from popflip.sim.bench.parts import SideBySide
from popflip.sim.memory.sdram_board import SdramBoard
from popflip.sim.memory.sdram_model import SdramError

BOARDS = {
    "ulx3s": (ULX3S, 62.5e6, 256, 32),
    "colorlight_i5": (COLORLIGHT_I5, 72e6, 100, 20),
    "fast": (ULX3S, 125e6, 512, 7),
}
"""Part, clock, longest request, words of the read queue."""
REQUESTS = 1000
"""Random requests on each of the boards; test_sdram_requests.py has more."""


def run_boards(testbench, requests: int, seed: int, **options) -> None:
    """``requests`` on each of the boards."""
    boards = {
        name: Sdram(part, part.cycles(hz), longest=longest, buffer=buffer)
        for name, (part, hz, longest, buffer) in BOARDS.items()
    }
    parts = {
        name: {
            "fields": asdict(part),
            "hz": hz,
            "longest": longest,
            "requests": requests,
            "seed": seed,
            "stall": 0 if name == "fast" else 0.2,
            **options.get(name, {}),
        }
        for name, (part, hz, longest, _) in BOARDS.items()
    }
    dut = SideBySide({name: SdramBoard(board) for name, board in boards.items()})
    testbench(dut, "popflip.sim.memory.tb_sdram", {"parts": parts})


def test_words_come_back(testbench):
    run_boards(testbench, REQUESTS, 0)


def test_a_wrong_word_is_found(testbench):
    with pytest.raises(AssertionError, match="colorlight_i5: word 30: "):
        run_boards(testbench, 60, 1, colorlight_i5={"wrong": 30})


# Without a compiler ---------------------------------------------------------------------------------------------------


def hard(module=sdram, **fewer) -> Sdram:
    """A controller for :data:`HARD` whose times are shorter by as many cycles as ``fewer`` says."""
    cycles = HARD.cycles(HZ)
    cycles = replace(cycles, **{name: getattr(cycles, name) - count for name, count in fewer.items()})
    return module.Sdram(HARD, cycles, longest=20, buffer=8)


def test_the_hard_chip_refuses_nothing():
    run = run_python(hard(), HZ, 120, idle=400)
    counts = run.chip.counts
    assert counts[Command.MODE] == 1
    assert counts[Command.BURST_STOP] == 0
    assert counts[Command.READ] == run.words
    assert min(counts[each] for each in (Command.ACTIVATE, Command.WRITE, Command.REFRESH)) > 20


@pytest.mark.parametrize("name", TIMES)
def test_a_time_that_is_a_cycle_too_short_is_refused(name):
    with pytest.raises(SdramError, match=rf"^\d+\.\d ns: [A-Z]+( of bank \d)?: t{name.upper()} is at least "):
        run_python(hard(**{name: 1}), HZ, 120)


def test_a_command_before_the_end_of_power_up_is_refused():
    """The first command comes two cycles after the wait, through its register and the pad's."""
    with pytest.raises(SdramError, match=r"PRECHARGE: power-up takes 0\.295 µs$"):
        run_python(hard(power_up=5), HZ, 1)


def test_too_few_first_refreshes_are_refused():
    with pytest.raises(SdramError, match=r"ACTIVATE of bank .: the chip is not initialised$"):
        run_python(hard(first_refreshes=4), HZ, 5)


def test_refreshes_that_are_a_cycle_too_rare_are_refused():
    """Eight in 1,200 cycles: the chip refuses an interval of 151 cycles, and not one of 150."""
    spare = HARD.cycles(HZ).refresh - 150
    run_python(hard(refresh=spare), HZ, 0, idle=3000)
    with pytest.raises(SdramError, match=r"refresh: not 8 REFRESH in 0\.012 ms$"):
        run_python(hard(refresh=spare - 1), HZ, 0, idle=3000)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("self._reads_word, cycles.cas + 2)", "self._reads_word, cycles.cas + 1)", "the data pins need a free cycle"),
        ("& ~hit & may_close & ~in_use", "& ~hit & may_close", "expected"),
        ("self._running & is_open & hit", "self._running & is_open", "expected"),
        ("free & ~current.write & ~credit[-1]", "free & ~current.write", "expected"),
        ("self._open_banks.eq(0)", "self._open_banks.eq(1)", "no row is open"),
        ("ROUND_TRIP = 3", "ROUND_TRIP = 4", "expected"),
        ("Cat(rest.bank, rest.row) + 1", "Cat(rest.bank, rest.row)", "expected"),
    ],
)
def test_a_planted_fault_is_found(old, new, complaint):
    with pytest.raises(AssertionError, match=complaint):
        run_python(hard(mutant(sdram, old, new)), HZ, 150)


def test_a_long_burst_has_no_gap():
    """A word a cycle, but for the two commands that open a row and for refreshes, which take nine cycles."""
    part, hz = replace(ULX3S, power_up_ns=1000), 62.5e6
    controller = Sdram(part, part.cycles(hz), longest=4096, buffer=16)
    rows, refreshes = 8, 8
    assert burst(controller, 4096) == (4096, 4095 + 2 * rows + 9 * refreshes)


def burst(controller: Sdram, count: int) -> tuple[int, int]:
    """Words read of one request of ``count`` from the middle of a row, and the cycles from the first to the last."""
    simulator = Simulator(controller)
    simulator.add_clock(1e-8)
    taken = []

    async def testbench(context) -> None:
        context.set(controller.read.ready, 1)
        context.set(controller.requests.payload.address, 300)
        context.set(controller.requests.payload.more, count - 1)
        context.set(controller.requests.valid, 1)
        await context.tick().until(controller.requests.ready)
        context.set(controller.requests.valid, 0)
        cycle = 0
        while len(taken) < count:
            if context.get(controller.read.valid):
                taken.append(cycle)
            cycle += 1
            await context.tick()

    simulator.add_testbench(testbench)
    simulator.run()
    return len(taken), taken[-1] - taken[0]
