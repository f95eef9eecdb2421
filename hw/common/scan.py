"""Scan: reads a layer's words in scan order (row, then word), the order all random numbers and ties go by; or, as LBE
teaches, the words of one row."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Signal
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


def position_layout(chip: ChipConfig) -> data.StructLayout:
    """Where a word lies (:mod:`popflip.hw.memory_map`).

    ``piece`` : which of the ``32/N`` N-synapse words of a 32-synapse word it is (0 if N ≥ 32). ``last_of_mask`` : it is
    the last one of them that exists. ``last_of_row``, ``last`` (of the layer) : nothing follows.
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
    """What is to be worked on: a ``layer``; LBE: with ``single`` the row ``row`` of it, else all of it (``row`` 0)."""
    row = {"row": range(max(chip.rows)), "single": 1} if chip.rule == Rule.LBE else {}
    return data.StructLayout({"layer": range(chip.depth), **row})


def data_layout(chip: ChipConfig) -> data.StructLayout:
    """What is read of a word: ``weights`` (LBE: instead ``inputs``, 1 is +1) and ``counters``."""
    read = {"weights": weight_word(chip)} if chip.rule == Rule.GFT else {"inputs": chip.array_synapses}
    return data.StructLayout({**read, "counters": counter_word(chip)})


def word_layout(chip: ChipConfig) -> data.StructLayout:
    """A word that was read: its ``position``, and all of :func:`data_layout`."""
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
    """Every word of a layer or a row, once for each ``start``.

    Members
    -------
    ``start`` : In(stream of :func:`place_layout`)
        Taken once the last word of the one before was requested.
    ``read`` : Out(1), ``weight_address``, ``weight_bank``, ``counter_address``, ``counter_bank``, ``word`` : Out
        Request of a word: where it lies, and its number in the row.
    ``data`` : In(:func:`data_layout`)
        What was asked for, :attr:`.ChipConfig.read_latency` cycles later, until the data of the next request.
    ``o`` : Out(stream of :func:`word_layout`)
    ``flowing`` : In(1)
        On a compact chip: words are taken in the cycle in which they are offered. If not, each is requested after the
        one before it was taken, so that it may be written in that cycle.

    Latency :attr:`latency` cycles from a start to its first word; then a word every cycle. In fast chips words pass a
    queue, which takes what becomes of them out of the path of requests.
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
        pieces = max(1, WORD // chip.array_synapses)

        running = Signal()
        layer = Signal(range(chip.depth))
        row = Signal(range(max(*chip.rows, chip.array_rows)))
        word = self.word
        place = self.start.payload
        row_weights = Signal(range(chip.weight_map.depth))  # address of the row's first word
        row_counters = Signal(range(chip.counter_map.depth))
        single = Signal() if chip.rule == Rule.LBE else Const(0)

        position = Signal(position_layout(chip))
        last_of_row = Signal()
        m.d.comb += [
            position.weight_address.eq(self.weight_address),
            position.weight_bank.eq(self.weight_bank),
            position.counter_address.eq(self.counter_address),
            position.counter_bank.eq(self.counter_bank),
            position.piece.eq(word),
            # Not from one member of ``position`` to another: simulators that keep it in one piece would see a loop.
            last_of_row.eq(word == of_layer(layer, [words - 1 for words in chip.words])),
            position.last_of_row.eq(last_of_row),
            position.last_of_mask.eq(last_of_row | (word[: exact_log2(pieces)] == pieces - 1)),
            position.last.eq(last_of_row & (single | (row == of_layer(layer, [rows - 1 for rows in chip.rows])))),
            self.weight_bank.eq(row),
            self.counter_bank.eq(row),
        ]
        next_row = Signal.like(row_counters)  # of the bank's counters
        m.d.comb += next_row.eq(row_counters + (self.counter_bank == chip.learn_rows - 1))

        room = Signal()  # for another word
        read_valid, read_ready = Signal(), Signal()
        read_position = Signal(position_layout(chip))
        m.d.comb += [self.read.eq(running & room), self.start.ready.eq(~running)]
        with m.If(self.read):
            m.d.sync += [read_valid.eq(1), read_position.eq(position), running.eq(~position.last)]
            with m.If(position.last_of_row):
                m.d.sync += [
                    word.eq(0),
                    row.eq(row + 1),
                    row_counters.eq(next_row),
                    self.counter_address.eq(next_row),
                    self.weight_address.eq(row_weights),
                ]
                with m.If(self.weight_bank == chip.array_rows - 1):
                    m.d.sync += [address.eq(self.weight_address + 1) for address in (row_weights, self.weight_address)]
            with m.Else():
                m.d.sync += [
                    word.eq(word + 1),
                    self.counter_address.eq(self.counter_address + of_layer(layer, chip.counter_map.word_stride)),
                    self.weight_address.eq(self.weight_address + 1),
                ]
        with m.Elif(read_ready):
            m.d.sync += read_valid.eq(0)
        with m.If(self.start.valid & self.start.ready):
            weights = of_layer(place.layer, chip.weight_map.base)
            counters = of_layer(place.layer, chip.counter_map.base)
            first_row = 0
            if chip.rule == Rule.LBE:
                first_row = place.row
                group = first_row >> exact_log2(chip.array_rows)
                weights += of_layer(place.layer, [times(group, stride) for stride in chip.weight_map.row_stride])
                counters += first_row
                m.d.sync += single.eq(place.single)
            m.d.sync += [
                running.eq(1),
                layer.eq(place.layer),
                row.eq(first_row),
                word.eq(0),
                row_weights.eq(weights),
                self.weight_address.eq(weights),
                row_counters.eq(counters),
                self.counter_address.eq(counters),
            ]

        read_word = Signal(word_layout(chip))
        m.d.comb += [
            read_word.position.eq(delayed(m, read_position, chip.read_latency - 1)),
            *(read_word[name].eq(self.data[name]) for name, _ in data_layout(chip)),
        ]
        if not chip.pipelined:
            m.d.comb += [
                room.eq(~read_valid | (self.flowing if chip.compact else self.o.ready)),
                read_ready.eq(self.o.ready),
                self.o.valid.eq(read_valid),
                self.o.payload.eq(read_word),
            ]
            return m

        # As many words may be on their way as keep it busy, and no request waits on what becomes of one in its cycle.
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
        return m


class BlockScan(wiring.Component):
    """Requests of all words of a layer, those of ``Pc`` rows at a time, in the order of the counters' addresses.

    Members
    -------
    ``start`` : In(stream of range(L))
        A layer; taken once the last block of the one before was requested.
    ``read`` : Out(1), ``weight_address``, ``weight_bank``, ``counter_address`` : Out
        Request of the block that begins with that row.
    ``valid`` : Out(1), ``last`` : Out(1)
        A block's data are here, the layer's last ones.

    A block every cycle.
    """

    def __init__(self, chip: ChipConfig):
        self.chip = chip
        super().__init__(
            {
                "start": In(stream.Signature(range(chip.depth))),
                "read": Out(1),
                "weight_address": Out(range(chip.weight_map.depth)),
                "weight_bank": Out(range(chip.array_rows)),
                "counter_address": Out(range(chip.counter_map.depth)),
                "valid": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        chip = self.chip
        shift = exact_log2(chip.learn_rows)
        running, last = Signal(), Signal()
        layer = Signal(range(chip.depth))
        block = Signal(range(max(chip.counter_map.bank_rows)))  # of the word's
        left = Signal(range(max(chip.words)))  # words
        first = Signal(range(chip.weight_map.depth))  # address of the word's first block
        ends_word = block == of_layer(layer, [rows - 1 for rows in chip.counter_map.bank_rows])
        m.d.comb += [
            self.read.eq(running),
            self.start.ready.eq(~running),
            self.weight_bank.eq(block << shift),
            last.eq(running & ends_word & (left == 0)),
            self.valid.eq(delayed(m, running, chip.read_latency)),
            self.last.eq(delayed(m, last, chip.read_latency)),
        ]
        with m.If(running):
            m.d.sync += [self.counter_address.eq(self.counter_address + 1), block.eq(block + 1), running.eq(~last)]
            with m.If(ends_word):
                m.d.sync += [block.eq(0), left.eq(left - 1), first.eq(first + 1), self.weight_address.eq(first + 1)]
            with m.Elif(self.weight_bank == chip.array_rows - chip.learn_rows):
                m.d.sync += self.weight_address.eq(self.weight_address + of_layer(layer, chip.weight_map.row_stride))
        with m.Elif(self.start.valid):
            m.d.sync += [
                running.eq(1),
                layer.eq(self.start.payload),
                block.eq(0),
                left.eq(of_layer(self.start.payload, [words - 1 for words in chip.words])),
                first.eq(of_layer(self.start.payload, chip.weight_map.base)),
                self.weight_address.eq(of_layer(self.start.payload, chip.weight_map.base)),
                self.counter_address.eq(of_layer(self.start.payload, chip.counter_map.base)),
            ]
        return m
