"""Receptive fields of the layers above the first, and where the activations that they read lie.

A memory of activations holds, for each hidden layer, pixel after pixel; a pixel has whole *groups* of ``D`` channels,
the last one with pads. ``D`` is ``max(P, U)``: the forward pass writes ``P`` rows at a time, and readers take *units*
of ``U`` channels. ``U`` divides ``N`` and the channels of every field of several pixels, so a word of ``N`` synapses is
``N/U`` whole units, each of them part of one group. A field of one pixel needs no such divisor: its words lie side by
side.

A dense layer is a field of one position: on planes of a convolutional layer it covers them all, above a dense layer it
is one pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd

from popflip.golden.layers import Layer, Planes
from popflip.hw.config import ChipConfig


@dataclass(frozen=True)
class Tap:
    """A unit of a word: unit ``unit`` of pixel ``(ky, kx)`` of the field. ``reads``: some of its synapses read
    there."""

    ky: int
    kx: int
    unit: int
    reads: bool


@dataclass(frozen=True)
class Field:
    """What a row of a layer above the first sees: ``height × width`` pixels of ``planes`` at each position, whose first
    pixel is ``padding`` above and left of ``(py·stride, px·stride)``. ``outputs``: one neuron a row and pool.
    """

    planes: Planes
    height: int
    width: int
    padding: int
    stride: int
    pool: int
    outputs: Planes
    bias: int

    @property
    def taps(self) -> int:
        """Synapses of a row without its bias."""
        return self.height * self.width * self.planes.channels

    @property
    def synapses(self) -> int:
        """Synapses of a row."""
        return self.taps + self.bias

    def rows_inside(self, py: int) -> tuple[int, int]:
        """The first and the last row of the field that are inside the planes at positions ``(py, …)``."""
        top = py * self.stride - self.padding
        return max(0, -top), min(self.height, self.planes.height - top) - 1


def field(plan: tuple[Layer, ...], layer: int) -> Field:
    """The field of ``layer`` (1 … L−1) of a network."""
    it = plan[layer]
    if it.bias == 0:
        return Field(it.inputs, it.kernel, it.kernel, it.padding, it.stride, it.pool, it.outputs, 0)
    planes = plan[layer - 1].outputs
    return Field(planes, planes.height, planes.width, 0, 1, 1, it.outputs, it.bias)


@dataclass(frozen=True)
class Fields:
    """The fields of a chip's layers 1 … L−1 (``fields[0]`` is layer 1), in units.

    ``unit`` : channels of a unit, ``U``. ``group`` : channels of a group, ``D``. ``units`` : units of a word.
    ``base`` : first group of each field's planes. ``depth`` : groups of a sample.
    """

    chip: ChipConfig

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        return tuple(field(self.chip.plan, layer) for layer in range(1, self.chip.depth))

    @cached_property
    def unit(self) -> int:
        several = [each.planes.channels for each in self.fields if each.height * each.width > 1]
        return gcd(self.chip.array_synapses, *several)

    @property
    def units(self) -> int:
        return self.chip.array_synapses // self.unit

    @property
    def group(self) -> int:
        return max(self.chip.array_rows, self.unit)

    @property
    def parts(self) -> int:
        """Units of a group."""
        return self.group // self.unit

    @cached_property
    def pixel_groups(self) -> tuple[int, ...]:
        """Groups of a pixel of each field's planes."""
        return tuple(-(-each.planes.channels // self.group) for each in self.fields)

    @cached_property
    def base(self) -> tuple[int, ...]:
        bases = [0]
        for each, groups in zip(self.fields, self.pixel_groups, strict=True):
            bases.append(bases[-1] + each.planes.height * each.planes.width * groups)
        return tuple(bases[:-1])

    @cached_property
    def depth(self) -> int:
        if not self.fields:
            return 0
        last = self.fields[-1].planes
        return self.base[-1] + last.height * last.width * self.pixel_groups[-1]

    def words(self, index: int) -> int:
        """Words of a row of ``fields[index]``."""
        return -(-self.fields[index].synapses // self.chip.array_synapses)

    def word_taps(self, index: int, word: int) -> list[Tap]:
        """The units of a word of ``fields[index]``. A unit without synapses repeats the one before it."""
        it = self.fields[index]
        taps: list[Tap] = []
        for number in range(word * self.units, (word + 1) * self.units):
            taps.append(self._tap(it, number) or Tap(taps[-1].ky, taps[-1].kx, taps[-1].unit, False))
        return taps

    def _tap(self, it: Field, number: int) -> Tap | None:
        """Unit ``number`` of a row; None past its synapses. A bias that has a unit of its own is at pixel (0, 0)."""
        if number * self.unit >= it.synapses:
            return None
        if it.height * it.width == 1:
            reads = number * self.unit < it.taps
            return Tap(0, 0, number if reads else 0, reads)
        pixel, unit = divmod(number, it.planes.channels // self.unit)
        if pixel == it.height * it.width:
            return Tap(0, 0, 0, False)
        return Tap(*divmod(pixel, it.width), unit, True)

    def word_range(self, index: int, low: int, high: int) -> tuple[int, int]:
        """First and last word with a synapse of the field's rows ``low … high``, or the bias."""
        it, lanes = self.fields[index], self.chip.array_synapses
        row = it.width * it.planes.channels
        end = (high + 1) * row + (it.bias if high == it.height - 1 else 0)
        return low * row // lanes, (end - 1) // lanes
