"""No component with streams gets stuck: in a fair environment (:mod:`fair`) every stream moves on within a bound.

The components are found in ``hw/`` by their signatures, and each is in one of three lists, by its evidence:

* :data:`PROVEN`: by induction, so in every cycle of every run.
* :data:`BOUNDED`: in the first cycles of every run from a reset, as many as the entry says.
* :data:`WATCHED`: in a simulation of a whole chip with random pauses, whose longest waits are compared with bounds.

The components are small: narrow words, networks of a few neurons, frames of a few bytes. Each entry plants a fault in
the component's source that its proof or its simulation must find, which also shows that the assumptions leave a run to
look at.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from chips import chip, lbe_chip
from fair import Fair, Registers, at_times, ends_within, owed, progress, states, taken
from formal import Verdict, missing_tools, mutant, prove, search
from small_components import components_without, example
from stream_rules import Offers, kept_while, only_after, streams_of
from watch import ANSWER, CONV, CYCLES, GFT, LBE, SERIAL, WATCHED, longest_waits

from popflip.hw.common import scan, write_back
from popflip.hw.common.error import Error
from popflip.hw.common.forward import Forward
from popflip.hw.common.ingest import Ingest
from popflip.hw.common.mask import Mask
from popflip.hw.common.order import Order
from popflip.hw.common.scan import Scan
from popflip.hw.common.signature import FlipSignature
from popflip.hw.gft.backward import Backward
from popflip.hw.gft.end_of_batch import EndOfBatch
from popflip.hw.gft.flip import Flip
from popflip.hw.gft.initialise import GftInitialise
from popflip.hw.gft.learn import Learn
from popflip.hw.gft.select import Select
from popflip.hw.lbe.initialise import LbeInitialise
from popflip.hw.lbe.update import Update
from popflip.hw.lib.stream import Unroll
from popflip.hw.link import responder
from popflip.hw.link.controller import Controller
from popflip.hw.link.identity import Identity
from popflip.hw.link.sender import ANSWER_HEADER
from popflip.hw.link.uart import Uart, UartReceiver, UartSender
from popflip.hw.memory.sdram import Sdram
from popflip.hw.memory.sdram_part import COLORLIGHT_I5, SdramCycles

SOLVER, PROGRAM = "yices", "yices-smt2"

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        bool(missing_tools(PROGRAM)), reason=f"not installed: {', '.join(missing_tools(PROGRAM))} (extras build, proof)"
    ),
]

WITHOUT = {
    "Initialise": "a base class; GftInitialise and LbeInitialise are proven",
    "SdramPads": "registers in pads, without streams",
    "UsbSerial": "LUNA and queues between two clocks; tests/link/test_usb.py runs it over the wires of the bus",
    "SdramStore": "its SDRAM starts up for longer than a solver follows; sim/link/tb_sdram_store.py stalls its streams",
    "StatePass": "a base class; EndOfBatch and Update are its rules' passes",
    "WriteBack": "a base class; Flip and ReinforceRow are proven",
}
"""Classes without evidence of their own, each with the reason."""

ONE = chip(1, 2, rows=1, lanes=4, mmax=1)
TWO = chip(1, 2, 2, rows=1, lanes=4, mmax=1)
ONE_LBE = lbe_chip(1, 2, classes=2, rows=1, lanes=4, mmax=1)
"""The smallest networks: of one layer, of two layers, and of LBE."""


# What environments do besides being fair, and when answers are due ----------------------------------------------------


def _backward(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    return {"o": ~dut.free, "free": ~dut.free}


def _controller(m: Module, dut: Any) -> Offers:
    """Requests come at all times, and so do the trainer and the sender's readiness for a header. The trainer stays idle
    until it gets something to do, and the sender quiet until it gets an answer."""
    trainer, header = dut.trainer, dut.header
    for value in (header.ready, dut.reader.available, dut.quiet, trainer.idle, trainer.status.valid):
        at_times(m, value)
    _stays_until(m, trainer.idle, taken(trainer.samples.stream) | taken(trainer.command))
    _stays_until(m, dut.quiet, header.valid)
    answers = owed(m, taken(trainer.samples.stream) & trainer.samples.infer, taken(trainer.predictions), 7)
    return {"trainer.predictions": answers != 0}


def _stays_until(m: Module, value: Value, event: Value) -> None:
    """Assume that ``value`` falls only with ``event`` or in the cycle after it."""
    was, after = Signal(name="stayed"), Signal(name="after_event")
    m.d.sync += [was.eq(value), after.eq(event)]
    m.d.comb += Assume(value | ~was | event | after)


def _nothing_moves(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    """No stream and no cursor moves. Invariant: an answer from ``word`` is not one of predictions."""
    state = registers["fsm_state"]
    numbers = states(state)
    emits = Cat(state == numbers[name] for name in ("FETCH", "LOAD", "EMIT")).any()
    m.d.comb += [Assert(state < len(numbers)), Assert(~(emits & dut.trainer.samples.infer))]
    moves = Cat(*(taken(each) for each in streams_of(dut)), dut.reader.step.any(), dut.reader.rewind)
    return {"anything": ~moves.any()}


def _forward(m: Module, dut: Any) -> None:
    """A sample has at least one word, and memories answer at times."""
    words = dut.i.payload.words
    m.d.comb += Assume((words >= 1) & (words <= dut.chip.words[0]))
    at_times(m, ~dut.hold)
    at_times(m, dut.weights_ready)


def _frames(m: Module, dut: Any) -> None:
    """Answers of up to 5 bytes, those without a session of 4 at least."""
    header = dut.header.payload
    m.d.comb += Assume((header.length <= 5) & (~header.open | (header.length >= 4)))


def _payload(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    """Bytes of the announced payload are still to come."""
    left = owed(m, Value.cast(taken(dut.header).replicate(3)) & dut.header.payload.length[:3], taken(dut.payload), 7)
    length = data.View(ANSWER_HEADER, registers["answer"]).length
    m.d.comb += Assert(Mux(dut.header.ready, left == 0, (left == 0) | (left == length)))
    return {"payload": left != 0}


def _ingest(m: Module, dut: Any) -> None:
    at_times(m, dut.slot_available)


def _initialise(m: Module, dut: Any) -> None:
    """A layer has up to two words; its last one ends a mask."""
    position = dut.i.payload
    ends_within(m, dut.i, position.last, 2)
    m.d.comb += Assume(~position.last | position.last_of_mask)


def _learn(m: Module, dut: Any) -> None:
    words = dut.i.payload.sample.words
    m.d.comb += Assume((words >= 1) & (words <= dut.chip.words[0]))


def _learns(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    """A sample is not reported as done."""
    return {"done": (owed(m, taken(dut.i), dut.done, 7) != 0) & ~dut.done}


def _line(m: Module, dut: Any) -> None:
    """The line comes from a sender that always has a byte."""
    m.submodules.line = line = UartSender(dut.divisor)
    m.d.comb += [Assume(dut.pin == line.pin), line.i.valid.eq(1), line.i.payload.eq(0x55)]


def _loop(m: Module, dut: Any) -> None:
    """The line goes back to the receiver."""
    m.d.comb += Assume(dut.rx_pin == dut.tx_pin)


def _mask(m: Module, dut: Any) -> None:
    kept_while(m, Const(1), dut.n)
    m.d.comb += Assume((dut.n >= 1) & (dut.n <= 256))


def _draws(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    """A probability of 1 draws no words. Invariant: no layer has more masks than the largest."""
    m.d.comb += Assert(registers["left"] <= 2)
    return {"words": ~dut.n[8]}


def _order(m: Module, dut: Any) -> None:
    run = dut.start.payload
    m.d.comb += Assume((run.first <= run.last) & (run.last <= run.highest) & (run.highest <= 3))


def _places(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    """Invariant: the places of a run are in order."""
    run = data.View(dut.start.payload.shape(), registers["run"])
    m.d.comb += Assert(dut.start.ready | ((run.first <= run.last) & (run.last <= run.highest)))
    return {}


def _pass(m: Module, dut: Any) -> None:
    """Nobody loads the random state or the signature, and the registers stay."""
    m.d.comb += [Assume(~dut.rng.load), Assume(~dut.crc.load)]
    kept_while(m, Const(1), dut.p256, *([dut.k, dut.shift] if hasattr(dut, "shift") else []))


def _rows_or_commands(m: Module, dut: Any) -> Offers:
    """Rows do not come while a command runs. The solver chooses which of the two a run has."""
    _pass(m, dut)
    command = Signal(name="command_run")
    kept_while(m, Const(1), command)
    m.d.comb += [Assume(~dut.rows.valid | ~command), Assume(~dut.command.valid | command)]
    return {"rows": ~command, "command": command}


def _list(m: Module, dut: Any) -> None:
    """Slots are free at times, and the samples' memory takes words at times."""
    _ingest(m, dut)
    at_times(m, dut.list.ready)


def _packed_bytes(m: Module, dut: Any) -> None:
    """Slots are free at times. A packed sample has up to three bytes."""
    _ingest(m, dut)
    _unpack(m, dut)


def _receiver(m: Module, dut: Any) -> None:
    at_times(m, ~dut.buffer.full)


def _schedule(m: Module, dut: Any) -> None:
    """A list has up to two rows, and stays until it is released."""
    kept_while(m, ~dut.release, dut.rows)
    m.d.comb += Assume(dut.rows <= 2)


def _row_due(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    return {"o": dut.i.valid & dut.i.payload.updates & (dut.rows != 0)}


def _score(m: Module, dut: Any) -> None:
    """A layer has up to three neurons."""
    ends_within(m, dut.i, dut.i.payload.last, 3)


def _sdram(m: Module, dut: Any) -> None:
    """Requests of one or two words."""
    m.d.comb += Assume(dut.requests.payload.more < 2)


def _words_due(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    """Words of requests that were taken are still to come: those of write requests may also come before them."""
    request = dut.requests
    words = request.payload.more + 1
    to_write, to_read = Signal(range(-4, 9), name="to_write"), Signal(range(9), name="to_read")
    writes, reads = taken(request) & request.payload.write, taken(request) & ~request.payload.write
    m.d.sync += [
        to_write.eq(to_write + (words[:2] & writes.replicate(2)) - taken(dut.write)),
        to_read.eq(to_read + (words[:2] & reads.replicate(2)) - taken(dut.read)),
    ]
    return {"write": to_write > 0, "read": to_read > 0}


def _sample_due(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    """A sample is read."""
    return {"port.samples": registers["reading"]}


def _select(m: Module, dut: Any) -> Offers:
    """A scan has up to two words."""
    may_come = only_after(m, dut.scan, dut.i, dut.i.payload.position.last)
    ends_within(m, dut.i, dut.i.payload.position.last, 2)
    return {"i": may_come}


def _marks(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    """Marked words are due in the last pass."""
    return {"o": dut.found}


def _signature(m: Module, dut: Any) -> None:
    """Nobody loads the signature."""
    m.d.comb += Assume(~dut.load)


def _unpack(m: Module, dut: Any) -> None:
    """A packed sample has up to three bytes."""
    ends_within(m, dut.i, ~dut.packed | dut.last, 3)


def _groups(m: Module, dut: Any) -> None:
    m.d.comb += Assume(dut.i.payload.final < dut.count)


def _values(m: Module, dut: Any) -> None:
    """A sample has two classes, which come in one group."""
    m.d.comb += Assume((dut.i.payload.final == 1) & dut.i.payload.last)


def _words(m: Module, dut: Any) -> None:
    """A pass has up to two words; its last one ends a mask."""
    position = dut.i.payload.position
    ends_within(m, dut.i, position.last, 2)
    m.d.comb += Assume(~position.last | position.last_of_mask)


def _records(m: Module, dut: Any, registers: Registers) -> dict[str, Value]:
    """Records are due after a word with flips."""
    return {"records": registers["pending"]}


# Evidence -------------------------------------------------------------------------------------------------------------

RECORDS_WAIT = ('"RECORDS"), m.If(~pending)', '"RECORDS"), m.If(pending)')
SCAN_RUNS_ON = ("self.running.eq(~position.last)", "self.running.eq(1)")
SAMPLES_STAY = ("queue.i.valid.eq(whole)", "queue.i.valid.eq(0)")
SENDER_STOPS = ("with m.Elif(busy):", "with m.Elif(busy & shift[0]):")
RECEIVER_WAITS = ("middle.eq(timer == 0)", "middle.eq(timer == self.divisor)")

SMALL_SDRAM = replace(COLORLIGHT_I5, rows=2, columns=4, data_bits=1)
SHORT_TIMES = SdramCycles(
    rcd=2, rp=2, ras=3, rc=4, rfc=3, rrd=2, wr=2, mrd=2, cas=2, refresh=24, power_up=1, first_refreshes=1
)

PROVEN: dict[str, Fair] = {
    "Backward": Fair(
        {"o": 3, "free": 12},
        16,
        ("self.o.valid.eq(waits & ~banked)", "self.o.valid.eq(waits & banked)"),
        waits=_backward,
    ),
    "BlockScan": Fair({"start": 8}, 12, ("running.eq(~last)", "running.eq(1)")),
    "Controller": Fair(
        {"anything": 12},
        16,
        ("self.trainer.status.valid | ~datapath.shows_status", "self.trainer.status.valid & datapath.shows_status"),
        where=responder,
        environment=_controller,
        waits=_nothing_moves,
        small=lambda: Controller(ONE, Identity.of(ONE, 64, 0, bytes(8))),
        shows=30,
    ),
    "Error": Fair(
        {"i": 9, "o": 9},
        14,
        ("moves.eq(~self.o.valid | self.o.ready | ~leader.ended)", "moves.eq(self.o.valid & ~leader.ended)"),
        environment=_values,
    ),
    "Flip": Fair(
        {"start": 14, "i": 14, "mask": 14, "records": 4, "mask_start": 14},
        20,
        RECORDS_WAIT,
        write_back,
        _words,
        _records,
    ),
    "FlipSignature": Fair(
        {"i": 17}, 20, ("self.i.ready.eq(step.all())", "self.i.ready.eq(step.all() & ~self.i.valid)"), None, _signature
    ),
    "FrameReceiver": Fair({"rx": 3}, 8, ('m.next = "HUNT"', 'm.next = "VERDICT"'), environment=_receiver, shows=14),
    "FrameSender": Fair(
        {"header": 34, "payload": 16, "tx": 4},
        38,
        ("tx.valid.eq(payload.valid)", "tx.valid.eq(payload.valid & (phase == 7))"),
        None,
        _frames,
        _payload,
    ),
    "GftInitialise": Fair(
        {"start": 16, "scan": 16, "i": 8, "words": 8},
        20,
        ("self.words.ready.eq(self.i.valid & (", "self.words.ready.eq(~self.i.valid & ("),
        environment=_initialise,
    ),
    "Ingest": Fair(
        {"i": 12, "o": 14}, 18, ("[self.o.valid.eq(0), ending.eq(0)]", "[self.o.valid.eq(0)]"), None, _ingest
    ),
    "LbeInitialise": Fair(
        {"start": 60, "scan": 60, "i": 60, "words": 20},
        64,
        ('m.next = "MODIFY"', 'm.next = "READ"'),
        environment=_initialise,
        small=lambda: LbeInitialise(ONE_LBE),
    ),
    "Learn": Fair(
        {"i": 24, "done": 24},
        52,
        ("self._errors_left.eq(backward.free", "self._errors_left.eq(~backward.free"),
        environment=_learn,
        waits=_learns,
        small=lambda: Learn(TWO),
    ),
    "Mask": Fair(
        {"start": 44, "words": 6, "o": 22},
        48,
        ("(left != 0) & (~self.o.valid | self.o.ready)", "(left != 0) & self.o.valid"),
        None,
        _mask,
        _draws,
        lambda: Mask(ONE),
    ),
    "Order": Fair(
        {"start": 90, "o": 24},
        94,
        ("with m.If(value > run.highest):", "with m.If(value >= run.highest):"),
        environment=_order,
        waits=_places,
        small=lambda: Order(4),
        simpler=(
            "from popflip.golden.common.order import KEY_WORDS, MOST, ROUNDS, width",
            "from popflip.golden.common.order import MOST, width\nROUNDS, KEY_WORDS = 2, 1",  # shorter passes, as many
            "return again ^ (again >> 8)",
            "return key.bit_select(half, 1)",  # any function of a half of one bit, as the key says
        ),
    ),
    "Prng": Fair({"words": 1}, 4, ("self.words.valid.eq(1)", "self.words.valid.eq(self.load)")),
    "Queue": Fair({"i": 3, "o": 3}, 8, ("self.o.valid.eq(level != 0)", "self.o.valid.eq(level > self.depth)")),
    "RegisteredQueue": Fair({"i": 3, "o": 3}, 8, ("with m.If(free):", "with m.If(free & (level != 0)):")),
    "ReinforceRow": Fair(
        {"start": 14, "i": 14, "mask": 14, "records": 4, "mask_start": 14},
        20,
        RECORDS_WAIT,
        write_back,
        _words,
        _records,
    ),
    "Scan": Fair({"start": 20, "o": 6}, 24, SCAN_RUNS_ON),
    "Schedule": Fair({"i": 9, "o": 5}, 12, ('m.next = "UPDATE ROW"', 'm.next = "READ ROW"'), None, _schedule, _row_due),
    "Score": Fair(
        {"i": 4, "o": 11}, 14, ("self.i.ready.eq(~self.o.valid)", "self.i.ready.eq(self.o.valid)"), None, _score
    ),
    "Select": Fair(
        {"start": 50, "scan": 50, "i": 50, "o": 12},
        54,
        ("self.counting.eq(1)", "self.counting.eq(0)"),
        None,
        _select,
        _marks,
    ),
    "UartSender": Fair({"i": 43}, 48, SENDER_STOPS, small=lambda: UartSender(4)),
    "Unpack": Fair(
        {"i": 4, "o": 20},
        24,
        ("move.eq(~self.o.valid | self.o.ready)", "move.eq(self.o.valid | ~self.o.ready)"),
        environment=_unpack,
    ),
    "Unroll": Fair(
        {"i": 7, "o": 3},
        12,
        ("self.i.ready.eq(~self.o.valid | (taken & ends_group))", "self.i.ready.eq(taken & ends_group)"),
        environment=_groups,
        small=lambda: Unroll(2, 3, 2),
    ),
}
"""Bounds that hold for all time. The controller's is of anything that moves: a stream, or its cursor in the buffer."""

FAST = chip(1, 2, 2, rows=2, lanes=16, mmax=1)
COMPACT = chip(1, 2, 2, rows=1, lanes=4, mmax=1, slots=2, compact=True)
VARIANTS: dict[str, Fair] = {
    f"{name} {variant}": replace(PROVEN[name], small=partial(kind, network), **changes)
    for name, kind, variant, network, changes in (
        ("Backward", Backward, "pipelined", FAST, {"bounds": {"o": 3, "free": 36}, "cycles": 40}),
        ("Error", Error, "pipelined", FAST, {"fault": ("moves.eq(1)", "moves.eq(0)")}),
        ("Flip", Flip, "pipelined", FAST, {}),
        ("FlipSignature", FlipSignature, "pipelined", FAST, {}),
        ("GftInitialise", GftInitialise, "pipelined", FAST, {}),
        ("Ingest", Ingest, "pipelined", FAST, {"environment": _packed_bytes, "fault": SAMPLES_STAY}),
        ("Ingest", Ingest, "compact", COMPACT, {"environment": _list}),
        ("Mask", Mask, "pipelined", FAST, {}),
        ("Scan", Scan, "pipelined", FAST, {"bounds": {"start": 30, "o": 16}, "cycles": 34}),
        ("Scan", Scan, "compact", COMPACT, {}),
        ("Select", Select, "pipelined", FAST, {"bounds": {"start": 60, "scan": 60, "i": 60, "o": 40}, "cycles": 64}),
        ("Select", Select, "compact", COMPACT, {}),
    )
}
"""The same for chips with registers for speed (N > 8), and for compact ones, where components differ."""

BOUNDED: dict[str, Fair] = {
    "EndOfBatch": Fair({"command": 90}, 94, SCAN_RUNS_ON, scan, _pass, small=lambda: EndOfBatch(ONE)),
    "Forward": Fair(
        {"i": 26, "o": 26},
        54,
        ("result_issued - (self.o.valid & self.o.ready)", "result_issued"),
        environment=_forward,
        small=lambda: Forward(TWO),
    ),
    "Sdram": Fair(
        {"requests": 50, "write": 50, "read": 50},
        64,
        ("~current.write & ~credit[-1]", "~current.write & credit[-1]"),
        environment=_sdram,
        waits=_words_due,
        small=lambda: Sdram(SMALL_SDRAM, SHORT_TIMES, longest=2, buffer=2),
    ),
    "Store": Fair(
        {"port.numbers": 12, "port.samples": 12, "port.written": 2},
        24,
        ("port.numbers.ready.eq(~reading)", "port.numbers.ready.eq(reading)"),
        waits=_sample_due,
    ),
    "Uart": Fair({"tx": 42, "rx": 46}, 96, RECEIVER_WAITS, environment=_loop, small=lambda: Uart(4)),
    "UartReceiver": Fair({"o": 46}, 96, RECEIVER_WAITS, environment=_line, small=lambda: UartReceiver(4)),
    "Update": Fair(
        {"command": 60, "rows": 40},
        64,
        ("m.d.sync += requested.eq(0)", "m.d.sync += requested.eq(1)"),
        environment=_rows_or_commands,
        small=lambda: Update(ONE_LBE),
    ),
}
"""Bounds that hold in the first ``cycles`` of every run."""


EVIDENCE = PROVEN | VARIANTS | BOUNDED


def with_streams() -> dict[str, type[wiring.Component]]:
    """The components that receive or send a stream, by name, without those of :data:`WITHOUT`."""
    found = {each.__name__: each for each in components_without(WITHOUT)}
    return {name: each for name, each in found.items() if streams_of(example(each))}


COMPONENTS = with_streams()


def test_every_component_is_in_one_list():
    assert sorted([*PROVEN, *BOUNDED, *WATCHED]) == sorted(COMPONENTS)
    assert {component(name) for name in VARIANTS} <= PROVEN.keys()


def component(name: str) -> str:
    """The component of an entry, without its variant."""
    return name.split()[0]


@pytest.mark.parametrize("name", EVIDENCE)
def test_every_stream_has_a_bound(name):
    fair = EVIDENCE[name]
    streams = {each.name for each in streams_of(fair.component(COMPONENTS[component(name)]))}
    assert streams <= fair.bounds.keys() or fair.bounds.keys() == {"anything"}


@pytest.mark.parametrize(("name", "watched"), WATCHED.items())
def test_every_stream_of_a_watched_component_has_a_bound(name, watched):
    streams = {each.name for each in streams_of(example(COMPONENTS[name]))}
    assert watched.bounds.keys() - {ANSWER} == streams


@pytest.mark.parametrize("name", [*PROVEN, *VARIANTS])
def test_nothing_ever_waits_longer(name, tmp_path, monkeypatch):
    proof = proof_of(name, monkeypatch)
    assert prove(*proof, EVIDENCE[name].cycles, tmp_path, solver=SOLVER) == Verdict.PROVEN


@pytest.mark.parametrize("name", BOUNDED)
def test_nothing_waits_longer_after_a_reset(name, tmp_path, monkeypatch):
    proof = proof_of(name, monkeypatch)
    assert search(*proof, BOUNDED[name].cycles, tmp_path, solver=SOLVER) == Verdict.HOLDS


@pytest.mark.parametrize("name", EVIDENCE)
def test_the_proof_finds_a_component_that_gets_stuck(name, tmp_path, monkeypatch):
    fair = EVIDENCE[name]
    proof = proof_of(name, monkeypatch, *fair.fault)
    assert search(*proof, fair.shows or fair.cycles, tmp_path, solver=SOLVER) == Verdict.DISPROVED


def proof_of(name: str, monkeypatch: pytest.MonkeyPatch, *fault: str) -> tuple[Module, list[Value]]:
    """The proof of an entry, with its component made simpler, and with ``fault``."""
    fair, kind = EVIDENCE[name], COMPONENTS[component(name)]
    texts = (*fair.simpler, *fault)
    if texts:
        plant(monkeypatch, fair.where or sys.modules[kind.__module__], *texts)
    return progress(fair.component(kind), fair)


@pytest.mark.parametrize("network", [GFT, LBE, CONV, SERIAL], ids=["gft", "lbe", "conv", "serial"])
def test_nothing_waits_longer_in_a_simulated_chip(network):
    waits = longest_waits(network)
    assert waits.cycles > CYCLES
    assert all(waits.taken.values())
    assert not waits.stuck
    longer = {}
    for name, watched in WATCHED.items():
        if (watched.network.convolves, watched.network.serial) != (network.convolves, network.serial):
            continue
        for stream, bound in watched.bounds.items():
            longest = waits.longest.get(f"{name}.{stream}", 0)  # a chip has one of the engines
            if longest > bound:
                longer[f"{name}.{stream}"] = longest
    assert longer == {}


@pytest.mark.parametrize(("name", "watched"), WATCHED.items())
def test_the_simulation_finds_a_component_that_gets_stuck(name, watched, monkeypatch):
    plant(monkeypatch, watched.where, *watched.fault)
    assert longest_waits(watched.network).stuck


def plant(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *texts: str) -> None:
    """Replace texts in the methods of the classes of ``module``; ``texts`` are pairs of an old one and a new one."""
    for name, faulty in vars(mutant(module, *texts)).items():
        if inspect.isclass(faulty) and faulty.__module__ == module.__name__ and not issubclass(faulty, tuple):
            for method, code in vars(faulty).items():
                if inspect.isfunction(code) and "__class__" not in code.__code__.co_freevars:  # without super()
                    monkeypatch.setattr(getattr(module, name), method, code)
