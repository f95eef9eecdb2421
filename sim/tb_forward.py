"""Testbench of the forward engine between memories in Python."""

import random

import cocotb
import numpy as np

from popflip.golden.forward import forward
from popflip.hw.forward import result_layout
from popflip.hw.ingest import input_word, sample_layout
from popflip.hw.weights import weight_word
from popflip.sim.memories import (
    ActivationMemory,
    ReadPort,
    WritePort,
    chip_of,
    fields,
    input_list,
    random_inputs,
    random_weights,
    weight_banks,
    within_window,
)
from popflip.sim.parts import Activity, Part, each_part
from popflip.sim.runner import parameters
from popflip.sim.streams import cycle, pack


class Bench:
    """A forward engine, its memories and its streams."""

    def __init__(self, part: Part, chip: dict, stall: float, grant: float):
        self.part, self.chip = part, chip_of(chip)
        self.draw = random.Random(f"{part.name} {stall}")
        self.activations = ActivationMemory(self.chip, seed=1)
        self.lists: list[list[dict[str, int]]] = [[]] * self.chip.slots
        self.banks: list[list[int]] = []
        self.source = part.source("i", sample_layout(self.chip), stall=stall, seed=1)
        self.sink = part.sink("o", result_layout(self.chip), stall=stall, seed=2)
        self.activity = Activity(part)
        word = input_word(self.chip)
        ReadPort(
            part,
            "inputs__en",
            ("inputs__slot", "inputs__position"),
            ("inputs__data",),
            lambda slot, position: [pack(word, self.lists[slot][position])],
        )
        ReadPort(
            part,
            "activations__en",
            ("activations__slot", "activations__word"),
            ("activations__active", "activations__near"),
            self.activations.read,
        )
        width = weight_word(self.chip).size
        ReadPort(
            part,
            "weights_read",
            ("weights_address",),
            ("weights_data",),
            lambda address: [fields((bank[address] for bank in self.banks), width)],
            latency=self.chip.read_latency,
            ready="weights_ready",
            grant=grant,
        )
        stored = ("store_slot", "store_word", "store_part", "store_active", "store_near")
        WritePort(part, "store", stored, self.activations.write)

    async def run(self, seed: int, samples: int, wrong: list[int] | None) -> None:
        """``samples`` through new weights; sums, activations and the array's busy cycles equal golden's."""
        chip = self.chip
        rng = np.random.default_rng(seed)
        weights, x = random_weights(chip, rng), random_inputs(chip, samples, rng)
        v = forward(weights, x)
        window = [int(rng.choice([0, 1, 2, 5, chip.v_max])) for _ in range(chip.depth - 1)]
        near = [within_window(sums, limit) for sums, limit in zip(v, window, strict=False)]
        if wrong is not None:
            sample, layer, row = wrong
            v[layer][sample, row] = 1 - v[layer][sample, row]
        self.banks = weight_banks(chip, weights)
        self.part.set("window", fields(window, chip.v_max.bit_length()))
        lists = [input_list(chip, row) for row in x]
        tokens = [
            {
                "words": len(words),
                "label": self.draw.randrange(chip.classes),
                "infer": self.draw.randrange(2),
            }
            for words in lists
        ]
        free = set(range(chip.slots))

        async def feed() -> None:
            for words, token in zip(lists, tokens, strict=True):
                while not free:
                    await self.part.next_cycle()
                token["slot"] = self.draw.choice(sorted(free))
                free.discard(token["slot"])
                self.lists[token["slot"]] = words
                self.source.send(token)

        busy, first = self.activity.busy, cycle()
        cocotb.start_soon(feed())
        for sample, token in enumerate(tokens):
            results = await self.sink.receive(chip.groups[-1])
            got = [sum_ for result in results for sum_ in result["v"]][: chip.classes]
            for row, expected in enumerate(v[-1][sample].tolist()):
                where = f"sample {sample}, layer {chip.depth - 1}, row {row}"
                assert got[row] == expected, f"{where}: sum {got[row]}, expected {expected}"
            assert [result["sample"] for result in results] == [token] * len(results), f"sample {sample}: not its own"
            assert [result["last"] for result in results] == [0] * (len(results) - 1) + [1], f"sample {sample}: last"
            for layer in range(chip.depth - 1):
                stored = self.activations.layer(token["slot"], layer + 1)
                for row, sum_ in enumerate(v[layer][sample].tolist()):
                    expected = (int(sum_ > 0), int(near[layer][sample, row]))
                    assert stored[row] == expected, (
                        f"sample {sample}, layer {layer}, row {row}: active and near {stored[row]}, expected {expected}"
                    )
            free.add(token["slot"])

        words = sum(map(len, lists)) * chip.groups[0]
        words += samples * sum(g * w for g, w in zip(chip.groups[1:], chip.words[1:], strict=True))
        taken = self.activity.busy - busy
        assert taken == words, f"busy for {taken} cycles, expected {words}"
        assert not self.part.get("waiting"), "waits, and no sample is there"
        self.share = words / (cycle() - first)


async def with_stalls(part: Part, chip: dict) -> None:
    options = parameters()
    bench = Bench(part, chip, stall=options["stall"], grant=options["grant"])
    for seed in options["seeds"]:
        await bench.run(seed, options["samples"], options.get("wrong", {}).get(part.name))


async def at_full_speed(part: Part, chip: dict) -> None:
    options = parameters()
    bench = Bench(part, chip, stall=0, grant=1)
    await bench.run(options["seeds"][0], options["samples"], None)
    assert bench.share >= options.get("least_busy", 0), f"the array is busy in {bench.share:.1%} of the cycles"


@cocotb.test()
async def equals_golden(dut):
    """With stalls everywhere, and other weights for each seed."""
    await each_part(dut, with_stalls)


@cocotb.test()
async def keeps_the_array_busy(dut):
    """Without stalls the array idles for less than the part may at most."""
    await each_part(dut, at_full_speed)
