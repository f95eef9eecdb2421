"""The SDRAM controller: bursts of words from and to the SDRAM beside the FPGA, at a word a cycle.

::

    requests ─▶ split ─▶ next ─▶ current ─▶ READ, WRITE ─────────┐
                at rows   └──┬──────┘                            ├─▶ pads ◀─▶ SDRAM
                           opener ─▶ PRECHARGE, ACTIVATE ────────┤     │
    write ────────────────────────▶ data ────────────────────────┘     │
    read  ◀──────────────── queue ◀────────────────────────────────────┘

A request becomes *segments*, each in one row of one bank. Rows stay open until another row of the bank is needed or a
refresh closes all. While the words of the current segment move, the opener opens the row of the next one: addresses go
on in another bank after the end of a row, so a long burst has no gap. Its two commands take a cycle each.

The chip's burst length is 1, and every word has its own READ or WRITE. So a burst has any start and length, a refresh
interrupts it after any word, and boards that do not wire DQM lose nothing.

For each bank and rule a timer holds the cycles in which a command must not come yet. It is a row of ones that moves
out, so two rules on the same command are the OR of their rows, and the test for zero is a single bit.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.hw.lib.stream import Queue, RegisteredQueue
from popflip.hw.memory.sdram_part import (
    ALL_BANKS,
    BANKS,
    Command,
    SdramCycles,
    SdramPart,
    SdramPinsSignature,
    request_layout,
    word_layout,
)

CAS_MODE = 4
"""Lowest bit of the CAS latency in the mode register. All others are 0: bursts of one word."""
ROUND_TRIP = 3
"""Cycles from the decision to READ to the first word, without CAS latency: the register before the pads, and those in
the pads, out and in."""


class Timer:
    """Cycles in which a command must not come yet: as many ones, which move out of ``left`` at a bit a cycle."""

    def __init__(self, name: str, longest: int):
        self.left = Signal(max(1, longest - 1), name=name)
        self.ready = ~self.left[0]
        self._more: list[Value] = []

    def hold(self, event: Value, cycles: int) -> None:
        """The command may come ``cycles`` cycles after the one with ``event``, or later; 1 means the next cycle."""
        self._more.append(Mux(event, (1 << max(0, cycles - 1)) - 1, 0))

    def add_to(self, m: Module) -> None:
        """Let the time go by; called after the last :meth:`hold`."""
        following = self.left >> 1
        for ones in self._more:
            following = following | ones
        m.d.sync += self.left.eq(following)


class Sdram(wiring.Component):
    """Reads and writes bursts, in the order of the requests. A read sees every write requested before it.

    Parameters
    ----------
    part : SdramPart
    cycles : SdramCycles
        Times for the clock of ``sync``: ``part.cycles(hz)``.
    buffer : int
        Words that the read queue holds. Words are read ahead up to as many, while ``read`` is not taken.
    longest : int
        Most words of a request.
    capture : int
        Cycles that data come later at the pads' registers than with a clock of the SDRAM in phase with ``sync``: −1 if
        it is half a cycle early, so that the data of a cycle are taken at its end.

    Members
    -------
    ``requests`` : In(stream of :func:`.sdram_part.request_layout`)
        The next one is taken while the words of the two before it move.
    ``write`` : In(stream of :func:`.sdram_part.word_layout`)
        The words of write requests. They may come before or after the request.
    ``read`` : Out(stream of data and ``last``, of a request)
        The words of read requests. A word leaves :attr:`latency` cycles after its READ was decided at the earliest, a
        word a cycle.
    ``busy`` : Out(1)
        Words are still to be written or to be read from the SDRAM. 1 until the SDRAM is initialised.
    ``pins`` : Out(:class:`.sdram_part.SdramPinsSignature`)
        To :class:`.sdram_pads.SdramPads`. All outputs are registers.
    """

    def __init__(
        self,
        part: SdramPart,
        cycles: SdramCycles,
        *,
        buffer: int = 32,
        longest: int = 256,
        capture: int = 0,
    ):
        self.part, self.cycles, self.buffer, self.longest = part, cycles, buffer, longest
        self.arrival = ROUND_TRIP + cycles.cas + capture
        """Cycles from the decision to READ to its word at ``pins.data_in``."""
        self.latency = self.arrival + RegisteredQueue.latency
        super().__init__(
            {
                "requests": In(stream.Signature(request_layout(part, longest))),
                "write": In(stream.Signature(word_layout(part))),
                "read": Out(stream.Signature(data.StructLayout({"data": part.data_bits, "last": 1}))),
                "busy": Out(1, init=1),
                "pins": Out(SdramPinsSignature(part)),
            }
        )
        row, column = range(part.rows), range(part.columns)
        self._place = data.StructLayout({"column": column, "bank": range(BANKS), "row": row})
        counts = range(-1, min(longest, part.columns) - 1)
        self._segment = data.StructLayout(
            {"place": self._place, "write": 1, "ends": 1, "left": counts}  # left: words after the next one, less 1
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self._signals()
        m.submodules.write_queue = self._writes = Queue(self.write.payload.shape(), 2)
        m.submodules.read_queue = self._reads = RegisteredQueue(self.read.payload.shape(), self.buffer)
        wiring.connect(m, wiring.flipped(self.write), self._writes.i)
        wiring.connect(m, self._reads.o, wiring.flipped(self.read))
        self._sequence(m)
        self._split(m)
        self._advance(m)
        self._open(m)
        self._move(m)
        self._return(m)
        self._keep_time(m)
        self._drive(m)
        return m

    def _signals(self) -> None:
        """State and events that several parts share. An event is 1 in the cycle that decides on the command."""
        cycles, place = self.cycles, self._place
        self._running = Signal()
        self._initialised = Signal()
        self._current, self._next = Signal(self._segment, name="current"), Signal(self._segment, name="next")
        self._current_valid, self._next_valid = Signal(name="current_valid"), Signal(name="next_valid")
        self._current_open, self._next_open = Signal(name="current_open"), Signal(name="next_open")
        self._finishes = Signal()  # the current segment's last word
        self._opened = Signal()  # the opener's row is open
        self._rows = Array(Signal(place.members["row"], name=f"row{bank}") for bank in range(BANKS))
        self._open_banks = Signal(BANKS)
        self._target = Signal(place, name="target")  # the row that the opener opens
        self._activate = Signal()
        self._close = Signal()
        self._close_all = Signal()
        self._refresh = Signal()
        self._set_mode = Signal()
        self._reads_word = Signal()
        self._writes_word = Signal()
        longest = max(cycles.rp, cycles.rc, cycles.rrd, cycles.rfc, cycles.mrd)
        self._may_activate = [Timer(f"may_activate{bank}", longest) for bank in range(BANKS)]
        self._may_close = [Timer(f"may_close{bank}", max(cycles.ras, cycles.wr)) for bank in range(BANKS)]
        self._may_access = Timer("may_access", cycles.rcd - 1)
        self._may_write = Timer("may_write", cycles.cas + 2)

    # Initialisation and refresh ---------------------------------------------------------------------------------------

    def _sequence(self, m: Module) -> None:
        """Power up, then close all rows, refresh, set the mode. Later, whenever a refresh is due, close and refresh."""
        cycles = self.cycles
        wait = Signal(range(cycles.power_up + 1), init=cycles.power_up)
        first = Signal(range(cycles.first_refreshes + 1), init=cycles.first_refreshes)  # refreshes still to come
        due = self._refresh_due(m)
        all_may_close = Cat(timer.ready for timer in self._may_close).all()
        all_may_activate = Cat(timer.ready for timer in self._may_activate).all()
        with m.FSM(name="sequence"):
            with m.State("POWER_UP"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "CLOSE"
            with m.State("CLOSE"), m.If(all_may_close & all_may_activate):  # nothing may follow REFRESH or MODE at once
                m.d.comb += self._close_all.eq(1)
                m.next = "REFRESH"
            with m.State("REFRESH"), m.If(all_may_activate):
                m.d.comb += self._refresh.eq(1)
                with m.If(self._initialised):
                    m.next = "RUN"
                with m.Else():
                    m.d.sync += first.eq(first - 1)
                    with m.If(first == 1):
                        m.next = "MODE"
            with m.State("MODE"), m.If(all_may_activate):
                m.d.comb += self._set_mode.eq(1)
                m.d.sync += self._initialised.eq(1)
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += self._running.eq(~due)
                with m.If(due):
                    m.next = "CLOSE"

    def _refresh_due(self, m: Module) -> Signal:
        """1 from the end of every interval to the REFRESH that answers it."""
        due = Signal()
        left = Signal(range(self.cycles.refresh), init=self.cycles.refresh - 1)
        m.d.sync += left.eq(left - 1)
        with m.If(self._refresh):
            m.d.sync += due.eq(0)
        with m.If(left == 0):
            m.d.sync += [left.eq(self.cycles.refresh - 1), due.eq(1)]
        return due

    # Segments ---------------------------------------------------------------------------------------------------------

    def _split(self, m: Module) -> None:
        """Take a request, and hand out its segments, each up to the end of a row."""
        place, columns = self._place, self.part.columns
        rest, more = Signal(place, name="rest"), Signal(range(self.longest), name="rest_more")
        write, valid = Signal(name="rest_write"), Signal(name="rest_valid")
        self._rest_valid = valid
        self._passes = Signal()  # a segment goes to ``next``
        request = self.requests.payload
        to_end = ~rest.column  # words of the row after this one
        ends = more <= to_end
        m.d.comb += self.requests.ready.eq(~valid | (self._passes & ends))
        m.d.comb += self._passes.eq(valid & (~self._next_valid | self._takes_next))
        with m.If(self._passes):
            m.d.sync += [
                self._next.place.eq(rest),
                self._next.write.eq(write),
                self._next.ends.eq(ends),
                self._next.left.eq(Mux(ends, more, to_end) - 1),
                rest.column.eq(0),
                Cat(rest.bank, rest.row).eq(Cat(rest.bank, rest.row) + 1),
                more.eq(more + rest.column - columns),
            ]
        with m.If(self.requests.ready):
            m.d.sync += valid.eq(self.requests.valid)
            with m.If(self.requests.valid):
                m.d.sync += [rest.as_value().eq(request.address), more.eq(request.more), write.eq(request.write)]

    @property
    def _takes_next(self) -> Value:
        """Whether ``next`` becomes the current segment at the end of this cycle."""
        return ~self._current_valid | self._finishes

    def _advance(self, m: Module) -> None:
        """The next segment becomes the current one. Its row may have been opened in the same cycle."""
        opens_current = self._opened & self._current_valid & ~self._current_open
        next_open = self._next_open | (self._opened & ~opens_current)
        m.d.sync += [self._current_open.eq(self._current_open | opens_current), self._next_open.eq(next_open)]
        with m.If(self._takes_next):
            m.d.sync += [
                self._current.eq(self._next),
                self._current_valid.eq(self._next_valid),
                self._current_open.eq(next_open & self._next_valid),
                self._next_valid.eq(0),
                self._next_open.eq(0),
            ]
        with m.If(self._passes):
            m.d.sync += self._next_valid.eq(1)
        with m.If(self._close_all):
            m.d.sync += [self._current_open.eq(0), self._next_open.eq(0)]

    # Rows -------------------------------------------------------------------------------------------------------------

    def _open(self, m: Module) -> None:
        """Open the row of the first segment whose row is not open, the current one or the next.

        When a refresh is due, begin again: it closes all rows.
        """
        of_current = self._current_valid & ~self._current_open
        bank = self._target.bank
        hit = Signal()
        is_open = Signal()
        in_use = self._current_valid & self._current_open & (self._current.place.bank == bank)
        may_close = Array(timer.ready for timer in self._may_close)[bank]
        may_activate = Array(timer.ready for timer in self._may_activate)[bank]
        with m.FSM(name="opener"):
            with m.State("LOOK"):
                m.d.sync += self._target.eq(Mux(of_current, self._current.place, self._next.place))
                with m.If(self._running & (of_current | (self._next_valid & ~self._next_open))):
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += hit.eq(self._rows[bank] == self._target.row)
                m.d.sync += is_open.eq(self._open_banks.bit_select(bank, 1))
                self._next_state(m, "DECIDE", 1)
            with m.State("DECIDE"):
                m.d.comb += self._opened.eq(self._running & is_open & hit)
                m.d.comb += self._close.eq(self._running & is_open & ~hit & may_close & ~in_use)
                with m.If(self._opened):
                    m.next = "LOOK"
                with m.Else():
                    self._next_state(m, "ACTIVATE", self._close | ~is_open)
            with m.State("ACTIVATE"):
                m.d.comb += self._activate.eq(self._running & may_activate)
                self._next_state(m, "WAIT", self._activate)
            with m.State("WAIT"):
                m.d.comb += self._opened.eq(self._running & self._may_access.ready)
                self._next_state(m, "LOOK", self._opened)
        with m.If(self._close):
            m.d.sync += self._open_banks.eq(self._open_banks & ~(Const(1, BANKS) << bank))
        with m.If(self._activate):
            m.d.sync += self._open_banks.eq(self._open_banks | (Const(1, BANKS) << bank))
            m.d.sync += self._rows[bank].eq(self._target.row)
        with m.If(self._close_all):
            m.d.sync += self._open_banks.eq(0)

    def _next_state(self, m: Module, state: str, condition: ValueLike) -> None:
        with m.If(~self._running):
            m.next = "LOOK"
        with m.Elif(condition):
            m.next = state

    # Words ------------------------------------------------------------------------------------------------------------

    def _move(self, m: Module) -> None:
        """READ or WRITE the next word of the current segment, unless the opener needs the command pins."""
        current = self._current
        credit = Signal(range(-1, self.buffer), init=self.buffer - 1)  # free places in the read queue, less 1
        takes = self.read.valid & self.read.ready
        free = self._running & self._current_valid & self._current_open & ~self._close & ~self._activate
        m.d.comb += [
            self._reads_word.eq(free & ~current.write & ~credit[-1]),
            self._writes_word.eq(free & current.write & self._writes.o.valid & self._may_write.ready),
            self._writes.o.ready.eq(self._writes_word),
            self._finishes.eq((self._reads_word | self._writes_word) & current.left[-1]),
        ]
        m.d.sync += credit.eq(credit + takes - self._reads_word)
        with m.If((self._reads_word | self._writes_word) & ~current.left[-1]):
            m.d.sync += [current.place.column.eq(current.place.column + 1), current.left.eq(current.left - 1)]

    def _return(self, m: Module) -> None:
        """Put the words that arrive into the read queue. There is a place for each: READ waited for it."""
        arrives = Signal(self.arrival)  # bit 0: a READ decided in the cycle before
        last = Signal(self.arrival)
        m.d.sync += [
            arrives.eq(Cat(self._reads_word, arrives)),
            last.eq(Cat(self._current.ends & self._current.left[-1], last)),
        ]
        entry = self._reads.i
        m.d.comb += [
            entry.valid.eq(arrives[-1]),
            entry.payload.data.eq(self.pins.data_in),
            entry.payload.last.eq(last[-1]),
        ]
        idle = ~(self._rest_valid | self._next_valid | self._current_valid | arrives.any())
        m.d.sync += self.busy.eq(~(self._initialised & idle & ~self.requests.valid))

    # Commands ---------------------------------------------------------------------------------------------------------

    def _keep_time(self, m: Module) -> None:
        """Every command holds up those that must not follow at once."""
        cycles, place = self.cycles, self._current.place
        for bank, (may_activate, may_close) in enumerate(zip(self._may_activate, self._may_close, strict=True)):
            activates = self._activate & (self._target.bank == bank)
            may_activate.hold(activates, cycles.rc)
            may_activate.hold(self._activate, cycles.rrd)
            may_activate.hold((self._close & (self._target.bank == bank)) | self._close_all, cycles.rp)
            may_activate.hold(self._refresh, cycles.rfc)
            may_activate.hold(self._set_mode, cycles.mrd)
            may_close.hold(activates, cycles.ras)
            may_close.hold(self._writes_word & (place.bank == bank), cycles.wr)
        self._may_access.hold(
            self._activate, cycles.rcd - 1
        )  # one cycle passes before the segment's row counts as open
        self._may_write.hold(self._reads_word, cycles.cas + 2)  # the data pins rest for a cycle before they turn round
        for timer in (*self._may_activate, *self._may_close, self._may_access, self._may_write):
            timer.add_to(m)

    def _drive(self, m: Module) -> None:
        """The command, and what belongs to it, in registers."""
        pins, place, word = self.pins, self._current.place, self._writes.o.payload
        opener = self._activate | self._close
        command, address = Signal(Command), Signal(self.part.address_bits)
        m.d.comb += [command.eq(Command.NOP), address.eq(place.column)]
        for event, value in (
            (self._reads_word, Command.READ),
            (self._writes_word, Command.WRITE),
            (self._activate, Command.ACTIVATE),
            (self._close | self._close_all, Command.PRECHARGE),
            (self._refresh, Command.REFRESH),
            (self._set_mode, Command.MODE),
        ):
            with m.If(event):
                m.d.comb += command.eq(value)
        with m.If(self._activate):
            m.d.comb += address.eq(self._target.row)
        with m.If(~self._running):
            m.d.comb += address.eq(Mux(self._set_mode, self.cycles.cas << CAS_MODE, 1 << ALL_BANKS))
        with m.If(self._close):
            m.d.comb += address.eq(0)
        m.d.sync += [
            pins.command.eq(command),
            pins.address.eq(address),
            pins.bank.eq(Mux(self._running, Mux(opener, self._target.bank, place.bank), 0)),
            pins.data_out.eq(word.data),
            pins.drive.eq(self._writes_word),
            pins.mask.eq(
                Mux(self._initialised, word.keep & self._writes_word.replicate(self.part.mask_bits), pins.mask.init)
            ),
        ]
