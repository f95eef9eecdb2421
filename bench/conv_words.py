"""Words that a chip with positions touches for a sample, and the cycles that it takes for them.

    python bench/conv_words.py [LAYERS …] [--array ROWSxSYNAPSES] [--learn-rows N] [--samples N] [--data-dir DIR]

Counts from shapes and from the first training digits of MNIST, threshold 128; nothing is simulated. For each layer, a
sample's words for a group of rows: ``touched``, not all 0 and not all outside the image, and ``taken``, with the words
that only end a pool and those that are dropped. ``visits``: words × blocks of rows with an error, in a sample that
updates, with initial weights, windows of half the standard deviation of the sums, and a DCLIP of 3. The cycles follow
from these (:mod:`popflip.hw.conv.cycles`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from popflip.data.datasets import load
from popflip.golden.common.error import output_delta, output_error
from popflip.golden.config import Config
from popflip.golden.conv.backward import backward
from popflip.golden.conv.forward import forward
from popflip.golden.gft.initialise import initial
from popflip.hw.config import ChipConfig
from popflip.hw.conv import cycles

NETS = ("28x28,c16k5p2,c32k5s2,10", "28x28,c64k9s3,10", "28x28,c32k5s2,c64k5s2,10")
DCLIP = 3


def visits(chip: ChipConfig, x: NDArray[np.uint8], y: NDArray[np.integer], there: NDArray[np.bool_]) -> list[float]:
    """Visits of each layer in a sample that updates."""
    weights = initial(Config(chip.layers, k0=(1,) * chip.depth, window=(0,) * (chip.depth - 1))).weights
    v = forward(weights, x, chip.plan)
    window = [max(1, round(float(sums.std()) / 2)) for sums in v[:-1]]
    _, rival = output_error(v[-1], y, 0)
    deltas = backward(weights, v, output_delta(y, rival, chip.classes), window, DCLIP, chip.plan)
    result = []
    for number, (it, delta) in enumerate(zip(chip.plan, deltas, strict=True)):
        rows = np.pad(delta.reshape(len(x), it.pools, it.rows), ((0, 0), (0, 0), (0, -it.rows % chip.learn_rows)))
        blocks = rows.reshape(len(x), it.outputs.height, it.outputs.width, -1, chip.learn_rows).any(axis=4).sum(axis=3)
        each = blocks.repeat(it.pool, axis=1).repeat(it.pool, axis=2)
        if number == 0:
            count = there.sum(axis=3)
        elif it.bias:
            count = np.array([[[chip.words[number]]]])
        else:
            count = cycles.words(np.ones((1, it.inputs.size), np.uint8), it, chip.array_synapses).sum(axis=3)
        result.append(float((each * count).sum()) / len(x))
    return result


def report(chip: ChipConfig, x: NDArray[np.uint8], y: NDArray[np.integer]) -> str:
    """The lines of a network."""
    there = cycles.words(x, chip.plan[0], chip.array_synapses)
    upper = (cycles.upper_layer(chip, layer) for layer in range(1, chip.depth))
    layers = [cycles.first_layer(chip, there), *upper]
    lines = [f"{','.join(map(str, chip.layers))}: {chip.array_rows}×{chip.array_synapses}, Pc {chip.learn_rows}"]
    learned = visits(chip, x, y, there)
    for layer, ((touched, taken), visited) in enumerate(zip(layers, learned, strict=True)):
        lines.append(f"  layer {layer}: touched {touched:.0f}, taken {taken:.0f}, visits {visited:.0f}")
    touched, taken = (sum(g * w for g, w in zip(chip.groups, each, strict=True)) for each in zip(*layers, strict=True))
    listed = layers[0][1]
    lines += [
        f"  words: touched {touched:.0f}, taken {taken:.0f}, visits {sum(learned):.0f}",
        f"  cycles: ingest {cycles.ingest(chip)}, forward {cycles.forward(chip, listed):.0f}, "
        f"learn {cycles.learn(chip, learned, listed):.0f} a sample that updates",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("layers", nargs="*", default=NETS, metavar="LAYERS")
    parser.add_argument("--array", default="32x32", metavar="ROWSxSYNAPSES")
    parser.add_argument("--learn-rows", type=int, default=4, metavar="N")
    parser.add_argument("--samples", type=int, default=100, metavar="N")
    parser.add_argument("--data-dir", type=Path, metavar="DIR")
    options = parser.parse_args()
    rows, synapses = map(int, options.array.split("x"))
    data = load("mnist", options.data_dir)
    x = (data.train_values[: options.samples].reshape(options.samples, -1) >= 128).astype(np.uint8)
    y = data.train_classes[: options.samples].astype(np.int64)
    for layers in options.layers:
        config = Config(layers, k0=(1,) * layers.count(","), window=(0,) * (layers.count(",") - 1))
        chip = ChipConfig(config.layers, config.precision, 32767, DCLIP, rows, synapses, learn_rows=options.learn_rows)
        print(report(chip, x, y), flush=True)


if __name__ == "__main__":
    main()
