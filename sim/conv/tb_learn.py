"""Testbench of learning with positions between memories in Python."""

import random
from collections.abc import Callable
from functools import partial

import cocotb
import numpy as np

from popflip.golden.common.error import output_delta
from popflip.golden.common.forward import activation
from popflip.golden.conv.accumulate import accumulate
from popflip.golden.conv.backward import backward
from popflip.golden.conv.forward import forward
from popflip.golden.conv.patches import pixels
from popflip.hw.config import ChipConfig
from popflip.hw.conv.patches import patch_word_layout
from popflip.hw.layouts import verdict_layout
from popflip.sim.bench.memories import ReadPort, WritePort
from popflip.sim.bench.networks import chip_of, random_inputs, random_weights
from popflip.sim.bench.parts import Activity, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import PATIENCE, pack
from popflip.sim.bench.words import counter_words, fields, weight_words
from popflip.sim.conv.memories import GroupMemory
from popflip.sim.conv.tb_forward import patch_list
from popflip.sim.conv.tb_gather import words as gathered
from popflip.sim.gft.tb_learn import Finished


def visits(chip: ChipConfig, layer: int, delta: np.ndarray, list_: list[dict]) -> int:
    """Words × blocks of rows with an error that learning has to visit, for errors ``[neurons]`` of one sample."""
    rows, banks = chip.rows[layer], chip.learn_rows
    nonzero = np.zeros((len(delta) // rows, -(-rows // banks) * banks), bool)
    nonzero[:, :rows] = delta.reshape(-1, rows) != 0
    blocks = nonzero.reshape(len(nonzero), -1, banks).any(axis=2).sum(axis=1)
    if layer:
        entries, _ = gathered(chip, layer, np.ones(chip.plan[layer - 1].neurons, np.int8))
        list_ = [entry["place"] for entry in entries]
    return int(sum(blocks[entry["pool"]] for entry in list_))


def all_visits(chip: ChipConfig, deltas: list[np.ndarray], lists: list[list[dict]]) -> int:
    """:func:`visits` of all layers and samples, for errors ``[n, neurons]`` of each layer."""
    return sum(
        visits(chip, layer, delta, list_)
        for layer, each in enumerate(deltas)
        for delta, list_ in zip(each, lists, strict=True)
    )


class Bench:
    """A learning engine, its memories and its streams."""

    def __init__(self, part: Part, chip: dict, stall: float):
        self.part, self.chip = part, chip_of(chip)
        self.draw = random.Random(f"{part.name} {stall}")
        self.words: dict[tuple[int, int], int] = {}
        self.counters: dict[tuple[int, int], int] = {}
        self.lists: list[list[int]] = [[]] * self.chip.slots
        self.source = part.source("i", verdict_layout(self.chip), stall=stall, seed=1)
        self.activity = Activity(part)
        self.memory, self.windows = GroupMemory(self.chip, 1), GroupMemory(self.chip, 2)
        self.memory.reader(part, "activations__")
        group = ("windows__slot", "windows__group")
        ReadPort(part, "windows__en", group, ("windows__in_window",), lambda *place: [self.windows.read(*place)])
        position = ("patches__slot", "patches__position")
        ReadPort(part, "patches__en", position, ("patches__data",), lambda slot, at: [self.lists[slot][at]])
        block = ("weight_rows__block", "weight_rows__address")
        latency = self.chip.read_latency
        ReadPort(part, "weight_rows__en", block, ("weight_rows__rows",), self._read_weights, latency=latency)
        self.writes = []
        for bank in range(self.chip.learn_rows):
            port = f"state__counters__bank{bank}__"
            read = partial(self._read_counters, bank)
            address, data = (f"{port}read_address",), (f"{port}read_data",)
            ReadPort(part, f"{port}read", address, data, read, latency=self.chip.read_latency)
            written = (f"{port}write_address", f"{port}write_data")
            self.writes.append(WritePort(part, f"{port}write", written, partial(self._write_counters, bank)))
        self.finished = Finished(part, self.writes)

    def _read_weights(self, block: int, address: int) -> list[int]:
        """The words of the rows of a block; rows that do not exist are random."""
        banks, width = self.chip.learn_rows, self.chip.weight_bits * self.chip.array_synapses
        places = [(block * banks + each, address) for each in range(banks)]
        return [fields([self.words.get(place, self.draw.getrandbits(width)) for place in places], width)]

    def _read_counters(self, bank: int, address: int) -> list[int]:
        return [self.counters.get((bank, address), 0)]

    def _write_counters(self, bank: int, address: int, bits: int) -> None:
        self.counters[bank, address] = bits

    async def run(self, seed: int, samples: int, wrong: list[int] | None) -> None:
        """Learn from ``samples`` that trigger updates, with new weights and counters. The counters end as golden's, and
        the engine is busy for one cycle a visit."""
        chip = self.chip
        rng = np.random.default_rng(seed)
        limits = chip.mmaxes or (chip.mmax,) * chip.depth
        weights, x = random_weights(chip, rng), random_inputs(chip, samples, rng)
        image = pixels(x, chip.image)
        counters = [
            rng.integers(-limit, limit + 1, shape).astype(np.int16)
            for limit, *shape in zip(limits, chip.rows, chip.synapses, strict=True)
        ]
        v = forward(weights, image, chip.plan)
        pairs = np.array([rng.choice(chip.classes, 2, replace=False) for _ in range(samples)])
        window = [int(rng.choice([0, 1, 3, chip.v_max, chip.v_max])) for _ in range(chip.depth - 1)]
        delta = output_delta(pairs[:, 0], pairs[:, 1], chip.classes)
        deltas = backward(weights, v, delta, window, chip.dclip, chip.plan)
        self.words = weight_words(chip, weights)
        self.counters.clear()
        self.counters.update(counter_words(chip, counters).values())
        for layer, each in enumerate(deltas):
            a = activation(v[layer - 1]) if layer else image
            counters[layer] = accumulate(counters[layer], each, a, chip.plan[layer], limits[layer])
        if wrong is not None:
            layer, row, synapse = wrong
            counters[layer][row, synapse] += -1 if counters[layer][row, synapse] > 0 else 1

        lists = [patch_list(chip, row) for row in x]
        entry = patch_word_layout(chip.plan[0], chip.array_synapses)
        finished, busy = len(self.finished.slots), self.activity.busy
        slots: list[int] = []

        def learned() -> int:
            return len(self.finished.slots) - finished

        async def feed() -> None:
            for sample, (label, rival) in enumerate(pairs.tolist()):
                while len(slots) - learned() == chip.slots:
                    await self.part.next_cycle()
                slot = self.draw.choice(sorted(set(range(chip.slots)) - set(slots[learned() :])))
                slots.append(slot)
                self.lists[slot] = [pack(entry, word) for word in lists[sample]]
                for layer in range(1, chip.depth):
                    sums = v[layer - 1][sample]
                    self.memory.put_layer(slot, layer, sums > 0)
                    self.windows.put_layer(slot, layer, np.abs(sums) <= window[layer - 1])
                token = {"slot": slot, "words": len(lists[sample]), "label": label, "infer": 0}
                self.source.send({"sample": token, "rival": rival, "updates": 1, "correct": self.draw.randrange(2)})

        cocotb.start_soon(feed())
        await self.wait(samples, learned)
        self.compare(counters, seed)
        due, taken = all_visits(chip, deltas, lists), self.activity.busy - busy
        assert taken == due, f"busy for {taken} cycles, expected {due}"
        assert self.finished.slots[finished:] == slots, "slots are not freed in the order their samples came"
        assert self.finished.written[-1] == sum(port.count for port in self.writes), (
            "a sample was done before its counters were written"
        )

    def compare(self, counters: list[np.ndarray], seed: int) -> None:
        """All words of counters."""
        for (layer, row, word), (place, expected) in counter_words(self.chip, counters).items():
            got = self.counters[place]
            assert got == expected, (
                f"layer {layer}, row {row}, word {word}: counters {got:#x}, expected {expected:#x} (seed {seed})"
            )

    async def wait(self, samples: int, learned: Callable[[], int]) -> None:
        """Wait until all ``samples`` are learned."""
        idle = seen = 0
        while learned() < samples:
            await self.part.next_cycle()
            idle, seen = (idle + 1 if learned() == seen else 0), learned()
            assert idle < PATIENCE, f"stuck after {seen} of {samples} samples"


async def check(part: Part, chip: dict, stall: float) -> None:
    options = parameters()
    bench = Bench(part, chip, stall)
    for seed in options["seeds"]:
        await bench.run(seed, options["samples"], options.get("wrong", {}).get(part.name))


@cocotb.test()
async def equals_golden(dut):
    """With long gaps between samples."""
    await each_part(dut, check, stall=0.95)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """With a sample always waiting."""
    await each_part(dut, check, stall=0)
