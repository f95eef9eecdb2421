"""Model of the memory of activations of chips with positions, at the ports of a component under test."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.sim.bench.memories import ReadPort
from popflip.sim.bench.parts import Part
from popflip.sim.bench.words import fields as pack_fields


class GroupMemory:
    """Groups of ``D`` activations of each slot (:mod:`popflip.hw.conv.fields`), random until written."""

    def __init__(self, chip: ChipConfig, seed: int):
        self.chip, self.fields = chip, Fields(chip)
        draw = random.Random(f"{seed} groups")
        self._bits = [
            [draw.getrandbits(self.fields.group) for _ in range(self.fields.depth)] for _ in range(chip.slots)
        ]

    def write(self, slot: int, group: int, part: int, active: int) -> None:
        """Write ``P`` activations: part ``part`` of a group."""
        rows = self.chip.array_rows
        mask = (1 << rows) - 1 << part * rows
        self._bits[slot][group] = self._bits[slot][group] & ~mask | active << part * rows & mask

    def read(self, slot: int, group: int) -> int:
        """A group. One past the end, which nobody uses, is random."""
        groups = self._bits[slot]
        return groups[group] if group < len(groups) else random.getrandbits(self.fields.group)

    def put_layer(self, slot: int, layer: int, active: NDArray) -> None:
        """Write all inputs of ``layer``, ``[y][x][c]``."""
        for (pixel, channel), value in np.ndenumerate(active.reshape(-1, self._channels(layer))):
            group, lane = self._place(layer, pixel, channel)
            bits = self._bits[slot]
            bits[group] = bits[group] & ~(1 << lane) | int(value) << lane

    def layer(self, slot: int, layer: int) -> list[int]:
        """All inputs of ``layer``, ``[y][x][c]``, as bits."""
        channels = self._channels(layer)
        places = (self._place(layer, *divmod(i, channels)) for i in range(self.chip.plan[layer - 1].neurons))
        return [self._bits[slot][group] >> lane & 1 for group, lane in places]

    def _channels(self, layer: int) -> int:
        return self.fields.fields[layer - 1].planes.channels

    def _place(self, layer: int, pixel: int, channel: int) -> tuple[int, int]:
        group, lane = divmod(channel, self.fields.group)
        return self.fields.base[layer - 1] + pixel * self.fields.pixel_groups[layer - 1] + group, lane

    def reader(self, part: Part, prefix: str) -> None:
        """Serve a :class:`popflip.hw.conv.signatures.GroupReadSignature` at ports ``prefix…``."""
        bits = max(1, (max(1, self.fields.depth) - 1).bit_length())

        def read(slot: int, groups: int) -> list[int]:
            numbers = [groups >> unit * bits & (1 << bits) - 1 for unit in range(self.fields.units)]
            return [pack_fields((self.read(slot, number) for number in numbers), self.fields.group)]

        ReadPort(part, f"{prefix}en", (f"{prefix}slot", f"{prefix}groups"), (f"{prefix}active",), read)
