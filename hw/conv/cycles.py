"""Cycles of a sample on a chip with positions, from the words that it touches.

Forward and ingest are exact where nothing else waits; learning is within a few per cent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.golden.conv.patches import patch_sums
from popflip.golden.layers import Layer
from popflip.hw.config import ChipConfig
from popflip.hw.conv.deltas import fetches
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.forward import ConvForward
from popflip.hw.conv.patches import Patches

SWEEP = 40
"""Cycles in which learning begins a layer's sweep, and in which the last errors of it are added."""


def words(x: NDArray[np.uint8], layer: Layer, lanes: int) -> NDArray[np.bool_]:
    """Whether each word of each position's patch has a one, ``[n, py, px, words]``, for activations ``[n, K]`` of 0 and
    1."""
    single = Layer(layer.inputs, 1, layer.kernel, layer.stride)
    grid, outputs, count = single.outputs, layer.outputs, -(-layer.synapses // lanes)
    patches = np.zeros((len(x), grid.height, grid.width, count * lanes), np.int8)
    patches[..., : layer.synapses] = patch_sums(x, single).reshape(*patches.shape[:3], -1)
    used = patches[:, : outputs.height * layer.pool, : outputs.width * layer.pool]
    return np.asarray(used.reshape(*used.shape[:3], count, lanes).any(axis=4))


def first_layer(chip: ChipConfig, there: NDArray[np.bool_]) -> tuple[float, float]:
    """Words of the first layer in a sample: touched, which means not all 0, and taken, with those that only end a pool.
    ``there`` : :func:`words`."""
    outputs, pool = chip.plan[0].outputs, chip.plan[0].pool
    used = there.any(axis=3).reshape(len(there), outputs.height, pool, outputs.width, pool)
    ends = used.any(axis=(2, 4)) & ~used[:, :, -1, :, -1]  # pools that have begun, and end with an empty patch
    ends[:, -1, -1] |= ~used[:, -1, -1, -1, -1]  # a list has a last word
    return there.sum() / len(there), (there.sum() + ends.sum()) / len(there)


def upper_layer(chip: ChipConfig, layer: int) -> tuple[int, int]:
    """Words of a layer above the first: touched, which means not all beside the image, and taken, with those that are
    dropped."""
    it = chip.plan[layer]
    if it.bias:
        return chip.words[layer], chip.words[layer]
    fields = Fields(chip)
    touched = words(np.ones((1, it.inputs.size), np.uint8), it, chip.array_synapses)
    field = fields.fields[layer - 1]
    ranges = (fields.word_range(layer - 1, *field.rows_inside(py)) for py in range(touched.shape[1]))
    return int(touched.sum()), sum(last - first + 1 for first, last in ranges) * touched.shape[2]


def ingest(chip: ChipConfig) -> int:
    """Cycles between two samples that ingest can take: those that fill an image, or those that slide over it."""
    patches, planes = Patches(chip.plan[0], chip.array_synapses), chip.plan[0].inputs
    return max(chip.input_bytes + planes.height * patches.steps * planes.channels, patches.cycles)


def forward(chip: ChipConfig, list_words: float) -> float:
    """Cycles of the forward pass of a sample whose list has ``list_words`` entries, when the next one waits for it."""
    upper = sum(chip.groups[layer] * upper_layer(chip, layer)[1] for layer in range(1, chip.depth))
    return chip.groups[0] * list_words + upper + (chip.depth - 1) * (ConvForward(chip).latency - 1) + 2


def learn(chip: ChipConfig, visits: Sequence[float], list_words: float) -> float:
    """Cycles in which the engine learns from a sample that updates. ``visits`` : words × blocks of rows with a ``δ ≠
    0``, of each layer."""
    cycles = [max(visits[-1], chip.words[-1] * Fields(chip).units), *visits[:-1]]
    if fetches(chip):  # an entry without any δ takes a cycle too
        cycles[1] = chip.counter_map.bank_rows[0] * list_words
    return sum(cycles) + SWEEP * chip.depth


def sample(chip: ChipConfig, list_words: float, visits: Sequence[float], updates: float) -> float:
    """Cycles a sample where a share of ``updates`` of the samples is learned: of whatever takes the longest."""
    return max(ingest(chip), forward(chip, list_words), updates * learn(chip, visits, list_words))
