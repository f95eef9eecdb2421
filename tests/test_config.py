"""The configuration: every bad value is refused in one clear line, and derived sizes follow the definition."""

from __future__ import annotations

import pytest

from popflip.golden.config import Config, LbeConfig, Precision, Rule
from popflip.golden.errors import ConfigError
from popflip.golden.layers import Planes
from popflip.golden.presets import PRESETS
from popflip.hw.config import ChipConfig

FORMS = "a number of neurons, an image such as 28x28, or a convolution such as c16k5s1p2"
GOOD = {"layers": (64, 33, 10), "k0": (20, 5), "window": (6,)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (64,)}, "layers: 1 given, expected the inputs and 1 to 8 layers after them"),
        ({"layers": (4,) * 10}, "layers: 10 given, expected the inputs and 1 to 8 layers after them"),
        ({"layers": (64, 0, 10)}, "layers[1]: 0 is outside 1 … 65535"),
        ({"layers": (65_536, 33, 10)}, "layers[0]: 65536 is outside 1 … 65535"),
        ({"layers": (64, 33, 1)}, "layers: the last width is the number of classes and must be 2 or more"),
        ({"layers": (64, 33.0, 10)}, f"layers[1]: 33.0 is not {FORMS}"),
        ({"layers": "64"}, "layers: 1 given, expected the inputs and 1 to 8 layers after them"),
        ({"layers": 64}, f"layers: 64 is not a list of layers; give {FORMS}"),
        ({"k0": (20,)}, "k0: 1 given, expected 2 (one per layer)"),
        ({"k0": (20, 0)}, "k0[1]: 0 is outside 1 … 2147483647"),
        ({"window": ()}, "window: 0 given, expected 1 (one per hidden layer)"),
        ({"window": (-1,)}, "window[0]: -1 is outside 0 … 2147483647"),
        ({"precision": "quinary"}, "precision: 'quinary' is not one of binary, ternary"),
        ({"rule": "lbe"}, "rule: lbe has other parameters than gft"),
        ({"rule": "sgd"}, "rule: 'sgd' is not one of gft, lbe"),
        ({"batch": 0}, "batch: 0 is outside 1 … 2147483647"),
        ({"batch": True}, "batch: True is not a whole number"),
        ({"epochs": 0}, "epochs: 0 is outside 1 … 2147483647"),
        ({"margin": 1.5}, "margin: 1.5 is not a whole number"),
        ({"dclip": 0}, "dclip: 0 is outside 1 … 32767"),
        ({"shift": 32}, "shift: 32 is outside 0 … 31"),
        ({"shift": "none"}, "shift: 'none' is not a whole number"),
        ({"mmax": 32_768}, "mmax: 32768 is outside 1 … 32767"),
        ({"mmax": 0}, "mmax: 0 is outside 1 … 32767"),
        ({"mmax": True}, "mmax: True is not a whole number"),
        ({"mmax": 1.5}, "mmax: 1.5 is not a list of whole numbers"),
        ({"mmax": (1, 2, 3)}, "mmax: 3 given, expected 2 (one per layer)"),
        ({"mmax": []}, "mmax: 0 given, expected 2 (one per layer)"),
        ({"mmax": (1, 0)}, "mmax[1]: 0 is outside 1 … 32767"),
        ({"layers": "8x8,c8k4,10"}, "layers[1]: kernel: 4 is even; take 3 or 5"),
        ({"layers": "8x8,c8k3,1"}, "layers: the last width is the number of classes and must be 2 or more"),
        ({"flip_p256": 0}, "flip_p256: 0 is outside 1 … 256"),
        ({"flip_p256": 257}, "flip_p256: 257 is outside 1 … 256"),
        ({"seed": -1}, "seed: -1 is outside 0 … 4294967295"),
    ],
)
def test_bad_values_are_refused(change, message):
    with pytest.raises(ConfigError) as error:
        Config(**{**GOOD, **change})
    assert str(error.value) == message


def test_lists_and_names_become_tuples_and_members():
    config = Config(layers=[64, 33, 10], k0=[20, 5], window=[6], precision="binary")
    assert config == Config(**GOOD, precision=Precision.BINARY)
    assert hash(config) == hash(Config(**GOOD, precision=Precision.BINARY))


def test_sizes_by_hand():
    config = Config(layers=(63, 64, 32, 10), k0=(1, 1, 1), window=(1, 1))
    assert (config.inputs, config.classes, config.depth) == (63, 10, 3)
    assert config.rows == (64, 32, 10)
    assert config.synapses == (64, 65, 33)  # the bias is a synapse
    assert config.words == (2, 3, 2)
    assert config.word_base == (0, 128, 224)


CONV = {"layers": "8x8x3,c8k3,c12k5s2p2,10", "k0": (6, 30, 20), "window": (4, 12)}


def test_sizes_of_convolutions_by_hand():
    config = Config(**CONV)
    assert config.layers == ("8x8x3", "c8k3", "c12k5s2p2", 10)
    assert (config.image, config.inputs, config.classes, config.depth) == (Planes(8, 8, 3), 192, 10, 3)
    assert config.convolves
    assert config.rows == (8, 12, 10)
    assert config.synapses == (27, 200, 49)  # 2 × 2 × 12 inputs and a bias
    assert config.words == (1, 7, 2)
    assert config.word_base == (0, 8, 92)


def test_texts_and_lists_are_one_network():
    config = Config(**CONV)
    other = Config(["8x8x3", "c8k3s1", "c12k5s2p2", "10"], k0=[6, 30, 20], window=[4, 12])
    assert config == other
    assert hash(config) == hash(other)
    assert Config(**{**GOOD, "layers": "64,33,10"}) == Config(**GOOD)
    assert not Config(**GOOD).convolves


def test_an_image_alone_makes_no_convolutions():
    """Its dense layer reads pixel by pixel, a chip plane by plane: they are not the same network."""
    image = Config("4x4x2,3", k0=(1,))
    assert [(config.dense, config.convolves) for config in (Config(**GOOD), image, Config(**CONV))] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert (image.inputs, image.synapses) == (32, (33,))


def test_counters_have_a_range_for_each_layer():
    assert Config(**CONV).mmax == (32_767, 32_767, 127)
    assert Config(**CONV, mmax=99).mmaxes == (99, 99, 99)
    assert Config(**CONV, mmax=[9, 8, 7]).mmaxes == (9, 8, 7)
    assert Config(**GOOD).mmax == 127
    assert Config(**GOOD, mmax=[31, 31]) == Config(**GOOD, mmax=[31]) == Config(**GOOD, mmax=31)
    assert Config(**GOOD, mmax=(31, 127)).mmaxes == (31, 127)


GOOD_LBE = {"layers": (64, 33, 40), "classes": 10, "group": (32, 8), "margin": (4, 5)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (64,)}, "layers: 1 widths given, expected inputs and the neurons of each layer (2 to 9 numbers)"),
        ({"layers": (64, 0, 40)}, "layers[1]: 0 is outside 1 … 65535"),
        ({"classes": 1}, "classes: 1 is outside 2 … 65535"),
        ({"classes": 2.0}, "classes: 2.0 is not a whole number"),
        ({"group": (32,)}, "group: 1 given, expected 2 (one per layer)"),
        ({"group": (32, 0)}, "group[1]: 0 is outside 1 … 2147483647"),
        ({"margin": (4, 5, 6)}, "margin: 3 given, expected 2 (one per layer)"),
        ({"margin": 4}, "margin: 4 is not a list of whole numbers"),
        ({"margin": (4, 2**31)}, "margin[1]: 2147483648 is outside -2147483648 … 2147483647"),
        ({"reinforce_p256": -1}, "reinforce_p256: -1 is outside 0 … 256"),
        ({"reinforce_p256": 257}, "reinforce_p256: 257 is outside 0 … 256"),
        ({"mmax": 255}, "mmax: 255 is outside 1 … 127"),
        ({"mmax": 100}, "mmax: 100 is not 1, 3, 7, 15, 31, 63 or 127 (counters of 2 to 8 bits)"),
        ({"epochs": 0}, "epochs: 0 is outside 1 … 2147483647"),
        ({"seed": -1}, "seed: -1 is outside 0 … 4294967295"),
        ({"rule": "gft"}, "rule: gft has other parameters than lbe"),
    ],
)
def test_bad_values_of_lbe_are_refused(change, message):
    with pytest.raises(ConfigError) as error:
        LbeConfig(**{**GOOD_LBE, **change})
    assert str(error.value) == message


def test_lbe_has_no_bias_and_batches_of_one():
    config = LbeConfig(**GOOD_LBE)
    assert (config.rule, config.precision) == (Rule.LBE, Precision.BINARY)
    assert config.rows == (33, 40)
    assert config.synapses == (64, 33)
    assert config.words == (2, 2)
    assert config.word_base == (0, 66)
    assert (config.batch, config.batches(1000), config.schedule(3, 9)) == (1, 20_000, ())
    assert config == LbeConfig([64, 33, 40], 10, [32, 8], [4, 5])


def test_schedule_is_the_rounded_up_line():
    """``k = ⌈K0·(T−n)/T⌉``: K0 at first, never 0, and the fraction's ceiling in between."""
    config = Config(**GOOD)
    assert config.batches(1000) == 1000 * 20 // 256 == 78
    assert config.schedule(0, 78) == (20, 5)
    assert config.schedule(77, 78) == (1, 1)
    for n in range(78):
        for k, k0 in zip(config.schedule(n, 78), config.k0, strict=True):
            assert (k - 1) * 78 < k0 * (78 - n) <= k * 78


def test_presets_are_the_published_tasks():
    digits = Config(layers=(256, 64, 10), k0=(164, 26), window=(6,), margin=16, shift=4, batch=256, epochs=20)
    assert PRESETS["digits"].config == digits
    assert PRESETS["digits"].thresholds == (3, 6, 9, 12)
    for preset in PRESETS.values():
        pixels = {"digits": 64, "mnist": 784, "mnist-tiles": 784, "fashion-mnist": 784}[preset.dataset]
        assert preset.config.inputs == pixels * len(preset.thresholds)


# The chip -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "synapses", "learn_rows", "most"), [(4, 16, 3, 4), (4, 16, 8, 4), (16, 8, 16, 8), (1, 8, 0, 1)]
)
def test_rows_learned_at_once_that_do_not_fit(rows, synapses, learn_rows, most):
    with pytest.raises(ConfigError) as error:
        ChipConfig((20, 10), Precision.BINARY, 127, 1, rows, synapses, learn_rows=learn_rows)
    assert str(error.value) == f"learn_rows: {learn_rows} is not a power of two from 1 to {most}"


def test_counters_that_no_chip_has_are_one_line():
    with pytest.raises(ConfigError) as error:
        ChipConfig.of(Config(**GOOD, mmax=(31, 127)))
    message = "mmax: 31, 127 given, but all counters of a chip without convolutions are alike; give one number"
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("layers", "rows", "learn_rows"),
    [
        ("8x8,c3k3,10", 4, 4),
        ("8x8,c9k3,c5k3,200", 16, 4),
        ("28x28,c16k5p2,c32k5s2,10", 32, 4),
        ("8x8,c99k3,10", 32, 4),
    ],
)
def test_the_array_for_convolutions_holds_their_rows(layers, rows, learn_rows):
    depth = layers.count(",")
    chip = ChipConfig.of(Config(layers, k0=(1,) * depth, window=(1,) * (depth - 1)))
    assert (chip.array_rows, chip.array_synapses, chip.learn_rows, chip.slots) == (rows, 32, learn_rows, 4)
    assert chip.limits == (32767,) * (depth - 1) + (127,)
    assert chip.mmaxes == chip.limits
    small = ChipConfig.of(Config(layers, k0=(1,) * depth, window=(1,) * (depth - 1), mmax=9), 2, 4)
    assert (small.array_rows, small.array_synapses, small.learn_rows) == (2, 4, 2)
    assert (small.mmaxes, small.limits, small.mmax) == ((), (9,) * depth, 9)


def test_an_image_without_convolutions_is_a_dense_network_s_inputs():
    chip = ChipConfig.of(Config("4x4x3,9,3", k0=(1, 1), window=(2,)))
    assert (chip.layers, chip.array_rows, chip.slots) == ((48, 9, 3), 4, 8)


FEW = "compact: needs rule gft, at most 8 synapses and learn_rows 1"


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"array_synapses": 16}, FEW),
        ({"learn_rows": 2}, FEW),
        ({"rule": Rule.LBE, "classes": 3}, FEW),
        ({"array_rows": 16}, "compact: needs no more rows than synapses, not 16 and 8"),
        (
            {"layers": ("5x4", "c8k3", 10)},
            "compact: needs no fewer rows than synapses with convolutions, not 4 and 8",
        ),
        (
            {"layers": ("5x4", "c6k3", 10), "array_synapses": 4},
            "compact: layers[1] has 6 rows; with 4 synapses a cycle it needs a multiple of 4",
        ),
    ],
)
def test_an_impossible_compact_chip_is_one_line(geometry, message):
    fields = {"layers": (20, 10), "array_rows": 4, "array_synapses": 8, **geometry}
    with pytest.raises(ConfigError) as error:
        ChipConfig(precision=Precision.BINARY, mmax=127, dclip=1, slots=2, compact=True, **fields)
    assert str(error.value) == message


def test_a_compact_chip_has_two_slots():
    config = PRESETS["mnist-small"].config
    assert (ChipConfig.of(config).slots, ChipConfig.of(config, 4, 8, compact=True).slots) == (8, 2)
    assert ChipConfig.of(config, 4, 8, 4, compact=True).slots == 4
