"""The identity: a chip's own description of its shape, its answer to IDENTIFY."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

from popflip.golden.config import Precision, Rule
from popflip.golden.errors import ConfigError
from popflip.golden.layers import Conv, Item, Planes, plain
from popflip.hw.config import SDRAMS, ChipConfig
from popflip.hw.link.commands import PROTOCOL_VERSION, Field

RULES: tuple[Rule, ...] = (Rule.GFT, Rule.LBE)
"""Learning rules by their number on the link."""
PRECISIONS: tuple[Precision, ...] = (Precision.BINARY, Precision.TERNARY)
"""Precisions by their number on the link."""
STORES: tuple[str, ...] = ("", *SDRAMS)
"""``sdram`` of a chip by its number on the link."""

VARYING = ("layers", "image", "windows")
"""Members of an identity whose size on the link depends on the network, behind all others."""


@dataclass(frozen=True)
class Identity:
    """The shape a chip was built with. :attr:`FIELDS` describes each member.

    On the link the fixed fields come first, then ``layers``: a u16 for the inputs and one for each layer's rows. Behind
    them a network with convolutions has ``image`` and, for each layer, ``windows``; other networks end there.

    ``image`` : height, width and planes; () for a network without convolutions, as ``windows`` is.
    ``windows`` : for each layer its kernel, stride, pool and the limit of its counters; kernel 0: a dense layer.
    """

    protocol: int
    rule: int
    precision: int
    slots: int
    mmax: int
    dclip: int
    array_rows: int
    array_synapses: int
    classes: int
    learn_rows: int
    buffer_bytes: int
    store_samples: int
    clock_hz: int
    compact: bool
    walks: bool
    sdram: int
    build_hash: bytes
    layers: tuple[int, ...]
    image: tuple[int, ...] = ()
    windows: tuple[tuple[int, int, int, int], ...] = ()

    FORMAT = "<4B6H3I??B8sB"
    IMAGE = "<3H"
    WINDOW = "<3BH"
    FIELDS = (
        Field("protocol", "u8", "version of the protocol"),
        Field("rule", "u8", ", ".join(f"{index} {rule}" for index, rule in enumerate(RULES))),
        Field("precision", "u8", ", ".join(f"{index} {precision}" for index, precision in enumerate(PRECISIONS))),
        Field("slots", "u8", "samples in flight at once"),
        Field("mmax", "u16", "counters saturate at ±mmax; lbe: at −mmax − 1 and mmax"),
        Field("dclip", "u16", "gft: largest |δ| of a hidden neuron"),
        Field("array_rows", "u16", "rows per cycle, `P`"),
        Field("array_synapses", "u16", "synapses per cycle, `N`"),
        Field("classes", "u16", "classes"),
        Field("learn_rows", "u16", "rows per cycle while learning, `Pc`"),
        Field("buffer_bytes", "u32", "size of the packet buffer, the limit for unanswered frames"),
        Field("store_samples", "u32", "training samples the store holds; 0: no store"),
        Field("clock_hz", "u32", "clock frequency; 0: simulated"),
        Field("compact", "u8", "1: made for an iCE40 UP5K, with counters in its single-port RAMs; 0: not"),
        Field("walks", "u8", "1: walks through its stored set by itself (TRAIN_SET, INFER_SET); 0: does not"),
        Field(
            "sdram",
            "u8",
            "the SDRAM that holds the store: " + ", ".join(f"{n} {name or 'none'}" for n, name in enumerate(STORES)),
        ),
        Field("build_hash", "8 bytes", "start of the SHA-256 of the chip's shape and sources"),
        Field("widths", "u8", "number of widths that follow"),
        Field("layers", "u16 each", "number of input bits, then of rows in each layer"),
    )
    SHAPE_FIELDS = (
        Field("height", "u16", "height of the input image"),
        Field("width", "u16", "width of the input image"),
        Field("planes", "u16", "planes of the input image"),
    )
    """What follows if the network has convolutions, once."""
    LAYER_FIELDS = (
        Field("kernel", "u8", "pixels of a kernel down and across; 0: a dense layer"),
        Field("stride", "u8", "pixels from a position to the next"),
        Field("pool", "u8", "positions down and across whose sums are added up"),
        Field("limit", "u16", "counters of the layer saturate at ±limit"),
    )
    """What follows then, for each layer."""

    @classmethod
    def of(cls, chip: ChipConfig, buffer_bytes: int, clock_hz: int, build_hash: bytes) -> Identity:
        """The identity of ``chip``; ``clock_hz`` is 0 in simulation."""
        image = chip.image
        windows = (
            (0 if layer.bias else layer.kernel, layer.stride, layer.pool, limit)
            for layer, limit in zip(chip.plan, chip.limits, strict=True)
        )
        return cls(
            protocol=PROTOCOL_VERSION,
            rule=RULES.index(chip.rule),
            precision=PRECISIONS.index(chip.precision),
            slots=chip.slots,
            mmax=chip.mmax,
            dclip=chip.dclip,
            array_rows=chip.array_rows,
            array_synapses=chip.array_synapses,
            classes=chip.classes,
            learn_rows=chip.learn_rows,
            buffer_bytes=buffer_bytes,
            store_samples=chip.store_samples,
            clock_hz=clock_hz,
            compact=chip.compact,
            walks=chip.walks,
            sdram=STORES.index(chip.sdram),
            build_hash=build_hash,
            layers=(image.size, *chip.rows),
            image=(image.height, image.width, image.channels) if chip.convolves else (),
            windows=tuple(windows) if chip.convolves else (),
        )

    @classmethod
    def longest(cls) -> int:
        """Most bytes of an identity."""
        return struct.calcsize(cls.FORMAT) + 2 * 255 + struct.calcsize(cls.IMAGE) + 254 * struct.calcsize(cls.WINDOW)

    def pack(self) -> bytes:
        """The bytes on the link."""
        fixed = [getattr(self, field.name) for field in fields(self)[: -len(VARYING)]]
        widths = struct.pack(f"<{len(self.layers)}H", *self.layers)
        shape = struct.pack(self.IMAGE, *self.image) if self.image else b""
        windows = b"".join(struct.pack(self.WINDOW, *window) for window in self.windows)
        return struct.pack(self.FORMAT, *fixed, len(self.layers)) + widths + shape + windows

    @classmethod
    def unpack(cls, payload: bytes) -> Identity:
        """Inverse of :meth:`pack`. Raises :class:`ValueError` if ``payload`` has another size."""
        size = struct.calcsize(cls.FORMAT)
        widths = payload[size - 1] if len(payload) >= size else 0
        dense = size + 2 * widths
        convolving = dense + struct.calcsize(cls.IMAGE) + (widths - 1) * struct.calcsize(cls.WINDOW)
        if len(payload) != dense and (len(payload) != convolving or widths < 2):
            raise ValueError(f"{len(payload)} bytes are not an identity")
        *fixed, widths = struct.unpack_from(cls.FORMAT, payload)
        layers = struct.unpack_from(f"<{widths}H", payload, size)
        if len(payload) == dense:
            return cls(*fixed, layers)
        image = struct.unpack_from(cls.IMAGE, payload, dense)
        windows = tuple(struct.iter_unpack(cls.WINDOW, payload[dense + struct.calcsize(cls.IMAGE) :]))
        return cls(*fixed, layers, image, windows)

    def chip(self) -> ChipConfig:
        """The shape of the chip.

        Raises :class:`ConfigError` if this version does not know its rule, precision or SDRAM, or if its layers cannot
        be.
        """
        for name, known in (("rule", RULES), ("precision", PRECISIONS), ("sdram", STORES)):
            number = getattr(self, name)
            if number >= len(known):
                raise ConfigError(
                    f"chip: its {name} {number} is unknown to this version; rebuild the bitstream or update popflip"
                )
        limits = tuple(limit for *_, limit in self.windows)
        return ChipConfig(
            layers=self._items(),
            precision=PRECISIONS[self.precision],
            mmax=self.mmax,
            dclip=self.dclip,
            array_rows=self.array_rows,
            array_synapses=self.array_synapses,
            slots=self.slots,
            rule=RULES[self.rule],
            classes=self.classes,
            store_samples=self.store_samples,
            learn_rows=self.learn_rows,
            compact=self.compact,
            mmaxes=limits if len(set(limits)) > 1 else (),
            walks=self.walks,
            sdram=STORES[self.sdram],
        )

    def _items(self) -> tuple[int | str, ...]:
        """The network's layers as :class:`ChipConfig` takes them."""
        if not self.image:
            return self.layers
        items: list[Item] = [Planes(*self.image)]
        for rows, (kernel, stride, pool, _) in zip(self.layers[1:], self.windows, strict=True):
            items.append(Conv(rows, kernel, stride, pool) if kernel else rows)
        return plain(items)
