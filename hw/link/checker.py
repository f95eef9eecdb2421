"""First pass over a request: header, prologue, items, limits. It changes nothing but the controller's registers."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.utils import ceil_log2

from popflip.hw.link.buffer import ENTRY_HEADER
from popflip.hw.link.commands import REFUSAL_BYTES, Command, Result
from popflip.hw.link.datapath import Datapath
from popflip.hw.link.executor import Executor
from popflip.hw.link.receiver import VERDICT
from popflip.hw.link.samples import SampleBytes
from popflip.hw.link.store import stride
from popflip.hw.link.tables import NONCE_BITS, SIGN, VALUE_BYTES
from popflip.hw.link.walk import Walk


class Checker:
    """The states from IDLE to ACCEPT or REFUSE.

    Registers of its own: ``phase`` (byte of the header), ``reserved_bits`` (bits of the command that no command uses),
    ``invalid`` (label or register index of the last item), ``below`` and ``above`` (the bytes of a value so far against
    those of its register's limits).
    """

    def __init__(
        self, m: Module, datapath: Datapath, samples: SampleBytes, executor: Executor, walk: Walk | None = None
    ):
        self.m, self.datapath, self.samples, self.executor, self.walk = m, datapath, samples, executor, walk
        self.chip, self.reader = datapath.chip, datapath.reader
        self.phase = Signal(range(ENTRY_HEADER))
        self.reserved_bits = Signal(8 - len(datapath.command))
        self.invalid = Signal()
        self.below = Signal()
        self.above = Signal()
        self.in_header = Signal()
        with m.If(~self.in_header):
            m.d.sync += datapath.remaining.eq(datapath.remaining - self.reader.step)

    def add_states(self) -> None:
        """The states, in the order in which a request takes them."""
        self._header()
        self._check()
        self._prologue()
        self._prepare()
        self._item()
        if self.chip.packs:
            self._packed_item()
        if self.chip.store_samples:
            self._stored_item()
        if self.chip.label_bytes == 2:
            self._label()
        self._limits()
        self._range()
        self._accept()
        self._refused()

    def _refuse(self, reason: Result) -> None:
        self.m.d.sync += self.datapath.result.eq(reason)
        self.m.next = "REFUSE"

    # Header and prologue ----------------------------------------------------------------------------------------------

    def _header(self) -> None:
        m, datapath, reader = self.m, self.datapath, self.reader
        with m.State("IDLE"):
            m.d.comb += reader.mark.eq(1)
            m.d.sync += [self.phase.eq(0), datapath.second_byte.eq(0), self.invalid.eq(0)]
            with m.If(reader.available):
                m.next = "HEADER"

        with m.State("HEADER"):
            m.d.comb += [reader.step.eq(1), self.in_header.eq(1)]
            m.d.sync += self.phase.eq(self.phase + 1)
            command, remaining = Cat(datapath.command, self.reserved_bits), datapath.remaining
            with m.Switch(self.phase):
                with m.Case(0):
                    verdict = VERDICT(reader.data[: VERDICT.size])
                    m.d.sync += [
                        datapath.result.eq(verdict.result),
                        datapath.outdated.eq(verdict.epoch != datapath.epoch),
                    ]
                for index, target in enumerate((datapath.sequence, command, remaining[:8], remaining[8:]), start=1):
                    with m.Case(index):
                        m.d.sync += target.eq(reader.data)
            with m.If(self.phase == ENTRY_HEADER - 1):
                m.next = "CHECK"

    def _check(self) -> None:
        m, datapath = self.m, self.datapath
        request_bytes, result = datapath.request_bytes, datapath.result
        with m.State("CHECK"):
            m.d.sync += datapath.bytes_left.eq(Mux(request_bytes == 0, datapath.unit_bytes, request_bytes) - 1)
            with m.If(result != Result.OK):
                with m.If(result != Result.BAD_CRC):  # the entry has no payload, whatever its length says
                    m.d.sync += datapath.remaining.eq(0)
                m.next = "REFUSE"
            with m.Elif(self.reserved_bits.any() | ~datapath.is_one_of(*datapath.commands)):
                self._refuse(Result.UNKNOWN_COMMAND)
            with m.Elif(datapath.outdated | (~datapath.has_session & (datapath.command != Command.IDENTIFY))):
                self._refuse(Result.BAD_SESSION)
            with m.Elif((datapath.sequence != datapath.expected) & (datapath.command != Command.IDENTIFY)):
                self._refuse(Result.BAD_SEQUENCE)
            with m.Elif(request_bytes == 0):
                m.next = "PREPARE"
            with m.Else():
                m.next = "PROLOGUE"

    def _prologue(self) -> None:
        m, datapath = self.m, self.datapath
        with m.State("PROLOGUE"):
            with m.If(datapath.remaining == 0):
                self._refuse(Result.BAD_LENGTH)
            with m.Else():
                m.d.comb += [self.reader.step.eq(1), datapath.shift.eq(1), datapath.next_byte.eq(1)]
                with m.If(datapath.last_byte):
                    m.next = "PREPARE"

    def _prepare(self) -> None:
        """Address and count of words, from the prologue or from the command."""
        m, datapath = self.m, self.datapath
        address, count, address_overflow = datapath.address, datapath.count, datapath.address_overflow
        with m.State("PREPARE"):
            words, start = datapath.word[-48:-32], datapath.word[-32:]
            m.d.comb += self.reader.mark.eq(1)
            m.d.sync += [address.eq(start), address_overflow.eq(start[len(address) :].any())]
            m.d.sync += count.eq(datapath.range_words)
            with m.If(datapath.is_one_of(*datapath.rom.ranges)):
                m.d.sync += address.eq(datapath.range_start)
            with m.If(datapath.is_one_of(Command.READ_WEIGHTS, Command.READ_COUNTERS)):
                m.d.sync += count.eq(words)
                with m.If(words[len(count) :].any()):
                    m.d.sync += address_overflow.eq(1)
            if self.walk is not None:
                self.walk.prepare(words, start)
                with m.If(datapath.command == Command.INFER_SET):
                    m.d.sync += count.eq(words)
                    with m.If(words[len(count) :].any()):
                        m.d.sync += address_overflow.eq(1)
            m.next = "ITEM"

    # Items ------------------------------------------------------------------------------------------------------------

    def _item(self) -> None:
        """Start of an item, or end of the payload.

        An invalid label is refused one cycle later, so that the address of the buffer's next byte does not depend on
        its comparison.
        """
        m, datapath, reader, data = self.m, self.datapath, self.reader, self.reader.data
        item_bytes = datapath.item_bytes
        with m.State("ITEM"):
            m.d.sync += [datapath.register_index.eq(data), self.below.eq(0), self.above.eq(0)]
            with m.If(self.invalid):
                self._refuse(Result.BAD_LABEL)
            with m.Elif(datapath.remaining == 0):
                m.next = "SETTLE"
            with m.Elif(datapath.remaining < item_bytes):
                self._refuse(Result.BAD_LENGTH)
            if self.chip.packs:
                with m.Elif(self.samples.in_sizes):
                    self._shift_size()
                    m.next = "SIZE_COMPARE" if self.chip.size_bytes == 1 else "SIZE_HIGH"
            with m.Elif(datapath.is_one_of(*datapath.sizes.labelled)):
                if self.chip.label_bytes == 2:
                    m.d.comb += reader.step.eq(1)
                    m.d.sync += datapath.label.eq(Cat(datapath.label[8:], data))
                    m.next = "LABEL_CHECK"
                else:
                    m.d.comb += [reader.step.eq(item_bytes), datapath.count_up.eq(1)]
                    m.d.sync += self.invalid.eq(data >= self.chip.classes)
            if self.chip.store_samples:
                with m.Elif(datapath.command == Command.TRAIN_STORED):
                    m.d.comb += reader.step.eq(1)
                    m.next = "POSITION_CHECK1"
                    with m.If(data[ceil_log2(self.chip.store_samples) :].any()):
                        self._refuse(Result.BAD_ADDRESS)
            if self.walk is not None and self.walk.ends_batches:
                with m.Elif(self.walk.trains):
                    m.d.sync += datapath.register_index.eq(self.walk.first_k)
                    m.next = "LIMITS"
            with m.Elif(datapath.command == Command.CONFIGURE):
                m.d.comb += reader.step.eq(1)
                m.d.sync += self.invalid.eq(data >= len(datapath.rom.indices))
                m.next = "LIMITS"
            with m.Else():
                m.d.comb += [reader.step.eq(item_bytes), datapath.count_up.eq(1)]

    def _shift_size(self) -> None:
        """The next byte of a packed sample's size."""
        size, reader = self.samples.size, self.reader
        self.m.d.comb += reader.step.eq(1)
        self.m.d.sync += size.eq(Cat(size[8:], reader.data))

    def _packed_item(self) -> None:
        m, chip, datapath, reader, size = self.m, self.chip, self.datapath, self.reader, self.samples.size
        if chip.size_bytes == 2:
            with m.State("SIZE_HIGH"):
                self._shift_size()
                m.next = "SIZE_COMPARE"

        bad_size = Signal()
        trains = datapath.is_one_of(Command.TRAIN_PACKED, *((Command.STORE,) if chip.store_samples else ()))
        with m.State("SIZE_COMPARE"):  # registered, so that no address depends on the comparison
            m.d.sync += bad_size.eq((size <= Mux(trains, chip.label_bytes, 0)) | (size > datapath.remaining))
            if chip.store_samples:
                with m.If((datapath.command == Command.STORE) & (size > stride(chip) - chip.size_bytes)):
                    m.d.sync += bad_size.eq(1)
            m.next = "SIZE_CHECK"

        with m.State("SIZE_CHECK"):
            m.next = "ITEM"
            with m.If(bad_size):
                self._refuse(Result.BAD_LENGTH)
            if chip.label_bytes == 2:
                with m.Elif(trains):
                    m.d.comb += reader.step.eq(1)
                    m.d.sync += [datapath.label.eq(Cat(datapath.label[8:], reader.data)), size.eq(size - 1)]
                    m.next = "LABEL_CHECK"
            with m.Else():
                m.d.comb += [reader.step.eq(size), datapath.count_up.eq(1)]
                m.d.sync += self.invalid.eq(trains & (reader.data >= chip.classes))

    def _stored_item(self) -> None:
        m, last = self.m, self.chip.number_bytes - 1
        for byte in range(1, last + 1):
            with m.State(f"POSITION_CHECK{byte}"):
                m.d.comb += [self.reader.step.eq(1), self.datapath.count_up.eq(byte == last)]
                m.next = "ITEM" if byte == last else f"POSITION_CHECK{byte + 1}"
                with m.If(self.reader.data[max(0, ceil_log2(self.chip.store_samples) - 8 * byte) :].any()):
                    self._refuse(Result.BAD_ADDRESS)

    def _label(self) -> None:
        m, datapath, reader = self.m, self.datapath, self.reader
        with m.State("LABEL_CHECK"):
            m.d.comb += [reader.step.eq(datapath.item_bytes - 1), datapath.count_up.eq(1)]
            if self.chip.packs:
                with m.If(self.samples.in_sizes):
                    m.d.comb += reader.step.eq(self.samples.size)
            m.d.sync += self.invalid.eq(Cat(datapath.label[8:], reader.data) >= self.chip.classes)
            m.next = "ITEM"

    # Values of registers ----------------------------------------------------------------------------------------------

    def _limits(self) -> None:
        m, datapath = self.m, self.datapath
        with m.State("LIMITS"):
            m.d.comb += datapath.rom_port.addr.eq(Cat(datapath.bytes_left[:2], datapath.register_index))
            m.next = "LATCH" if self.chip.pipelined else "RANGE"
            with m.If(self.invalid):
                self._refuse(Result.BAD_REGISTER)

    def _range(self) -> None:
        """A value against its limits, lowest byte first: each byte outweighs all before it."""
        m, datapath, reader = self.m, self.datapath, self.reader
        byte, limits = reader.data, datapath.rom_port.data
        if self.chip.pipelined:  # the outputs of both memories are registered before they are compared
            byte, limits = Signal(8, name="byte"), Signal.like(limits, name="limits")
            with m.State("LATCH"):
                m.d.sync += [byte.eq(reader.data), limits.eq(datapath.rom_port.data)]
                m.next = "RANGE"

        with m.State("RANGE"):
            m.d.comb += datapath.rom_port.addr.eq(Cat((datapath.bytes_left - 1)[:2], datapath.register_index))
            raw = Signal(8)
            is_below = Signal()
            is_above = Signal()
            sign = Mux(datapath.register_index.matches(*datapath.rom.signed) & datapath.last_byte, SIGN, 0)
            m.d.comb += [
                raw.eq(byte ^ sign),
                is_below.eq(raw < limits[:8] + self.below),
                is_above.eq(raw + self.above > limits[8:]),
            ]
            m.d.sync += [self.below.eq(is_below), self.above.eq(is_above)]
            m.d.comb += [reader.step.eq(1), datapath.next_byte.eq(1)]
            if self.chip.pipelined:
                m.next = "LATCH"
            with m.If(datapath.last_byte):
                m.next = "IN_RANGE"

        with m.State("IN_RANGE"):
            with m.If(self.below | self.above):
                self._refuse(Result.BAD_VALUE)
            if self.walk is not None and self.walk.ends_batches:
                with m.Elif(self.walk.trains & (datapath.register_index != self.walk.last_k)):
                    m.d.sync += [self.below.eq(0), self.above.eq(0)]
                    m.d.sync += datapath.register_index.eq(datapath.register_index + 1)
                    m.next = "LIMITS"
            with m.Else():
                m.d.comb += datapath.count_up.eq(1)
                m.next = "ITEM"
                if self.walk is not None:
                    self.walk.item()

    # Verdict ----------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        m, datapath = self.m, self.datapath
        identifies = datapath.command == Command.IDENTIFY
        with m.State("SETTLE"):  # length and limits follow the last item's count one cycle later
            m.next = "ACCEPT"

        with m.State("ACCEPT"):
            with m.If(datapath.bad_address if self.walk is None else datapath.bad_address | self.walk.outside):
                self._refuse(Result.BAD_ADDRESS)
            with m.Elif(datapath.bad_length):
                self._refuse(Result.BAD_LENGTH)
            with m.Elif(self._is_zero()):
                self._refuse(Result.BAD_VALUE)
            with m.Elif((datapath.trainer.idle | ~datapath.waits) & (datapath.quiet | ~identifies)):
                m.d.comb += self.reader.rewind.eq(1)
                m.d.sync += [
                    datapath.expected.eq(datapath.sequence + 1),
                    datapath.register_index.eq(datapath.rom.indices["rng"]),
                ]
                with m.If(identifies):
                    m.d.sync += [
                        datapath.session.eq(datapath.word[-8 * VALUE_BYTES :] ^ (datapath.nonce << NONCE_BITS)),
                        datapath.has_session.eq(1),
                        datapath.epoch.eq(~datapath.epoch),
                    ]
                self.executor.begin()

    def _is_zero(self) -> Value:
        """The random state of RESET is 0, or the lower half of IDENTIFY's number."""
        command, value = self.datapath.command, self.datapath.word[-8 * VALUE_BYTES :]
        lower, upper = value[:-NONCE_BITS] == 0, value[-NONCE_BITS:] == 0
        return lower & (((command == Command.RESET) & upper) | (command == Command.IDENTIFY))

    def _refused(self) -> None:
        """A refusal continues as a request for its payload. The sender replaces all bytes but the last."""
        m, datapath = self.m, self.datapath
        with m.State("REFUSE"):
            m.d.comb += self.reader.step.eq(datapath.remaining)
            m.d.sync += [
                datapath.command.eq(Command.IDENTIFY),
                datapath.count.eq(REFUSAL_BYTES),
                datapath.bytes_left.eq(0),
            ]
            m.next = "REFUSED"

        with m.State("REFUSED"):  # values derived from command and count are ready one cycle later
            m.next = "ANSWER"
