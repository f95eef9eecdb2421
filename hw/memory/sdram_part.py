"""SDRAM chips: geometry and times of the data sheets, and the times in cycles of a clock.

Times have the names of the data sheets: tRCD is the field ``rcd``. All chips here are single data rate, have four banks
and read and write bursts of one word, so that any number of words from any column follow each other without a gap.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import ceil, floor

from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from popflip.golden.errors import ConfigError
from popflip.hw.config import SDRAMS

BANKS = 4
ALL_BANKS = 10
"""Address bit that makes PRECHARGE close all banks. In READ and WRITE it would close the row after the burst."""
REFRESH_SLACK = 128
"""Cycles that a refresh may come late. The interval between refreshes is shorter by its share of them."""


class Command(enum.Enum, shape=3):
    """RAS, CAS and WE, lowest bit first, 1 if the pin is active. With BURST_STOP, all commands of the standard."""

    NOP = 0b000
    ACTIVATE = 0b001
    READ = 0b010
    WRITE = 0b110
    PRECHARGE = 0b101
    REFRESH = 0b011
    MODE = 0b111
    BURST_STOP = 0b100


@dataclass(frozen=True)
class Time:
    """A time of a data sheet: at least ``ns`` nanoseconds and at least ``cycles`` cycles of the clock."""

    ns: float = 0.0
    cycles: int = 1

    def at(self, hz: float) -> int:
        """The time in cycles of a clock of ``hz``, rounded up."""
        return max(self.cycles, ceil(round(self.ns * hz * 1e-9, 6)))


@dataclass(frozen=True)
class SdramPart:
    """A chip. ``document``: the data sheet that the numbers are from.

    ``rows``, ``columns`` : of a bank; powers of two. ``data_bits`` : of a word.
    ``masks`` : whether the board wires the pins that mask single bytes of a word (DQM).
    ``rcd`` … ``mrd`` : least times; ``ras_most_ns`` : longest time that a row stays open.
    ``refreshes`` : REFRESH commands in every ``refresh_ns``.
    ``power_up_ns`` : wait before the first command. ``first_refreshes`` : REFRESH commands before the first access.
    ``fastest`` : highest clock in Hz for each CAS latency.
    """

    name: str
    document: str
    rows: int
    columns: int
    data_bits: int
    rcd: Time
    rp: Time
    ras: Time
    rc: Time
    rfc: Time
    rrd: Time
    wr: Time
    mrd: Time
    refreshes: int
    fastest: tuple[tuple[int, float], ...]
    masks: bool = True
    ras_most_ns: float = 100e3
    refresh_ns: float = 64e6
    power_up_ns: float = 200e3
    first_refreshes: int = 8

    @property
    def words(self) -> int:
        """Words of all banks."""
        return BANKS * self.rows * self.columns

    @property
    def mask_bits(self) -> int:
        """Masks of a word, one for each byte; none if the board does not wire them."""
        return self.data_bits // 8 if self.masks else 0

    @property
    def address_bits(self) -> int:
        """Address pins: enough for a row, for a column and for :data:`ALL_BANKS`."""
        return max((self.rows - 1).bit_length(), ALL_BANKS + 1)

    def cycles(self, hz: float) -> SdramCycles:
        """All times in cycles of a clock of ``hz``, with the lowest CAS latency that it allows.

        Raises :class:`ConfigError` if the clock is too fast for the chip, or so slow that refreshes leave no time.
        """
        latencies = [latency for latency, most in sorted(self.fastest) if hz <= most]
        if not latencies:
            most = max(most for _, most in self.fastest)
            raise ConfigError(f"clock: {hz / 1e6:g} MHz is too fast for the {self.name}; at most {most / 1e6:g} MHz")
        refresh = floor((self.refresh_ns * hz * 1e-9 - REFRESH_SLACK) / self.refreshes)
        cycles = SdramCycles(
            **{name: getattr(self, name).at(hz) for name in TIMES},
            cas=latencies[0],
            refresh=refresh,
            power_up=ceil(self.power_up_ns * hz * 1e-9),
            first_refreshes=self.first_refreshes,
        )
        if refresh < REFRESH_SLACK:
            raise ConfigError(f"clock: {hz / 1e6:g} MHz is too slow to refresh the {self.name}; take a faster one")
        return cycles


TIMES = tuple(field.name for field in fields(SdramPart) if field.type == "Time")
"""Names of the least times."""


@dataclass(frozen=True)
class SdramCycles:
    """The times of a chip in cycles. ``cas``: CAS latency. ``refresh``: from one REFRESH to the next.

    ``power_up``: wait before the first command. ``first_refreshes``: REFRESH commands before the first access.
    """

    rcd: int
    rp: int
    ras: int
    rc: int
    rfc: int
    rrd: int
    wr: int
    mrd: int
    cas: int
    refresh: int
    power_up: int
    first_refreshes: int


AS4C16M16SA_7 = SdramPart(
    name="AS4C16M16SA-7",
    document="Alliance Memory AS4C16M16SA-C&I, rev. 3.0, March 2015, table 16",
    rows=8192,
    columns=512,
    data_bits=16,
    rcd=Time(21),
    rp=Time(21),
    ras=Time(42),
    rc=Time(63),
    rfc=Time(63),
    rrd=Time(14),
    wr=Time(14),
    mrd=Time(14),
    refreshes=8192,
    fastest=((2, 100e6), (3, 1e9 / 7)),
)
W9825G6_6I = SdramPart(
    name="W9825G6-6I",
    document="Winbond W9825G6JH, rev. A04, November 2011, section 9.5",
    rows=8192,
    columns=512,
    data_bits=16,
    rcd=Time(18),
    rp=Time(18),
    ras=Time(42),
    rc=Time(60),
    rfc=Time(60),
    rrd=Time(cycles=2),
    wr=Time(cycles=2),
    mrd=Time(cycles=2),
    refreshes=8192,
    fastest=((2, 100e6), (3, 1e9 / 6)),
)
# Times that are not known to be shorter are those of a slower chip of the same class.
EM638325_6 = SdramPart(
    name="EM638325-6",
    document="Etron EM638325, rev. 3.2 (tRCD, tRP); Alliance AS4C4M16SA-7, rev. 5.0, October 2018, page 20 (the rest)",
    rows=2048,
    columns=256,
    data_bits=32,
    rcd=Time(18),
    rp=Time(18),
    ras=Time(42),
    rc=Time(63),
    rfc=Time(63),
    rrd=Time(14),
    wr=Time(cycles=2),
    mrd=Time(cycles=2),
    refreshes=4096,
    fastest=((2, 100e6), (3, 1e9 / 6)),
)


def slowest(name: str, *parts: SdramPart) -> SdramPart:
    """A part that stands for any of ``parts``, which have the same geometry: the longest of each time."""
    first, *others = parts
    for other in others:
        shared = {each: getattr(other, each) for each in ("rows", "columns", "data_bits", "refreshes", "masks")}
        if replace(first, **shared) != first:
            raise ConfigError(f"parts: {other.name} has another geometry than {first.name}; give each board its own")
    times = {
        each: Time(
            max(getattr(part, each).ns for part in parts),
            max(getattr(part, each).cycles for part in parts),
        )
        for each in TIMES
    }
    fastest = tuple((latency, min(dict(part.fastest)[latency] for part in parts)) for latency, _ in first.fastest)
    documents = "; ".join(part.document for part in parts)
    return replace(first, name=name, document=documents, fastest=fastest, **times)


ULX3S = slowest("SDRAM of a ULX3S", AS4C16M16SA_7, W9825G6_6I)
"""32 MB. Boards have chips of several makers."""
COLORLIGHT_I5 = replace(EM638325_6, name="SDRAM of a Colorlight i5", masks=False)
"""8 MB. The board has an EM638325BK-6H (github.com/wuxx/Colorlight-FPGA-Projects), with DQM, CKE and CS tied."""


PARTS = dict(zip(SDRAMS, (ULX3S, COLORLIGHT_I5), strict=True))
"""The SDRAMs of boards, by the name that a chip has for them."""


def word_layout(part: SdramPart) -> data.StructLayout:
    """A word to write. ``keep``: bit ``b`` leaves byte ``b`` as it is; no such bits without :attr:`SdramPart.masks`."""
    return data.StructLayout({"data": part.data_bits, "keep": part.mask_bits})


def request_layout(part: SdramPart, longest: int) -> data.StructLayout:
    """A burst: ``more`` words after the one at word ``address``. The address after the last one is 0."""
    return data.StructLayout({"write": 1, "address": range(part.words), "more": range(longest)})


class SdramPinsSignature(wiring.Signature):
    """The pins of a chip, from the controller's side. 1 is active, whatever the pin's level.

    ``mask`` : bytes that the chip ignores (DQM). ``drive`` : the controller drives the data pins.
    """

    def __init__(self, part: SdramPart):
        super().__init__(
            {
                "command": Out(Command, init=Command.NOP),
                "bank": Out(range(BANKS)),
                "address": Out(part.address_bits),
                "mask": Out(part.mask_bits, init=(1 << part.mask_bits) - 1),
                "data_out": Out(part.data_bits),
                "drive": Out(1),
                "data_in": In(part.data_bits),
            }
        )
