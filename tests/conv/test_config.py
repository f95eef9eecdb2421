"""Parameters of a network with convolutional layers: sizes by hand, and one line for what cannot be used."""

from __future__ import annotations

import pytest

from popflip.golden.conv.config import ConvConfig
from popflip.golden.errors import ConfigError
from popflip.golden.layers import Planes

GOOD = {"layers": "8x8x3,c8k3,c12k5s2p2,10", "k0": (6, 30, 20), "window": (4, 12)}


def test_sizes_by_hand():
    config = ConvConfig(**GOOD)
    assert config.layers == ("8x8x3", "c8k3", "c12k5s2p2", 10)
    assert (config.image, config.inputs, config.classes, config.depth) == (Planes(8, 8, 3), 192, 10, 3)
    assert config.rows == (8, 12, 10)
    assert config.synapses == (27, 200, 49)  # 2 × 2 × 12 inputs and a bias
    assert config.words == (1, 7, 2)
    assert config.word_base == (0, 8, 92)


def test_texts_and_lists_are_one_network():
    config = ConvConfig(**GOOD)
    other = ConvConfig(["8x8x3", "c8k3s1", "c12k5s2p2", "10"], k0=[6, 30, 20], window=[4, 12])
    assert config == other
    assert hash(config) == hash(other)


def test_counters_have_a_default_for_each_layer():
    assert ConvConfig(**GOOD).mmax == (32_767, 32_767, 127)
    assert ConvConfig(**GOOD, mmax=99).mmaxes == (99, 99, 99)
    assert ConvConfig(**GOOD, mmax=[9, 8, 7]).mmaxes == (9, 8, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": "8x8,c8k3,1"}, "layers: the last width is the number of classes and must be 2 or more"),
        ({"layers": "8x8,c8k4,10"}, "layers[1]: kernel: 4 is even; take 3 or 5"),
        ({"mmax": (1, 2)}, "mmax: 2 given, expected 3 (one per layer)"),
        ({"mmax": (1, 2, 0)}, "mmax[2]: 0 is outside 1 … 32767"),
        ({"mmax": 32_768}, "mmax: 32768 is outside 1 … 32767"),
        ({"mmax": True}, "mmax: True is not a whole number"),
        ({"mmax": 1.5}, "mmax: 1.5 is not a list of whole numbers"),
        ({"k0": (20,)}, "k0: 1 given, expected 3 (one per layer)"),
        ({"window": ()}, "window: 0 given, expected 2 (one per hidden layer)"),
        ({"rule": "lbe"}, "rule: lbe has other parameters than gft"),
    ],
)
def test_bad_values_are_refused(change, message):
    with pytest.raises(ConfigError) as error:
        ConvConfig(**{**GOOD, **change})
    assert str(error.value) == message
