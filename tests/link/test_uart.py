"""The UART: divisors, and bytes on the line at several numbers of cycles per bit."""

from __future__ import annotations

import pytest

from popflip.golden.errors import ConfigError
from popflip.hw.link.uart import Uart, divisor
from popflip.sim.bench.parts import SideBySide

DIVISORS = (4, 5, 8, 13, 104)


def run(testbench, check: str, **parameters) -> None:
    parts = {f"by{cycles}": {"divisor": cycles} for cycles in DIVISORS}
    uarts = SideBySide({name: Uart(**part) for name, part in parts.items()})
    testbench(uarts, "popflip.sim.link.tb_uart", {"parts": parts, "check": check, "seed": 1, **parameters})


def test_receives_bytes_and_drops_damaged_ones(testbench):
    run(testbench, "receives")


def test_drops_bytes_while_one_waits(testbench):
    run(testbench, "drops_what_is_not_taken")


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
    ],
)
def test_divisor(clock, baud, cycles):
    assert divisor(clock, baud) == cycles


@pytest.mark.parametrize(
    ("clock", "baud", "message"),
    [
        (12e6, 5_000_000, "baud: 5000000 is too fast for a clock of 12000000 Hz; at most 3000000 works"),
        (
            20e6,
            3_000_000,
            "baud: 3000000 cannot be made of a clock of 20000000 Hz: it would be -4.8% off; 2857143 works",
        ),
    ],
)
def test_speed_that_cannot_be_made(clock, baud, message):
    with pytest.raises(ConfigError) as error:
        divisor(clock, baud)
    assert str(error.value) == message
