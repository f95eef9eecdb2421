"""The benchmarks: conclusions from given counts, and short runs."""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from amaranth.sim import Simulator
from paths import BENCH
from simulated import need_compiler

from popflip import constraints
from popflip.data.datasets import load
from popflip.devices.golden import GoldenDevice
from popflip.estimation.estimate import estimate
from popflip.estimation.workload import count_work
from popflip.experiment import prepare
from popflip.golden.common.status import Counts
from popflip.golden.config import Config
from popflip.training import accuracy, train


def script(name: str) -> ModuleType:
    """Import ``bench/{name}.py``, which is in no package."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up here
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def utilisation() -> ModuleType:
    return script("utilisation")


@pytest.fixture(scope="module")
def software() -> ModuleType:
    return script("software")


def measured(module: ModuleType, forward: int, learn: int):
    """10 samples of 8 bytes in 1000 steady cycles, after 40 of filling, and 200 at the end of batches."""
    cycles = {"total": 1240, "forward_busy": forward, "learn_busy": learn, "forward_stall": 5, "learn_stall": 4}
    return module.Measurement(2, 16, 10, 8, {**cycles, "select": 150, "flip": 50}, 40, 0.001)


@pytest.mark.parametrize(
    ("forward", "learn", "bottleneck", "missed"),
    [
        (850, 191, "forward", []),
        (849, 500, "forward", ["2×16: MAC array busy in 84.9% of the steady cycles, goal 85%"]),
        (500, 849, "learn", []),
        (850, 190, "forward", ["2×16: forward and learning do not overlap"]),
        (79, 70, "link", ["2×16: forward and learning do not overlap"]),
    ],
)
def test_goals(utilisation, forward, learn, bottleneck, missed):
    measurement = measured(utilisation, forward, learn)
    assert (measurement.in_batch, measurement.steady) == (1040, 1000)
    assert measurement.bottleneck == bottleneck
    assert measurement.missed() == missed


def test_a_row_fits_its_columns(utilisation):
    row = measured(utilisation, 850, 191).row()
    widths = [width for _, width in utilisation.COLUMNS]
    assert len(utilisation.line(row)) == sum(widths) + len(widths) - 1
    assert row[1:5] == ("10", "1240", "1040", "1000")
    assert row[11:] == ("124.0", "81.7%", "85.0%", "19.1%", "forward", "1.24")


@pytest.mark.parametrize("name", ["desk", "golden_speed", "software", "mnist_cycles", "tiles"])
def test_benches_that_need_mnist_say_why_they_skip(name):
    ran = subprocess.run([sys.executable, BENCH / f"{name}.py"], env={}, capture_output=True, text=True, check=True)
    assert ran.stdout == "skipped: needs MNIST; give --data-dir D or POPFLIP_DATA=D, where D holds mnist/\n"


def test_the_lbe_bench_equals_popflip_train(capsys, monkeypatch):
    """Two counter widths, two seeds of an epoch of digits."""
    monkeypatch.delenv("POPFLIP_DATA", raising=False)
    lbe = script("lbe")
    assert lbe.main(["digits", "mnist", "fashion-35", "--bits", "8,6", "--seeds", "2", "--epochs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Test accuracy in percent: mean (lowest – highest) of 2 seeds."
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert cells[:4] == ["digits", "256-128", "group 32, margin 16, n 2", "1"]
    assert lines[5].startswith("mnist: skipped: needs MNIST; ")
    assert lines[6].startswith("fashion-35: skipped: needs Fashion-MNIST; ")
    for cell, mmax in zip(cells[4:6], (127, 31), strict=True):
        right = []
        for seed in (1, 2):
            experiment = prepare(preset="digits-lbe", mmax=mmax, seed=seed, epochs=1)
            device = GoldenDevice(experiment.config)
            train(device, experiment.x_train, experiment.y_train)
            right.append(100 * accuracy(device.infer(experiment.x_test), experiment.y_test))
        assert cell == f"{sum(right) / 2:.2f} ({min(right):.2f} – {max(right):.2f})"


def test_the_bench_of_convolutions_equals_popflip_train(capsys):
    """A preset and layers, two seeds of two epochs, with a number of its own for each layer's counters."""
    nets, conv = ("digits-conv", "8x8x4,c3k3s2,10"), script("conv")
    assert conv.main([*nets, "--seeds", "1,4", "--epochs", "2", "--mmax", "300,31", "--augment", "shift"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits, seeds 1, 4"
    for text, net, size in zip(lines[4:], nets, ("3,146 | 27 kbit | 0.04 M", "598 | 5 kbit | 0.00 M"), strict=True):
        found, updates = [], 0.0
        for seed in (1, 4):
            given = {"preset": net} if net == "digits-conv" else {"dataset": "digits", "layers": net}
            experiment = prepare(**given, epochs=2, mmax=(300, 31), augment="shift", seed=seed)
            device = GoldenDevice(experiment.config)
            train(device, experiment.training_samples, experiment.y_train)
            found.append(accuracy(device.infer(experiment.x_test), experiment.y_test))
            updates += device.status().errors / device.status().samples / 2
        layers = ",".join(map(str, experiment.config.layers))
        cells = f"| {layers} ternary, moved | 2 | {size} | {updates:.1%} | {sum(found) / 2:.2%} | "
        assert text.startswith(cells + " ".join(f"{each:.2%}" for each in found) + " | ")


def test_the_bench_of_convolutions_counts_cycles_as_the_estimate(capsys, monkeypatch):
    """Every batch, then every second one: these are other batches, so another mean."""
    conv, lines = script("conv"), []
    for counted in (1, 2):
        monkeypatch.setattr(conv, "COUNTED", counted)
        nets = ["digits-conv", "digits", "8x8x4,c3k3s2,10"]
        assert conv.main([*nets, "--seeds", "1", "--epochs", "1", "--board", "ulx3s_85f"]) == 0
        lines.append([text.split(" | ")[-2:] for text in capsys.readouterr().out.splitlines()[2:]])
    board = constraints.board("ulx3s_85f")
    assert lines[0][0] == ["cycles a sample", "trained samples/s |"]
    for net, cells, fewer in zip(("digits-conv", "digits"), lines[0][2:], lines[1][2:], strict=False):
        experiment, fit = prepare(preset=net, epochs=1), board.fit(net)
        found = estimate(board, fit.clock_hz, board.chip(fit, experiment.config), count_work(experiment))
        assert cells == [f"{found.cycles_per_sample:,.1f}", f"{found.samples_per_second:,.0f} |"] != fewer
    assert lines[0][4] == ["–", "– |"]


# Beside other learners ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "seconds", "made"), [(3, 100.0, (3, 6.0)), (9, 5.0, (3, 6.0)), (9, 0.0, (1, 2.0)), (9, 4.0, (2, 4.0))]
)
def test_no_epoch_starts_after_the_time_limit(software, epochs, seconds, made):
    indices = []
    assert software.Budget(epochs, seconds).run(lambda index: indices.append(index) or 2.0) == made
    assert indices == list(range(made[0]))


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    """A folder with an ``mnist/`` of 80 training and 20 test images. The bright row of an image is its class."""
    (tmp_path / "mnist").mkdir()
    for part, count in (("train", 80), ("t10k", 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        images[np.arange(count), 2 * labels + 3] = 255
        for name, array in ((f"{part}-images-idx3", images), (f"{part}-labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (tmp_path / "mnist" / f"{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
    return tmp_path


def test_software_compares_learners(blobs):
    ran = subprocess.run(
        [sys.executable, BENCH / "software.py", "--data-dir", blobs, "--samples", "60", "--epochs", "2"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert lines[0] == (
        "MNIST, one bit a pixel, 60 training and 20 test images, one thread; "
        "at most 2 epochs, none started after 60 s of training"
    )
    assert lines[1].split() == ["learner", "epochs", "accuracy", "trained/s", "inferred/s", "state"]
    golden, mlp = lines[2:4]
    assert golden.startswith("popflip golden, 784-256-10 ternary ") and golden.endswith(" 2.04 Mbit")
    assert mlp.startswith("scikit-learn MLPClassifier, 784-256-10 float32 ") and mlp.endswith(" 19.54 Mbit")
    assert [row.split()[-6] for row in (golden, mlp)] == ["2", "2"]
    assert "green-tsetlin" in lines[4]
    assert lines[5] == "published, trained on the FPGA:"
    assert [row[:4] for row in lines[6:]] == ["[1] ", "[2] ", "[3] "] * 2


def test_a_missing_learner_is_skipped_with_the_reason(software, monkeypatch):
    monkeypatch.setitem(sys.modules, "green_tsetlin", None)
    with pytest.raises(software.Missing, match=r"^green-tsetlin is skipped: .*; pip install -e '\.\[bench\]'"):
        software.tsetlin(None, software.Budget(1, 1))


def test_software_refuses_zero_samples():
    ran = subprocess.run(
        [sys.executable, BENCH / "software.py", "--data-dir", "D", "--samples", "0"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (1, "software: --samples: 0 is less than 1\n")


# Cycles of a run of MNIST ---------------------------------------------------------------------------------------------


def test_the_mean_of_a_line_by_hand():
    """From 10 to 4 in 2, then at 4 for 6 more."""
    assert script("mnist_cycles").mean([(1, 10), (3, 4), (9, 4)]) == (14 + 24) / 8


# At the desk ----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_run_at_the_desk_is_the_sum_of_its_parts(capsys):
    """Digits on a ULX3S: seconds from bytes and cycles, both within their bounds, and their sum."""
    need_compiler()
    desk = script("desk")
    assert desk.main(["--preset", "digits", "--points", "0,500,1000", "--software", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    points = [line.split() for line in lines[1:4]]
    config, clock_hz, byte_cycles = prepare(preset="digits").config, 25e6, 25e6 / desk.BAUD * 10
    last = config.batches(1437) - 2
    assert [int(point[0]) for point in points] == [0, last // 2, last]
    rows = {line[:24].strip(): line[24:].split() for line in lines[4:8]}
    busy = {name: float(rows[name][-1].rstrip("%")) / 100 for name in ("store the training set", "test")}
    assert min(busy.values()) >= 0.95
    for name, samples in (("store the training set", 1437), ("test", 360)):
        seconds, _, count, *_ = rows[name]
        assert int(count) > samples * 256 / 8  # a bit an input, and what frames and labels add
        assert abs(int(count) * byte_cycles / busy[name] / clock_hz - float(seconds)) < 0.006
    trained = rows[f"learn {config.epochs} epochs"]
    assert int(trained[2]) == config.batches(1437) * config.batch
    assert min(float(point[2]) for point in points) <= float(trained[5]) <= max(float(point[2]) for point in points)
    assert abs(float(rows["first byte to test"][0]) - sum(float(row[0]) for row in list(rows.values())[:3])) < 0.016
    assert lines[9].startswith("trained samples/s: ") and "from the SDRAM" in lines[9]


# Tiles ----------------------------------------------------------------------------------------------------------------


def test_the_search_finds_pixels_that_are_zero_together():
    """Four groups of eight inputs are 1 together but lie apart. The search finds them, and pairs of them for 16."""
    tiles, generator = script("tiles"), np.random.Generator(np.random.PCG64(1))
    groups = generator.permutation(32).reshape(4, 8)
    images = np.zeros((64, 32), bool)
    images[:, groups[0]] = images[:, groups[2]] = np.arange(64)[:, None] % 4 == 0
    images[:, groups[1]] = images[:, groups[3]] = np.arange(64)[:, None] % 4 == 1
    columns = np.ascontiguousarray(np.packbits(images.T, axis=1)).view(np.uint64)
    found = tiles.anneal(columns, np.arange(32).reshape(4, 8), 64, 4000)
    pairs = {frozenset(found[:2].ravel().tolist()), frozenset(found[2:].ravel().tolist())}
    assert pairs == {frozenset(groups[[0, 2]].ravel().tolist()), frozenset(groups[[1, 3]].ravel().tolist())}


def test_the_written_tiles_are_those_counted(blobs, tmp_path):
    """The file holds 98 tiles of 8. In its order, samples have the nonzero words of the last line printed."""
    output = tmp_path / "tiles.txt"
    command = [sys.executable, BENCH / "tiles.py", "--data-dir", blobs, "--steps", "300", "--output", output]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    numbers = np.loadtxt(output, int)
    assert numbers.shape == (28, 28)
    assert np.bincount(numbers.ravel()).tolist() == [8] * 98
    order = np.argsort(numbers, axis=None, kind="stable")
    data = load("mnist", blobs)
    cells = []
    for width in (8, 16, 32, 64):
        for values in (data.train_values, data.test_values):
            lists = [{784 // width, *(place // width for place in np.flatnonzero(image[order]))} for image in values]
            cells.append(f"{sum(map(len, lists)) / len(lists):.2f}")
    assert ran.stdout.splitlines()[-1].split() == ["tiles", *cells]


# Popcounts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tree", range(4))
@pytest.mark.parametrize("width", [1, 2, 3, 8, 13, 32])
def test_every_popcount_tree_counts_ones(tree, width):
    popcount = script("popcount")
    _, group, leaf = popcount.TREES[tree]
    counted = popcount.Counted(width, group(width), leaf)
    values = [0, 2**width - 1, *np.random.Generator(np.random.PCG64(1)).integers(0, 2**width, 50).tolist()]

    async def drive(context):
        for value in values:
            context.set(counted.i, value)
            await context.tick().repeat(3)
            assert context.get(counted.o) == value.bit_count()

    simulator = Simulator(counted)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()


# One table ------------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_fit():
    ran = subprocess.run([sys.executable, BENCH / "table.py"], capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    fits = [(name, fit) for name, board in constraints.boards().items() for fit in board.fits]
    for row, (name, fit) in zip(lines[1:], fits, strict=False):
        assert row.split()[0] == name
        assert row.split()[3] == f"{fit.rows}×{fit.synapses}×{fit.learn_rows}"
    assert lines[1 + len(fits)].startswith("array: rows × synapses")
    assert sum(text.startswith("published") for text in lines) == 1
    assert lines[-1].startswith("model: ")


def test_the_estimate_is_its_model(monkeypatch):
    """By hand: 85.6 + 12 · (44 + 1000 · c) µA at 1.219 V, and 12 MHz / 600 cycles = 20,000 samples a second."""
    monkeypatch.syspath_prepend(BENCH)
    table = script("table")
    numbers = {"uses": {"logic_cells": {"used": 1000}}, "clock_hz": 12e6, "cycles_a_sample": 600.0}
    monkeypatch.setattr(table, "baseline", lambda board, preset: numbers if preset == "digits-small" else None)
    first, model = table.estimate()
    assert table.microamperes(1000, 12, 0.012) == 85.6 + 12 * (44 + 12)
    assert first.startswith("ESTIMATE, not measured: icebreaker digits-small, ")
    assert first.endswith(": 0.9 to 3.1 mW, 0.05 to 0.16 µJ a training sample")
    assert model.startswith("model: 85.6 µA + 44 µA/MHz + 0.012 ")


# votes.py -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def votes() -> ModuleType:
    return script("votes")


def test_decays_by_hand(votes):
    m = np.array([0, 1, 3, 4, 9, -1, -3, -4, -9], np.int16)
    assert votes.to_zero(m, 2).tolist() == [0, 1, 3, 3, 7, -1, -3, -3, -7]
    assert votes.to_all(m, 2).tolist() == [0, 0, 2, 3, 6, 0, -2, -3, -6]


def test_the_first_row_is_the_chips_rule(votes):
    """Its engine, told nothing, does what the golden model does; another decay and a bound do not."""
    experiment = votes.load("digits", None, 0)
    config = replace(experiment.config, epochs=3)
    experiment = replace(experiment, config=config)
    golden = GoldenDevice(config)
    train(golden, experiment.x_train, experiment.y_train)
    expected = accuracy(golden.infer(experiment.x_test), experiment.y_test)
    assert votes.whole_votes(experiment, config, votes.BASE) == expected
    for variant in (votes.Variant("a", decay=votes.to_all), votes.Variant("b", bounded=True)):
        assert votes.whole_votes(experiment, config, variant) != expected


def test_a_bound_and_a_decay_act_at_the_end_of_a_batch(votes):
    config = Config((2, 2), k0=(1,), shift=1)
    engine = votes.VariantEngine(config, votes.Variant("a", bounded=True, decay=votes.to_zero))
    state = engine.initial()
    state.weights[0] = np.array([[1, 0, -1], [1, 0, -1]], np.int8)
    state.counters[0] = np.array([[5, 9, 3], [-3, -5, -7]], np.int16)
    engine.end_batch(state, (0,), Counts(flips=[0]))
    assert state.counters[0].tolist() == [[0, 5, 2], [-2, -3, 0]]


def test_rows_that_change_nothing_are_left_out(votes):
    base = Config((2, 2), k0=(4,), shift=4)
    needless = [variant.name for variant in votes.VARIANTS if variant.is_needless(base)]
    assert needless == ["SHIFT 4"]
    assert votes.Variant("a", k0=0.5).config(base, 7) == replace(base, k0=(2,), seed=7)


def test_a_row_that_helps_is_marked(votes):
    assert votes.row("a", [0.95, 0.96], 0.952).split() == ["a", "95.50%", "+0.30", "0.71", "*"]
    assert votes.row("a", [0.95], 0.96).split() == ["a", "95.00%", "-1.00", "0.00"]
