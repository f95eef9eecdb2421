"""The chip's own order: the pieces of a walk, and runs over a stored set, on a chip's model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from faulty_line import FaultyLine
from hypothesis import given
from hypothesis import strategies as st
from model_chip import CONFIG, LBE, SPARSE, ModelChip, RestartingChip

from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.errors import ConfigError
from popflip.golden.common.order import key_of, permutation
from popflip.golden.config import AnyConfig, Order
from popflip.hw.config import ChipConfig
from popflip.hw.link.commands import Command
from popflip.repair import ignore
from popflip.steps import MOST_PIECE, epoch_steps, pieces, sample_order, steps, watched_steps
from popflip.training import run

WALKS = replace(CONFIG, order="chip", epochs=5)
SAMPLES = 70  # no multiple of a batch
STORE = 128


def data(config: AnyConfig, samples: int = SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    return draw.integers(0, 2, (samples, config.inputs), np.uint8), draw.integers(0, config.classes, samples)


def walking(config: AnyConfig = WALKS, lanes: int = 8, **shape) -> ChipDevice:
    return ChipDevice(ModelChip(config, 256, lanes, STORE, True, **shape), config)


def end(device, config: AnyConfig, **options):
    outcome = run(device, *data(config), **options)
    status = outcome.end.status
    return outcome.end.state.sha256(), replace(status, cycles=None), sum(result.errors for result in outcome.history)


# Pieces ---------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 30), st.integers(0, 30))
def test_pieces_walk_every_sample_of_every_batch(samples, batch, first, more):
    last, seen, ended = first + more, [], {}
    for piece in pieces(samples, batch, first, last):
        for part in range(max(1, len(piece.batches))):
            assert piece.place + piece.samples <= samples
            seen += [(piece.epoch, piece.place + part * piece.samples + offset) for offset in range(piece.samples)]
            if piece.batches:
                ended[piece.batches[part]] = len(seen)
    assert seen == [divmod(position, samples) for position in range(first * batch, last * batch)]
    assert ended == {index: (index + 1 - first) * batch for index in range(first, last)}


def test_a_piece_is_no_longer_than_a_request_can_say():
    sizes = [(piece.samples, len(piece.batches)) for piece in pieces(10**6, 150_000, 0, 1)]
    assert sizes == [(MOST_PIECE, 0), (MOST_PIECE, 0), (150_000 - 2 * MOST_PIECE, 1)]


@pytest.mark.parametrize(("first", "last"), [(0, 20), (3, 20), (3, 4), (5, 5)])
def test_steps_of_epochs_end_with_the_batch_in_which_the_epoch_does(first, last):
    found = list(epoch_steps(70, WALKS, first, last))
    assert [begin for begin, _ in found] == [first, *(after for _, after in found)][: len(found)]
    ends = {-(-epoch * 70 // 16) for epoch in range(1, 6)} | {last}
    assert [after for _, after in found] == sorted(each for each in ends if first < each <= last)


def test_watched_steps_end_at_multiples():
    assert list(watched_steps(3, 10, 4)) == [(3, 4), (4, 8), (8, 10)]
    assert list(watched_steps(3, 5, 1)) == [(3, 4), (4, 5)]


# Orders ---------------------------------------------------------------------------------------------------------------


def test_the_chips_order_is_goldens_with_the_key_of_each_epoch():
    expected = np.concatenate([permutation(key_of(WALKS.seed, epoch), SAMPLES) for epoch in range(5)])
    order = np.concatenate(list(sample_order(SAMPLES, WALKS)))
    assert order.tolist() == expected[: len(order)].tolist()
    assert len(order) == 5 * SAMPLES // 16 * 16
    middle = [part for _, part in steps(SAMPLES, WALKS, 3, 6)]
    assert np.concatenate(middle).tolist() == expected[48:96].tolist()


def test_an_order_is_one_of_two():
    assert (CONFIG.order, WALKS.order) == (Order.NUMPY, Order.CHIP)
    with pytest.raises(ConfigError) as error:
        replace(CONFIG, order="random")
    assert str(error.value) == "order: 'random' is not one of numpy, chip"


# Runs -----------------------------------------------------------------------------------------------------------------

RUNS = {
    "gft": (WALKS, 8),
    "packed": (replace(SPARSE, order="chip", epochs=5), 16),
    "lbe": (replace(LBE, order="chip", epochs=3), 8),
}


@pytest.mark.parametrize(("config", "lanes"), RUNS.values(), ids=RUNS)
def test_a_walk_ends_as_golden_does(config, lanes):
    golden = end(GoldenDevice(config), config)
    assert end(walking(config, lanes), config) == golden
    with GoldenDevice(config) as alongside:
        assert end(walking(config, lanes), config, golden=alongside) == golden


@pytest.mark.parametrize("walks", [False, True], ids=["numbers", "walk"])
def test_a_chip_that_cannot_walk_gets_the_same_order(walks):
    device = ChipDevice(ModelChip(WALKS, 256, 8, STORE if walks else 0, walks), WALKS)
    assert end(device, WALKS) == end(GoldenDevice(WALKS), WALKS)
    assert end(GoldenDevice(CONFIG), CONFIG) != end(GoldenDevice(WALKS), WALKS)


@pytest.mark.parametrize("cut", [1, 4, 5, 13])
def test_a_walk_cut_and_resumed_equals_one_that_was_not(cut):
    whole = run(walking(), *data(WALKS))
    first = run(walking(), *data(WALKS), limit=cut)
    assert first.end.status.batches == cut
    resumed = run(walking(), *data(WALKS), start=(first.end.state, first.end.status))
    assert resumed.end.state.sha256() == whole.end.state.sha256()
    assert resumed.end.status == whole.end.status


def test_a_walk_sends_no_samples_and_no_numbers(monkeypatch):
    device, sent = walking(), []
    post = device.link.post

    def noted(command: Command, payload: bytes = b""):
        sent.append(command)
        return post(command, payload)

    monkeypatch.setattr(device.link, "post", noted)
    run(device, *data(WALKS))
    training = sent[sent.index(Command.TRAIN_SET) :]
    reads = {Command.STATUS, Command.READ_WEIGHTS, Command.READ_COUNTERS}
    assert set(training) == {Command.TRAIN_SET, Command.CONFIGURE, *reads}
    assert training.count(Command.CONFIGURE) == 4  # a key for each further epoch
    assert training.count(Command.TRAIN_SET) < 20  # 21 batches


def test_a_chip_lost_in_a_walk_goes_on_from_the_last_state():
    for restarts in (30, 60):
        chip = RestartingChip(WALKS, lambda write, at=restarts: write == at, store=STORE, walks=True)
        assert end(ChipDevice(chip, WALKS), WALKS, save_every=0, save=ignore) == end(GoldenDevice(WALKS), WALKS)


def test_a_damaged_line_changes_no_walk():
    chip = ModelChip(WALKS, 256, 8, STORE, True)
    line = FaultyLine(chip, rate=2e-3, seed=5)
    assert end(ChipDevice(line, WALKS), WALKS) == end(GoldenDevice(WALKS), WALKS)
    assert line.faults > 5


def test_predictions_over_the_stored_set():
    device, (x, y), key = walking(), data(WALKS), key_of(9, 2)
    device.reset()
    device.store(x, y)
    order = permutation(key, SAMPLES)
    assert device.infer_set(key, 0, SAMPLES).tolist() == device.infer(x)[order].tolist()
    assert device.infer_set(key, 60, 10).tolist() == device.infer(x)[order][60:].tolist()
    assert device.status().samples == 0


# Refusals -------------------------------------------------------------------------------------------------------------


def test_chips_that_cannot_be_are_refused_in_one_line():
    for options, message in (
        ({"walks": True}, "walks: the chip has no store to walk through; give it one, or leave it out"),
        ({"sdram": "ulx3s"}, "sdram: it holds the store, but the chip has none; give it one, or leave it out"),
        ({"sdram": "ddr3", "store_samples": 4}, "sdram: 'ddr3' is not one of ulx3s, colorlight_i5"),
    ):
        with pytest.raises(ConfigError) as error:
            ChipConfig.of(CONFIG, 2, 8, **options)
        assert str(error.value) == message
