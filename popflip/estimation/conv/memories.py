"""What a chip with convolutions has: its memories, and the quantities that its logic grows with, for
:mod:`popflip.estimation.resources` (docs/conv-hw.md has a table of the memories)."""

from __future__ import annotations

from collections.abc import Iterator

from amaranth.hdl import Shape
from amaranth.utils import ceil_log2

from popflip.estimation.blocks import Block
from popflip.hw.config import ChipConfig
from popflip.hw.conv.errors import error_limit, error_shape
from popflip.hw.conv.fields import Fields
from popflip.hw.conv.patches import Slide, patch_word_layout
from popflip.hw.conv.signatures import copies_weights, copy_depth
from popflip.hw.layouts import sum_shape, weight_word
from popflip.hw.serial.places import Places


def serial_memories(chip: ChipConfig) -> Iterator[Block]:
    """What keeps the samples on a compact chip: images of all slots, and the activations of one sample."""
    places = Places(chip)
    yield Block("images", 1, chip.slots << places.image_bits)
    yield Block("activations", 2 * chip.array_synapses, places.depth)


def sample_memories(chip: ChipConfig) -> Iterator[Block]:
    """What keeps the samples on the chip: images, lists of patch words, activations, and errors."""
    first, slots, fields = chip.plan[0], chip.slots, Fields(chip)
    patches = Slide(first)
    for plane in range(first.inputs.channels):
        yield Block(f"image {plane}", first.stride, 2 << ceil_log2(first.inputs.height * patches.steps))
    if first.kernel > 1:
        yield Block("line", (first.kernel - 1) * first.stride * first.inputs.channels, patches.wide)
    pads = max(0, chip.array_synapses - first.synapses)  # of a patch of one word, always 0: no memory holds them
    entry = Shape.cast(patch_word_layout(first, chip.array_synapses)).width - pads
    yield Block("patch words", entry, slots << ceil_log2(chip.list_words), readers=2)
    hidden, pieces = slots << ceil_log2(fields.depth), fields.group // chip.array_rows
    for copy in range(2 * fields.units):  # forward's and learning's, one for each unit of a word
        yield Block(f"activations {copy}", fields.group, hidden, pieces=pieces)
    yield Block("windows", fields.group, hidden, pieces=pieces)
    for bank in range(chip.learn_rows if copies_weights(chip) else 0):
        yield Block(f"weight rows {bank}", weight_word(chip).size, copy_depth(chip))
    error = error_limit(chip).bit_length() + 1
    yield Block("errors", fields.unit * error, fields.depth * fields.parts, readers=2)
    across = max((layer.outputs.width for layer in chip.plan if layer.pool > 1), default=0)
    if across:
        yield Block("open pools", chip.array_rows * sum_shape(chip).width, 1 << ceil_log2(across))


def counts(chip: ChipConfig) -> tuple[int, ...]:
    """What the logic of a chip grows with."""
    lanes = chip.array_synapses
    return (
        1,
        chip.array_rows * lanes * chip.weight_bits,  # weight bits multiplied in a cycle
        chip.learn_rows * lanes * chip.counter_bits,  # counter bits updated in a cycle
        lanes * Shape.cast(error_shape(chip)).width,  # bits of the errors of a word
    )


def serial_counts(chip: ChipConfig) -> tuple[int, ...]:
    """What the logic of a compact chip grows with."""
    return (
        1,
        chip.array_rows * chip.array_synapses * chip.weight_bits,  # weight bits multiplied in a cycle
        ceil_log2(chip.weight_map.depth) + ceil_log2(chip.counter_map.depth),  # bits of addresses
    )
