"""Expressions that look up a value by layer, or multiply by a constant."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Array, Const, ValueLike
from amaranth.utils import ceil_log2


def of_layer(layer: ValueLike, values: Sequence[ValueLike]):
    """``values[layer]``, with one value for each layer. A constant if all are equal."""
    if all(isinstance(value, int) for value in values):
        shape = ceil_log2(max(values) + 1)
        if len(set(values)) == 1:
            return Const(values[0], shape)
        values = [Const(value, shape) for value in values]
    return Array(values)[layer]


def times(value: ValueLike, factor: int):
    """``value · factor`` for a constant ``factor``, as shifts and additions, so that no address takes a multiplier."""
    terms = [value << bit for bit in range(factor.bit_length()) if factor >> bit & 1]
    return sum(terms[1:], terms[0]) if terms else 0
