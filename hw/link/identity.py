"""The identity: a chip's own description of its shape, its answer to IDENTIFY."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

from popflip.golden.config import Precision, Rule
from popflip.golden.errors import ConfigError
from popflip.hw.config import ChipConfig
from popflip.hw.link.commands import PROTOCOL_VERSION, Field

RULES: tuple[Rule, ...] = (Rule.GFT, Rule.LBE)
"""Learning rules by their number on the link."""
PRECISIONS: tuple[Precision, ...] = (Precision.BINARY, Precision.TERNARY)
"""Precisions by their number on the link."""


@dataclass(frozen=True)
class Identity:
    """The shape a chip was built with. :attr:`FIELDS` describes each member.

    On the link the fixed fields come first, then ``layers``: a u16 for the inputs and one for each layer's neurons.
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
    build_hash: bytes
    layers: tuple[int, ...]

    FORMAT = "<4B6H3I?8sB"
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
        Field("build_hash", "8 bytes", "start of the SHA-256 of the chip's shape and sources"),
        Field("widths", "u8", "number of widths that follow"),
        Field("layers", "u16 each", "number of inputs, then of neurons in each layer"),
    )

    @classmethod
    def of(cls, chip: ChipConfig, buffer_bytes: int, clock_hz: int, build_hash: bytes) -> Identity:
        """The identity of ``chip``; ``clock_hz`` is 0 in simulation."""
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
            build_hash=build_hash,
            layers=chip.layers,
        )

    def pack(self) -> bytes:
        """The bytes on the link."""
        *fixed, layers = (getattr(self, field.name) for field in fields(self))
        return struct.pack(self.FORMAT, *fixed, len(layers)) + struct.pack(f"<{len(layers)}H", *layers)

    @classmethod
    def unpack(cls, payload: bytes) -> Identity:
        """Inverse of :meth:`pack`. Raises :class:`ValueError` if ``payload`` has another size."""
        size = struct.calcsize(cls.FORMAT)
        if len(payload) < size or len(payload) != size + 2 * payload[size - 1]:
            raise ValueError(f"{len(payload)} bytes are not an identity")
        *fixed, widths = struct.unpack_from(cls.FORMAT, payload)
        return cls(*fixed, struct.unpack_from(f"<{widths}H", payload, size))

    def chip(self) -> ChipConfig:
        """The shape of the chip. Raises :class:`ConfigError` if this version does not know its rule or precision."""
        for name, known in (("rule", RULES), ("precision", PRECISIONS)):
            number = getattr(self, name)
            if number >= len(known):
                raise ConfigError(
                    f"chip: its {name} {number} is unknown to this version; rebuild the bitstream or update popflip"
                )
        return ChipConfig(
            layers=self.layers,
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
        )
