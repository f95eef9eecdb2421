"""Weights and counters as words of a chip's memories."""

from __future__ import annotations

import numpy as np
import pytest
from model_chip import BINARY, CONFIG, LBE

from popflip.devices.state_codec import (
    decode_counters,
    decode_weights,
    encode_counters,
    encode_weights,
)
from popflip.golden.config import Rule
from popflip.golden.trainer import Trainer
from popflip.hw.config import ChipConfig


@pytest.mark.parametrize("config", [CONFIG, BINARY, LBE])
@pytest.mark.parametrize("lanes", [4, 16, 64])
def test_words_follow_the_layout(config, lanes):
    """Lane by lane: synapse ``g·N + b`` of a row is lane ``b`` of its word ``g``; pads are 0."""
    chip = ChipConfig.of(config, 2, lanes)
    state = Trainer(config).state
    rng = np.random.default_rng(1)
    for layer in range(chip.depth):
        shape = state.counters[layer].shape
        lowest = -config.mmax - (config.rule == Rule.LBE)
        state.counters[layer] = rng.integers(lowest, config.mmax + 1, shape).astype(np.int16)
        at = chip.weight_map.indices(layer)
        encoded = (
            (encode_weights(chip, state.weights)[at], chip.weight_bits, state.weights[layer]),
            (
                encode_counters(chip, state.counters)[chip.counter_map.indices(layer)],
                chip.counter_bits,
                state.counters[layer],
            ),
        )
        for words, bits, values in encoded:
            for row in range(chip.rows[layer]):
                for synapse in range(chip.synapses[layer]):
                    word, lane = divmod(synapse, lanes)
                    value = int.from_bytes(words[row, word].tobytes(), "little") >> lane * bits & (1 << bits) - 1
                    expected = int(values[row, synapse])
                    assert value == ((expected > 0) if bits == 1 else expected % (1 << bits))
            last = int.from_bytes(words[0, -1].tobytes(), "little")
            assert last >> bits * (chip.synapses[layer] - lanes * (words.shape[1] - 1)) == 0
    for decoded, values in (
        (decode_weights(chip, encode_weights(chip, state.weights)), state.weights),
        (decode_counters(chip, encode_counters(chip, state.counters)), state.counters),
    ):
        for mine, theirs in zip(decoded, values, strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
