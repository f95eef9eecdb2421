"""Find the tiles of mnist-tiles: groups of pixels that are all 0 in as many training images as possible.

    python bench/tiles.py [--data-dir D] [--output F] [--steps 3000000] [--images 16384]

Prints the mean number of nonzero words of 8 to 64 synapses, the bias among them, over all training and all test images:
for pixels in their original order, in rectangles of 4 × 2, and in the tiles found. Writes these to F;
``popflip/data/mnist_tiles.txt`` was made like this. Reads ``D/mnist/`` or ``$POPFLIP_DATA/mnist/`` and downloads
nothing. Takes about six minutes; the same command finds the same tiles.

The search is simulated annealing by heat bath. A step draws two tiles of 8 pixels, and then one of the 64 exchanges of
a pixel of one for a pixel of the other, or none, with probability ∝ exp(−cost / T). The cost is the number of nonzero
words of 16, for which arrays gain most, plus a share of those of 8. Then tiles of 16 are exchanged until no exchange
reduces the nonzero words of 32 and 64.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from popflip.data import datasets
from popflip.data.base import DataSet
from popflip.data.encoding import thermometer
from popflip.data.mnist import TILE
from popflip.errors import PopflipError
from popflip.estimation.workload import nonzero_words
from popflip.files import check_writable, whole_file

WIDTHS = (8, 16, 32, 64)
SMALL = 0.1  # weight of words of 8
HOT, COLD = 0.015, 0.0003  # temperature at the beginning and the end, as a share of the images
SEED = 2


def rectangles(height: int, width: int) -> NDArray[np.intp]:
    """Pixels in rectangles of 4 × 2, [tiles, 8]: the start of the search."""
    pixels = np.arange(height * width).reshape(height // 4, 4, width // 2, 2)
    return pixels.swapaxes(1, 2).reshape(-1, TILE)


def _count(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.bitwise_count(words).sum(axis=-1, dtype=np.int64)


def _others(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The OR of all other rows, for each row."""
    before, behind = np.zeros_like(rows), np.zeros_like(rows)
    np.bitwise_or.accumulate(rows[:-1], axis=0, out=before[1:])
    behind[:-1] = np.bitwise_or.accumulate(rows[:0:-1], axis=0)[::-1]
    return before | behind


def anneal(columns: NDArray[np.uint64], tiles: NDArray[np.intp], images: int, steps: int) -> NDArray[np.intp]:
    """Tiles [tiles, 8] of pixels; ``columns`` has a bit per image for each. Tiles 2k and 2k + 1 form one of 16."""
    tiles = tiles.copy()
    generator = np.random.Generator(np.random.PCG64(SEED))
    whole = np.bitwise_or.reduce(columns[tiles], axis=1)
    for step in track(range(steps), "exchanging pixels"):
        temperature = images * HOT * (COLD / HOT) ** (step / steps)
        a, b = generator.choice(len(tiles), 2, replace=False)
        here, there = columns[tiles[a]], columns[tiles[b]]
        # [i, j]: the two tiles after an exchange of the i-th pixel of a for the j-th of b.
        new_a, new_b = _others(here)[:, None] | there, _others(there) | here[:, None]
        cost = SMALL * (_count(new_a) + _count(new_b))
        stay = SMALL * (_count(whole[a]) + _count(whole[b]))
        if a ^ b != 1:
            cost = cost + _count(new_a | whole[a ^ 1]) + _count(new_b | whole[b ^ 1])
            stay = stay + _count(whole[a] | whole[a ^ 1]) + _count(whole[b] | whole[b ^ 1])
        costs = np.append(cost.ravel(), stay)
        chances = np.exp((costs.min() - costs) / temperature)
        drawn = generator.choice(len(costs), p=chances / chances.sum())
        if drawn < cost.size:
            i, j = divmod(int(drawn), TILE)
            tiles[a, i], tiles[b, j] = tiles[b, j], tiles[a, i]
            whole[a], whole[b] = new_a[i, j], new_b[i, j]
    return tiles


def place(columns: NDArray[np.uint64], tiles: NDArray[np.intp]) -> NDArray[np.intp]:
    """The same tiles of 16 in an order with few nonzero words of 32 and of 64."""
    pairs = np.bitwise_or.reduce(columns[tiles.reshape(-1, 2 * TILE)], axis=1)
    order = np.arange(len(pairs))

    def cost(groups: set[tuple[int, int]]) -> int:
        return sum(
            int(_count(np.bitwise_or.reduce(pairs[order[size * group : size * (group + 1)]], axis=0)))
            for size, group in groups
        )

    better = True
    while better:
        better = False
        for a, b in combinations(range(len(order)), 2):
            groups = {(size, index // size) for size in (2, 4) for index in (a, b)}
            before = cost(groups)
            order[[a, b]] = order[[b, a]]
            if cost(groups) < before:
                better = True
            else:
                order[[a, b]] = order[[b, a]]
    return tiles.reshape(-1, 2 * TILE)[order].reshape(-1, TILE)


def drawn(tiles: NDArray[np.intp], width: int) -> str:
    """The image as text, with the tile number of each pixel."""
    numbers = np.empty(tiles.size, np.intp)
    numbers[tiles.ravel()] = np.repeat(np.arange(len(tiles)), TILE)
    return "".join(" ".join(f"{number:2}" for number in row) + "\n" for row in numbers.reshape(-1, width))


def main() -> int:
    parser = argparse.ArgumentParser(description="Find the tiles of mnist-tiles.")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ in it, instead of $POPFLIP_DATA")
    parser.add_argument("--output", type=Path, metavar="F", help="file to write the tiles to")
    parser.add_argument("--steps", type=int, default=3_000_000, help="exchanges drawn (3000000)")
    parser.add_argument("--images", type=int, default=16_384, help="training images used, the first ones (16384)")
    options = parser.parse_args()
    if options.data_dir is None and not os.environ.get("POPFLIP_DATA"):
        print("skipped: needs MNIST; give --data-dir D or POPFLIP_DATA=D, where D holds mnist/")
        return 0
    check_writable(output=options.output)
    search(datasets.load("mnist", options.data_dir), options.images, options.steps, options.output)
    return 0


def search(data: DataSet, images: int, steps: int, output: Path | None) -> None:
    """Find tiles, print their nonzero words, and write them."""
    assert data.image is not None
    thresholds = np.array(datasets.BUILT_IN["mnist"].thresholds)
    train, test = (thermometer(values, thresholds) for values in (data.train_values, data.test_values))
    images = max(64, min(images, len(train)) // 64 * 64)  # 64 to a word
    columns = np.ascontiguousarray(np.packbits(train[:images].T, axis=1)).view(np.uint64)
    begin = rectangles(*data.image)
    tiles = np.sort(place(columns, anneal(columns, begin, images, steps)), axis=1)
    orders = {"original": np.arange(tiles.size), "rectangles": begin.ravel(), "tiles": tiles.ravel()}
    print(
        "nonzero words".ljust(18)
        + "".join(f"{f'{width}, {which}':>12}" for width in WIDTHS for which in ("train", "test"))
    )
    for name, order in orders.items():
        cells = [nonzero_words(bits[:, order], width).mean() for width in WIDTHS for bits in (train, test)]
        print(name.ljust(18) + "".join(f"{cell:12.2f}" for cell in cells))
    if output:
        with whole_file(output) as file:
            file.write(drawn(tiles, data.image[1]).encode())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"tiles: {error}")
