"""Proofs that the memory map is a bijection: (layer, row, word) to (bank, address), and to the numbers on the link.

The code of :mod:`popflip.hw.memory_map` runs on symbols instead of numbers, and a solver looks for layer sizes, numbers
of banks and places for which a statement is false. So the proofs are for networks and arrays of any size, with up to
three layers: a place depends on its own layer and on the sizes before it. Folding, which needs numbers, is tried for
all small chips.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from itertools import combinations_with_replacement, product
from types import ModuleType
from typing import Any

import pytest
from chips import chip
from formal import Verdict, mutant

from popflip.hw import memory_map
from popflip.hw.memory_map import MemoryMap

SOLVER = importlib.util.find_spec("z3") is not None
if SOLVER:
    import z3

pytestmark = [pytest.mark.proof, pytest.mark.skipif(not SOLVER, reason="not installed: z3-solver (extra proof)")]

MILLISECONDS = 60_000


class Symbol:
    """An unknown integer, with the operators that the memory map uses. Divisors are positive: ``//`` rounds down."""

    def __init__(self, expression: Any):
        self.z3 = expression

    def __neg__(self) -> Symbol:
        return Symbol(-self.z3)

    def __add__(self, other: Symbol | int) -> Symbol:
        return Symbol(self.z3 + of(other))

    def __sub__(self, other: Symbol | int) -> Symbol:
        return Symbol(self.z3 - of(other))

    def __mul__(self, other: Symbol | int) -> Symbol:
        return Symbol(self.z3 * of(other))

    def __floordiv__(self, other: Symbol | int) -> Symbol:
        return Symbol(self.z3 / of(other))

    def __mod__(self, other: Symbol | int) -> Symbol:
        return Symbol(self.z3 % of(other))

    __radd__, __rmul__ = __add__, __mul__  # sums and products of integers commute


def of(number: Symbol | int) -> Any:
    """The solver's expression of a number."""
    return number.z3 if isinstance(number, Symbol) else number


class AnyMap:
    """A map of ``layers`` layers of any sizes in any number of banks, and the facts that hold for it."""

    def __init__(self, make: Callable[..., MemoryMap], layers: int):
        rows, words = (tuple(Symbol(z3.Int(f"{name}{i}")) for i in range(layers)) for name in ("rows", "words"))
        banks = Symbol(z3.Int("banks"))
        self.map = make(rows, words, banks)
        self.facts = [size.z3 > 0 for size in (*rows, *words, banks)]

    def place(self, layer: int, name: str) -> tuple[Any, Any]:
        """Any row and word of ``layer``."""
        row, word = (Symbol(z3.Int(f"{part} {name}")) for part in ("row", "word"))
        self.facts += [
            row.z3 >= 0,
            row.z3 < of(self.map.rows[layer]),
            word.z3 >= 0,
            word.z3 < of(self.map.words[layer]),
        ]
        bank_row, bank_rows = row // self.map.banks, self.map.bank_rows[layer]
        self.facts.append(z3.Implies(bank_row.z3 < of(bank_rows), self._no_product_is_negative(layer, bank_row, word)))
        return row, word

    def _no_product_is_negative(self, layer: int, bank_row: Symbol, word: Symbol) -> Any:
        """True of integers; the solver does not find it by itself: rows and words left over, times sizes."""
        rows_left = (self.map.bank_rows[layer] - 1 - bank_row) * self.map.words[layer]
        words_left = (self.map.words[layer] - 1 - word) * self.map.bank_rows[layer]
        return z3.And(of(rows_left) >= 0, of(words_left) >= 0)

    def verdict(self, statement: Any) -> Verdict:
        """Whether ``statement`` follows from the facts."""
        solver = z3.Solver()
        solver.set("timeout", MILLISECONDS)
        solver.add(*self.facts, z3.Not(statement))
        verdicts = {"unsat": Verdict.PROVEN, "sat": Verdict.DISPROVED}
        return verdicts[str(solver.check())]


def maps(module: ModuleType) -> dict[str, Callable[..., MemoryMap]]:
    """Functions of rows, words and banks."""
    return {
        "weights": lambda rows, words, banks: module.map_weights(rows, words, banks, fold=1),
        "counters": module.map_counters,
    }


def own_place(make: Callable[..., MemoryMap], layers: tuple[int, int]) -> Verdict:
    """Two words with the same bank and address are the same word."""
    some = AnyMap(make, max(layers) + 1)
    (row, word), (other_row, other_word) = (some.place(layer, f"{i}") for i, layer in enumerate(layers))
    address, other_address = some.map.address(layers[0], row, word), some.map.address(layers[1], other_row, other_word)
    same_place = z3.And(of(address) == of(other_address), of(some.map.bank(row)) == of(some.map.bank(other_row)))
    same_word = z3.And(layers[0] == layers[1], row.z3 == other_row.z3, word.z3 == other_word.z3)
    return some.verdict(z3.Implies(same_place, same_word))


def inside(make: Callable[..., MemoryMap], layers: int) -> list[Verdict]:
    """Of a word of each layer: its bank and address exist."""
    verdicts = []
    for layer in range(layers):
        some = AnyMap(make, layers)
        row, word = some.place(layer, "")
        address, bank = of(some.map.address(layer, row, word)), of(some.map.bank(row))
        depth, banks = of(some.map.depth), of(some.map.banks)
        verdicts.append(some.verdict(z3.And(address >= 0, address < depth, bank >= 0, bank < banks)))
    return verdicts


def link_order(make: Callable[..., MemoryMap]) -> Verdict:
    """The number on the link tells address and bank, and numbers count up address by address."""
    some = AnyMap(make, 1)
    row, word = some.place(0, "")
    index, banks = some.map.index(0, row, word), some.map.banks
    address, bank = some.map.address(0, row, word), some.map.bank(row)
    return some.verdict(z3.And(of(index // banks) == of(address), of(index % banks) == of(bank)))


@pytest.mark.parametrize("name", ["weights", "counters"])
@pytest.mark.parametrize("layers", list(combinations_with_replacement(range(3), 2)), ids=str)
def test_every_word_has_a_place_of_its_own(name, layers):
    assert own_place(maps(memory_map)[name], layers) == Verdict.PROVEN


@pytest.mark.parametrize("name", ["weights", "counters"])
def test_every_place_exists(name):
    assert inside(maps(memory_map)[name], 3) == [Verdict.PROVEN] * 3


@pytest.mark.parametrize("name", ["weights", "counters"])
def test_a_number_on_the_link_tells_the_place(name):
    assert link_order(maps(memory_map)[name]) == Verdict.PROVEN


STRIDE = "row // self.banks * self.row_stride[layer]"


@pytest.mark.parametrize(
    ("name", "layers", "old", "new"),
    [
        ("weights", (0, 0), STRIDE, STRIDE.replace("//", "%")),
        ("counters", (0, 0), "word_stride=bank_rows", "word_stride=rows_per_bank(rows, banks + 1)"),
        ("counters", (0, 1), "sizes = [count * width", "sizes = [count * width - 1"),
        ("weights", (1, 2), "first_indices(count * width for", "first_indices(count * width - 1 for"),
        ("counters", (0, 0), "return row % self.banks", "return row % (self.banks + 1) % self.banks"),
    ],
    ids=["rows share words", "words overlap", "layers overlap", "layers of weights overlap", "banks overlap"],
)
def test_the_proof_of_places_finds_a_fault(name, layers, old, new):
    assert own_place(maps(mutant(memory_map, old, new))[name], layers) == Verdict.DISPROVED


def test_the_proof_of_the_depth_finds_a_fault():
    faulty = mutant(memory_map, "depth=sum(sizes)", "depth=sum(sizes) - 1")
    assert Verdict.DISPROVED in inside(faulty.map_counters, 2)


def test_the_proof_of_the_order_finds_a_fault():
    faulty = mutant(memory_map, "* self.banks + self.bank(row)", "* self.bank_rows[layer] + self.bank(row)")
    assert link_order(faulty.map_counters) == Verdict.DISPROVED


def test_folding_keeps_places_apart_in_all_small_chips():
    """Every inputs, hidden and class count up to a few words, every small array."""
    folds = set()
    for inputs, hidden, classes in product((1, 17), range(1, 40, 3), range(2, 9)):
        for rows, lanes in product((1, 2, 4, 8, 16, 32), (4, 8, 16)):
            shape = chip(inputs, hidden, classes, rows=rows, lanes=lanes)
            weights = shape.weight_map
            folds.add(weights.fold)
            words = [
                (weights.bank(row), weights.address(layer, row, word))
                for layer in range(shape.depth)
                for row in range(shape.rows[layer])
                for word in range(shape.words[layer])
            ]
            places = {weights.folded(*word) for word in words}
            assert len(places) == len(words)
            assert all(0 <= bank < rows and 0 <= address < weights.array_depth for bank, address in places)
    assert folds == {1, 2, 4}
