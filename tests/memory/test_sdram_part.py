"""Times of SDRAM chips in cycles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from popflip.golden.errors import ConfigError
from popflip.hw.memory.sdram_part import (
    AS4C16M16SA_7,
    COLORLIGHT_I5,
    EM638325_6,
    TIMES,
    ULX3S,
    W9825G6_6I,
    SdramCycles,
    Time,
    slowest,
)


def test_all_times_are_known():
    assert TIMES == ("rcd", "rp", "ras", "rc", "rfc", "rrd", "wr", "mrd")


@pytest.mark.parametrize(
    ("time", "hz", "cycles"),
    [
        (Time(20), 100e6, 2),
        (Time(20.1), 100e6, 3),
        (Time(19.9), 100e6, 2),
        (Time(15, 2), 50e6, 2),
        (Time(15, 2), 200e6, 3),
        (Time(cycles=2), 1e9, 2),
        (Time(5), 1e6, 1),
        (Time(21), 1e9 / 7, 3),  # 3 cycles of 7 ns, in spite of rounding errors
    ],
)
def test_times_are_rounded_up(time, hz, cycles):
    assert time.at(hz) == cycles


def test_the_boards():
    """ULX3S at 62.5 MHz (16 ns), Colorlight i5 at 72 MHz (13.9 ns)."""
    assert ULX3S.cycles(62.5e6) == SdramCycles(
        rcd=2, rp=2, ras=3, rc=4, rfc=4, rrd=2, wr=2, mrd=2, cas=2, refresh=488, power_up=12_500, first_refreshes=8
    )
    assert COLORLIGHT_I5.cycles(72e6) == SdramCycles(
        rcd=2, rp=2, ras=4, rc=5, rfc=5, rrd=2, wr=2, mrd=2, cas=2, refresh=1124, power_up=14_400, first_refreshes=8
    )
    assert (ULX3S.words * ULX3S.data_bits // 8, COLORLIGHT_I5.words * COLORLIGHT_I5.data_bits // 8) == (2**25, 2**23)
    assert (ULX3S.mask_bits, COLORLIGHT_I5.mask_bits) == (2, 0)
    assert (ULX3S.address_bits, COLORLIGHT_I5.address_bits) == (13, 11)


@pytest.mark.parametrize(("hz", "latency"), [(100e6, 2), (100.1e6, 3), (142.8e6, 3)])
def test_the_latency_follows_from_the_clock(hz, latency):
    assert AS4C16M16SA_7.cycles(hz).cas == latency


def test_a_clock_that_the_chip_cannot_have_is_refused():
    with pytest.raises(ConfigError, match=r"^clock: 150 MHz is too fast for the AS4C16M16SA-7; at most 142\.857 MHz$"):
        AS4C16M16SA_7.cycles(150e6)
    with pytest.raises(
        ConfigError, match=r"^clock: 10 MHz is too slow to refresh the AS4C16M16SA-7; take a faster one$"
    ):
        AS4C16M16SA_7.cycles(10e6)


def test_the_slowest_part_takes_the_longest_of_each_time():
    assert ULX3S.name == "SDRAM of a ULX3S"
    assert ULX3S.document == f"{AS4C16M16SA_7.document}; {W9825G6_6I.document}"
    assert (ULX3S.rcd, ULX3S.ras, ULX3S.rrd, ULX3S.wr) == (Time(21), Time(42), Time(14, 2), Time(14, 2))
    assert ULX3S.fastest == ((2, 100e6), (3, 1e9 / 7))


def test_parts_of_other_geometries_stand_for_no_common_one():
    message = "^parts: EM638325-6 has another geometry than AS4C16M16SA-7; give each board its own$"
    with pytest.raises(ConfigError, match=message):
        slowest("none", AS4C16M16SA_7, EM638325_6)
    assert slowest("same", EM638325_6, replace(EM638325_6, rp=Time(30))).rp == Time(30)
