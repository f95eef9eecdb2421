"""Cycles that a run takes on a chip with convolutions, from its :class:`.work.ConvWork`.

``forward_busy`` and ``learn_busy`` are exact. How samples wait for each other is modelled::

    bytes ─▶ image ─▶ slide ─▶ forward ─▶ verdict ─┬───────────▶ slot free
                                                   └─▶ learn ──▶ slot free
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popflip.estimation.conv.words import upper
from popflip.estimation.conv.work import ConvWork
from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.patches import Patches
from popflip.hw.conv.patch_words import PatchWords

BYTE_CYCLES = 9
"""Cycles from a byte of a sample to the next: its bits go into the image one by one."""
DRAIN = 6
"""Cycles of forward between two layers, without the latencies of weights, array and patch words."""
LOAD = 1
"""Cycles of learning to load a pool's errors, without one for each unit."""
SWEEP = 8
"""Cycles of learning before the first word of a layer and after the last one."""
VERDICT = 6
"""Cycles from the last class's sum to the verdict."""


def forward_busy(chip: ChipConfig, work: ConvWork) -> NDArray[np.int64]:
    """Words that the array takes for each sample, [samples]: exact."""
    kept = sum(
        groups * int(upper(layer, chip.array_synapses).kept.sum())
        for groups, layer in zip(chip.groups[1:], chip.plan[1:], strict=True)
    )
    return work.listed[chip.array_synapses].astype(np.int64) * chip.groups[0] + kept


def learn_busy(chip: ChipConfig, work: ConvWork) -> NDArray[np.int64]:
    """Visits of blocks of counters, [updates]: exact."""
    return work.visits[chip.array_synapses, chip.learn_rows].astype(np.int64)


def receive_cycles(chip: ChipConfig) -> int:
    """Cycles from a sample's last bit in its image to the next one's, if the link is faster."""
    return BYTE_CYCLES * chip.input_bytes


def slide_cycles(chip: ChipConfig) -> int:
    """Cycles in which the patches of a sample are made."""
    return Patches(chip.plan[0], chip.array_synapses).cycles


def ingest_cycles(chip: ChipConfig) -> int:
    """Cycles a sample of the slower part of ingest."""
    return max(receive_cycles(chip), slide_cycles(chip))


def learn_cycles(chip: ChipConfig, work: ConvWork) -> NDArray[np.int64]:
    """Cycles from a verdict to the end of learning, [updates]: a model."""
    fields, plan = Fields(chip), chip.plan
    spacing = chip.read_latency + 2
    units = [-(-layer.rows // fields.unit) for layer in plan]
    fixed = 0
    for index, (layer, groups) in enumerate(zip(plan[1:], fields.pixel_groups, strict=True), 1):
        planes = plan[index - 1].outputs
        clears = planes.height * planes.width * groups * fields.parts
        loads = layer.outputs.height * layer.pool * layer.outputs.width if index < chip.depth - 1 else 0
        fixed += clears + loads * (units[index] + LOAD)
    fixed += chip.depth * (SWEEP + spacing + chip.read_latency)
    loads = work.loads.astype(np.int64) * (units[0] + LOAD)
    return work.sweeps[chip.array_synapses, chip.learn_rows, spacing] + loads + fixed


def run_cycles(chip: ChipConfig, work: ConvWork) -> int:
    """Cycles of all batches without select and flip: a model."""
    busy = forward_busy(chip, work)
    dropped = sum(
        groups * int(upper(layer, chip.array_synapses).dropped.sum())
        for groups, layer in zip(chip.groups[1:], chip.plan[1:], strict=True)
    )
    latency = chip.read_latency + PatchWords.latency + DRAIN
    forward = (busy + dropped + chip.depth * latency).tolist()
    learn = iter(learn_cycles(chip, work).tolist())
    blocking = iter(work.upper_visits[chip.array_synapses, chip.learn_rows].tolist())
    receive, slide = receive_cycles(chip), slide_cycles(chip)
    updated, size, total = work.updated.tolist(), work.config.batch, 0
    for first in range(0, work.samples, size):
        total += _batch(chip, receive, slide, forward[first : first + size], updated[first : first + size], learn, blocking)
    return total


def _batch(chip, receive, slide, forward, updated, learn, blocking) -> int:
    """Cycles of a batch from its first byte to the end of its last sample."""
    free = [0] * chip.slots  # when each slot is free again
    filled, made, gone, learned = [0, 0], 0, 0, 0
    before = 0  # when the sample before filled its image
    for number, cycles in enumerate(forward):
        slot = number % chip.slots
        before = max(before, free[slot], filled[number % 2]) + receive
        made = max(made, before) + slide
        filled[number % 2] = made
        gone = max(gone, made) + cycles
        free[slot] = gone + VERDICT + chip.classes
        if updated[number]:
            learned = max(learned, free[slot]) + next(learn)
            gone += next(blocking)
            free[slot] = learned
    return max(gone, learned, *free)
