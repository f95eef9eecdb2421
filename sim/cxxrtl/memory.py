"""The numbers of an SDRAM for its model in C++, ``sdram.h``."""

from __future__ import annotations

from math import ceil, floor

from popflip.hw.memory.sdram_part import TIMES, SdramPart


def macros(part: SdramPart, hz: float) -> tuple[str, ...]:
    """Flags of the compiler that describe ``part`` with a clock of ``hz``; times are in cycles."""
    latency = next(latency for latency, most in sorted(part.fastest) if hz <= most)
    values = {
        **{name: getattr(part, name).at(hz) for name in TIMES},
        "hz": round(hz),
        "rows": part.rows,
        "columns": part.columns,
        "data_bits": part.data_bits,
        "cas": latency,
        "power_up": ceil(part.power_up_ns * hz * 1e-9),
        "first_refreshes": part.first_refreshes,
        "refreshes": part.refreshes,
        "refresh_cycles": floor(part.refresh_ns * hz * 1e-9),
        "ras_most": floor(part.ras_most_ns * hz * 1e-9),
    }
    return ("-DPOPFLIP_SDRAM", *(f"-DSDRAM_{name.upper()}={value}" for name, value in values.items()))
