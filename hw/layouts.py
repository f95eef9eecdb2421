"""Layouts shared by several rooms: payloads of streams, words of memories, shapes of numbers."""

from __future__ import annotations

from amaranth.hdl import signed
from amaranth.lib import data

from popflip.golden.config import Rule
from popflip.hw.config import ChipConfig
from popflip.hw.lib.stream import group_layout

# Words of memories ----------------------------------------------------------------------------------------------------


def weight_word(chip: ChipConfig) -> data.ArrayLayout:
    """``N`` weights. Binary: bit 1 is +1, bit 0 is −1. Ternary: two's complement, 0b01 is +1, 0b11 is −1."""
    return data.ArrayLayout(chip.weight_bits, chip.array_synapses)


def counter_word(chip: ChipConfig) -> data.ArrayLayout:
    """``N`` counters, two's complement."""
    return data.ArrayLayout(signed(chip.counter_bits), chip.array_synapses)


def input_word(chip: ChipConfig) -> data.StructLayout:
    """A nonzero word of a sample's inputs: lane ``b`` of ``bits`` is input ``index·N + b``."""
    return data.StructLayout({"bits": chip.array_synapses, "index": range(chip.words[0])})


def activation_words(chip: ChipConfig) -> int:
    """``N``-synapse words that hold the activations of all hidden layers of a sample."""
    return activation_base(chip, chip.depth)


def activation_base(chip: ChipConfig, layer: int) -> int:
    """Number of the first word that holds inputs of ``layer`` (1 … L−1).

    A layer starts at a whole group of ``P`` neurons, and at a multiple of the words that the array reads at once.
    """
    step = max(chip.fold, chip.array_rows // chip.array_synapses)
    return sum(-(-words // step) * step for words in chip.words[1:layer])


# Forward --------------------------------------------------------------------------------------------------------------


def sample_layout(chip: ChipConfig) -> data.StructLayout:
    """A sample on the chip: its ``slot``, its number of nonzero ``words`` (LBE: of all words), its class ``label``.

    ``infer``: the sample is only classified and triggers no update.
    """
    return data.StructLayout(
        {
            "slot": range(chip.slots),
            "words": range(chip.list_words + 1),
            "label": range(chip.classes),
            "infer": 1,
        }
    )


def lane_layout(chip: ChipConfig) -> data.StructLayout:
    """``N`` inputs of −1, 0, +1: 0 where ``enable`` is 0, else +1 where ``positive`` is 1 and −1 where it is 0."""
    return data.StructLayout({"enable": chip.array_synapses, "positive": chip.array_synapses})


def sum_shape(chip: ChipConfig):
    """Shape of a neuron's sum ``v``."""
    return signed(chip.v_max.bit_length() + 1)


def result_layout(chip: ChipConfig) -> data.StructLayout:
    """Sums of ``P`` neurons of the last layer (LBE: of every layer), lowest first, with their sample as ``tag``.

    GFT: if ``P`` exceeds the number of classes, there are as many sums as classes. Serial chips: one.
    """
    count = min(chip.array_rows, chip.classes) if chip.rule == Rule.GFT else chip.array_rows
    if chip.serial:
        count = 1
    return group_layout(sum_shape(chip), count, sample_layout(chip))


def verdict_layout(chip: ChipConfig) -> data.StructLayout:
    """The error unit's verdict on a sample: the ``rival`` class, whether the sample ``updates``, whether it is
    ``correct``. For a sample that is only classified, ``rival`` is the prediction and ``updates`` is 0."""
    return data.StructLayout(
        {
            "sample": sample_layout(chip),
            "rival": range(chip.classes),
            "updates": 1,
            "correct": 1,
        }
    )


# Learning (GFT) -------------------------------------------------------------------------------------------------------


def delta_shape(chip: ChipConfig):
    """Shape of a neuron's error δ: −DCLIP … DCLIP."""
    return signed(chip.dclip.bit_length() + 1)


def row_layout(chip: ChipConfig) -> data.StructLayout:
    """A row of a layer to update, and its error δ."""
    return data.StructLayout({"row": range(max(chip.rows)), "delta": delta_shape(chip)})


def bank_row_layout(chip: ChipConfig) -> data.StructLayout:
    """A row of the first layer to update, numbered within its bank of counters, and its error δ."""
    return data.StructLayout({"row": range(chip.counter_map.bank_rows[0]), "delta": delta_shape(chip)})


def update_layout(chip: ChipConfig) -> data.StructLayout:
    """An update of one row's word: the ``address`` of its counters, the row's δ, which is not 0, and its inputs.
    ``layer`` : only if the layers' counters have different limits."""
    return data.StructLayout(
        {
            "address": range(chip.counter_map.depth),
            "delta": delta_shape(chip),
            "lanes": lane_layout(chip),
            **({"layer": range(chip.depth)} if chip.mmaxes else {}),
        }
    )
