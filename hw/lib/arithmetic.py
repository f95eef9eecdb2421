"""Comparisons of signed numbers with symmetric limits, in fewer cells than two comparators."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Value


def compare_magnitude(value: Value, level: Value) -> tuple[Value, Value]:
    """``|value| > level`` and ``|value| = level``: carry and sum of one adder, which does not form ``|value|``.

    ``value`` is signed; ``level`` is unsigned and one bit shorter, or more if ``|value|`` never needs them. Let ``x``
    be the bits of ``value``, inverted if it is negative, so that ``|value| = x + (value < 0)``. The adder computes
    ``|value| − 1 − level``; a lowest bit of ``value < 0`` in both operands carries the 1 in.
    """
    negative = value[-1]
    x = value.as_unsigned() ^ negative.replicate(len(value))
    total = Cat(negative, x[: len(level)]) + Cat(negative, ~level)
    return total[-1], total[1:-1].all()


def clip(value: Value, low: int, high: int) -> Value:
    """``min(max(value, low), high)`` of a signed value, for ``low < 0 < high``.

    Limits next to a power of two (``high = 2ⁿ − 1``, ``low`` = ``−2ⁿ`` or ``−2ⁿ + 1``) need only the upper bits; others
    need a comparator each.
    """
    bits = high.bit_length()
    if high + 1 != 1 << bits or low not in (-high - 1, -high) or len(value) <= bits + 1:
        return Mux(value > high, high, Mux(value < low, low, value))
    lower, upper, negative = value[:bits], value[bits:-1], value[-1]
    above, below = ~negative & upper.any(), negative & ~upper.all()
    lowest = 0 if low == -high - 1 else negative & ~lower.any()  # −2ⁿ, one below the limit
    kept = (lower | above.replicate(bits)) & ~below.replicate(bits)
    odd = (below & (low & 1)) | lowest
    return Cat(kept[0] | odd, kept[1:], negative).as_signed()
