"""Testbench of the forward pass with positions between memories in Python."""

import random

import cocotb
import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.forward import activation
from popflip.golden.conv.forward import forward
from popflip.golden.conv.patches import pixels
from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.patches import patch_word_layout
from popflip.hw.layouts import result_layout, sample_layout, weight_word
from popflip.sim.bench.clock import cycle
from popflip.sim.bench.memories import ReadPort, WritePort
from popflip.sim.bench.networks import chip_of, random_inputs, random_weights
from popflip.sim.bench.parts import Activity, EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import pack
from popflip.sim.bench.words import fields, weight_banks
from popflip.sim.conv.memories import GroupMemory
from popflip.sim.conv.tb_gather import words as gathered
from popflip.sim.conv.tb_patches import Case, patches, words


def patch_list(chip: ChipConfig, x: NDArray[np.uint8]) -> list[dict[str, int]]:
    """The list of patch words that ingest makes of input bits ``[K0]``."""
    case = Case(chip.plan[0], chip.array_synapses)
    image = pixels(x[None], chip.plan[0].inputs)
    return [entry for entries in words(case, patches(image, case.layer)[0]) for entry in entries]


class WindowBits(EachCycle):
    """``in_window`` of each neuron written, by slot, group and lane."""

    def __init__(self, part: Part, memory: GroupMemory):
        self.bits: dict[tuple[int, int], int] = {}
        self._rows = memory.chip.array_rows
        super().__init__(part)

    def blank(self, slot: int, fields: Fields) -> None:
        """All of the first layer's neurons are within their window."""
        groups = range(fields.base[1] if len(fields.base) > 1 else fields.depth)
        self.bits.update({(slot, group): (1 << fields.group) - 1 for group in groups})

    def put(self, slot: int, group: int, part: int, in_window: int) -> None:
        mask = (1 << self._rows) - 1 << part * self._rows
        self.bits[slot, group] = self.bits.get((slot, group), 0) & ~mask | in_window << part * self._rows


class Bench:
    """A forward engine, its memories and its streams."""

    def __init__(self, part: Part, chip: dict, stall: float, grant: float):
        self.part, self.chip = part, chip_of(chip)
        self.draw = random.Random(f"{part.name} {stall}")
        self.banks: list[list[int]] = []
        self.lists: list[list[int]] = [[]] * self.chip.slots
        self.source = part.source("i", sample_layout(self.chip), stall=stall, seed=1)
        self.sink = part.sink("o", result_layout(self.chip), stall=stall, seed=2)
        self.activity = Activity(part)
        self.memory = GroupMemory(self.chip, 1)
        self.memory.reader(part, "activations__")
        self.windows = WindowBits(part, self.memory)
        width = weight_word(self.chip).size
        ReadPort(
            part,
            "weights__read",
            ("weights__address",),
            ("weights__data",),
            lambda address: [fields((bank[address] for bank in self.banks), width)],
            latency=self.chip.read_latency,
            ready="weights_ready",
            grant=grant,
        )
        ReadPort(
            part,
            "patches__en",
            ("patches__slot", "patches__position"),
            ("patches__data",),
            lambda slot, position: [self.lists[slot][position]],
        )
        stored = tuple(f"store__{name}" for name in ("slot", "group", "part", "active", "in_window"))
        WritePort(part, "store__write", stored, self.write)

    def write(self, slot: int, group: int, part: int, active: int, in_window: int) -> None:
        self.memory.write(slot, group, part, active)
        self.windows.put(slot, group, part, in_window)

    def stored(self, slot: int, layer: int) -> list[tuple[int, int]]:
        """``active`` and ``in_window`` of each input of ``layer``."""
        memory = self.memory
        places = [
            memory._place(layer, *divmod(i, memory._channels(layer))) for i in range(self.chip.plan[layer - 1].neurons)
        ]
        in_window = [self.windows.bits[slot, group] >> lane & 1 for group, lane in places]
        return list(zip(memory.layer(slot, layer), in_window, strict=True))

    async def run(self, seed: int, samples: int, wrong: list[int] | None) -> None:
        """Send ``samples`` through new weights. Sums and activations equal golden's, and the array is busy for one
        cycle a word."""
        chip = self.chip
        rng = np.random.default_rng(seed)
        weights, x = random_weights(chip, rng), random_inputs(chip, samples, rng)
        v = forward(weights, pixels(x, chip.image), chip.plan)
        window = [int(rng.choice([0, 1, 2, 5, chip.v_max])) for _ in range(chip.depth - 1)]
        active = [activation(layer) > 0 for layer in v]
        if wrong is not None:
            sample, layer, neuron = wrong
            active[layer][sample, neuron] ^= True
        self.banks = weight_banks(chip, weights)
        self.part.set("window", fields(window, chip.v_max.bit_length()))
        lists = [patch_list(chip, row) for row in x]
        entry = patch_word_layout(chip.plan[0], chip.array_synapses)
        tokens = [
            {"words": len(each), "label": self.draw.randrange(chip.classes), "infer": self.draw.randrange(2)}
            for each in lists
        ]
        free = set(range(chip.slots))

        async def feed() -> None:
            for each, token in zip(lists, tokens, strict=True):
                while not free:
                    await self.part.next_cycle()
                token["slot"] = self.draw.choice(sorted(free))
                free.discard(token["slot"])
                self.lists[token["slot"]] = [pack(entry, word) for word in each]
                self.memory.put_layer(token["slot"], 1, np.zeros(chip.plan[0].neurons, bool))
                self.windows.blank(token["slot"], self.memory.fields)
                self.source.send(token)

        busy, first = self.activity.busy, cycle()
        cocotb.start_soon(feed())
        for sample, token in enumerate(tokens):
            self.compare(sample, token, await self.sink.receive(chip.groups[-1]), v[-1][sample])
            for layer in range(chip.depth - 1):
                limit = np.abs(v[layer][sample]) <= window[layer]
                expected = list(
                    zip(active[layer][sample].astype(int).tolist(), limit.astype(int).tolist(), strict=True)
                )
                got = self.stored(token["slot"], layer + 1)
                for neuron, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
                    assert mine == theirs, (
                        f"sample {sample}, layer {layer}, neuron {neuron}: active, in_window {mine}, expected {theirs}"
                    )
            free.add(token["slot"])

        words = sum(map(len, lists)) * chip.groups[0]
        for layer in range(1, chip.depth):
            entries, _ = gathered(chip, layer, np.ones(chip.plan[layer - 1].neurons, np.int8))
            words += samples * chip.groups[layer] * len(entries)
        taken = self.activity.busy - busy
        assert taken == words, f"busy for {taken} cycles, expected {words}"
        assert not self.part.get("waiting"), "waiting without a sample"
        self.share = words / (cycle() - first)

    def compare(self, sample: int, token: dict, results: list[dict], v: NDArray[np.int32]) -> None:
        """The groups of sums of the last layer."""
        chip, where = self.chip, f"sample {sample}"
        got = [sum_ for result in results for sum_ in result["items"]]
        for row, expected in enumerate(v.tolist()):
            assert got[row] == expected, f"{where}, row {row}: sum {got[row]}, expected {expected}"
        assert [result["tag"] for result in results] == [token] * len(results), f"{where}: tag of another sample"
        assert [result["last"] for result in results] == [0] * (len(results) - 1) + [1], f"{where}: last"
        most = chip.array_rows - 1
        finals = [most] * (len(results) - 1) + [(chip.rows[-1] - 1) % chip.array_rows]
        assert [result["final"] for result in results] == finals, f"{where}: final"


async def with_stalls(part: Part, chip: dict) -> None:
    options = parameters()
    bench = Bench(part, chip, stall=options["stall"], grant=options["grant"])
    for seed in options["seeds"]:
        await bench.run(seed, options["samples"], options.get("wrong", {}).get(part.name))


async def at_full_speed(part: Part, chip: dict) -> None:
    options = parameters()
    bench = Bench(part, chip, stall=0, grant=1)
    await bench.run(options["seeds"][0], options["samples"], None)
    least = options.get("least_busy", {}).get(part.name, 0)
    assert bench.share >= least, f"the array is busy in {bench.share:.1%} of the cycles"


@cocotb.test()
async def equals_golden(dut):
    """With stalls everywhere, and new weights for each seed."""
    await each_part(dut, with_stalls)


@cocotb.test()
async def keeps_the_array_busy(dut):
    """Without stalls, the array is busy for at least the required share of the cycles."""
    await each_part(dut, at_full_speed)
