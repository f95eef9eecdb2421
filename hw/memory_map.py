"""The memory map: bank and address of every word of weights and counters.

Layer ``l`` has ``R = rows[l]`` rows of ``W = words[l]`` words of ``N`` synapses. Lane ``b`` of word ``g`` is synapse
``g·N + b``. Lanes past the last synapse are pads and hold zero bits.

* Weights lie in ``P`` banks, rows first: row ``o`` is in bank ``o mod P``, its word ``g`` at address
  ``base[l] + (o div P)·W + g``. One address, counting up, feeds ``P`` rows.
* Counters lie in ``Pc`` banks, as many as learning updates rows in a cycle, words first: row ``o`` is in bank
  ``o mod Pc``, its word ``g`` at address ``base[l] + o div Pc + g·⌈R/Pc⌉``. Learning visits all rows of one word before
  the next word, so that an address is a sum, never a product.

A last layer with few rows is folded (:attr:`.ChipConfig.fold`): the ``fold`` words that would follow each other in one
bank lie at one address of ``fold`` banks, and the array reads all of them in one cycle (:class:`WeightMap`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Mux, Value, ValueLike
from amaranth.utils import exact_log2
from numpy.typing import NDArray

from popflip.hw.lib.lookup import times


@dataclass(frozen=True)
class MemoryMap:
    """Words of every layer in ``banks`` banks of ``depth`` addresses.

    ``rows``, ``words`` : rows of each layer, and words of a row.
    ``base`` : first address of each layer.
    ``row_stride``, ``word_stride`` : from a word to the same word of the bank's next row, and to the row's next word.

    ``layer`` is a number everywhere. ``row`` and ``word`` are numbers, or integer arrays that broadcast together.
    """

    rows: tuple[int, ...]
    words: tuple[int, ...]
    banks: int
    base: tuple[int, ...]
    row_stride: tuple[int, ...]
    word_stride: tuple[int, ...]
    depth: int

    @property
    def bank_rows(self) -> tuple[int, ...]:
        """Rows of each layer in a bank; the last one may be missing in some."""
        return rows_per_bank(self.rows, self.banks)

    @property
    def size(self) -> int:
        """Words of all banks."""
        return self.depth * self.banks

    def bank(self, row: Any) -> Any:
        """Bank of a row."""
        return row % self.banks

    def address(self, layer: int, row: Any, word: Any) -> Any:
        """Address of a row's word in its bank."""
        return self.base[layer] + row // self.banks * self.row_stride[layer] + word * self.word_stride[layer]

    def index(self, layer: int, row: Any, word: Any) -> Any:
        """Number of a row's word among all ``size``: address by address, and bank by bank at each, as on the link."""
        return self.address(layer, row, word) * self.banks + self.bank(row)

    def indices(self, layer: int) -> NDArray[np.intp]:
        """:meth:`index` of all words of a layer, ``[R, W]``."""
        row, word = np.ogrid[: self.rows[layer], : self.words[layer]]
        return self.index(layer, row, word)

    def row_address(self, layer: int, bank_row: ValueLike) -> ValueLike:
        """Address of word 0 of row number ``bank_row`` of a bank, ``row div banks``: an expression."""
        return self.base[layer] + times(bank_row, self.row_stride[layer])

    def word_address(self, layer: int, word: ValueLike) -> ValueLike:
        """Address of that word of a bank's first row: an expression."""
        return self.base[layer] + times(word, self.word_stride[layer])


@dataclass(frozen=True)
class WeightMap(MemoryMap):
    """The weights as the learning engines address them, and, where the last layer is folded, as the banks hold them.

    ``fold`` : words of a row of the last layer at one address of ``fold`` banks, a power of two; 1: not folded.
    ``array_depth`` : addresses of each bank. ``depth`` : addresses of the map, in which no layer is folded.
    """

    fold: int
    array_depth: int

    def folded(self, bank: int, address: int) -> tuple[int, int]:
        """Bank and address at which the banks hold the word that the map has at ``bank`` and ``address``."""
        base = self.base[-1]
        if self.fold == 1 or address < base:
            return bank, address
        word, part = divmod(address - base, self.fold)
        return bank + self.banks // self.fold * part, base + word

    def folded_value(self, bank: Value, address: Value) -> tuple[Value, Value, Value]:
        """:meth:`folded` as expressions, and whether the row exists: a folded layer uses few banks of the map."""
        base, bits = self.base[-1], exact_log2(self.fold)
        if not bits:
            return bank, address, Const(1)
        rows = len(bank) - bits
        folded = address >= base
        return (
            Mux(folded, Cat(bank[:rows], address[:bits]), bank),
            Mux(folded, (address >> bits) + (base - (base >> bits)), address),
            ~folded | (bank[rows:] == 0),
        )


def map_weights(rows: tuple[int, ...], words: tuple[int, ...], banks: int, fold: int) -> WeightMap:
    """The map of weights. The base of a folded layer is a multiple of ``fold``."""
    bank_rows = rows_per_bank(rows, banks)
    *others, last = first_indices(count * width for count, width in zip(bank_rows, words, strict=True))
    last = -(-last // fold) * fold
    return WeightMap(
        rows=rows,
        words=words,
        banks=banks,
        base=(*others, last),
        row_stride=words,
        word_stride=(1,) * len(words),
        depth=last + bank_rows[-1] * words[-1],
        fold=fold,
        array_depth=last + bank_rows[-1] * -(-words[-1] // fold),
    )


def map_counters(rows: tuple[int, ...], words: tuple[int, ...], banks: int) -> MemoryMap:
    """The map of counters."""
    bank_rows = rows_per_bank(rows, banks)
    sizes = [count * width for count, width in zip(bank_rows, words, strict=True)]
    return MemoryMap(
        rows=rows,
        words=words,
        banks=banks,
        base=first_indices(sizes),
        row_stride=(1,) * len(words),
        word_stride=bank_rows,
        depth=sum(sizes),
    )


def rows_per_bank(rows: Iterable[int], banks: int) -> tuple[int, ...]:
    """Rows of each layer in the fullest of ``banks`` banks."""
    return tuple(-(-count // banks) for count in rows)


def first_indices(sizes: Iterable[int]) -> tuple[int, ...]:
    """Index of the first item of each of several blocks of ``sizes`` items that follow each other."""
    return (0, *accumulate(sizes))[:-1]
