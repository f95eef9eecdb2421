"""Signatures of the memories: inputs and activations of the samples on the chip, weights, counters.

Directions are the initiator's.
"""

from __future__ import annotations

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.config import ChipConfig
from popflip.hw.layouts import activation_words, counter_word, input_word, weight_word
from popflip.hw.memory.spram import SPRAM_WORDS

# Samples --------------------------------------------------------------------------------------------------------------


class InputReadSignature(wiring.Signature):
    """Reads a nonzero word of a sample: request in one cycle, data in the next, held until the next request."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "en": Out(1),
                "slot": Out(range(chip.slots)),
                "position": Out(range(chip.words[0])),
                "data": In(input_word(chip)),
            }
        )


class InputWriteSignature(wiring.Signature):
    """Writes a nonzero word of a sample, in a cycle with ``write`` and ``ready``."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "write": Out(1),
                "ready": In(1),
                "slot": Out(range(chip.slots)),
                "position": Out(range(chip.words[0])),
                "data": Out(input_word(chip)),
            }
        )


class ActivationReadSignature(wiring.Signature):
    """Reads activations: request in one cycle, data in the next, held until the next request.

    A read returns ``words`` words side by side, a power of two; ``word`` is one of them. In ``active``, bit 1 is +1 and
    bit 0 is −1. ``in_window`` (GFT) is 1 where |v| ≤ WINDOW. Lanes past the layer's neurons are undefined.
    """

    def __init__(self, chip: ChipConfig, words: int = 1):
        super().__init__(
            {
                "en": Out(1),
                "slot": Out(range(chip.slots)),
                "word": Out(range(max(1, activation_words(chip)))),
                "active": In(words * chip.array_synapses),
                "in_window": In(words * chip.array_synapses),
            }
        )


class ActivationWriteSignature(wiring.Signature):
    """Writes ``P`` neurons at the end of a cycle in which ``write`` is high.

    They are neurons ``part·P … part·P + P−1`` of a word of ``max(P, N)``. ``word`` counts words of ``N``; where P > N,
    its low bits are ignored.
    """

    def __init__(self, chip: ChipConfig):
        rows = chip.array_rows
        super().__init__(
            {
                "write": Out(1),
                "slot": Out(range(chip.slots)),
                "word": Out(range(max(1, activation_words(chip)))),
                "part": Out(range(max(1, chip.array_synapses // rows))),
                "active": Out(rows),
                "in_window": Out(rows),
            }
        )


# Weights and counters -------------------------------------------------------------------------------------------------


def _together(chip: ChipConfig, word: data.ArrayLayout) -> dict:
    """With Pc > 1, member ``read_rows``: the words of ``Pc`` neighbouring rows, one a counter bank, the requested one
    among them."""
    return {"read_rows": In(data.ArrayLayout(word, chip.learn_rows))} if chip.learn_rows > 1 else {}


class WeightRowSignature(wiring.Signature):
    """Reads and writes the weight words of single rows.

    A request is taken in the cycle in which ``read`` is high; ``read_data`` follows :attr:`.ChipConfig.read_latency`
    cycles later and stays until the data of the next request by any initiator. A write lands at the end of its cycle; a
    read of the same word in that cycle returns the old value. Banks and addresses: :attr:`.ChipConfig.weight_map`.
    """

    def __init__(self, chip: ChipConfig):
        address, bank = range(chip.weight_map.depth), range(chip.array_rows)
        super().__init__(
            {
                "read": Out(1),
                "read_address": Out(address),
                "read_bank": Out(bank),
                "read_data": In(weight_word(chip)),
                **_together(chip, weight_word(chip)),
                "write": Out(1),
                "write_address": Out(address),
                "write_bank": Out(bank),
                "write_data": Out(weight_word(chip)),
            }
        )


class ArrayReadSignature(wiring.Signature):
    """The MAC array's reads: the word at ``address`` of all ``P`` banks, :attr:`.ChipConfig.read_latency` cycles later.

    One request a cycle. A row request (:class:`WeightRowSignature`) takes precedence: the array repeats a request made
    in a cycle in which ``row.read`` is high.
    """

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "read": Out(1),
                "address": Out(range(chip.weight_map.array_depth)),
                "data": In(data.ArrayLayout(weight_word(chip), chip.array_rows)),
            }
        )


class BiasReadSignature(wiring.Signature):
    """Reads the biases of a group of ``P`` rows of the first layer: request in one cycle, data in the next, held until
    the next request."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "en": Out(1),
                "group": Out(range(chip.groups[0])),
                "data": In(data.ArrayLayout(chip.weight_bits, chip.array_rows)),
            }
        )


class CounterBankSignature(wiring.Signature):
    """Reads and writes the words of one counter bank, timed as in :class:`WeightRowSignature`. On serial chips, errors
    lie behind the counters."""

    def __init__(self, chip: ChipConfig):
        address = range(SPRAM_WORDS if chip.serial else chip.counter_map.depth)
        super().__init__(
            {
                "read": Out(1),
                "read_address": Out(address),
                "read_data": In(counter_word(chip)),
                "write": Out(1),
                "write_address": Out(address),
                "write_data": Out(counter_word(chip)),
            }
        )


class CounterBanksSignature(wiring.Signature):
    """All counter banks at once: ``bank0`` …"""

    def __init__(self, chip: ChipConfig):
        super().__init__({f"bank{index}": Out(CounterBankSignature(chip)) for index in range(chip.learn_rows)})


class CounterSignature(wiring.Signature):
    """Reads and writes single words of counters, timed as in :class:`WeightRowSignature`."""

    def __init__(self, chip: ChipConfig):
        bank = range(chip.learn_rows)
        super().__init__(
            {
                **CounterBankSignature(chip).members,
                "read_bank": Out(bank),
                "write_bank": Out(bank),
                **_together(chip, counter_word(chip)),
            }
        )


class StateSignature(wiring.Signature):
    """All state of a learning engine, a word at a time: ``weights`` and ``counters``."""

    def __init__(self, chip: ChipConfig):
        super().__init__({"weights": Out(WeightRowSignature(chip)), "counters": Out(CounterSignature(chip))})
