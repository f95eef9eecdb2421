"""Testbench of the backward stage."""

import random
from itertools import zip_longest

import cocotb
import numpy as np

from popflip.golden.gft.backward import backward
from popflip.hw.gft.backward import Backward
from popflip.hw.layouts import row_layout
from popflip.sim.bench.clock import cycle
from popflip.sim.bench.networks import chip_of, random_weights, within_window
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields, weight_bits


async def check(part: Part, chip: dict, stall: float) -> None:
    """Sweeps of random rows of random layers hand out golden's errors, with their neurons."""
    options = parameters()
    config, component = chip_of(chip), Backward(chip_of(chip))
    lanes, dclip = config.array_synapses, config.dclip
    rng, draw = np.random.default_rng(options["seed"]), random.Random(f"{part.name} {stall}")
    sink = part.sink("o", row_layout(config), stall=stall, seed=1)
    part.set("valid", 0)
    left = 0  # neurons that have left
    for sweep in range(options["sweeps"]):
        layer = draw.randrange(1, config.depth)
        w = random_weights(config, rng)[layer]
        rows, below = config.rows[layer], config.layers[layer]
        delta = rng.integers(-dclip, dclip + 1, (1, rows)).astype(np.int32)
        if sweep % 4 == 0:  # all agree
            delta[:], w[:] = dclip, 1 if draw.random() < 0.5 else -1
        if layer == config.depth - 1:
            delta[:] = 0
            delta[0, rng.choice(rows, 2, replace=False)] = 1, -1
        elif not delta.any():
            delta[0, draw.randrange(rows)] = 1  # a layer without errors is not swept
        v = rng.integers(-3, 4, (1, below)).astype(np.int32)
        window = draw.choice([0, 1, 3])
        errors = backward([np.zeros((below, 1), np.int8), w], [v, delta], delta, (window,), dclip)[0][0]
        in_window = np.zeros(config.words[layer] * lanes, bool)
        in_window[:below] = within_window(v, window)[0]
        last_row: list[int] = []  # cycle in which each word's last row came
        for word in range(config.words[layer]):
            updated = np.flatnonzero(delta[0]).tolist()
            for number, row in enumerate(updated):
                ends = number == len(updated) - 1
                while draw.random() < stall or (ends and not part.get("free")):
                    part.set("valid", 0)
                    for port in ("delta", "weights", "starts_word", "ends_word", "word", "in_window"):
                        part.scramble(port, draw)
                    await part.next_cycle()
                part.set("valid", 1)
                part.set("delta", int(delta[0, row]) & (1 << dclip.bit_length() + 1) - 1)
                part.set("weights", weight_bits(config, w[row, word * lanes : (word + 1) * lanes]))
                part.set("starts_word", number == 0)
                part.set("ends_word", ends)
                part.set("word", word)
                part.set("in_window", fields(in_window[word * lanes : (word + 1) * lanes], 1))
                if ends:
                    last_row.append(cycle())
                await part.next_cycle()
            part.set("valid", 0)
        expected = [{"row": int(row), "delta": int(errors[row])} for row in np.flatnonzero(errors)]
        if part.name in options.get("wrong", {}) and expected:
            expected[-1]["delta"] *= -1
        for _ in range(component.latency):
            await part.next_cycle()
        while not part.get("free"):
            await part.next_cycle()
        got, cycles = sink.monitor.items[left:], sink.monitor.cycles[left:]
        left += len(got)
        for place, (neuron, wanted) in enumerate(zip_longest(got, expected)):
            assert neuron == wanted, f"sweep {sweep}, neuron {place} of {len(expected)}: {neuron}, expected {wanted}"
        if stall == 0:
            for word, ended in enumerate(last_row):
                of_word = [at for at, neuron in zip(cycles, got, strict=True) if neuron["row"] // lanes == word]
                first = ended + component.latency
                assert of_word == list(range(first, first + len(of_word))), f"sweep {sweep}, word {word}: latency"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.4)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """A row a cycle."""
    await each_part(dut, check, stall=0)
