"""Estimates of chips with convolutions: words and visits by hand, cycles against the simulated chip, memories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cycle_model import compare

from popflip import constraints
from popflip.cli.main import run_command
from popflip.estimation.blocks import Block
from popflip.estimation.bounds import bounds
from popflip.estimation.conv import serial
from popflip.estimation.conv.cycles import forward_busy, ingest_cycles, learn_busy, run_cycles
from popflip.estimation.conv.words import listed, nonzero, per_pool, seen, upper
from popflip.estimation.conv.work import BANKS, WIDTHS, learning_blocks
from popflip.estimation.cycles import cycles_of
from popflip.estimation.estimate import estimate
from popflip.estimation.resources import ECP5, ICE40, block_rams, check_room, memories
from popflip.estimation.search import better
from popflip.estimation.workload import count_work
from popflip.experiment import prepare
from popflip.golden.config import Config
from popflip.golden.layers import Layer, Planes
from popflip.hw.config import ChipConfig

DIGITS = {"rows": 16, "synapses": 32, "learn_rows": 4}
LONG = [
    pytest.param({"layers": "8x8x4,c5k3,c9k3s2,10"}, {"rows": 8, "synapses": 8, "learn_rows": 2}, id="narrow"),
    pytest.param({"layers": "8x8x4,c16k3p2,c20k3p3,10", "precision": "binary"}, DIGITS, id="pools twice"),
    pytest.param({"layers": "8x8x4,c12k5s3,30,10"}, {"rows": 4, "synapses": 16, "learn_rows": 4}, id="dense above"),
]


@pytest.mark.long
def test_cycles_equal_the_chip_s():
    """As those of the chip in test_conv_chip.py."""
    compare(prepare(preset="digits-conv"), DIGITS)


@pytest.mark.long
@pytest.mark.parametrize(("settings", "array"), LONG)
def test_cycles_of_more_chips_equal_the_chip_s(settings, array):
    compare(prepare(dataset="digits", thresholds=(3, 6, 9, 12), **settings), array)


@pytest.mark.long
def test_a_sample_takes_any_free_slot():
    """A fifth of the samples update, and learning takes five times as long as the forward pass."""
    settings = {"layers": "8x8x4,c32k3,c8k3s2,10", "margin": -20}
    experiment = prepare(dataset="digits", thresholds=(3, 6, 9, 12), **settings)
    compare(experiment, {"rows": 32, "synapses": 32, "learn_rows": 1, "slots": 4}, within=0.05)


# Words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("layer", [Layer(Planes(6, 5, 2), 3, 3, 1, 2), Layer(Planes(7, 7), 2, 5, 2)])
def test_words_of_the_first_layer_by_hand(layer, lanes):
    rng = np.random.default_rng(3)
    planes, outputs = layer.inputs, layer.outputs
    x = (rng.random((9, planes.size)) < 0.1).astype(np.uint8)
    found = nonzero(seen(x, planes, layer), lanes)
    for sample, bits in enumerate(x.reshape(9, planes.channels, planes.height, planes.width)):
        for py in range(outputs.height * layer.pool):
            for px in range(outputs.width * layer.pool):
                words = set()
                for synapse in range(layer.synapses):
                    pixel, channel = divmod(synapse, planes.channels)
                    y = py * layer.stride + pixel // layer.kernel - layer.padding
                    z = px * layer.stride + pixel % layer.kernel - layer.padding
                    if 0 <= y < planes.height and 0 <= z < planes.width and bits[channel, y, z]:
                        words.add(synapse // lanes)
                assert found[sample, py, px] == len(words)


def test_a_list_ends_its_pools():
    words = np.array([[[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]], np.int16)
    layer = Layer(Planes(4, 4), 1, 3, 1, 2)
    assert listed(words, layer).tolist() == [[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]]
    assert listed(0 * words, layer)[0, 3].tolist() == [0, 0, 0, 1]
    assert per_pool(words, layer).tolist() == [[1, 0, 0, 2]]


def test_words_above_the_first_layer():
    """8 channels in words of 16: a row of three pixels is a word and a half."""
    found = upper(Layer(Planes(2, 2, 8), 4, 3), 16)
    assert found.kept.tolist() == [[3, 4], [3, 3]]
    assert found.dropped.tolist() == [[1, 0], [0, 0]]
    dense = upper(Layer(Planes(1, 1, 99), 4, bias=1), 16)
    assert (dense.kept.tolist(), dense.dropped.tolist()) == ([[7]], [[0]])


def test_blocks_that_learn():
    delta = np.array([[1, 0, 0, 0, 0, 0, 0, 0, -1], [0] * 9])
    assert learning_blocks(delta, 3, 1).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert learning_blocks(delta, 9, 4).tolist() == [[2], [0]]
    assert learning_blocks(delta[:0], 3, 1).shape == (0, 3)  # no sample of a chunk triggers an update


# Estimates ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    """Board, fit, chip and work of three batches of ``digits-conv``."""
    experiment = prepare(preset="digits-conv")
    board = constraints.board("ulx3s_85f")
    fit = board.fit("digits-conv")
    return board, fit, board.chip(fit, store=0), count_work(experiment, 3)


def test_counts_are_those_of_every_geometry(digits):
    _, _, chip, work = digits
    for lanes in WIDTHS:
        for banks in BANKS:
            other = replace(chip, array_synapses=lanes, learn_rows=banks)
            assert forward_busy(other, work).shape == (768,)
            assert learn_busy(other, work).shape == (np.count_nonzero(work.updated),)
            assert (learn_busy(other, work) * banks >= work.visits[lanes, 1]).all()
            assert run_cycles(other, work) > forward_busy(other, work).sum()
    assert work.part(3) is work
    part = work.part(1)
    assert part.samples == 256
    assert part.listed[32].tolist() == work.listed[32][256:512].tolist()
    assert cycles_of(chip, part).learn_busy == learn_busy(chip, part).sum()


def test_an_estimate_names_its_limit(digits):
    board, fit, chip, work = digits
    result = estimate(board, fit.clock_hz, chip, work)
    assert result.limit.startswith("learn: ")
    assert bounds(result, 1437).bound == "the link"
    none = {
        name: {key: each[:0] for key, each in getattr(work, name).items()}
        for name in ("visits", "upper_visits", "upper_sweeps", "first_sweeps")
    }
    idle = replace(work, updated=np.zeros_like(work.updated), **none)
    assert estimate(board, fit.clock_hz, chip, idle).limit.startswith("ingest: ")
    assert ingest_cycles(chip) == 32 + 256


def test_geometries_fit_the_board(digits):
    board, fit, chip, work = digits
    found = better(board, fit.clock_hz, chip, work)
    assert found and all(each.chip.convolves for each in found)
    assert found[0].cycles_per_sample == min(each.cycles_per_sample for each in found)


def test_the_command_estimates_a_board(capsys):
    assert run_command(["estimate", "--board", "ulx3s_85f", "--preset", "digits-conv", "--limit-batches", "2"]) == 0
    said = capsys.readouterr().out
    assert "network: 8x8x4-c16k3p2-10 ternary\n" in said
    assert "array: 16 rows × 32 synapses, 4 learned at once\n" in said


# Memories -------------------------------------------------------------------------------------------------------------


def test_memories_by_hand():
    """28x28,c16k5p2,c32k5s2,10 on the array of the ULX3S."""
    board = constraints.board("ulx3s_85f")
    chip = board.chip(board.fit("mnist-conv"))
    found = {block.name: block for block in memories(chip, board.buffer)}
    assert found["patch words"] == Block("patch words", 25 + 8 + 1, 4 * 1024, readers=2)
    assert found["errors"] == Block("errors", 16 * 11, 2 * (14 * 14 + 7 * 7), readers=2)
    assert found["counters 3"] == Block("counters 3", 16 * 32, 4 * 1 + 8 * 13 + 3 * 50)
    assert found["activations 3"] == found["windows"].__class__("activations 3", 32, 4 * 256)
    assert ECP5.block_ram.needed(found["counters 3"]) == 15
    assert ECP5.block_ram.needed(found["open pools"]) == 0


def test_memories_of_a_compact_chip():
    """28x28,c16k5p2,c32k5s2,10 on a UP5K: weights 1,200 words deep take 20 of its 30 block RAMs."""
    config = Config("28x28,c16k5p2,c32k5s2,10", k0=(1, 1, 1), window=(1, 1))
    chip = ChipConfig.of(config, 8, 4, compact=True)
    found = {block.name: block for block in memories(chip, 512)}
    assert found["images"] == Block("images", 1, 2 * 1024)
    assert found["activations"] == Block("activations", 8, 1024 + 512)
    assert block_rams(chip, 512, ICE40) == 26


# Compact chips --------------------------------------------------------------------------------------------------------

COMPACT = [
    ("8x8x4,c4k3p2,c8k3,10", 8, 4, "ternary"),
    ("8x8x4,c4k3p2,10", 4, 4, "ternary"),
    ("8x8x4,c8k5s2,33,10", 8, 8, "binary"),
    ("8x8x4,c16k1,c4k3s3p3,10", 16, 4, "ternary"),
]


@pytest.mark.long
@pytest.mark.parametrize(("layers", "rows", "lanes", "precision"), COMPACT)
@pytest.mark.parametrize("margin", [5, 1000], ids=["some learn", "all learn"])
def test_cycles_of_compact_chips_equal_the_chip_s(layers, rows, lanes, precision, margin):
    """Those of a sample are exact; in each batch the chip waits some 2,000 cycles for the link."""
    settings = {"layers": layers, "precision": precision, "margin": margin, "batch": 400}
    settings |= {"mmax": 127} if lanes == 8 else {}  # counters of a word have 64 bits
    experiment = prepare(dataset="digits", thresholds=(3, 6, 9, 12), **settings)
    array = {"rows": rows, "synapses": lanes, "slots": 2, "compact": True}
    compare(experiment, array, within=0.005)


@pytest.mark.parametrize(
    ("layers", "cycles", "busy"),
    [
        ("28x28,c8k5p2,c16k5s2,10", 30_214, 10_782),
        ("28x28,c8k5p2,c16k5p2,10", 45_796, 25_482),
        ("28x28,c16k5p2,c32k5s2,10", 70_198, 31_362),
    ],
)
def test_forward_of_compact_chips(layers, cycles, busy):
    """Counted by hand in docs/conv-hw.md, and a cycle to take the sample."""
    config = Config(layers, k0=(1, 1, 1), window=(1, 1))
    chip = ChipConfig.of(config, 8, 4, compact=True)
    assert (serial.forward_cycles(chip), serial.forward_busy(chip)) == (cycles, busy)


def test_learning_of_a_compact_chip_by_hand():
    """3x2,c2k1,2 on 4 synapses a cycle: 6 positions of one bit; row 1 learns at the first and the last, of which the
    first one sees nothing. Below a dense layer only, that position is not cut short."""
    plan = Config("3x2,c2k1,2", k0=(1, 1), window=(1,)).plan
    words = np.array([[[0, 1], [1, 1], [1, 1]]], np.int16)
    learns = np.zeros((1, 6, 2), bool)
    learns[0, [0, 5], 1] = True
    found = serial.learning(plan, 4, words, [learns])
    position, row, word = 2 + 4 * 2, 1 + 2, 1
    dense = 6 * (1 + 3) + (1 + 1)  # twelve activations lie in six units, one a pixel; the bias is a word of its own
    assert found.visits.tolist() == [1 + 2 * (6 + 1)]
    assert found.cycles.tolist() == [2 + 2 + 6 * position + 2 * row + word + 1 + 2 * (1 + 2 + dense + 2)]


@pytest.mark.parametrize("name", [name for name, board in constraints.boards().items() if len(board.fits) > 1])
def test_convolutions_of_a_board_fit(name):
    board = constraints.board(name)
    for fit in board.fits:
        chip = board.chip(fit)
        check_room(board, chip)
        if chip.convolves:
            assert block_rams(chip, board.buffer, ECP5) <= {"ulx3s_85f": 208}.get(name, 56)


def test_an_array_of_a_board_suits_other_convolutions():
    board = constraints.board("ulx3s_85f")
    config = Config("9x9,c4k3,3", k0=(1, 1), window=(1,))
    fit = board.fit_like(board.fit(), config)
    assert (fit.preset, board.fit_like(board.fit("mnist-tiles"), config)) == ("digits-conv", fit)
    assert board.fit_like(fit, config) is fit
    ice = constraints.board("icebreaker")
    assert ice.fit_like(ice.fit(), config) is ice.fit("mnist-conv-25f")
    dense = constraints.board("ice40_hx8k_b_evn")
    assert dense.fit_like(dense.fit(), config) is dense.fit()
    assert isinstance(board.chip(fit, config), ChipConfig)


def test_some_batches_are_counted():
    """Every third batch of seven: the first, the fourth and the last."""
    experiment = prepare(preset="digits-conv")
    whole, some = count_work(experiment, 7), count_work(experiment, 7, every=3)
    size = experiment.config.batch
    chosen = np.concatenate([np.arange(batch * size, (batch + 1) * size) for batch in (0, 3, 6)])
    assert np.array_equal(some.updated, whole.updated[chosen])
    assert np.array_equal(some.listed[32], whole.listed[32][chosen])
    updates = (np.cumsum(whole.updated) - 1)[chosen[whole.updated[chosen]]]
    assert np.array_equal(some.visits[32, 4], whole.visits[32, 4][updates])
    assert len(some.batches) == 3
