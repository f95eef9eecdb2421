"""Numbers that the controller derives from a chip: sizes of payloads, and the content of the ROM."""

from __future__ import annotations

from popflip.golden.config import Rule
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import counter_bytes, weight_bytes
from popflip.hw.link.commands import SESSION_BYTES, Command
from popflip.hw.link.identity import Identity
from popflip.hw.registers import CYCLE_COUNTERS, registers, status_words

VALUE_BYTES = 4
"""Bytes of a register's value and of a status word."""
NONCE_BITS = 16
"""Bits of the session number that the chip takes part in: the upper half."""
SIGN = 0x80
"""Sign bit in the highest byte of a value."""


class Sizes:
    """Bytes and words of the commands' payloads, for one chip."""

    def __init__(self, chip: ChipConfig):
        self.weight_words = chip.weight_map.size
        self.counter_words = chip.counter_map.size
        self.memory = {
            Command.READ_WEIGHTS: self.weight_words,
            Command.WRITE_WEIGHTS: self.weight_words,
            Command.READ_COUNTERS: self.counter_words,
            Command.WRITE_COUNTERS: self.counter_words,
        }
        """Words of the memory that a command addresses."""
        self.item = {
            Command.CONFIGURE: 1 + VALUE_BYTES,
            Command.TRAIN: chip.label_bytes + chip.input_bytes,
            Command.INFER: chip.input_bytes,
            Command.WRITE_WEIGHTS: weight_bytes(chip),
            Command.WRITE_COUNTERS: counter_bytes(chip),
        }
        """Bytes of a request's item, at least; those of packed samples vary."""
        self.answer = {
            Command.IDENTIFY: 1,
            Command.INFER: chip.label_bytes,
            Command.READ_WEIGHTS: weight_bytes(chip),
            Command.READ_COUNTERS: counter_bytes(chip),
            Command.STATUS: VALUE_BYTES,
            Command.CYCLES: VALUE_BYTES,
            Command.SIGNATURE: VALUE_BYTES,
        }
        """Bytes of the answer for each item or word."""
        self.unit = {
            **self.answer,
            **self.item,
            Command.CONFIGURE: VALUE_BYTES,
            Command.TRAIN: chip.input_bytes,
        }
        """Bytes that the second pass moves as one unit: a word, a value, a sample or its inputs."""
        self.labelled = [Command.TRAIN]
        """Commands whose items begin with a label."""
        if chip.packs:
            self.item |= {
                Command.TRAIN_PACKED: chip.size_bytes + chip.label_bytes + 1,
                Command.INFER_PACKED: chip.size_bytes + 1,
            }
            self.answer[Command.INFER_PACKED] = chip.label_bytes
        if chip.store_samples:
            self._add_store(chip)
        if chip.walks:
            self.answer[Command.INFER_SET] = chip.label_bytes
            if chip.rule == Rule.GFT:
                self.item[Command.TRAIN_SET] = VALUE_BYTES * chip.depth
                self.unit[Command.TRAIN_SET] = VALUE_BYTES

    def _add_store(self, chip: ChipConfig) -> None:
        self.memory[Command.STORE] = chip.store_samples
        self.item[Command.TRAIN_STORED] = self.unit[Command.TRAIN_STORED] = chip.number_bytes
        if chip.packs:
            self.item[Command.STORE] = self.item[Command.TRAIN_PACKED]
        else:
            self.labelled.append(Command.STORE)
            self.item[Command.STORE] = self.unit[Command.STORE] = chip.sample_bytes


class Rom:
    """The range of each register, then the identity. Also the words that IDENTIFY and the status commands send.

    A range is four entries at ``4·index``, highest byte of the limits first: the low limit's byte in bits 0 … 7, the
    high limit's in bits 8 … 15. Limits of signed registers have their sign bit inverted, so that unsigned comparison
    orders them.
    """

    def __init__(self, chip: ChipConfig, identity: Identity):
        known = registers(chip)
        self.indices = {register.name: index for index, register in enumerate(known)}
        """Index of each register by name."""
        self.signed = [index for index, register in enumerate(known) if register.signed]
        """Indices of the signed registers."""
        self.content: list[int] = []
        for register in known:
            bias = SIGN << 8 * (VALUE_BYTES - 1) if register.signed else 0
            low, high = (
                ((limit + bias) % 2**32).to_bytes(VALUE_BYTES, "big") for limit in (register.low, register.high)
            )
            self.content += [a | b << 8 for a, b in zip(low, high, strict=True)]
        start = len(self.content)
        self.content += bytes(SESSION_BYTES) + identity.pack()  # the sender replaces the first bytes

        names = [word.name for word in status_words(chip)]
        cycles, signature = names.index(CYCLE_COUNTERS[0].name), names.index("signature")
        self.ranges = {
            Command.IDENTIFY: range(start, len(self.content)),
            Command.STATUS: range(len(names)),
            Command.CYCLES: range(cycles, cycles + len(CYCLE_COUNTERS)),
            Command.SIGNATURE: range(signature, signature + 1),
        }
        """Addresses that a command reads: of this ROM for IDENTIFY, of status words for the others."""
        self.end = max(words.stop for words in self.ranges.values())
