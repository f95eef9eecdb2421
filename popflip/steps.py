"""Order of the samples in a run, and its steps.

A run is a sequence of **steps**; the status of the device is read after each. GFT: a step is a batch. LBE, where a
batch is one sample: a step is up to :data:`LBE_STEP` samples and ends at a multiple of that, or where the run ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.errors import ConfigError
from popflip.golden.common.order import draw_key, order_state, permutation
from popflip.golden.common.prng import Xorshift32
from popflip.golden.config import AnyConfig, Order, Rule

LBE_STEP = 256
"""Samples of a step under LBE."""
MOST_PIECE = 2**16 - 1
"""Most samples of a :class:`Piece`."""


class Piece(NamedTuple):
    """Part of a walk through the chip's order of ``epoch``, from ``place`` on: ``samples`` for each of ``batches``,
    the batches that end there, numbered from 0. Without any, ``samples`` of a batch that ends later."""

    epoch: int
    place: int
    samples: int
    batches: range


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

    Steps are cut from the concatenation of the orders of all epochs. Order ``numpy``:
    ``Generator(PCG64(seed)).permutation(samples)``. Order ``chip``: :func:`popflip.golden.common.order.permutation`
    with the key of the epoch.
    """
    epoch_orders = _epoch_orders(samples, config)
    waiting = np.empty(0, np.intp)
    missing = config.batches(samples) * config.batch
    while missing:
        size = min(step_batches(config) * config.batch, missing)
        epochs = -(-max(0, size - len(waiting)) // samples)
        waiting = np.concatenate([waiting, *(next(epoch_orders) for _ in range(epochs))])
        yield waiting[:size]
        waiting = waiting[size:]
        missing -= size


def _epoch_orders(samples: int, config: AnyConfig) -> Iterator[NDArray[np.intp]]:
    """The order of each epoch, without end."""
    if config.order == Order.NUMPY:
        generator = np.random.Generator(np.random.PCG64(config.seed))
        while True:
            yield generator.permutation(samples)
    keys = Xorshift32(order_state(config.seed))
    while True:
        yield permutation(draw_key(keys), samples)


def pieces(samples: int, batch: int, first: int, last: int) -> Iterator[Piece]:
    """The walk through a set of ``samples`` from batch ``first``, counted from 0, up to ``last``.

    A piece lies in one epoch. A batch that goes on in the next epoch has a piece in each.
    """
    position, end = first * batch, last * batch
    while position < end:
        epoch, place = divmod(position, samples)
        room, index = samples - place, position // batch
        whole = min(room // batch, last - index)
        if position % batch == 0 and whole and batch <= MOST_PIECE:
            size, ended = batch, range(index, index + whole)
        else:
            size = min((index + 1) * batch - position, room, MOST_PIECE)
            ended = range(index, index + ((position + size) % batch == 0))
        yield Piece(epoch, place, size, ended)
        position += size * max(1, len(ended))


def epoch_steps(samples: int, config: AnyConfig, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Steps of a run that nobody watches, from batch ``first`` up to ``last``: the first batch of each, and the one
    behind its last. A step ends with the batch in which an epoch ends."""
    while first < last:
        epoch = first * config.batch // samples
        after = min(last, max(first + 1, -(-(epoch + 1) * samples // config.batch)))
        yield first, after
        first = after


def watched_steps(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """Steps of up to ``size`` batches from ``first`` up to ``last``, which end at multiples of ``size``."""
    while first < last:
        after = min(last, first - first % size + size)
        yield first, after
        first = after


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
