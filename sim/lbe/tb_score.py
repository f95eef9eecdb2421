"""Testbench of the local scores."""

import random
from itertools import pairwise

import cocotb
import numpy as np

from popflip.golden.common.forward import fires
from popflip.golden.common.integers import pack
from popflip.golden.lbe.score import score
from popflip.hw.common.error import values_layout
from popflip.hw.layouts import sample_layout, sum_shape
from popflip.hw.lbe.score import Score
from popflip.hw.lib.stream import item_layout
from popflip.sim.bench.memories import ClassifierPort
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters
from popflip.sim.bench.words import classifier_columns


class Desired(EachCycle):
    """The desired activation of each offered neuron, which must stay until the neuron is taken."""

    def __init__(self, part: Part):
        self.bits: list[int] = []
        self._offered = False
        super().__init__(part)

    def look(self) -> None:
        get = self.part.get
        if get("i__valid"):
            bit = get("desired")
            assert not self._offered or bit == self.bits[-1], "the desired activation changed while the neuron waited"
            if not self._offered:
                self.bits.append(bit)
            self._offered = not get("i__ready")


async def check(part: Part, chip: dict, stall: float) -> None:
    """Scores and desired activations equal golden's, layer by layer, for small and large sums."""
    options = parameters()
    config, samples = chip_of(chip), options["samples"]
    rng, draw = np.random.default_rng(options["seed"]), random.Random(f"{part.name} {stall}")
    classifiers = [rng.random((config.classes, rows)) < 0.5 for rows in config.rows]
    port = ClassifierPort(part, classifier_columns(classifiers))
    source = part.source("i", item_layout(sum_shape(config), sample_layout(config)), stall=stall, seed=1)
    sink = part.sink("o", values_layout(config), stall=stall, seed=2)
    desired = Desired(part)
    for _ in range(2):  # until the first column has come
        await part.next_cycle()
    layers = []  # sample, layer, its sums and their tag
    for sample in range(samples):
        label = draw.randrange(config.classes)
        token = {"slot": draw.randrange(config.slots), "words": 1, "label": label, "infer": draw.randrange(2)}
        for layer, rows in enumerate(config.rows):
            spread = rng.choice([0, 1, config.v_max])
            z = rng.integers(-spread, spread + 1, rows)
            if sample == 0:
                z[:] = np.where(classifiers[layer][label], 0, -1)  # every neuron is right
            layers.append((sample, layer, z, token))
            source.send(
                *(
                    {"item": int(sum_), "first": int(row == 0), "last": int(row == rows - 1), "tag": token}
                    for row, sum_ in enumerate(z)
                )
            )
    for sample, layer, z, token in layers:
        [got] = await sink.receive(1)
        rows, rho, where = config.rows[layer], classifiers[layer], f"sample {sample}, layer {layer}"
        agree = (score(pack(fires(z)[None]), pack(rho), rows)[0] + rows) // 2
        wanted = rho[token["label"]].astype(int).tolist()
        if options.get("wrong", {}).get(part.name) == [sample, layer, "scores"]:
            agree[-1] += 1
        if options.get("wrong", {}).get(part.name) == [sample, layer, "desired"]:
            wanted[-1] ^= 1
        assert got["items"] == agree.tolist(), f"{where}: scores {got['items']}, expected {agree.tolist()}"
        rest = {"final": config.classes - 1, "last": 1, "tag": token}
        assert {name: got[name] for name in rest} == rest, f"{where}: {got}, expected {rest}"
        bits = [desired.bits.pop(0) for _ in range(rows)]
        assert bits == wanted, f"{where}: desired {bits}, expected {wanted}"
    assert not port.writes

    if stall == 0:
        ends = np.cumsum([len(z) for _, _, z, _ in layers]) - 1  # the last neuron of each layer
        came, left = source.monitor.cycles, sink.monitor.cycles
        assert left == [came[end] + Score.latency for end in ends], "latency"
        steps = [len(z) + Score.latency for _, _, z, _ in layers[1:]]
        assert [after - before for before, after in pairwise(left)] == steps, "not a neuron a cycle"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.4)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """Without stalls, a neuron a cycle."""
    await each_part(dut, check, stall=0)
