"""Weights and counters as the words that a chip's memories hold, in the order the link transfers them.

Where a word lies is in :mod:`popflip.hw.memory_map`. A word has one lane per synapse, the first in the lowest
bits, padded with zeros to whole bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popflip.golden.config import Precision
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import counter_bytes, weight_bytes


def encode_weights(chip: ChipConfig, weights: Sequence[NDArray[np.int8]]) -> NDArray[np.uint8]:
    """The weight memory, [words, bytes], that holds ``weights``, [R, S] per layer.

    A lane is one bit (1: +1) if binary, two's complement if ternary; lanes past the last synapse hold 0.
    """
    memory = np.zeros((chip.weight_map.size, weight_bytes(chip)), np.uint8)
    for layer, values in enumerate(weights):
        lanes = values > 0 if chip.precision == Precision.BINARY else values
        memory[chip.weight_map.indices(layer)] = pack_lanes(lanes, chip.array_synapses, chip.weight_bits)
    return memory


def decode_weights(chip: ChipConfig, memory: NDArray[np.uint8]) -> list[NDArray[np.int8]]:
    """Inverse of :func:`encode_weights`."""
    weights = []
    for layer in range(chip.depth):
        words = memory[chip.weight_map.indices(layer)]
        lanes = unpack_lanes(words, chip.array_synapses, chip.weight_bits, chip.synapses[layer])
        values = np.where(lanes, 1, -1) if chip.precision == Precision.BINARY else lanes
        weights.append(values.astype(np.int8))
    return weights


def encode_counters(chip: ChipConfig, counters: Sequence[NDArray[np.int16]]) -> NDArray[np.uint8]:
    """The counter memory, [words, bytes], that holds ``counters``, [R, S] per layer.

    A lane is two's complement; lanes past the last synapse hold 0.
    """
    memory = np.zeros((chip.counter_map.size, counter_bytes(chip)), np.uint8)
    for layer, values in enumerate(counters):
        memory[chip.counter_map.indices(layer)] = pack_lanes(values, chip.array_synapses, chip.counter_bits)
    return memory


def decode_counters(chip: ChipConfig, memory: NDArray[np.uint8]) -> list[NDArray[np.int16]]:
    """Inverse of :func:`encode_counters`."""
    return [
        unpack_lanes(memory[chip.counter_map.indices(layer)], chip.array_synapses, chip.counter_bits, synapses)
        for layer, synapses in enumerate(chip.synapses)
    ]


def pack_lanes(values: NDArray, lanes: int, width: int) -> NDArray[np.uint8]:
    """Integers [R, S] as words [R, W, bytes] of ``lanes`` lanes of ``width`` bits, the lowest bit first."""
    rows, synapses = values.shape
    words = -(-synapses // lanes)
    padded = np.zeros((rows, words, lanes), np.int32)
    padded.reshape(rows, -1)[:, :synapses] = values
    bits = np.empty((*padded.shape, width), np.uint8)
    for bit in range(width):
        bits[..., bit] = padded >> bit & 1
    return np.packbits(bits.reshape(rows, words, -1), axis=2, bitorder="little")


def unpack_lanes(words: NDArray[np.uint8], lanes: int, width: int, synapses: int) -> NDArray[np.int16]:
    """Inverse of :func:`pack_lanes`: the first ``synapses`` integers of each row, two's complement, [R, S]."""
    bits = np.unpackbits(words, axis=2, count=lanes * width, bitorder="little")
    bits = bits.reshape(len(words), -1, width)[:, :synapses]
    values = np.zeros(bits.shape[:2], np.int32)
    for bit in range(width):
        place = -(1 << bit) if bit == width - 1 else 1 << bit
        values += bits[..., bit] * np.int32(place)
    return values.astype(np.int16)
