"""``popflip estimate``: its table, its limits, and the geometries that it finds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from popflip import constraints
from popflip.cli.main import run_command
from popflip.estimation.bounds import Bounds, bounds, rows, seconds
from popflip.estimation.cycles import cycles_of
from popflip.estimation.estimate import estimate, shortage, uses
from popflip.estimation.resources import check_room
from popflip.estimation.search import better
from popflip.estimation.workload import count_work
from popflip.experiment import find_preset, prepare
from popflip.golden.presets import PRESETS

BATCHES = 4


@pytest.fixture(scope="module")
def digits():
    board = constraints.board("icebreaker")
    fit = board.fit("digits-small")
    work = count_work(prepare(preset="digits-small"), BATCHES)
    return board, fit, board.chip(fit, store=0), work


def table(capsys, *arguments: str) -> dict[str, str]:
    assert run_command(["estimate", "--limit-batches", str(BATCHES), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name.strip(): value for name, _, value in (line.partition(": ") for line in lines)}


def test_the_table_shows_the_model_s_numbers(capsys, digits):
    _, _, chip, work = digits
    cycles, said = cycles_of(chip, work), table(capsys, "--board", "icebreaker")
    assert said["network"] == "192-32-10 ternary"
    assert said["cycles a sample"] == f"{cycles.total / cycles.samples:.1f}"
    assert said["forward busy"].split()[0] == f"{cycles.forward_busy / cycles.samples:.1f}"
    assert said["learn busy"].split()[0] == f"{cycles.learn_busy / cycles.samples:.1f}"
    assert said["at 12 MHz"].split()[0] == f"{12e6 * cycles.samples / cycles.total:,.0f}"
    assert said["limit"].startswith("forward: ")
    assert said["link, 1000000 baud"] == "4,000 samples/s: the limit, unless replayed"
    assert "does not fit" not in said


@pytest.mark.parametrize(("link", "name"), [("uart@3000000", "3000000 baud"), ("usb", "USB, full speed")])
def test_the_link_s_speed_is_that_of_the_build(capsys, link, name):
    """On a board whose samples come over the link: 100 bytes or so each."""
    arguments = ("--board", "ulx3s_85f", "--link", link)
    slow, fast = table(capsys, *arguments[:2]), table(capsys, *arguments)
    times = constraints.board("ulx3s_85f").linked(link).baud / 1_000_000

    def number(text: str) -> float:
        return float(text.split()[0].replace(",", ""))

    assert number(fast[f"link, {name}"]) == pytest.approx(times * number(slow["link, 1000000 baud"]), rel=1e-3)
    cells = number(fast["LUTs"]) - number(slow["LUTs"])
    assert cells == constraints.board("ulx3s_85f").linked(link).link.cells == (1_700 if link == "usb" else 0)
    assert number(fast["link"]) == pytest.approx(number(slow["link"]) / times, rel=1e-2)


def test_flags_win_over_the_board_s_fit(capsys):
    said = table(capsys, "--board", "icebreaker", "--rows", "8", "--synapses", "16", "--learn-rows", "2")
    assert said["array"] == "8 rows × 16 synapses, 2 learned at once"
    assert said["does not fit"].startswith("needs ")
    assert "of 5174 logic cells" in said["does not fit"]


def test_auto_takes_the_fastest_that_fits(capsys, digits):
    board, fit, chip, work = digits
    found = better(board, fit.clock_hz, chip, work)
    assert all(not shortage(each.uses) for each in found)
    assert all(
        fast.cycles_per_sample < slow.cycles_per_sample and fast.cells > slow.cells for fast, slow in pairwise(found)
    )
    said = table(capsys, "--board", "icebreaker", "--auto")
    best = found[0].chip
    assert said["array"] == (
        f"{best.array_rows} rows × {best.array_synapses} synapses, {best.learn_rows} learned at once"
    )
    assert "does not fit" not in said


def test_auto_with_nothing_that_fits_is_one_line(capsys):
    flags = ["--board", "icebreaker", "--limit-batches", "1", "--layers", "192,512,10", "--auto"]
    assert run_command(["estimate", *flags]) == 2
    assert capsys.readouterr().err == (
        "popflip: --layers: no geometry of this network fits iCEBreaker (iCE40 UP5K); use fewer or smaller layers\n"
    )


def test_own_data_gets_its_own_network(capsys, tmp_path):
    path = tmp_path / "own.csv"
    generator = np.random.default_rng(1)
    classes = np.arange(120) % 3
    np.savetxt(path, np.column_stack([generator.normal(classes, 1, (4, 120)).T, classes]), delimiter=",")
    said = table(capsys, "--board", "icebreaker", "--dataset", str(path))
    assert said["network"] == "16-32-3 ternary"
    assert said["samples with an update"].endswith(f" of {BATCHES * 96}")
    assert said["block RAMs"] == "14 of 30"
    said = table(capsys, "--board", "icebreaker", "--dataset", str(path), "--layers", "16,8,3", "--precision", "binary")
    assert said["network"] == "16-8-3 binary"


def test_a_built_in_data_set_gets_the_network_of_train():
    board = constraints.board("icebreaker")
    named = find_preset(dataset="mnist", default=board.fit().preset)
    assert named is find_preset(dataset="mnist") is PRESETS["mnist"]
    assert find_preset(dataset="own.csv", default=board.fit().preset) is PRESETS["digits-small"]


def test_no_batches_are_one_line(capsys):
    assert run_command(["estimate", "--board", "icebreaker", "--limit-batches", "0"]) == 2
    message = "popflip: --limit-batches: 0 batches say nothing about speed; use 1 or more\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("name", "fit"), [(name, fit) for name, board in constraints.boards().items() for fit in board.fits]
)
def test_every_network_that_fits_a_board_is_let_through(name, fit):
    board = constraints.board(name)
    check_room(board, board.chip(fit))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layers", "784,4096,10"], "--layers: 784-4096-10 does not fit iCEBreaker (iCE40 UP5K): it needs about "),
        (["--baud", "9999999"], "--baud: 9999999 is too fast for a clock of 12000000 Hz; at most 3000000 works"),
    ],
)
def test_a_hopeless_build_is_refused_before_any_tool_runs(capsys, monkeypatch, flags, message):
    monkeypatch.setattr("popflip.bitstream.build.build", pytest.fail)
    assert run_command(["build", "--board", "icebreaker", *flags]) == 2
    assert capsys.readouterr().err.startswith(f"popflip: {message}")


def test_lbe_is_refused_in_a_line(capsys):
    assert run_command(["estimate", "--board", "icebreaker", "--rule", "lbe"]) == 2
    assert capsys.readouterr().err.startswith("popflip: --rule: lbe cannot be estimated; ")


def test_each_limit_has_its_words(digits):
    board, fit, chip, work = digits
    small = estimate(board, fit.clock_hz, chip, work)
    assert small.limit.startswith("forward: ")
    wide = estimate(board, fit.clock_hz, replace(chip, array_rows=32, array_synapses=32), work)
    assert wide.limit.startswith("learn: ")
    huge = estimate(board, fit.clock_hz, replace(chip, array_rows=32, array_synapses=64, learn_rows=32), work)
    assert huge.limit.startswith("link: ")


def test_a_stored_set_is_loaded_once_and_then_numbers_go(digits):
    """The formulas, written out: 10 bits a byte, 10 bytes a frame, of which two fit the buffer of 512 bytes."""
    board, fit, chip, work = digits
    result = estimate(board, fit.clock_hz, chip, work)
    found = bounds(result, 1437)
    trained = 1437 * 40 // 256 * 256  # 40 epochs, whole batches
    assert found.stored
    assert found.loading == pytest.approx(1437 * (25 + 10 / 9) * 10 / 1e6)
    assert found.link == pytest.approx(trained * (2 + 10 / 64) * 10 / 1e6)
    assert found.memory == pytest.approx(trained * 25 / 12e6)
    assert found.chip == pytest.approx(trained * result.cycles_per_sample / 12e6)
    assert found.forward == pytest.approx(found.chip * result.cycles.forward_busy / result.cycles.total)
    assert found.learn == pytest.approx(found.chip * result.cycles.learn_busy / result.cycles.total)
    assert found.ends == pytest.approx(found.chip * (result.cycles.select + result.cycles.flip) / result.cycles.total)
    assert (found.run, found.bound) == (found.loading + found.chip, "forward")


def test_a_set_that_is_not_stored_is_sent_in_each_epoch(digits):
    board, fit, chip, work = digits
    found = bounds(estimate(board, fit.clock_hz, chip, work), 4097)
    assert (found.stored, found.loading, found.memory) == (False, 0, 0)
    assert found.link == pytest.approx(4097 * 40 // 256 * 256 * (25 + 10 / 9) * 10 / 1e6)
    assert (found.run, found.bound) == (found.link, "the link")
    assert bounds(estimate(board, fit.clock_hz, chip, work), 4096).stored
    assert not bounds(estimate(board, fit.clock_hz, chip, work), 4096, replay=False).stored


@pytest.mark.parametrize(
    ("longest", "bound"),
    [
        ({"loading": 9.0}, "the link while it loads"),
        ({"link": 9.0}, "the link"),
        ({"memory": 9.0}, "the memory of the samples"),
        ({"forward": 2.0}, "forward"),
        ({"learn": 2.0}, "learn"),
        ({"ends": 2.0}, "end of batch"),
    ],
)
def test_what_takes_longest_bounds_the_run(longest, bound):
    even = dict.fromkeys(("loading", "link", "memory", "forward", "learn", "ends"), 1.0)
    found = Bounds(stored=True, **even | longest, chip=3.0)
    assert found.bound == bound
    assert found.run == found.loading + max(found.link, found.memory, 3.0)


def test_the_table_ends_with_the_whole_run(capsys, digits):
    board, fit, chip, work = digits
    found, said = bounds(estimate(board, fit.clock_hz, chip, work), 1437), table(capsys, "--board", "icebreaker")
    assert said["run of 40 epochs"] == f"{found.run:.3g} s, bounded by forward"
    assert said["link, loading"] == f"{found.loading:.3g} s: once, 1437 samples into the board's memory"
    assert said["link"] == f"{found.link:.3g} s: numbers of stored samples"
    assert said["memory"] == f"{found.memory:.3g} s: a byte of a sample a cycle"
    names = [name.strip() for name, _ in rows(estimate(board, fit.clock_hz, chip, work), 4097)]
    assert names == ["run of 40 epochs", "link", "forward", "learn", "end of batch", "chip"]
    assert (seconds(0.012345), seconds(341.2), seconds(34120.0)) == ("0.0123 s", "341 s", "34120 s")


def test_a_compact_chip_has_other_geometries_and_single_port_ram(digits):
    board, fit, chip, work = digits
    compact = replace(chip, compact=True, slots=2)
    found = better(board, fit.clock_hz, compact, work)
    shapes = {(each.chip.array_rows, each.chip.array_synapses) for each in found}
    assert shapes and all(rows <= synapses <= 8 for rows, synapses in shapes)
    assert all([use.name for use in each.uses][-1] == "single-port RAMs" for each in found)
    deep = replace(compact, layers=(784, 512, 10), array_rows=4, array_synapses=4)
    assert "single-port RAMs" in shortage(uses(board, deep))
