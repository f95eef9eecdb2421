"""Scan: reads the words of a layer, or of one row, in scan order: row by row, then word by word.

The rules draw random numbers and break ties in this order.
"""

from __future__ import annotations

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from popflip.golden.config import WORD, Rule
from popflip.hw.config import ChipConfig
from popflip.hw.layouts import counter_word, weight_word
from popflip.hw.lib.lookup import of_layer, times
from popflip.hw.lib.stream import RegisteredQueue, delayed


def most_synapses(chip: ChipConfig) -> int:
    """Synapses of the largest layer."""
    return max(rows * synapses for rows, synapses in zip(chip.rows, chip.synapses, strict=True))


def scans_rows(chip: ChipConfig) -> bool:
    """Whether a scan may read a single row, with a sample's inputs in place of weights (LBE)."""
    return chip.rule == Rule.LBE


def position_layout(chip: ChipConfig) -> data.StructLayout:
    """The place of a word in memory (:mod:`popflip.hw.memory_map`) and in the scan.

    ``piece`` : number of the N-synapse word within its 32-synapse word; 0 if N ≥ 32. ``last_of_mask``, ``last_of_row``,
    ``last`` : it is the last word of its 32-synapse word, of its row, of the scan.
    """
    return data.StructLayout(
        {
            "weight_address": range(chip.weight_map.depth),
            "weight_bank": range(chip.array_rows),
            "counter_address": range(chip.counter_map.depth),
            "counter_bank": range(chip.learn_rows),
            "piece": range(max(1, WORD // chip.array_synapses)),
            "last_of_mask": 1,
            "last_of_row": 1,
            "last": 1,
        }
    )


def place_layout(chip: ChipConfig) -> data.StructLayout:
    """A request to scan ``layer``. LBE: with ``single``, only its row ``row``; without, all of it, with ``row`` 0."""
    row = {"row": range(max(chip.rows)), "single": 1} if scans_rows(chip) else {}
    return data.StructLayout({"layer": range(chip.depth), **row})


def data_layout(chip: ChipConfig) -> data.StructLayout:
    """The data of a word: ``weights`` and ``counters``. LBE: ``inputs`` in place of weights; bit 1 is +1."""
    read = {"inputs": chip.array_synapses} if scans_rows(chip) else {"weights": weight_word(chip)}
    return data.StructLayout({**read, "counters": counter_word(chip)})


def word_layout(chip: ChipConfig) -> data.StructLayout:
    """A word: its ``position`` and all members of :func:`data_layout`."""
    members = {name: field.shape for name, field in data_layout(chip)}
    return data.StructLayout({"position": position_layout(chip), **members})


class WriteSignature(wiring.Signature):
    """A word of weights and one of counters, to be written at the end of a cycle in which ``write`` is high."""

    def __init__(self, chip: ChipConfig):
        super().__init__(
            {
                "write": Out(1),
                "weight_address": Out(range(chip.weight_map.depth)),
                "weight_bank": Out(range(chip.array_rows)),
                "counter_address": Out(range(chip.counter_map.depth)),
                "counter_bank": Out(range(chip.learn_rows)),
                "weights": Out(weight_word(chip)),
                "counters": Out(counter_word(chip)),
            }
        )


class Scan(wiring.Component):
    """Reads every word of a layer or a row, once for each ``start``.

    Members
    -------
    ``start`` : In(stream of :func:`place_layout`)
        Taken when the last word of the previous scan has been requested.
    ``read`` : Out(1), ``weight_address``, ``weight_bank``, ``counter_address``, ``counter_bank``, ``word`` : Out
        Requests a word, by its place in memory; ``word`` is its number in the row.
    ``data`` : In(:func:`data_layout`)
        The data, :attr:`.ChipConfig.read_latency` cycles after the request; stable until those of the next request.
    ``o`` : Out(stream of :func:`word_layout`)
    ``flowing`` : In(1)
        Compact chips. High: the consumer takes each word in the cycle in which the scan offers it. Low: the scan
        requests a word only after the previous one was taken, which leaves the memory a cycle to write that one.

    Latency :attr:`latency` cycles from a start to its first word; then a word every cycle. On pipelined chips words
    pass a queue, so that requests do not depend on ``o.ready`` in the same cycle.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        self.latency = chip.read_latency + 1 + chip.pipelined
        super().__init__(
            {
                "start": In(stream.Signature(place_layout(chip))),
                "read": Out(1),
                "weight_address": Out(range(chip.weight_map.depth)),
                "weight_bank": Out(range(chip.array_rows)),
                "counter_address": Out(range(chip.counter_map.depth)),
                "counter_bank": Out(range(chip.learn_rows)),
                "word": Out(range(max(chip.words))),
                "data": In(data_layout(chip)),
                "o": Out(stream.Signature(word_layout(chip))),
                "flowing": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        self.running = Signal()
        self.layer = Signal(range(chip.depth))
        self.row = Signal(range(max(*chip.rows, chip.array_rows)))
        self.row_weights = Signal(range(chip.weight_map.depth))  # address of the row's first word
        self.row_counters = Signal(range(chip.counter_map.depth))
        self.single = Signal() if scans_rows(chip) else Const(0)
        position = self._locate(m)
        next_row = Signal.like(self.row_counters)  # of the bank's counters
        m.d.comb += next_row.eq(self.row_counters + (self.counter_bank == chip.learn_rows - 1))

        room = Signal()  # for another word
        read_valid, read_ready = Signal(), Signal()
        read_position = Signal(position_layout(chip))
        m.d.comb += [self.read.eq(self.running & room), self.start.ready.eq(~self.running)]
        with m.If(self.read):
            m.d.sync += [read_valid.eq(1), read_position.eq(position), self.running.eq(~position.last)]
            self._advance(m, position, next_row)
        with m.Elif(read_ready):
            m.d.sync += read_valid.eq(0)
        with m.If(self.start.valid & self.start.ready):
            self._begin(m)

        read_word = Signal(word_layout(chip))
        m.d.comb += [
            read_word.position.eq(delayed(m, read_position, chip.read_latency - 1)),
            *(read_word[name].eq(self.data[name]) for name, _ in data_layout(chip)),
        ]
        if chip.pipelined:
            self._queue(m, read_valid, read_ready, read_word, room)
        else:
            m.d.comb += [
                room.eq(~read_valid | (self.flowing if chip.compact else self.o.ready)),
                read_ready.eq(self.o.ready),
                self.o.valid.eq(read_valid),
                self.o.payload.eq(read_word),
            ]
        return m

    def _locate(self, m: Module) -> data.View:
        """The position of the word to be requested next."""
        chip, layer, word = self.chip, self.layer, self.word
        pieces = max(1, WORD // chip.array_synapses)
        position = Signal(position_layout(chip))
        last_of_row = Signal()
        last_row = self.single | (self.row == of_layer(layer, [rows - 1 for rows in chip.rows]))
        m.d.comb += [
            position.weight_address.eq(self.weight_address),
            position.weight_bank.eq(self.weight_bank),
            position.counter_address.eq(self.counter_address),
            position.counter_bank.eq(self.counter_bank),
            position.piece.eq(word),
            # A signal of its own: simulators that keep ``position`` in one piece would see a combinational loop.
            last_of_row.eq(word == of_layer(layer, [words - 1 for words in chip.words])),
            position.last_of_row.eq(last_of_row),
            position.last_of_mask.eq(last_of_row | (word[: exact_log2(pieces)] == pieces - 1)),
            position.last.eq(last_of_row & last_row),
            self.weight_bank.eq(self.row),
            self.counter_bank.eq(self.row),
        ]
        return position

    def _advance(self, m: Module, position: data.View, next_row: Value) -> None:
        """Go to the next word of the row, or to the next row."""
        chip = self.chip
        with m.If(position.last_of_row):
            m.d.sync += [
                self.word.eq(0),
                self.row.eq(self.row + 1),
                self.row_counters.eq(next_row),
                self.counter_address.eq(next_row),
                self.weight_address.eq(self.row_weights),
            ]
            with m.If(self.weight_bank == chip.array_rows - 1):
                next_group = self.weight_address + 1
                m.d.sync += [self.row_weights.eq(next_group), self.weight_address.eq(next_group)]
        with m.Else():
            word_stride = of_layer(self.layer, chip.counter_map.word_stride)
            m.d.sync += [
                self.word.eq(self.word + 1),
                self.counter_address.eq(self.counter_address + word_stride),
                self.weight_address.eq(self.weight_address + 1),
            ]

    def _begin(self, m: Module) -> None:
        """Go to the first word of a layer, or of a row."""
        chip, place = self.chip, self.start.payload
        weights = of_layer(place.layer, chip.weight_map.base)
        counters = of_layer(place.layer, chip.counter_map.base)
        row = 0
        if scans_rows(chip):
            row = place.row
            group = row >> exact_log2(chip.array_rows)
            weights += of_layer(place.layer, [times(group, stride) for stride in chip.weight_map.row_stride])
            counters += row
            m.d.sync += self.single.eq(place.single)
        m.d.sync += [
            self.running.eq(1),
            self.layer.eq(place.layer),
            self.row.eq(row),
            self.word.eq(0),
            self.row_weights.eq(weights),
            self.weight_address.eq(weights),
            self.row_counters.eq(counters),
            self.counter_address.eq(counters),
        ]

    def _queue(self, m: Module, read_valid: Value, read_ready: Signal, read_word: Value, room: Signal) -> None:
        """Keep enough words in flight to request one every cycle; no request depends on ``o`` in the same cycle."""
        chip = self.chip
        most = chip.read_latency + RegisteredQueue.latency + 1
        m.submodules.queue = queue = RegisteredQueue(word_layout(chip), most)
        connect(m, queue.o, flipped(self.o))
        under_way = Signal(range(most + 1))
        m.d.comb += [
            room.eq(under_way != most),
            read_ready.eq(1),
            queue.i.valid.eq(delayed(m, read_valid, chip.read_latency - 1)),
            queue.i.payload.eq(read_word),
        ]
        m.d.sync += under_way.eq(under_way + self.read - (self.o.valid & self.o.ready))
