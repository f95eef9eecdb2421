"""Where the words of weights and counters lie."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Const, Module
from amaranth.sim import Simulator
from chips import chip, lbe_chip

CHIPS = {
    "one bank": chip(20, 5, 3, rows=1),
    "rows in all banks": chip(20, 8, 4, rows=4),
    "rows missing in some": chip(20, 7, 6, 3, rows=4, lanes=4),
    "counters in banks": chip(20, 7, 3, rows=4, learn_rows=2),
    "folded": chip(40, 70, 3, rows=16, lanes=16),
    "folded over all words": chip(20, 100, 2, rows=32, lanes=16, learn_rows=4),
    "lbe": lbe_chip(20, 7, 5, classes=3, rows=4),
}

each_chip = pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)


def places(chip):
    """Every layer, row and word, in scan order."""
    return [
        (layer, row, word)
        for layer in range(chip.depth)
        for row in range(chip.rows[layer])
        for word in range(chip.words[layer])
    ]


@each_chip
def test_weights_of_a_bank_lie_row_by_row(chip):
    banks, first = chip.array_rows, 0
    for layer in range(chip.depth):
        first = -(-first // chip.fold) * chip.fold if layer == chip.depth - 1 else first
        for row in range(chip.rows[layer]):
            for word in range(chip.words[layer]):
                assert chip.weight_map.bank(row) == row % banks
                assert chip.weight_map.address(layer, row, word) == first + row // banks * chip.words[layer] + word
        first += -(-chip.rows[layer] // banks) * chip.words[layer]
    assert chip.weight_map.depth == first


@each_chip
def test_counters_of_a_bank_lie_word_by_word(chip):
    banks, first = chip.learn_rows, 0
    for layer in range(chip.depth):
        rows = -(-chip.rows[layer] // banks)
        for row in range(chip.rows[layer]):
            for word in range(chip.words[layer]):
                assert chip.counter_map.bank(row) == row % banks
                assert chip.counter_map.address(layer, row, word) == first + word * rows + row // banks
        first += rows * chip.words[layer]
    assert chip.counter_map.depth == first


@each_chip
def test_no_two_words_share_a_place(chip):
    for memory in (chip.weight_map, chip.counter_map):
        numbers = [memory.index(*place) for place in places(chip)]
        assert len(set(numbers)) == len(numbers)
        assert 0 <= min(numbers) <= max(numbers) < memory.size
    folded = [
        chip.weight_map.folded(row % chip.array_rows, chip.weight_map.address(i, row, g)) for i, row, g in places(chip)
    ]
    assert len(set(folded)) == len(folded)
    assert all(bank < chip.array_rows and address < chip.weight_map.array_depth for bank, address in folded)


@each_chip
def test_indices_are_those_of_all_words(chip):
    for memory in (chip.weight_map, chip.counter_map):
        for layer in range(chip.depth):
            expected = [
                [memory.index(layer, row, word) for word in range(chip.words[layer])] for row in range(chip.rows[layer])
            ]
            np.testing.assert_array_equal(memory.indices(layer), expected)


@each_chip
def test_expressions_equal_the_numbers(chip):
    weights, counters = chip.weight_map, chip.counter_map
    for layer, row, word in places(chip):
        assert weights.row_address(layer, row // weights.banks) + word == weights.address(layer, row, word)
        assert counters.word_address(layer, word) + row // counters.banks == counters.address(layer, row, word)


@pytest.mark.parametrize("chip", [CHIPS["folded"], CHIPS["folded over all words"], CHIPS["one bank"]])
def test_a_folded_place_in_hardware(chip):
    memory, rows = chip.weight_map, chip.array_rows // chip.fold
    base = memory.base[-1]
    wanted = [(bank, address) for address in range(memory.depth) for bank in range(chip.array_rows)]

    async def compare(context):
        for bank, address in wanted:
            values = memory.folded_value(Const(bank, range(chip.array_rows)), Const(address, range(memory.depth)))
            got_bank, got_address, exists = (context.get(value) for value in values)
            assert exists == (chip.fold == 1 or address < base or bank < rows)
            assert not exists or (got_bank, got_address) == memory.folded(bank, address)

    simulator = Simulator(Module())
    simulator.add_testbench(compare)
    simulator.run()


def test_banks_of_counters_by_hand():
    """13 rows of 2 words and 10 rows of 1 word, in 4 banks: a word has 4 and 3 rows in each."""
    memory = chip(20, 13, 10, rows=8, lanes=16, learn_rows=4).counter_map
    assert memory.bank_rows == (4, 3)
    assert memory.base == (0, 8)
    assert memory.depth == 8 + 3


def test_a_folded_layer_begins_at_a_multiple():
    memory = CHIPS["folded"].weight_map
    assert memory.fold == 4
    assert memory.base[-1] % 4 == 0
    assert memory.array_depth < memory.depth
    assert memory.folded(1, memory.base[-1] + 6) == (1 + 4 * 2, memory.base[-1] + 1)
