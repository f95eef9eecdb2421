"""Signatures of the memory of activations of chips with positions. Directions are the initiator's."""

from __future__ import annotations

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.patches import patch_word_layout


class GroupReadSignature(wiring.Signature):
    """Reads ``N/U`` groups of a sample's activations: request in one cycle, data in the next, held until the next
    request. In ``active``, bit 1 is +1 and bit 0 is −1. Lanes past a pixel's last channel are undefined."""

    def __init__(self, chip: ChipConfig):
        fields = Fields(chip)
        super().__init__(
            {
                "en": Out(1),
                "slot": Out(range(chip.slots)),
                "groups": Out(data.ArrayLayout(range(max(1, fields.depth)), fields.units)),
                "active": In(data.ArrayLayout(fields.group, fields.units)),
            }
        )


class GroupWriteSignature(wiring.Signature):
    """Writes ``P`` neurons at the end of a cycle in which ``write`` is high: part ``part`` of a group."""

    def __init__(self, chip: ChipConfig):
        fields, rows = Fields(chip), chip.array_rows
        super().__init__(
            {
                "write": Out(1),
                "slot": Out(range(chip.slots)),
                "group": Out(range(max(1, fields.depth))),
                "part": Out(range(fields.group // rows)),
                "active": Out(rows),
                "in_window": Out(rows),
            }
        )


class PatchReadSignature(wiring.Signature):
    """Reads an entry of a sample's list of patch words: request in one cycle, data in the next, held until the next
    request."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "en": Out(1),
                "slot": Out(range(chip.slots)),
                "position": Out(range(chip.list_words)),
                "data": In(patch_word_layout(chip.plan[0], chip.array_synapses)),
            }
        )


class WindowReadSignature(wiring.Signature):
    """Reads whether the neurons of a group are within their window, timed as in :class:`GroupReadSignature`."""

    def __init__(self, chip: ChipConfig):
        fields = Fields(chip)
        super().__init__(
            {
                "en": Out(1),
                "slot": Out(range(chip.slots)),
                "group": Out(range(max(2, fields.depth))),
                "in_window": In(fields.group),
            }
        )


def sample_readers(chip: ChipConfig) -> dict:
    """Members of a rule's engine that read the samples on the chip."""
    return {
        "patches": Out(PatchReadSignature(chip)),
        "activations": Out(GroupReadSignature(chip)),
        "windows": Out(WindowReadSignature(chip)),
    }
