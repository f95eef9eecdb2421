"""Signatures of a chip with one walk. Directions are the initiator's."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import lane_layout
from popflip.hw.serial.places import Places


def pool_bits(chip: ChipConfig) -> int:
    """Bits of the row or the column of a pool."""
    return max(1, *(max(it.outputs.height, it.outputs.width).bit_length() for it in Places(chip).fields))


def part_range(chip: ChipConfig) -> range:
    """Units of a pixel, or channels of the image."""
    widest = max([2, *(1 << units.part_bits for units in Places(chip).units)])
    return range(max(widest, chip.plan[0].inputs.channels))


class WalkSignature(wiring.Signature):
    """The use of :class:`.walk.Walk`, by forward and learning in turn.

    Members
    -------
    ``claim`` : Out(1)
        Learning has the walk; its initiator drives it, and forward's is 0.
    ``layer``, ``slot``, ``group`` : Out
        Stable while words come. ``group`` : of ``P`` rows, whose weights are addressed.
    ``begin`` : Out(1)
        Go to the layer's first position, in a cycle with ``idle``.
    ``step`` : Out(1), ``by_pool`` : Out(1), ``again`` : Out(1)
        Go to the next position, in a cycle with ``idle``: in the order ``(py, px)``, or ``by_pool`` through all
        positions of a pool, then through those of the next one. With ``again``, the pool's first position follows its
        last one.
    ``ends_pool``, ``ends_layer`` : In(1)
        The position is its pool's last one (``by_pool``), the layer's last one.
    ``start`` : Out(1), ``idle`` : In(1)
        Send the words of the position, in a cycle with ``idle``.
    ``valid`` : In(1), ``ready`` : Out(1)
        Of a word. ``lanes`` : In, its inputs; ``weight_address`` : In, that of its weights in the banks; ``unit`` : In,
        the unit that it is, if ``in_unit``: above the first layer, and no bias alone.
    ``part`` : Out, ``pool_unit`` : In
        Address of unit ``part`` of the position's pool, among what the next layer reads.
    ``peek`` : Out(1), ``in_window`` : In(N)
        Read whether the neurons at ``pool_unit`` are within their window, in a cycle with ``idle``; a cycle later.
    """

    def __init__(self, chip: ChipConfig):
        places = Places(chip)
        unit = range(1 << places.address_bits)
        super().__init__(
            {
                "claim": Out(1),
                "layer": Out(range(chip.depth)),
                "slot": Out(range(chip.slots)),
                "group": Out(range(max(chip.groups))),
                "begin": Out(1),
                "step": Out(1),
                "by_pool": Out(1),
                "again": Out(1),
                "ends_pool": In(1),
                "ends_layer": In(1),
                "start": Out(1),
                "idle": In(1),
                "valid": In(1),
                "ready": Out(1),
                "lanes": In(lane_layout(chip)),
                "weight_address": In(range(chip.weight_map.depth)),
                "unit": In(unit),
                "in_unit": In(1),
                "part": Out(part_range(chip)),
                "pool_unit": In(unit),
                "peek": Out(1),
                "in_window": In(chip.array_synapses),
            }
        )


class UnitReadSignature(wiring.Signature):
    """Reads a unit: request in one cycle, data in the next, held until the next request."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "en": Out(1),
                "unit": Out(range(1 << Places(chip).address_bits)),
                "active": In(chip.array_synapses),
                "in_window": In(chip.array_synapses),
            }
        )


class UnitWriteSignature(wiring.Signature):
    """Writes a unit at the end of a cycle in which ``write`` is high."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "write": Out(1),
                "unit": Out(range(1 << Places(chip).address_bits)),
                "active": Out(chip.array_synapses),
                "in_window": Out(chip.array_synapses),
            }
        )


class BitReadSignature(wiring.Signature):
    """Reads a bit of the image, timed as in :class:`UnitReadSignature`."""

    def __init__(self, chip: ChipConfig):
        super().__init__({"en": Out(1), "address": Out(range(chip.slots << Places(chip).image_bits)), "bit": In(1)})


class BitWriteSignature(wiring.Signature):
    """Writes a bit of the image at the end of a cycle in which ``write`` is high."""

    def __init__(self, chip: ChipConfig):
        super().__init__({"write": Out(1), "address": Out(range(chip.slots << Places(chip).image_bits)), "bit": Out(1)})
