"""Signatures of the memory of activations of chips with positions. Directions are the initiator's."""

from __future__ import annotations

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.patches import patch_word_layout
from popflip.hw.layouts import weight_word
from popflip.hw.memory.signatures import CounterBanksSignature

COPY_DEPTH = 512
"""Words of an ECP5's block RAM at its largest width."""


def copy_depth(chip: ChipConfig) -> int:
    """Words of a bank of learning's copy of the weights: those of ``P/Pc`` banks."""
    return chip.weight_map.depth * chip.array_rows // chip.learn_rows


def copies_weights(chip: ChipConfig) -> bool:
    """Whether learning has a copy of the weights: if its banks are no deeper than a block RAM, so that it is small."""
    return chip.pipelined and copy_depth(chip) <= COPY_DEPTH


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


class BlankSignature(wiring.Signature):
    """Writes −1 and "within the window" to a whole group, in a cycle with ``write`` and ``ready``."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "write": Out(1),
                "ready": In(1),
                "slot": Out(range(chip.slots)),
                "group": Out(range(max(1, Fields(chip).depth))),
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


class BlockReadSignature(wiring.Signature):
    """Reads the weight words of a block of ``Pc`` rows that share an address: block ``block`` of their group of ``P``
    rows. ``rows`` follow :attr:`.ChipConfig.read_latency` cycles later and stay until those of the next request."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "en": Out(1),
                "block": Out(range(chip.array_rows // chip.learn_rows)),
                "address": Out(range(chip.weight_map.depth)),
                "rows": In(data.ArrayLayout(weight_word(chip), chip.learn_rows)),
            }
        )


class RowWriteSignature(wiring.Signature):
    """A write to the weights, as in :class:`popflip.hw.memory.signatures.WeightRowSignature`."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "write": Out(1),
                "bank": Out(range(chip.array_rows)),
                "address": Out(range(chip.weight_map.depth)),
                "data": Out(weight_word(chip)),
            }
        )


class LearnStateSignature(wiring.Signature):
    """The state that learning changes: all banks of counters."""

    def __init__(self, chip: ChipConfig):
        super().__init__({"counters": Out(CounterBanksSignature(chip))})


def sample_readers(chip: ChipConfig) -> dict:
    """Members of a rule's engine that read the samples on the chip, and learning's copy of the weights if there is
    one."""
    return {
        "patches": Out(PatchReadSignature(chip)),
        "activations": Out(GroupReadSignature(chip)),
        "windows": Out(WindowReadSignature(chip)),
        **({"weight_rows": Out(BlockReadSignature(chip))} if copies_weights(chip) else {}),
    }
