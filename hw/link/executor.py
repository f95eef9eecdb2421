"""Second pass over a request, into the chip: samples, registers, words of memory, commands."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from popflip.hw.link.commands import Command
from popflip.hw.link.datapath import Datapath
from popflip.hw.link.samples import SampleBytes
from popflip.hw.link.walk import Walk

FIRST_STATE = {
    Command.CONFIGURE: "REGISTER",
    Command.TRAIN: "LABEL",
    Command.WRITE_WEIGHTS: "COLLECT",
    Command.WRITE_COUNTERS: "COLLECT",
    Command.STORE: "COLLECT",
    Command.TRAIN_STORED: "POSITION",
    Command.TRAIN_PACKED: "SIZE",
}
"""Where the second pass begins for requests with items. INFER and INFER_PACKED first send the answer's header. STORE
begins with a size on chips that pack."""


class Executor:
    """The states that apply an accepted request. The reader's mark follows its cursor and frees the buffer."""

    def __init__(self, m: Module, datapath: Datapath, samples: SampleBytes, walk: Walk | None = None):
        self.m, self.datapath, self.samples, self.walk = m, datapath, samples, walk
        self.chip, self.reader, self.trainer = datapath.chip, datapath.reader, datapath.trainer

    def begin(self) -> None:
        """Within ACCEPT: the first state of the second pass."""
        m, datapath = self.m, self.datapath
        with m.Switch(datapath.command):
            with m.Case(Command.RESET):
                m.next = "WRITE"
            with m.Case(Command.END_BATCH):
                m.next = "COMMAND"
            if self.chip.walks:
                with m.Case(Command.TRAIN_SET):
                    m.next = "WALK"
            for key in filter(FIRST_STATE.__contains__, datapath.commands):
                with m.Case(key):
                    m.next = "SIZE" if key == Command.STORE and self.chip.packs else FIRST_STATE[key]
                    with m.If(datapath.count == 0):
                        m.next = "ANSWER"
            with m.Default():
                m.next = "ANSWER"

    def add_states(self) -> None:
        """The states, those of samples first."""
        if self.chip.store_samples:
            self._position()
        if self.walk is not None:
            self._walk(self.walk)
        if self.chip.packs:
            self._size()
        self._label()
        self._feed()
        self._write()
        self._command()

    # Samples ----------------------------------------------------------------------------------------------------------

    def _position(self) -> None:
        """The position of a stored sample, and the request of its first byte."""
        m, datapath = self.m, self.datapath
        with m.State("POSITION"):
            m.d.comb += [self.reader.mark.eq(1), self.reader.step.eq(1), datapath.shift.eq(1), datapath.next_byte.eq(1)]
            m.d.sync += datapath.address.eq(Cat(datapath.word[-8 * (self.chip.number_bytes - 1) :], self.reader.data))
            with m.If(datapath.last_byte):
                m.next = "REQUEST"

        with m.State("REQUEST"):
            m.d.comb += datapath.store.numbers.valid.eq(1)
            with m.If(datapath.store.numbers.ready):
                m.next = "LABEL"

    def _walk(self, walk: Walk) -> None:
        """The chip's own order: start it, and between two pieces set the registers ``k`` and end the batch."""
        m, datapath = self.m, self.datapath
        with m.State("WALK"):
            m.d.comb += walk.order.start.valid.eq(1)
            m.d.sync += walk.left.eq(walk.piece)
            with m.If(walk.order.start.ready):
                m.next = "LABEL"

        with m.State("SCHEDULE"):
            m.d.sync += [walk.left.eq(walk.piece), datapath.register_index.eq(walk.first_k)]
            with m.If(datapath.count == 0):
                m.next = "ANSWER"
            with m.Elif(self.trainer.idle):
                m.next = "COLLECT"

    def _size(self) -> None:
        """The size of a packed sample."""
        m, datapath, reader, size = self.m, self.datapath, self.reader, self.samples.size
        second_size_byte = Signal()
        with m.State("SIZE"):
            taken = self._written()
            m.d.comb += [reader.mark.eq(1), reader.step.eq(taken)]
            m.d.sync += datapath.bytes_left.eq(reader.data)
            if self.chip.size_bytes == 2:
                with m.If(taken):
                    m.d.sync += [size.eq(Cat(size[8:], reader.data)), second_size_byte.eq(~second_size_byte)]
                m.d.sync += datapath.bytes_left.eq(Cat(size[8:], reader.data))
            with m.If(taken & (second_size_byte == self.chip.size_bytes - 1)):
                m.next = "LABEL"
                with m.If(datapath.infers):
                    m.next = "FEED"
                if self.chip.store_samples:
                    with m.If(datapath.command == Command.STORE):
                        m.next = "COLLECT"

    def _written(self) -> Value:
        """Offer the reader's byte to the store, if the command stores. Whether the byte is taken."""
        if not self.chip.store_samples:
            return Const(1)
        stores, written = self.datapath.command == Command.STORE, self.datapath.store.written
        self.m.d.comb += written.valid.eq(stores)
        return ~stores | written.ready

    def _label(self) -> None:
        m, datapath, reader, samples = self.m, self.datapath, self.reader, self.samples
        with m.State("LABEL"):
            m.d.comb += [
                reader.mark.eq(1),
                reader.step.eq(~samples.stored),
                datapath.next_byte.eq(samples.in_sizes),
            ]
            if self.chip.store_samples:
                m.d.comb += datapath.store.samples.ready.eq(samples.stored)
            with m.If(samples.valid):
                m.d.sync += datapath.label.eq(Cat(datapath.label[8:], samples.byte))
                if self.chip.label_bytes == 2:
                    m.d.sync += datapath.second_byte.eq(~datapath.second_byte)
                    with m.If(datapath.second_byte):
                        m.next = "FEED"
                else:
                    m.next = "FEED"

    def _feed(self) -> None:
        """The bytes of a sample, one a cycle."""
        m, datapath, reader, samples = self.m, self.datapath, self.reader, self.samples
        stream, stored, last = self.trainer.samples.stream, samples.stored, samples.last
        used_bits = 8 - -self.chip.inputs % 8  # of the last byte
        with m.State("FEED"):
            m.d.comb += [
                reader.mark.eq(1),
                stream.valid.eq(samples.valid),
                stream.payload.eq(samples.byte & Mux(samples.padded, 2**used_bits - 1, 0xFF)),
            ]
            if self.chip.store_samples:
                m.d.comb += datapath.store.samples.ready.eq(stored & stream.ready)
            with m.If(samples.valid & stream.ready):
                m.d.comb += [reader.step.eq(~stored), datapath.next_byte.eq(~stored)]
                with m.If(last):
                    m.d.comb += datapath.count_down.eq(~samples.walked)
                    with m.If(datapath.command == Command.TRAIN):
                        m.next = "LABEL"
                    if self.chip.store_samples:
                        with m.If(stored):
                            m.next = "POSITION"
                    if self.chip.packs:
                        with m.If(samples.in_sizes):
                            m.next = "SIZE"
                    with m.If(datapath.count == 1):
                        m.next = "ANSWER"
                        with m.If(datapath.infers):
                            m.next = "IDLE" if self.chip.pipelined else "DRAIN"
                    if self.walk is not None:
                        self._walk_on(self.walk)

    def _walk_on(self, walk: Walk) -> None:
        """Within FEED, after the last byte of a sample of the chip's own order."""
        m = self.m
        with m.If(self.samples.walked):
            m.d.sync += walk.left.eq(walk.left - 1)
            m.next = "LABEL"
            with m.If(walk.left == 1):
                m.next = "SCHEDULE"
                with m.If(self.datapath.infers):
                    m.next = "IDLE" if self.chip.pipelined else "DRAIN"

    # Registers, words and commands ------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Registers and words of memory, collected in ``word``; samples into the store."""
        m, datapath, reader = self.m, self.datapath, self.reader
        state = self.trainer.state
        with m.State("REGISTER"):
            m.d.comb += [reader.mark.eq(1), reader.step.eq(1)]
            m.d.sync += datapath.register_index.eq(reader.data)
            m.next = "COLLECT"

        with m.State("COLLECT"):
            taken, ends = self._written(), self.samples.item_ends
            m.d.comb += [reader.mark.eq(1), reader.step.eq(taken), datapath.shift.eq(1), datapath.next_byte.eq(taken)]
            if self.chip.store_samples:
                m.d.comb += datapath.store.written.payload.last.eq(ends)
            with m.If(taken & ends):
                m.next = "WRITE"

        with m.State("WRITE"):
            m.d.comb += [
                state.weights.write.eq(datapath.command == Command.WRITE_WEIGHTS),
                state.counters.write.eq(datapath.command == Command.WRITE_COUNTERS),
                self.trainer.register.write.eq(datapath.is_one_of(Command.CONFIGURE, Command.RESET)),
                datapath.count_down.eq(1),
                datapath.next_address.eq(1),
            ]
            m.next = "COLLECT"
            with m.If(datapath.command == Command.CONFIGURE):
                m.next = "REGISTER"
            if self.chip.store_samples and self.chip.packs:
                with m.If(datapath.command == Command.STORE):
                    m.next = "SIZE"
            with m.If(datapath.command == Command.RESET):
                m.next = "COMMAND"
            with m.Elif(datapath.count == 1):
                m.next = "ANSWER"
            if self.walk is not None and self.walk.ends_batches:
                self._schedule(self.walk)

    def _schedule(self, walk: Walk) -> None:
        """Within WRITE, a register ``k`` of TRAIN_SET: the next one follows, or the end of the batch."""
        m, datapath = self.m, self.datapath
        with m.If(walk.trains):
            last = datapath.register_index == walk.last_k
            m.d.comb += [self.trainer.register.write.eq(1), datapath.count_down.eq(last)]
            m.d.sync += datapath.register_index.eq(datapath.register_index + 1)
            m.next = "COLLECT"
            with m.If(last):
                m.next = "COMMAND"

    def _command(self) -> None:
        m = self.m
        with m.State("COMMAND"):
            m.d.comb += self.trainer.command.valid.eq(1)
            with m.If(self.trainer.command.ready):
                m.next = "ANSWER"
                if self.walk is not None:
                    with m.If(self.walk.trains & (self.datapath.count != 0)):
                        m.next = "LABEL"
