"""Weights, counters and inputs in words of ``N`` lanes, as the chip's memories and streams carry them.

Bank and address of a word come from :mod:`popflip.hw.memory_map`. A lane past the last synapse of a row is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.forward import with_bias
from popflip.golden.config import WORD, Precision, Rule
from popflip.hw.config import ChipConfig

Word = dict[str, Any]

# Bits of a word -------------------------------------------------------------------------------------------------------


def fields(values: Iterable[int], bits: int) -> int:
    """``values`` as fields of ``bits`` bits each, two's complement, the first one lowest."""
    mask = (1 << bits) - 1
    return sum((int(value) & mask) << place * bits for place, value in enumerate(values))


def weight_bits(chip: ChipConfig, w: NDArray[np.integer]) -> int:
    """Weights as the bits of :func:`popflip.hw.layouts.weight_word`."""
    return fields(w > 0 if chip.weight_bits == 1 else w, chip.weight_bits)


def input_list(chip: ChipConfig, x: NDArray[np.uint8]) -> list[dict[str, int]]:
    """The words of a sample that the chip keeps: under GFT the nonzero ones, bias included; under LBE all of them."""
    a = with_bias(x[None])[0] if chip.bias else x
    words = [fields(a[start : start + chip.array_synapses], 1) for start in range(0, len(a), chip.array_synapses)]
    return [{"bits": bits, "index": index} for index, bits in enumerate(words) if bits or chip.rule == Rule.LBE]


def classifier_columns(classifiers: Iterable[NDArray[np.bool_]]) -> list[int]:
    """Local classifiers ``[C, R]`` of each layer as the chip keeps them: for each neuron, a bit per class."""
    return [fields(column, 1) for rho in classifiers for column in rho.T]


# Words by their place in memory ---------------------------------------------------------------------------------------


def weight_words(chip: ChipConfig, weights: Sequence[NDArray[np.int8]]) -> dict[tuple[int, int], int]:
    """Bits of every word of weights, by bank and address of the memory map."""
    return {
        (chip.weight_map.bank(row), chip.weight_map.address(layer, row, word)): weight_bits(chip, values)
        for layer, row, word, values in _each_word(chip, weights)
    }


def weight_banks(chip: ChipConfig, weights: Sequence[NDArray[np.int8]]) -> list[list[int]]:
    """Words of each of the ``P`` banks as the array reads them, with the last layer folded if ``chip`` folds it."""
    banks = [[0] * chip.weight_map.array_depth for _ in range(chip.array_rows)]
    for place, bits in weight_words(chip, weights).items():
        bank, address = chip.weight_map.folded(*place)
        banks[bank][address] = bits
    return banks


def counter_words(
    chip: ChipConfig, counters: Sequence[NDArray[np.int16]]
) -> dict[tuple[int, int, int], tuple[tuple[int, int], int]]:
    """Place (bank, address) and bits of every word of counters, by layer, row and word, in that order."""
    return {
        (layer, row, word): (
            (chip.counter_map.bank(row), chip.counter_map.address(layer, row, word)),
            fields(values, chip.counter_bits),
        )
        for layer, row, word, values in _each_word(chip, counters)
    }


def _each_word(
    chip: ChipConfig, layers: Sequence[NDArray[np.integer]]
) -> Iterator[tuple[int, int, int, NDArray[np.integer]]]:
    """Layer, row, word and values of every word of ``layers``, ``[R, S]`` each."""
    for layer, rows in enumerate(layers):
        for row, values in enumerate(rows):
            for word, start in enumerate(range(0, len(values), chip.array_synapses)):
                yield layer, row, word, values[start : start + chip.array_synapses]


# Words in scan order: row by row, as the end of a batch visits them ---------------------------------------------------


def positions(chip: ChipConfig, layer: int, single: int | None = None) -> list[dict[str, int]]:
    """Positions (``position_layout``) of the words of a layer, or of its row ``single``."""
    rows, words = chip.rows[layer], chip.words[layer]
    pieces = max(1, WORD // chip.array_synapses)
    return [
        {
            "weight_address": chip.weight_map.address(layer, row, word),
            "weight_bank": chip.weight_map.bank(row),
            "counter_address": chip.counter_map.address(layer, row, word),
            "counter_bank": chip.counter_map.bank(row),
            "piece": word % pieces,
            "last_of_mask": int(word % pieces == pieces - 1 or word == words - 1),
            "last_of_row": int(word == words - 1),
            "last": int(word == words - 1 and row in (rows - 1, single)),
        }
        for row in (range(rows) if single is None else [single])
        for word in range(words)
    ]


def lanes(chip: ChipConfig, values: NDArray[Any]) -> list[list[int]]:
    """``values`` ``[R, S]`` as the lanes of each word."""
    count = -(-values.shape[1] // chip.array_synapses)
    padded = np.zeros((len(values), count * chip.array_synapses), np.int64)
    padded[:, : values.shape[1]] = values
    return padded.reshape(-1, chip.array_synapses).tolist()


def layer_words(chip: ChipConfig, layer: int, w: NDArray[np.int8], m: NDArray[np.int16]) -> list[Word]:
    """The words of a layer (``word_layout`` of GFT): position, weights and counters."""
    encoded = (w > 0).astype(np.int8) if chip.precision == Precision.BINARY else w & 3
    return [
        {"position": position, "weights": weights, "counters": counters}
        for position, weights, counters in zip(
            positions(chip, layer), lanes(chip, encoded), lanes(chip, m), strict=True
        )
    ]


def difference(
    chip: ChipConfig, layer: int, got: list[Any], expected: list[Any], single: int | None = None
) -> str | None:
    """The first difference between the words of a layer, or of its row ``single``, and ``expected``; None if equal."""
    if len(got) != len(expected):
        return f"layer {layer}: {len(got)} words, expected {len(expected)}"
    for index, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        if mine != theirs:
            row, word = divmod(index, chip.words[layer])
            row += single or 0
            return f"layer {layer}, row {row}, word {word}: {mine}, expected {theirs}"
    return None
