"""The UART: divisors, and bytes on the line at several numbers of cycles per bit."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate

import pytest

from popflip.golden.errors import ConfigError
from popflip.hw.link.uart import Uart, byte_cycles, divisor, sampled_bits, sent_bits
from popflip.sim.bench.parts import SideBySide

DIVISORS = ("4", "25/6", "5", "7375/1000", "8", "25/3", "13", "104")
"""Among them 25 MHz at 6 and 3 Mbaud, 22.125 MHz at 3 Mbaud."""


def run(testbench, check: str, **parameters) -> None:
    parts = {f"by{place}": {"divisor": text} for place, text in enumerate(DIVISORS)}
    uarts = SideBySide({name: Uart(Fraction(part["divisor"])) for name, part in parts.items()})
    testbench(uarts, "popflip.sim.link.tb_uart", {"parts": parts, "check": check, "seed": 1, **parameters})


def test_receives_bytes_and_drops_damaged_ones(testbench):
    run(testbench, "receives")


def test_drops_bytes_while_one_waits(testbench):
    run(testbench, "drops_what_is_not_taken")


def test_receives_from_other_clocks_with_jitter(testbench):
    run(testbench, "tolerates", off=[-0.02, 0, 0.02], jitter=0.02, longest=20)


@pytest.mark.parametrize("stall", [0, 0.9])
def test_sends_bytes(testbench, stall):
    run(testbench, "sends", stall=stall)


@pytest.mark.parametrize(
    ("clock", "baud", "cycles"),
    [
        (12e6, 115_200, 104),
        (12e6, 1_000_000, 12),
        (12e6, 3_000_000, 4),
        (25e6, 2_500_000, 10),
        (48e6, 3_000_000, 16),
        (12e6, 230_400, 52),
        (12e6, 921_600, 13),
        (20e6, 3_000_000, Fraction(20, 3)),
        (22.125e6, 3_000_000, Fraction(59, 8)),
        (25e6, 3_000_000, Fraction(25, 3)),
        (24.375e6, 3_000_000, Fraction(65, 8)),
        (24.375e6, 6_000_000, Fraction(65, 16)),
        (24e6, 6_000_000, 4),
        (23.8e6, 6_000_000, 4),
        (62.5e6, 3_000_000, 21),
    ],
)
def test_divisor(clock, baud, cycles):
    assert divisor(clock, baud) == cycles


@pytest.mark.parametrize(
    ("clock", "baud", "most"),
    [(12e6, 5_000_000, 3_000_000), (23.7e6, 6_000_000, 5_925_000), (12e6, 6_000_000, 3_000_000)],
)
def test_a_speed_that_the_clock_cannot_make_is_one_line(clock, baud, most):
    with pytest.raises(ConfigError) as error:
        divisor(clock, baud)
    assert str(error.value) == f"baud: {baud} is too fast for a clock of {clock:.0f} Hz; at most {most} works"


def test_bits_of_two_lengths_keep_the_speed():
    assert sent_bits(Fraction(25, 3)) == [8, 9, 8, 8, 9, 8, 8, 9, 8, 8]
    assert sampled_bits(Fraction(25, 3)) == [4, 8, 8, 9, 8, 8, 9, 8, 8, 9]
    assert (byte_cycles(Fraction(25, 3)), byte_cycles(8)) == (83, 80)


def test_edges_and_samples_are_near_their_times():
    """Whatever the speed: edges within half a cycle, samples within a cycle of the middle as the line's edge allows."""
    for cycles in (Fraction(part, 64) for part in range(4 * 64, 30 * 64, 5)):
        edges, samples = accumulate(sent_bits(cycles)), accumulate(sampled_bits(cycles))
        for bit, (edge, sample) in enumerate(zip(edges, samples, strict=True)):
            assert abs(edge - (bit + 1) * cycles) <= Fraction(1, 2)
            middle = (bit + Fraction(1, 2)) * cycles
            assert middle - 1 < sample <= middle  # the edge is seen up to a cycle late
