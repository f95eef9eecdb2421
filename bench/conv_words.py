"""Words that a chip with positions touches for a sample, and the cycles that it takes for them.

    python bench/conv_words.py [LAYERS …] [--array ROWSxSYNAPSES] [--learn-rows N] [--samples N] [--data-dir DIR]

Counts from shapes and from the first training digits of MNIST, threshold 128; nothing is simulated. For each layer, a
sample's words for a group of rows: ``touched``, not all 0 and not all outside the image, and ``taken``, with the words
that only end a pool and those that are dropped. ``visits``: words × blocks of rows with an error, in a sample that
updates, with initial weights, windows of half the standard deviation of the sums, and a DCLIP of 3. The cycles follow
from these (:mod:`popflip.estimation.conv.cycles`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from popflip.data.datasets import load
from popflip.estimation.conv.cycles import forward_cycles, ingest_cycles, learn_cycles
from popflip.estimation.conv.words import nonzero, seen, upper
from popflip.estimation.conv.work import ConvCounter, ConvWork
from popflip.golden.common.error import output_delta, output_error
from popflip.golden.config import Config
from popflip.golden.conv.backward import backward
from popflip.golden.conv.forward import forward
from popflip.golden.gft.initialise import initial
from popflip.hw.config import ChipConfig

NETS = ("28x28,c16k5p2,c32k5s2,10", "28x28,c64k9s3,10", "28x28,c32k5s2,c64k5s2,10")
DCLIP = 3


def count(config: Config, chip: ChipConfig, x: NDArray[np.uint8], y: NDArray[np.integer]) -> ConvWork:
    """The work of samples that all update."""
    weights = initial(config).weights
    v = forward(weights, x, chip.plan)
    window = [max(1, round(float(sums.std()) / 2)) for sums in v[:-1]]
    _, rival = output_error(v[-1], y, 0)
    deltas = backward(weights, v, output_delta(y, rival, chip.classes), window, DCLIP, chip.plan)
    counter = ConvCounter(config)
    counter.on_errors(x, np.ones(len(x), bool), deltas)
    return counter.work()


def report(config: Config, chip: ChipConfig, x: NDArray[np.uint8], y: NDArray[np.integer]) -> str:
    """The lines of a network."""
    lanes, work = chip.array_synapses, count(config, chip, x, y)
    touched = nonzero(seen(x, chip.image, chip.plan[0]), lanes).sum() / len(x)
    layers = [(float(touched), float(work.listed[lanes].mean()))]
    for layer in chip.plan[1:]:
        words = upper(layer, lanes)
        layers.append((float(words.kept.sum()), float((words.kept + words.dropped).sum())))
    lines = [f"{','.join(map(str, chip.layers))}: {chip.array_rows}×{lanes}, Pc {chip.learn_rows}"]
    for number, (touched, taken) in enumerate(layers):
        lines.append(f"  layer {number}: touched {touched:.0f}, taken {taken:.0f}")
    touched, taken = (sum(g * w for g, w in zip(chip.groups, each, strict=True)) for each in zip(*layers, strict=True))
    lines += [
        f"  words: touched {touched:.0f}, taken {taken:.0f}, visits {work.visits[lanes, chip.learn_rows].mean():.0f}",
        f"  cycles: ingest {ingest_cycles(chip)}, forward {forward_cycles(chip, work).mean():.0f}, "
        f"learn {learn_cycles(chip, work).mean():.0f} a sample that updates",
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
        print(report(config, chip, x, y), flush=True)


if __name__ == "__main__":
    main()
