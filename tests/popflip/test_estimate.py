"""``popflip estimate``: what it says, what limits, and which geometry it takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from popflip import constraints
from popflip.cli.main import run_command
from popflip.estimation import search as estimate
from popflip.estimation.cycles import of_work
from popflip.estimation.workload import of_run
from popflip.experiment import prepare

BATCHES = 4


@pytest.fixture(scope="module")
def digits():
    board = constraints.board("icebreaker")
    fit = board.fit("digits-small")
    work = of_run(prepare(preset="digits-small"), BATCHES)
    return board, fit, board.chip(fit, store=0), work


def table(capsys, *arguments: str) -> dict[str, str]:
    assert run_command(["estimate", "--limit-batches", str(BATCHES), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name.strip(): value for name, _, value in (line.partition(": ") for line in lines)}


def test_says_what_the_model_says(capsys, digits):
    _, _, chip, work = digits
    cycles, said = of_work(chip, work), table(capsys, "--board", "icebreaker")
    assert said["network"] == "192-32-10 ternary"
    assert said["cycles a sample"] == f"{cycles.total / cycles.samples:.1f}"
    assert said["forward busy"].split()[0] == f"{cycles.forward_busy / cycles.samples:.1f}"
    assert said["learn busy"].split()[0] == f"{cycles.learn_busy / cycles.samples:.1f}"
    assert said["at 12 MHz"].split()[0] == f"{12e6 * cycles.samples / cycles.total:,.0f}"
    assert said["limit"].startswith("forward: ")
    assert said["link, 1000000 baud"] == "4,000 samples/s: the limit, unless replayed"
    assert "does not fit" not in said


def test_flags_win_over_what_fits_the_board(capsys):
    said = table(capsys, "--board", "icebreaker", "--rows", "8", "--synapses", "16", "--learn-rows", "2")
    assert said["array"] == "8 rows × 16 synapses, 2 learned at once"
    assert said["does not fit"].startswith("needs ")
    assert "of 5174 logic cells" in said["does not fit"]


def test_auto_takes_the_fastest_that_fits(capsys, digits):
    board, fit, chip, work = digits
    found = estimate.better(board, fit, chip, work)
    assert all(not estimate.shortage(each.uses) for each in found)
    assert all(fast.per_sample < slow.per_sample and fast.cells > slow.cells for fast, slow in pairwise(found))
    said = table(capsys, "--board", "icebreaker", "--auto")
    best = found[0].chip
    assert said["array"] == (
        f"{best.array_rows} rows × {best.array_synapses} synapses, {best.learn_rows} learned at once"
    )
    assert "does not fit" not in said


def test_auto_with_nothing_that_fits_is_one_line(capsys):
    flags = ["--board", "icebreaker", "--limit-batches", "1", "--layers", "192,512,10", "--auto"]
    assert run_command(["estimate", *flags]) == 2
    assert capsys.readouterr().err == ("popflip: --auto: nothing fits iCEBreaker (iCE40 UP5K); smaller --layers may\n")


def test_lbe_is_refused_in_a_line(capsys):
    assert run_command(["estimate", "--board", "icebreaker", "--rule", "lbe"]) == 2
    assert capsys.readouterr().err.startswith("popflip: rule: lbe has no estimate; ")


def test_each_limit_has_its_words(digits):
    board, fit, chip, work = digits
    small = estimate.of(board, fit, chip, work)
    assert small.limit.startswith("forward: ")
    wide = estimate.of(board, fit, replace(chip, array_rows=32, array_synapses=32), work)
    assert wide.limit.startswith("learn: ")
    huge = estimate.of(board, fit, replace(chip, array_rows=32, array_synapses=64, learn_rows=32), work)
    assert huge.limit.startswith("the byte a cycle ")


def test_a_compact_chip_has_other_geometries_and_single_port_ram(digits):
    board, fit, chip, work = digits
    compact = replace(chip, compact=True, slots=2)
    found = estimate.better(board, fit, compact, work)
    shapes = {(each.chip.array_rows, each.chip.array_synapses) for each in found}
    assert shapes and all(rows <= synapses <= 8 for rows, synapses in shapes)
    assert all([use.name for use in each.uses][-1] == "single-port RAMs" for each in found)
    deep = replace(compact, layers=(784, 512, 10), array_rows=4, array_synapses=4)
    assert "single-port RAMs" in estimate.shortage(estimate.uses(board, deep))
