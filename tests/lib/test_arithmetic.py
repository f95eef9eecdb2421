"""Comparisons with a symmetric limit, over all values of small widths."""

from __future__ import annotations

from itertools import product

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator

from popflip.hw.lib.arithmetic import clip, compare_magnitude


def evaluated(inputs: list[Signal], outputs: list[Signal], m: Module) -> dict[tuple[int, ...], tuple[int, ...]]:
    """What ``outputs`` are for all values of ``inputs``."""
    found = {}

    async def bench(ctx):
        ranges = [
            range(-(1 << len(i) - 1), 1 << len(i) - 1) if i.shape().signed else range(1 << len(i)) for i in inputs
        ]
        for values in product(*ranges):
            for signal, value in zip(inputs, values, strict=True):
                ctx.set(signal, value)
            found[values] = tuple(ctx.get(output) for output in outputs)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return found


@pytest.mark.parametrize(("bits", "level_bits"), [(2, 1), (4, 3), (5, 4), (4, 4), (5, 6)])
def test_magnitudes(bits, level_bits):
    value, level = Signal(signed(bits)), Signal(level_bits)
    above, at = Signal(), Signal()
    m = Module()
    m.d.comb += [port.eq(found) for port, found in zip((above, at), compare_magnitude(value, level), strict=True)]
    for (v, u), found in evaluated([value, level], [above, at], m).items():
        # The magnitude of the lowest value has a bit more than a narrow level compares.
        if v != -(1 << bits - 1) or level_bits >= bits:
            assert found == (abs(v) > u, abs(v) == u), (v, u)


@pytest.mark.parametrize(
    ("bits", "low", "high"),
    [
        (3, -1, 1),
        (4, -1, 1),
        (5, -3, 3),
        (6, -4, 3),
        (7, -8, 7),
        (6, -7, 7),
        (4, -7, 7),
        (4, -8, 7),
        (6, -5, 5),
        (6, -3, 9),
    ],
)
def test_clip(bits, low, high):
    value, clipped = Signal(signed(bits)), Signal(signed(bits))
    m = Module()
    m.d.comb += clipped.eq(clip(value, low, high))
    assert evaluated([value], [clipped], m) == {
        (v,): (min(max(v, low), high),) for v in range(-(1 << bits - 1), 1 << bits - 1)
    }
