"""Samples as payloads of link frames, plain or packed (:mod:`popflip.golden.common.packing`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from popflip.golden.common.packing import pack
from popflip.golden.config import AnyConfig, Rule
from popflip.golden.conv.patches import pixels
from popflip.golden.layers import Planes
from popflip.hw.config import ChipConfig
from popflip.hw.link.codec import OVERHEAD
from popflip.hw.link.commands import Command
from popflip.hw.link.tables import VALUE_BYTES
from popflip.steps import MOST_PIECE

FIRST_NUMBERS, MOST_NUMBERS = 4, 64
"""Numbers of stored samples in a frame: few at first, so that the chip starts early, then twice as many each time. The
chip answers a frame when it has learned all but the last few of its samples."""


WALK_BYTES = 6
"""Bytes of a walk before its schedule."""
FIRST_BYTES = 4
"""Bytes of the position at which a request begins to store."""


class Payload(NamedTuple):
    """A request for ``samples`` samples."""

    command: Command
    data: bytes
    samples: int


class SampleCodec:
    """Cuts samples into payloads for ``chip`` of at most ``payload_bytes``, or of one sample if that is longer.

    ``image`` : the planes of samples whose pixels the chip takes in the order ``[y][x][c]``, as one without
    convolutions does; None: it takes them plane after plane, as they are.
    """

    def __init__(self, chip: ChipConfig, payload_bytes: int, image: Planes | None = None):
        self._chip = chip
        self._payload_bytes = payload_bytes
        self._image = image

    def training(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> Iterator[Payload]:
        """Payloads that train samples ``x`` [samples, inputs] of classes ``y``."""
        return self._payloads(self.labelled(x, y), Command.TRAIN, Command.TRAIN_PACKED)

    def inference(self, x: NDArray[np.uint8]) -> Iterator[Payload]:
        """Payloads that predict the classes of ``x`` [samples, inputs]."""
        return self._payloads(self._inputs(x), Command.INFER, Command.INFER_PACKED)

    def stored(self, numbers: NDArray[np.integer]) -> Iterator[Payload]:
        """Payloads that train stored samples, given by their numbers."""
        first, size = 0, FIRST_NUMBERS
        while first < len(numbers):
            part = numbers[first : first + size]
            content = part.astype("<u4").view(np.uint8).reshape(-1, 4)[:, : self._chip.number_bytes]
            yield Payload(Command.TRAIN_STORED, content.tobytes(), len(part))
            first, size = first + size, min(2 * size, self.numbers_per_payload)

    def storing(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> Iterator[Payload]:
        """Payloads that store samples ``x`` [samples, inputs] of classes ``y`` from the beginning of the store on."""
        chip, samples = self._chip, self.labelled(x, y)
        if chip.packs:
            items, ends = packed_items(samples, chip.label_bytes, chip.size_bytes)
        else:
            items, ends = samples.reshape(-1), chip.sample_bytes * np.arange(1, len(samples) + 1)
        first = begin = 0
        while first < len(samples):
            last = max(first + 1, int(np.searchsorted(ends, begin + self._payload_bytes - FIRST_BYTES, "right")))
            content = items[begin : ends[last - 1]].tobytes()
            yield Payload(Command.STORE, first.to_bytes(FIRST_BYTES, "little") + content, last - first)
            first, begin = last, int(ends[last - 1])

    def labelled(self, x: NDArray[np.uint8], y: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Samples with their labels in front, [samples, bytes]."""
        size = self._chip.label_bytes
        labels = np.asarray(y).astype(f"<u{size}").view(np.uint8).reshape(len(y), size)
        return np.concatenate([labels, self._inputs(x)], axis=1)

    def predictions(self, answers: bytes) -> NDArray[np.int64]:
        """The classes in the answers to :meth:`inference`."""
        return np.frombuffer(answers, f"<u{self._chip.label_bytes}").astype(np.int64)

    def samples_per_payload(self, size: float) -> int:
        """Samples of ``size`` bytes in a payload, at least one."""
        return max(1, int(self._payload_bytes // size))

    @property
    def numbers_per_payload(self) -> int:
        """Numbers of stored samples in a payload."""
        return min(MOST_NUMBERS, self.samples_per_payload(self._chip.number_bytes))

    def _inputs(self, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Samples ``x`` as bytes, [samples, bytes]."""
        return np.packbits(x if self._image is None else pixels(x, self._image), axis=1, bitorder="little")

    def _payloads(self, samples: NDArray[np.uint8], plain: Command, packed: Command) -> Iterator[Payload]:
        """Payloads of ``samples``, [samples, bytes], each in the shorter form if the chip takes both."""
        if self._chip.packs:
            yield from self._shorter_payloads(samples, plain, packed)
            return
        count = self.samples_per_payload(samples.shape[1])
        for first in range(0, len(samples), count):
            part = samples[first : first + count]
            yield Payload(plain, part.tobytes(), len(part))

    def _shorter_payloads(self, samples: NDArray[np.uint8], plain: Command, packed: Command) -> Iterator[Payload]:
        size = samples.shape[1]
        count = self.samples_per_payload(size)
        items, ends = packed_items(samples, size - self._chip.input_bytes, self._chip.size_bytes)
        first = begin = 0
        while first < len(samples):
            last = max(first + 1, int(np.searchsorted(ends, begin + self._payload_bytes, "right")))
            if ends[last - 1] - begin < (last - first) * size:
                yield Payload(packed, items[begin : ends[last - 1]].tobytes(), last - first)
            else:
                last = min(first + count, len(samples))
                yield Payload(plain, samples[first:last].tobytes(), last - first)
            first, begin = last, int(ends[last - 1])


def walk_bytes(config: AnyConfig, payload_bytes: int) -> float:
    """Bytes on the line for each sample that a chip learns in its own order, framing included."""
    if config.rule == Rule.LBE:
        return (OVERHEAD + WALK_BYTES) / MOST_PIECE
    item = VALUE_BYTES * config.depth
    pieces = max(1, (payload_bytes - WALK_BYTES) // item)
    return (item + (OVERHEAD + WALK_BYTES) / pieces) / config.batch


def packed_items(
    samples: NDArray[np.uint8], label_bytes: int, size_bytes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """``samples`` [n, label_bytes + B] as the items of a packed command, concatenated, and the end of each item, [n].

    An item is its size (``size_bytes`` bytes), its label, and its other bytes packed.
    """
    packed, sizes = pack(samples[:, label_bytes:])
    head = size_bytes + label_bytes
    ends = np.cumsum(sizes + head)
    starts = ends - sizes - head
    items = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    is_packed = np.ones(len(items), bool)
    item_sizes = (sizes + label_bytes).astype("<u2").view(np.uint8).reshape(-1, 2)
    for place, byte in enumerate((*item_sizes.T[:size_bytes], *samples.T[:label_bytes])):
        items[starts + place] = byte
        is_packed[starts + place] = False
    items[is_packed] = packed
    return items, ends
