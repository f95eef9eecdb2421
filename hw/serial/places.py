"""Places: where a chip with one walk keeps the activations, and what a row sees at a position.

Activations lie in *units* of ``N`` channels, one memory word each. Rows, columns and units of a pixel take whole bits
of an address, so that an address is a concatenation and no sum::

    address of a unit = layer's base | y | x | unit of the pixel
    address of a bit of the image = slot | channel | y | x

The errors of the same neurons have the same addresses, in the upper half of single-port RAM.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from amaranth.hdl import Cat, Const, Value
from amaranth.utils import ceil_log2

from popflip.golden.errors import ConfigError
from popflip.golden.layers import Planes
from popflip.hw.config import ChipConfig
from popflip.hw.conv.errors import error_limit
from popflip.hw.conv.fields import Field, field
from popflip.hw.lib.lookup import of_layer
from popflip.hw.memory.spram import SPRAM_WORDS

ERRORS_BASE = SPRAM_WORDS // 2
"""First address of errors in single-port RAM: its upper half. Counters have the lower one."""


@dataclass(frozen=True)
class Units:
    """Bits of the address of a unit within the planes that a layer reads."""

    planes: Planes
    lanes: int
    rows: int

    @property
    def part_bits(self) -> int:
        """Of the unit within its pixel. The forward pass writes whole groups of ``rows`` neurons."""
        channels = -(-self.planes.channels // self.rows) * self.rows
        return ceil_log2(channels // self.lanes)

    @property
    def x_bits(self) -> int:
        return ceil_log2(self.planes.width)

    @property
    def y_bits(self) -> int:
        return ceil_log2(self.planes.height)

    @property
    def bits(self) -> int:
        return self.part_bits + self.x_bits + self.y_bits

    def address(self, part: Value, x: Value, y: Value) -> Value:
        """Address within the planes."""
        return Cat(part[: self.part_bits], x[: self.x_bits], y[: self.y_bits])


@dataclass(frozen=True)
class Places:
    """The fields of all layers, and where the activations lie that layers 1 … L−1 read.

    :class:`ConfigError` if counters and errors do not fit single-port RAM.
    """

    chip: ChipConfig

    def __post_init__(self) -> None:
        half = SPRAM_WORDS - ERRORS_BASE
        if self.chip.counter_map.depth > ERRORS_BASE or self.depth > half:
            raise ConfigError(
                f"compact: {self.chip.counter_map.depth} words of counters and {self.depth} of errors, but single-port "
                f"RAM holds {half} of each; use a smaller network"
            )
        if error_limit(self.chip) >= 1 << self.chip.counter_bits - 1:
            raise ConfigError(
                f"compact: errors up to {error_limit(self.chip)} do not fit counters of {self.chip.counter_bits} bits; "
                "use a larger mmax"
            )

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        return tuple(field(self.chip.plan, layer) for layer in range(self.chip.depth))

    @cached_property
    def units(self) -> tuple[Units, ...]:
        """Of the planes that layers 1 … L−1 read; ``units[0]`` is layer 1's."""
        return tuple(Units(it.planes, self.chip.array_synapses, self.chip.array_rows) for it in self.fields[1:])

    @cached_property
    def bases(self) -> tuple[int, ...]:
        """First address of each of :attr:`units`, a multiple of its size: larger ones come first."""
        bases, end = [0] * len(self.units), 0
        for index in sorted(range(len(self.units)), key=lambda index: -self.units[index].bits):
            bases[index] = end
            end += 1 << self.units[index].bits
        return tuple(bases)

    @property
    def depth(self) -> int:
        """Addresses of units."""
        return sum(1 << each.bits for each in self.units)

    @property
    def address_bits(self) -> int:
        return ceil_log2(max(2, self.depth))

    @property
    def image_bits(self) -> int:
        """Bits of the address of a bit of the image, without its slot."""
        planes = self.fields[0].planes
        return ceil_log2(planes.width) + ceil_log2(planes.height) + ceil_log2(planes.channels)

    def image_address(self, x: Value, y: Value, channel: Value, slot: Value) -> Value:
        """Address of a bit of the image."""
        planes = self.fields[0].planes
        bits = ceil_log2(planes.width), ceil_log2(planes.height), ceil_log2(planes.channels)
        return Cat(*(value[:count] for value, count in zip((x, y, channel), bits, strict=True)), slot)

    def unit_address(self, layer: Value, part: Value, x: Value, y: Value, above: int) -> Value:
        """Address of a unit of what ``layer + above`` reads, ``above`` 0 or 1; undefined if it reads none."""
        addresses: list[Value] = []
        for index in range(self.chip.depth):
            read = index + above - 1
            if not 0 <= read < len(self.units):
                read = 0
            units, base = self.units[read], self.bases[read]
            high = Const(base >> units.bits, max(0, self.address_bits - units.bits))
            addresses.append(Cat(units.address(part, x, y), high))
        return of_layer(layer, addresses)

    def parts(self, layer: int) -> int:
        """Steps of a pixel of the field: units, or in the first layer channels."""
        channels = self.fields[layer].planes.channels
        return channels if layer == 0 else -(-channels // self.chip.array_synapses)

    def bias_apart(self, layer: int) -> bool:
        """Whether the bias has a word of its own."""
        return bool(self.fields[layer].bias) and self.fields[layer].taps % self.chip.array_synapses == 0
