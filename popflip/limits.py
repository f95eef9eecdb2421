"""Refuse what this machine's memory cannot hold, before any of it is taken.

Sizes are lower bounds of what a step takes at its peak. A step may take :data:`SHARE` of the machine's memory.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from popflip.golden.config import AnyConfig
from popflip.golden.errors import ConfigError

if TYPE_CHECKING:
    from popflip.hw.config import ChipConfig

SHARE = 0.5
"""Largest part of the machine's memory that one step may take."""
UNKNOWN = 2**33
"""Bytes of memory that are assumed where the system does not say how many there are."""
CHUNK = 1024  # samples that the golden model processes at a time
BYTES_PER_LANE = 2**16
"""Memory that a translation of a chip takes at least for a synapse of its array. The simulated chips of 64-16-4 with
arrays of 128 and 1,024 synapses took 0.25 and 0.35 GB, 115 kB for each synapse more."""
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says how much memory a container may take."""


def check_memory(what: str, size: int) -> None:
    """Raise :class:`ConfigError` if ``size`` bytes are more than :data:`SHARE` of this machine's memory.

    The message starts with ``what`` would take it: a parameter's name, a colon, and its value; or a file.
    """
    there = machine_memory()
    if size > SHARE * there:
        raise ConfigError(
            f"{what} would take {gigabytes(size)} of memory, more than {SHARE:.0%} of this machine's "
            f"{gigabytes(there)}; make it smaller"
        )


def check_network(config: AnyConfig) -> None:
    """Raise :class:`ConfigError` if the network of ``config`` takes too much memory. No data is needed."""
    check_memory(f"layers: a network {'-'.join(map(str, config.layers))}", network_bytes(config))


def check_batch(config: AnyConfig) -> None:
    """Raise :class:`ConfigError` if a batch of ``config`` takes too much memory. No data is needed."""
    check_memory(f"batch: {config.batch} samples of {config.inputs} bits", batch_bytes(config))


def check_chip(chip: ChipConfig, name: str, bytes_per_bit: int) -> None:
    """Raise :class:`ConfigError` if the translation of ``chip`` into ``name`` takes too much memory.

    ``bytes_per_bit`` is what it takes at least for a bit of weights, counters or stored samples.
    """
    rows, synapses = chip.array_rows, chip.array_synapses
    weights = sum(count * each for count, each in zip(chip.rows, chip.synapses, strict=True))
    stored = 0 if chip.sdram else chip.store_samples * chip.stored_bytes
    for what, size in (
        (f"rows: {name} of an array of {rows} × {synapses} synapses", BYTES_PER_LANE * rows * synapses),
        (f"store: {name} of {chip.store_samples} samples of {chip.stored_bytes} bytes", 8 * bytes_per_bit * stored),
        (
            f"layers: {name} of {'-'.join(map(str, chip.layers))}",
            bytes_per_bit * weights * (chip.weight_bits + chip.counter_bits),
        ),
    ):
        check_memory(what, size)


def network_bytes(config: AnyConfig) -> int:
    """Bytes that the golden model takes at least for the network of ``config``, and for the sums of some samples."""
    synapses = [rows * synapses for rows, synapses in zip(config.rows, config.synapses, strict=True)]
    state = 3 * sum(synapses)  # a weight and a counter
    working = 8 * max(synapses)  # the weights as floats, and the counters that the end of a batch compares
    sums = 4 * min(CHUNK, config.batch) * max(config.inputs, *(layer.neurons for layer in config.plan))
    seen = [layer.pools * layer.synapses for layer in config.plan if layer.positions > 1]
    patches = 5 * max(seen, default=0)  # of one sample, as bytes and as floats
    return state + working + sums + patches


def batch_bytes(config: AnyConfig) -> int:
    """Bytes that a batch of ``config`` takes at least: its sample numbers, its classes, and its input bits."""
    return config.batch * (config.inputs + 24)


@cache
def machine_memory() -> int:
    """Bytes of memory that this process may take: those of the machine, its container, or its own limit."""
    found = [size for size in (_physical(), _address_space(), *map(_container, CGROUPS)) if size is not None]
    return min(found, default=UNKNOWN)


def gigabytes(size: int) -> str:
    """``size`` bytes in GB, with the digits that matter."""
    return f"{size / 1e9:,.1f} GB" if size < 1e15 else f"{size / 1e9:.1e} GB"


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _container(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None
