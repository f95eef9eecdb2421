"""Testbench of the error stage."""

import random

import cocotb
import numpy as np

from popflip.golden.common.error import output_error
from popflip.golden.common.forward import predict
from popflip.hw.common.error import Error, values_layout, values_together
from popflip.hw.layouts import verdict_layout
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import Part, each_part
from popflip.sim.bench.runner import parameters


async def check(part: Part, chip: dict, stall: float) -> None:
    """Verdicts and predictions equal golden's for random sums, many of them tied, and for several margins."""
    options = parameters()
    config, samples = chip_of(chip), options["samples"]
    together, classes, limit = values_together(config), config.classes, config.score_max
    draw = random.Random(f"{part.name} {stall}")
    source = part.source("i", values_layout(config), stall=stall, seed=1)
    sink = part.sink("o", verdict_layout(config), stall=stall, seed=2)
    for number, margin in enumerate([0, -1, 3, -2 * limit - 1, 2 * limit, 1 - limit]):
        rng = np.random.default_rng([options["seed"], number])
        spread = rng.choice([0, 1, 2, limit], (samples, 1))
        v = rng.integers(-spread, spread + 1, (samples, classes)).astype(np.int32)
        v[rng.random(v.shape) < 0.1] = limit
        v[rng.random(v.shape) < 0.1] = -limit
        t = rng.integers(0, classes, samples)
        updates, rival = output_error(v, t, margin)
        best = predict(v)
        infer = rng.random(samples) < 0.3
        part.set("margin", margin & (1 << (2 * limit + 1).bit_length() + 1) - 1)
        if part.name in options.get("wrong", {}):
            sample = options["wrong"][part.name]
            rival[sample] = best[sample] = (rival[sample] + 1) % classes
        tokens = [
            {"slot": draw.randrange(config.slots), "words": 1, "label": int(label), "infer": int(asked)}
            for label, asked in zip(t, infer, strict=True)
        ]
        for sums, token in zip(v.tolist(), tokens, strict=True):
            for start in range(0, classes, together):
                group = sums[start : start + together]
                final = len(group) - 1
                group += [draw.randint(-limit, limit) for _ in range(together - len(group))]  # ignored
                source.send({"items": group, "final": final, "last": int(start + together >= classes), "tag": token})
        verdicts = await sink.receive(samples)
        for sample, (verdict, token) in enumerate(zip(verdicts, tokens, strict=True)):
            expected = {
                "sample": token,
                "rival": int(best[sample] if infer[sample] else rival[sample]),
                "updates": int(updates[sample] and not infer[sample]),
                "correct": int(best[sample] == t[sample] and not infer[sample]),
            }
            assert verdict == expected, f"margin {margin}, sample {sample}: {verdict}, expected {expected}"

    if stall == 0:
        groups = -(-classes // together)
        in_last = classes - (groups - 1) * together
        decided = sink.monitor.cycles
        assert decided[0] - source.monitor.cycles[groups - 1] == in_last + Error(config).latency, "latency"
        for first in range(0, len(decided), samples):
            verdicts = decided[first : first + samples]
            assert verdicts[-1] - verdicts[0] == (samples - 1) * classes, "not a class a cycle"


@cocotb.test()
async def equals_golden(dut):
    """With stalls."""
    await each_part(dut, check, stall=0.4)


@cocotb.test()
async def equals_golden_at_full_speed(dut):
    """A class a cycle."""
    await each_part(dut, check, stall=0)
