"""How random the chip's order of samples is (golden/common/order.py), beside NumPy's shuffle.

    python bench/order.py [--orders 200]

Each row is one number of samples, over many orders, each from the key of another epoch. Printed is χ² divided by its
degrees of freedom, which is about 1 for random orders: `place` of where in the order a sample comes (a table of 16
parts of the set × 16 parts of the order), `step` of the distance from a sample to the next one (64 parts), `repeat` of
the same samples' places in two epochs after each other (16 × 16). `serial` is the mean correlation of a sample's number
with the next one's, in standard errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.order import key_of, permutation

COUNTS = (16, 37, 100, 1437, 4096, 60_000)
PARTS, STEPS = 16, 64
COLUMNS = (("samples", 8), ("order", 7), ("place", 7), ("step", 7), ("repeat", 7), ("serial", 7))

Orders = Callable[[int, int], NDArray[np.int64]]


def chip_order(count: int, epoch: int) -> NDArray[np.int64]:
    """The chip's, with seed 1."""
    return permutation(key_of(1, epoch), count)


def numpy_order(count: int, epoch: int) -> NDArray[np.int64]:
    """NumPy's."""
    return np.random.Generator(np.random.PCG64([1, epoch])).permutation(count)


def chi_square(seen: NDArray[np.integer], expected: NDArray[np.floating], freedom: int) -> float:
    """χ² of counts, divided by its degrees of ``freedom``."""
    return float(((seen - expected) ** 2 / expected).sum() / freedom)


def table(a: NDArray[np.integer], b: NDArray[np.integer], parts: int) -> NDArray[np.int64]:
    """How often part ``a`` meets part ``b``."""
    return np.bincount(a * parts + b, minlength=parts * parts).reshape(parts, parts)


def measure(make: Orders, count: int, orders: int) -> dict[str, float]:
    """The figures of ``orders`` orders of ``count`` samples."""
    parts, steps = min(PARTS, count), min(STEPS, count - 1)
    part = np.arange(count) * parts // count
    place, repeat = (np.zeros((parts, parts), np.int64) for _ in range(2))
    step = np.zeros(steps, np.int64)
    serial, before = 0.0, np.argsort(make(count, orders))
    for epoch in range(orders):
        order = make(count, epoch)
        where = np.argsort(order)
        place += table(part[order], part, parts)
        repeat += table(part[before], part[where], parts)
        step += np.bincount(((np.diff(order) % count) - 1) * steps // (count - 1), minlength=steps)
        serial += float(np.corrcoef(order[:-1], order[1:])[0, 1]) + 1 / (count - 1)
        before = where
    sizes = np.bincount(part).astype(float)
    # Rows and columns of a permutation's table have fixed sums, which lowers its variance by count / (count − 1).
    cells, freedom = np.outer(sizes, sizes) * orders / count, (parts - 1) ** 2 * count / (count - 1)
    distances = np.bincount(np.arange(count - 1) * steps // (count - 1)).astype(float)
    return {
        "place": chi_square(place, cells, 1) / freedom,
        "step": chi_square(step, distances * orders, max(1, steps - 1)),
        "repeat": chi_square(repeat, cells, 1) / freedom,
        "serial": serial / sqrt(orders) * sqrt(count - 1),
    }


def row(count: int, name: str, figures: dict[str, float]) -> str:
    """One line of the table."""
    values = [str(count), name, *(f"{figures[key]:.2f}" for key, _ in COLUMNS[2:])]
    return " ".join(value.rjust(width) for value, (_, width) in zip(values, COLUMNS, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=200, help="orders in each row")
    orders = parser.parse_args().orders
    print(" ".join(name.rjust(width) for name, width in COLUMNS))
    for count in COUNTS:
        for name, make in (("chip", chip_order), ("numpy", numpy_order)):
            print(row(count, name, measure(make, count, orders)))


if __name__ == "__main__":
    main()
