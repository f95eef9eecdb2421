"""Order of the samples in a run, and its steps.

A run is a sequence of **steps**; the status of the device is read after each. GFT: a step is a batch. LBE, where a
batch is one sample: a step is up to :data:`LBE_STEP` samples and ends at a multiple of that, or where the run ends.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from popflip.errors import ConfigError
from popflip.golden.config import AnyConfig, Rule

LBE_STEP = 256
"""Samples of a step under LBE."""


def step_batches(config: AnyConfig) -> int:
    """Batches in a step: 1, or :data:`LBE_STEP` under LBE."""
    return LBE_STEP if config.rule == Rule.LBE else 1


def batch_name(config: AnyConfig) -> str:
    """The name of a batch in messages: ``batch``, or ``sample`` under LBE."""
    return "sample" if config.rule == Rule.LBE else "batch"


def batches_to_run(config: AnyConfig, samples: int, limit: int | None) -> int:
    """Batches of the run, at most ``limit``. :class:`ConfigError` if the data does not fill one."""
    total = config.batches(samples)
    if total == 0:
        raise ConfigError(
            f"batch: {config.batch} samples per batch, but {config.epochs} epochs of {samples} samples have only "
            f"{config.epochs * samples}"
        )
    return total if limit is None else min(total, limit)


def sample_order(samples: int, config: AnyConfig) -> Iterator[NDArray[np.intp]]:
    """Sample numbers of each step of the full run.

    Steps are cut from the concatenation over epochs of ``Generator(PCG64(seed)).permutation(samples)``.
    """
    generator = np.random.Generator(np.random.PCG64(config.seed))
    waiting = np.empty(0, np.intp)
    missing = config.batches(samples) * config.batch
    while missing:
        size = min(step_batches(config) * config.batch, missing)
        epochs = -(-max(0, size - len(waiting)) // samples)
        waiting = np.concatenate([waiting, *(generator.permutation(samples) for _ in range(epochs))])
        yield waiting[:size]
        waiting = waiting[size:]
        missing -= size


def steps(samples: int, config: AnyConfig, first: int, last: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """The steps from batch ``first`` (counted from 0) up to ``last``: number of the first batch, and samples."""
    begin = 0
    for order in sample_order(samples, config):
        if begin >= last:
            return
        part = order[max(0, first - begin) * config.batch : (last - begin) * config.batch]
        if len(part):
            yield max(begin, first), part
        begin += len(order) // config.batch
