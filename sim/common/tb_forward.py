"""Testbench of the forward engine between memories in Python."""

import random
from collections import deque

import cocotb
import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.forward import activation, fires, forward, lbe_forward
from popflip.golden.common.integers import pack as pack_bits
from popflip.golden.config import Rule
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import result_layout, sample_layout, weight_word
from popflip.sim.bench.clock import cycle
from popflip.sim.bench.memories import ReadPort, SampleMemory, WritePort
from popflip.sim.bench.networks import chip_of, random_inputs, random_weights, within_window
from popflip.sim.bench.parts import Activity, EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import fields, input_list, weight_banks, weight_bits


def sums(chip: ChipConfig, weights: list[NDArray[np.int8]], x: NDArray[np.uint8]) -> list[NDArray[np.int32]]:
    """Golden's sums of every layer ``[R]`` for inputs ``[K0]``."""
    if chip.rule == Rule.GFT:
        return [v[0] for v in forward(weights, x[None])]
    a, layers = pack_bits(x[None]), []
    for w in weights:
        layers.append(lbe_forward(pack_bits(w > 0), a, w.shape[1])[0])
        a = pack_bits(fires(layers[-1])[None])
    return layers


class Settler(EachCycle):
    """LBE: reports layers as settled, at most one a cycle, each after a random delay from :meth:`summed`.

    Until then the layer keeps the weights of the summed sample. In the next cycle it gets those of the next sample.
    ``hasty`` : report all layers as settled all the time.
    """

    def __init__(self, part: Part, chip: ChipConfig, stall: float, hasty: bool):
        self.banks: list[list[int]] = []
        self._chip, self._stall, self._hasty = chip, stall, hasty
        self._random = random.Random(f"{part.name} settler")
        self._waiting: deque[tuple[int, list[list[int]]]] = deque()
        self._settled: tuple[int, list[list[int]]] | None = None
        super().__init__(part)

    def summed(self, layer: int, after: list[list[int]]) -> None:
        """The sums of ``layer`` have come. Its weights become those in ``after``."""
        self._waiting.append((layer, after))

    async def finish(self) -> None:
        """Wait until all layers are settled."""
        while self._waiting or self._settled:
            await self.part.next_cycle()

    def drive(self) -> None:
        chip = self._chip
        if self._settled:
            layer, after = self._settled
            first = chip.weight_map.base[layer]
            place = slice(first, first + chip.groups[layer] * chip.array_words[layer])
            for bank, other in zip(self.banks, after, strict=True):
                bank[place] = other[place]
        may = self._waiting and self._random.random() >= self._stall
        self._settled = self._waiting.popleft() if may else None
        bits = 1 << self._settled[0] if self._settled else 0
        self.part.set("settled", (1 << chip.depth) - 1 if self._hasty else bits)


class Hold(EachCycle):
    """Raises ``hold`` with probability ``stall`` in each cycle. The component must not read samples then."""

    def __init__(self, part: Part, stall: float):
        self._random, self._stall = random.Random(f"{part.name} hold"), stall
        super().__init__(part)

    def drive(self) -> None:
        self.part.set("hold", self._random.random() < self._stall)

    def look(self) -> None:
        reads = self.part.get("inputs__en") or self.part.get("activations__en")
        assert not (reads and self.part.get("hold")), "a sample is read during hold"


class Bench:
    """A forward engine, its memories and its streams."""

    def __init__(self, part: Part, chip: dict, stall: float, grant: float, hasty: bool = False):
        self.part, self.chip = part, chip_of(chip)
        self.draw = random.Random(f"{part.name} {stall}")
        self.biases: list[int] = []
        self.source = part.source("i", sample_layout(self.chip), stall=stall, seed=1)
        # A compact chip needs a consumer that stays ready until sums come.
        sink_stall = 0 if self.chip.compact else stall
        self.sink = part.sink("o", result_layout(self.chip), stall=sink_stall, seed=2)
        self.hold = Hold(part, stall if self.chip.compact else 0)
        self.settler = Settler(part, self.chip, 2 * stall, hasty)
        self.activity = Activity(part)
        self.samples = SampleMemory(part, self.chip, self.chip.fold)
        width = weight_word(self.chip).size
        ReadPort(
            part,
            "weights__read",
            ("weights__address",),
            ("weights__data",),
            lambda address: [fields((bank[address] for bank in self.settler.banks), width)],
            latency=self.chip.read_latency,
            ready="weights_ready",
            grant=grant,
        )
        if self.chip.bias_apart:
            ReadPort(part, "bias__en", ("bias__group",), ("bias__data",), lambda group: [self.biases[group]])
        stored = tuple(f"store__{name}" for name in ("slot", "word", "part", "active", "in_window"))
        WritePort(part, "store__write", stored, self.samples.activations.write)

    async def run(self, seed: int, samples: int, wrong: list[int] | None) -> None:
        """Send ``samples`` through new weights (LBE: new ones for each sample). Sums and activations equal golden's,
        and the array is busy for one cycle a word."""
        chip, gft = self.chip, self.chip.rule == Rule.GFT
        rng = np.random.default_rng(seed)
        weights = [random_weights(chip, rng)] * samples if gft else [random_weights(chip, rng) for _ in range(samples)]
        x = random_inputs(chip, samples, rng)
        v = [np.array(layer) for layer in zip(*map(sums, [chip] * samples, weights, x), strict=True)]
        active = [activation(layer) > 0 if gft else fires(layer) for layer in v]
        window = [int(rng.choice([0, 1, 2, 5, chip.v_max])) for _ in range(chip.depth - 1)]
        in_window = [within_window(layer, limit) for layer, limit in zip(v, window, strict=False)]
        if wrong is not None:
            sample, layer, row = wrong
            if gft and layer < chip.depth - 1:
                active[layer][sample, row] ^= True
            else:
                v[layer][sample, row] += 1
        banks = [weight_banks(chip, layers) for layers in weights]
        self.settler.banks = weight_banks(chip, weights[0])
        of_first = [weight_bits(chip, row) for row in weights[0][0][:, -1:]]
        groups = range(0, len(of_first), chip.array_rows)
        self.biases = [fields(of_first[first : first + chip.array_rows], chip.weight_bits) for first in groups]
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
                self.samples.lists[token["slot"]] = words
                self.source.send(token)

        busy, first = self.activity.busy, cycle()
        cocotb.start_soon(feed())
        for sample, token in enumerate(tokens):
            for layer in [chip.depth - 1] if gft else range(chip.depth):
                self.compare(sample, layer, token, await self.sink.receive(chip.groups[layer]), v[layer][sample])
                self.settler.summed(layer, banks[min(sample + 1, samples - 1)])
            for layer in range(chip.depth - 1):
                stored = self.samples.activations.layer(token["slot"], layer + 1)
                for row, fired in enumerate(active[layer][sample].tolist()):
                    expected = (int(fired), int(in_window[layer][sample, row])) if gft else (int(fired),)
                    assert stored[row][: len(expected)] == expected, (
                        f"sample {sample}, layer {layer}, row {row}: active, in_window"
                        f" {stored[row]}, expected {expected}"
                    )
            free.add(token["slot"])

        words = sum(max(1, len(words) - chip.bias_apart) for words in lists) * chip.groups[0]
        words += samples * sum(g * w for g, w in zip(chip.groups[1:], chip.array_words[1:], strict=True))
        taken = self.activity.busy - busy
        assert taken == words, f"busy for {taken} cycles, expected {words}"
        assert not self.part.get("waiting"), "waiting without a sample"
        self.share = words / (cycle() - first)
        await self.settler.finish()

    def compare(self, sample: int, layer: int, token: dict, results: list[dict], v: NDArray[np.int32]) -> None:
        """The groups of sums of a layer."""
        where, rows = f"sample {sample}, layer {layer}", self.chip.rows[layer]
        got = [sum_ for result in results for sum_ in result["items"]]
        for row, expected in enumerate(v.tolist()):
            assert got[row] == expected, f"{where}, row {row}: sum {got[row]}, expected {expected}"
        assert [result["tag"] for result in results] == [token] * len(results), f"{where}: tag of another sample"
        assert [result["last"] for result in results] == [0] * (len(results) - 1) + [1], f"{where}: last"
        most = self.chip.array_rows - 1
        finals = [most] * (len(results) - 1) + [(rows - 1) % self.chip.array_rows]
        assert [result["final"] for result in results] == finals, f"{where}: final"


async def with_stalls(part: Part, chip: dict) -> None:
    options = parameters()
    bench = Bench(part, chip, stall=options["stall"], grant=options["grant"], hasty=options.get("hasty", False))
    for seed in options["seeds"]:
        await bench.run(seed, options["samples"], options.get("wrong", {}).get(part.name))


async def at_full_speed(part: Part, chip: dict) -> None:
    options = parameters()
    bench = Bench(part, chip, stall=0, grant=1)
    await bench.run(options["seeds"][0], options["samples"], None)
    assert bench.share >= options.get("least_busy", 0), f"the array is busy in {bench.share:.1%} of the cycles"


@cocotb.test()
async def equals_golden(dut):
    """With stalls everywhere, and new weights for each seed."""
    await each_part(dut, with_stalls)


@cocotb.test()
async def keeps_the_array_busy(dut):
    """Without stalls, the array is busy for at least the required share of the cycles."""
    await each_part(dut, at_full_speed)
