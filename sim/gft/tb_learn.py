"""Testbench of the learning engine between memories in Python."""

import random
from functools import partial

import cocotb
import numpy as np

from popflip.golden.common.error import output_delta
from popflip.golden.common.forward import activation, forward, with_bias
from popflip.golden.gft.accumulate import accumulate
from popflip.golden.gft.backward import backward
from popflip.hw.layouts import verdict_layout
from popflip.sim.bench.memories import ReadPort, SampleMemory, SinglePort, WritePort
from popflip.sim.bench.networks import chip_of, random_inputs, random_weights, within_window
from popflip.sim.bench.parts import Activity, EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.streams import PATIENCE
from popflip.sim.bench.words import counter_words, input_list, weight_words


class Finished(EachCycle):
    """Slots in the order in which their samples were learned, and the number of counter words written by then."""

    def __init__(self, part: Part, writes: list[WritePort]):
        self.slots: list[int] = []
        self.written: list[int] = []
        self._writes = writes
        super().__init__(part)

    def look(self) -> None:
        if self.part.get("done"):
            self.slots.append(self.part.get("done_slot"))
            self.written.append(sum(port.count for port in self._writes))


class OneMemory(EachCycle):
    """Compact chips: learning and the array share the read port of the samples' memory, so data last for one cycle.
    During a read of weights the array waits, and its own data must stay: learning must not read."""

    def __init__(self, part: Part):
        self._random = random.Random(part.name)
        self._read = False
        super().__init__(part)

    def drive(self) -> None:
        if not self._read:
            for port in ("inputs__data", "activations__active", "activations__in_window"):
                self.part.scramble(port, self._random)

    def look(self) -> None:
        get = self.part.get
        requests = get("inputs__en") + get("activations__en")
        self._read = bool(requests)
        assert requests <= 1, "inputs and activations in one cycle"
        assert not (requests and get("state__weights__read")), "a sample is read while the array waits for weights"


class Bench:
    """A learning engine, its memories and its streams."""

    def __init__(self, part: Part, chip: dict, stall: float):
        self.part, self.chip = part, chip_of(chip)
        self.draw = random.Random(f"{part.name} {stall}")
        self.words: dict[tuple[int, int], int] = {}
        self.counters: dict[tuple[int, int], int] = {}
        self.source = part.source("i", verdict_layout(self.chip), stall=stall, seed=1)
        self.activity = Activity(part)
        self.samples = SampleMemory(part, self.chip)
        ReadPort(
            part,
            "state__weights__read",
            ("state__weights__read_bank", "state__weights__read_address"),
            ("state__weights__read_data",),
            lambda bank, address: [self.words[bank, address]],
            latency=self.chip.read_latency,
        )
        self.writes = []
        for bank in range(self.chip.learn_rows):
            port = f"state__counters__bank{bank}__"
            ReadPort(
                part,
                f"{port}read",
                (f"{port}read_address",),
                (f"{port}read_data",),
                partial(self._read_counters, bank),
                latency=self.chip.read_latency,
            )
            written = (f"{port}write_address", f"{port}write_data")
            self.writes.append(WritePort(part, f"{port}write", written, partial(self._write_counters, bank)))
            if self.chip.compact:
                SinglePort(part, f"{port}read", f"{port}write", f"{port}read_data")
        if self.chip.compact:
            OneMemory(part)
        WritePort(part, "state__weights__write", (), self._refuse)
        self.finished = Finished(part, self.writes)

    def _read_counters(self, bank: int, address: int) -> list[int]:
        return [self.counters[bank, address]]

    def _write_counters(self, bank: int, address: int, bits: int) -> None:
        self.counters[bank, address] = bits

    def _refuse(self) -> None:
        raise AssertionError(f"{self.part.name}: learning wrote a weight")

    async def run(self, seed: int, samples: int, wrong: list[int] | None) -> None:
        """Learn from ``samples`` that trigger updates, with new weights and counters. The counters end as golden's."""
        chip = self.chip
        rng = np.random.default_rng(seed)
        weights, x = random_weights(chip, rng), random_inputs(chip, samples, rng)
        counters = [
            rng.integers(-chip.mmax, chip.mmax + 1, shape).astype(np.int16)
            for shape in zip(chip.rows, chip.synapses, strict=True)
        ]
        v = forward(weights, x)
        pairs = np.array([rng.choice(chip.classes, 2, replace=False) for _ in range(samples)])
        window = [int(rng.choice([0, 1, 3, chip.v_max, chip.v_max])) for _ in range(chip.depth - 1)]
        deltas = backward(weights, v, output_delta(pairs[:, 0], pairs[:, 1], chip.classes), window, chip.dclip)
        self.words = weight_words(chip, weights)
        self.counters = {}
        for place, bits in counter_words(chip, counters).values():
            self.counters[place] = bits
        for layer, delta in enumerate(deltas):
            a = with_bias(activation(v[layer - 1]) if layer else x)
            counters[layer] = accumulate(counters[layer], delta, a, chip.mmax)
        if wrong is not None:
            layer, row, synapse = wrong
            counters[layer][row, synapse] += -1 if counters[layer][row, synapse] > 0 else 1

        lists = [input_list(chip, row) for row in x]
        in_window = [within_window(sums, limit) for sums, limit in zip(v, window, strict=False)]
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
                self.samples.lists[slot] = lists[sample]
                for layer in range(1, chip.depth):
                    active = v[layer - 1][sample] > 0
                    self.samples.activations.put_layer(slot, layer, active, in_window[layer - 1][sample])
                token = {"slot": slot, "words": len(lists[sample]), "label": label, "infer": 0}
                correct = self.draw.randrange(2)
                self.source.send({"sample": token, "rival": rival, "updates": 1, "correct": correct})

        cocotb.start_soon(feed())
        idle = seen = 0
        while learned() < samples:
            await self.part.next_cycle()
            idle, seen = (idle + 1 if learned() == seen else 0), learned()
            assert idle < PATIENCE, f"stuck after {seen} of {samples} samples"

        visits = 0  # rows with an error × words of inputs
        for layer, delta in enumerate(deltas):
            inputs = np.array([len(words) if layer == 0 else chip.words[layer] for words in lists])
            updated = np.count_nonzero(delta, axis=1)
            if layer == 0:  # in all banks at once
                updated = np.max(
                    [np.count_nonzero(delta[:, b :: chip.learn_rows], 1) for b in range(chip.learn_rows)], 0
                )
            visits += int((updated * inputs).sum())
        for (layer, row, word), (place, expected) in counter_words(chip, counters).items():
            got = self.counters[place]
            assert got == expected, (
                f"layer {layer}, row {row}, word {word}: counters {got:#x}, expected {expected:#x} (seed {seed})"
            )
        taken = self.activity.busy - busy
        assert taken == visits, f"busy for {taken} cycles, expected {visits}"
        assert self.finished.slots[finished:] == slots, "slots are not freed in the order their samples came"
        assert self.finished.written[-1] == sum(port.count for port in self.writes), (
            "a sample was done before its counters were written"
        )


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
