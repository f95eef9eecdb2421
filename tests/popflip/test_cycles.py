"""Cycles from the golden model's work, against the counters of the simulated chip."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cycle_model import compare

from popflip.estimation.cycles import cycles_of, sent_bytes
from popflip.estimation.workload import WIDTHS, Work, count_work, fullest_bank, nonzero_words
from popflip.experiment import prepare
from popflip.golden.config import Config, Precision
from popflip.hw.config import ChipConfig

CHIPS = [
    pytest.param({}, {"rows": 4, "synapses": 32}, id="as wide as a mask"),  # built for other tests too
    pytest.param({}, {"rows": 2, "synapses": 8}, id="small"),
    pytest.param({"flip_p256": 100}, {"rows": 2, "synapses": 8}, id="small, masks of several draws"),
    pytest.param({"precision": "binary"}, {"rows": 4, "synapses": 8, "compact": True}, id="compact"),
]
LONG_CHIPS = [
    pytest.param({"flip_p256": 36}, {"rows": 8, "synapses": 64, "learn_rows": 2}, id="words of several masks"),
    pytest.param({"layers": (256, 40, 24, 10)}, {"rows": 4, "synapses": 8, "learn_rows": 2}, id="three layers, banks"),
    pytest.param({"precision": "binary", "mmax": 9}, {"rows": 8, "synapses": 16, "learn_rows": 4}, id="banks"),
    pytest.param({}, {"rows": 32, "synapses": 16, "learn_rows": 4}, id="folded"),
]


@pytest.mark.parametrize(("settings", "array"), CHIPS)
def test_cycles_equal_the_chip_s(settings, array):
    """Exactly, except for the total, which holds waiting: within a tenth."""
    compare(prepare(preset="digits", **settings), array)


@pytest.mark.long
@pytest.mark.parametrize(("settings", "array"), LONG_CHIPS)
def test_cycles_of_more_chips_equal_the_chip_s(settings, array):
    """Chips that no other test shares."""
    compare(prepare(preset="digits", **settings), array)


@pytest.mark.long
@pytest.mark.parametrize("every", [1, 2])
def test_cycles_equal_the_chip_s_if_the_link_is_slowest(every):
    """Plain, or packed because only every other input byte is not 0. Nothing is learned."""
    experiment = prepare(preset="digits", layers=(256, 16, 10), margin=(-999,), batch=4096)
    x = experiment.x_train * (np.arange(256) // 8 % every == 0)
    compare(replace(experiment, x_train=x.astype(np.uint8)), {"rows": 16, "synapses": 32})


@pytest.mark.parametrize("width", WIDTHS)
def test_nonzero_words_are_counted(width):
    x = np.random.default_rng(1).integers(0, 9, (20, 70)) == 0
    brute = [len({place // width for place in [*np.flatnonzero(row), 70]}) for row in x]
    assert nonzero_words(x.astype(np.uint8), width).tolist() == brute


def test_the_fullest_bank():
    learns = np.array([[1, 0, 0, 1, 1, 0, 0], [0] * 7, [1] * 7], bool)
    assert fullest_bank(learns, 1).tolist() == [3, 0, 7]
    assert fullest_bank(learns, 2).tolist() == [2, 0, 4]
    assert fullest_bank(learns, 4).tolist() == [2, 0, 2]
    assert fullest_bank(learns, 8).tolist() == [1, 0, 1]


def test_a_part_of_the_work_has_whole_batches():
    experiment = prepare(preset="digits")
    work = count_work(experiment, 9)
    part = work.part(3)
    size = work.config.batch
    assert part.samples == 3 * size
    assert [each is work.batches[batch] for each, batch in zip(part.batches, (1, 4, 7), strict=True)] == [True] * 3
    starts = [0, *np.cumsum(work.updated)]
    for place, batch in enumerate((1, 4, 7)):
        mine, whole = slice(place * size, (place + 1) * size), slice(batch * size, (batch + 1) * size)
        assert part.words[16][mine].tolist() == work.words[16][whole].tolist()
        assert part.packed[mine].tolist() == work.packed[whole].tolist()
        assert part.updated[mine].tolist() == work.updated[whole].tolist()
    taken = [slice(starts[batch * size], starts[(batch + 1) * size]) for batch in (1, 4, 7)]
    assert part.first_rows[4].tolist() == [rows for each in taken for rows in work.first_rows[4][each].tolist()]
    assert part.upper_rows.tolist() == [rows for each in taken for rows in work.upper_rows[each].tolist()]
    assert work.part(9) is work


def test_samples_are_sent_in_the_shorter_form():
    config = Config((160, 8, 4), precision=Precision.BINARY, k0=(3, 1), window=(4,), batch=5)
    packed = np.array([1, 18, 19, 20, 23])
    assert sent_bytes(ChipConfig.of(config, 2, 8), packed).tolist() == [21] * 5
    assert sent_bytes(ChipConfig.of(config, 2, 16), packed).tolist() == [3, 20, 21, 21, 21]


def test_more_rows_at_once_are_never_slower():
    work = synthetic()
    chips = [ChipConfig.of(work.config, rows, 8) for rows in (1, 2, 4, 8, 16)]
    cycles = [cycles_of(chip, work).forward_busy for chip in chips]
    assert all(more >= fewer for more, fewer in pairwise(cycles))


def synthetic() -> Work:
    """Ten samples of a small network, every second of which triggers an update."""
    config = Config((64, 32, 4), precision=Precision.BINARY, k0=(3, 1), window=(4,), batch=5)
    updated = np.arange(10) % 2 == 0
    return Work(
        config=config,
        words={width: np.full(10, 64 // width + 1) for width in WIDTHS},
        packed=np.full(10, 9),
        updated=updated,
        first_rows={banks: np.full(5, -(-20 // banks)) for banks in (1, 2, 4, 8)},
        upper_rows=np.full((5, 1), 2),
        batches=[],
    )
