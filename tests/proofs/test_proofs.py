"""Proofs of what holds in every cycle of every run, each followed by faults that it finds.

Run by ``make proof``; not part of the default run of the tests.
"""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
from amaranth.hdl import Array, Assert, Assume, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from chips import chip
from formal import Verdict, inputs_of, missing_tools, mutant, opened, prove

from popflip.hw.common import prng, slots
from popflip.hw.config import ChipConfig
from popflip.hw.gft import accumulate
from popflip.hw.lib import stream

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())} (extras build, proof)"
    ),
]


def held(top: Module, value: Signal) -> None:
    """Assume that ``value`` never changes after the first cycle, in which the solver chooses it."""
    before = Signal.like(value, name=f"{value.name}_before")
    later = Signal(name=f"{value.name}_later")
    top.d.sync += [before.eq(value), later.eq(1)]
    with top.If(later):
        top.d.comb += Assume(value == before)


# Queue ----------------------------------------------------------------------------------------------------------------


def queue_proof(module: ModuleType, depth: int) -> tuple[Module, list[Value]]:
    """A queue loses nothing, invents nothing and keeps order: any entry, once followed, comes out unchanged after
    exactly the entries before it. The output stays valid, with a stable payload, until it is taken.
    """
    m = Module()
    dut = module.Queue(4, depth)
    state = opened(m, dut)
    head, tail, level = state["head"], state["tail"], state["level"]
    entries = Array(state[f"entry{index}"] for index in range(depth))
    put, get = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready

    inside = Signal(range(depth + 2))
    m.d.sync += inside.eq(inside + put - get)
    m.d.comb += [
        Assert(inside <= depth),
        Assert(dut.i.ready == (inside < depth)),
        Assert(dut.o.valid == (inside > 0)),  # whatever o.ready is
        Assert(level == inside),
        Assert((head < depth) & (tail < depth)),
        Assert(tail == (head + level) % depth),
    ]

    waiting, payload = Signal(), Signal.like(dut.o.payload)
    m.d.sync += [waiting.eq(dut.o.valid & ~dut.o.ready), payload.eq(dut.o.payload)]
    with m.If(waiting):
        m.d.comb += [Assert(dut.o.valid), Assert(dut.o.payload == payload)]

    follow = Signal()  # the solver's choice of the entry to follow
    following, before, value = Signal(), Signal(range(depth)), Signal.like(dut.i.payload)
    with m.If(put & follow & ~following):
        m.d.sync += [following.eq(1), before.eq(inside - get), value.eq(dut.i.payload)]
    with m.If(following):
        m.d.comb += [Assert(before < inside), Assert(entries[(head + before) % depth] == value)]
        with m.If(get):
            m.d.sync += before.eq(before - 1)
            with m.If(before == 0):
                m.d.comb += Assert(dut.o.payload == value)
                m.d.sync += following.eq(0)
    return m, [*inputs_of(dut), follow]


@pytest.mark.parametrize("depth", [2, 3])
def test_queue_keeps_order_and_the_stream_rules(tmp_path, depth):
    assert prove(*queue_proof(stream, depth), 2, tmp_path) == Verdict.PROVEN


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.i.ready.eq(level != self.depth)", "self.i.ready.eq(1)"),
        ("index == depth - 1", "index == depth"),
        ("self.o.valid.eq(level != 0)", "self.o.valid.eq((level != 0) & self.o.ready)"),
    ],
    ids=["overflows", "wraps late", "valid waits for ready"],
)
def test_queue_proof_finds_a_fault(tmp_path, old, new):
    assert prove(*queue_proof(mutant(stream, old, new), 3), 8, tmp_path) == Verdict.DISPROVED


# Accumulate -----------------------------------------------------------------------------------------------------------

SMALL = chip(6, 3, rows=1, lanes=4, mmax=5, dclip=2)
SINGLE = replace(SMALL, mmax=2, dclip=1)  # δ is +1 or −1, and sums are made another way


def step_by_step(shape, counter, delta, enable, positive):
    """``clip(m + δ·a)`` by its meaning: |δ| steps of one towards the sign of ``δ·a``, none of which leaves ±MMAX."""
    up = (delta > 0) == positive
    for step in range(shape.dclip):
        moves = enable & (abs(delta) > step)
        moved = Mux(
            up, Mux(counter == shape.mmax, counter, counter + 1), Mux(counter == -shape.mmax, counter, counter - 1)
        )
        counter = Mux(moves, moved, counter)
    return counter


def accumulate_proof(module: ModuleType, shape: ChipConfig) -> tuple[Module, list[Value]]:
    """After any sequence of updates, the word of counters at any address equals the saturating sum of its updates, one
    by one, and lies within ±MMAX, if updates of one address are at least ``latency`` cycles apart.
    """
    m = Module()
    dut = module.Accumulate(shape)
    opened(m, dut)
    counter = signed(shape.counter_bits)
    watched = Signal(range(shape.counter_map.depth))  # the solver's choice of an address
    held(m, watched)
    taken = dut.valid & (dut.i.address == watched)
    recent = Signal(dut.latency - 1)  # bit c: taken c + 1 cycles ago
    m.d.sync += recent.eq((recent << 1) | taken)
    with m.If(recent.any()):
        m.d.comb += Assume(~taken)
    m.d.comb += Assume((dut.i.delta >= -shape.dclip) & (dut.i.delta <= shape.dclip))
    m.d.comb += Assume((dut.i.delta != 0) | (shape.dclip > 1))  # rows without an error are not updated

    reads, stored_before = Signal(), Signal.like(dut.counters.read_data.as_value())
    elsewhere = Signal.like(stored_before)  # what other addresses hold
    stored, expected = (
        Signal(data.ArrayLayout(counter, shape.array_synapses), name=name) for name in ("stored", "expected")
    )
    m.d.sync += [reads.eq(dut.counters.read & (dut.counters.read_address == watched)), stored_before.eq(stored)]
    m.d.comb += dut.counters.read_data.as_value().eq(Mux(reads, stored_before, elsewhere))
    with m.If(dut.counters.write & (dut.counters.write_address == watched)):
        m.d.sync += stored.eq(dut.counters.write_data)
    for lane in range(shape.array_synapses):
        enable, positive = dut.i.lanes.enable[lane], dut.i.lanes.positive[lane]
        with m.If(taken):
            m.d.sync += expected[lane].eq(step_by_step(shape, expected[lane], dut.i.delta, enable, positive))
        m.d.comb += Assert((stored[lane] >= -shape.mmax) & (stored[lane] <= shape.mmax))
        m.d.comb += Assert((expected[lane] >= -shape.mmax) & (expected[lane] <= shape.mmax))
    m.d.comb += Assert(recent.any() | (stored == expected))
    m.d.comb += Assert(~recent.any() | dut.busy)
    return m, [watched, elsewhere, dut.valid, dut.i.as_value()]


@pytest.mark.parametrize("shape", [SMALL, SINGLE], ids=["steps", "single"])
def test_counters_saturate(tmp_path, shape):
    latency = accumulate.Accumulate(shape).latency
    assert prove(*accumulate_proof(accumulate, shape), latency + 1, tmp_path) == Verdict.PROVEN


@pytest.mark.parametrize(
    ("shape", "old", "new"),
    [
        (SMALL, "clip(moved, -chip.mmax, chip.mmax)", "clip(moved, -chip.mmax, chip.mmax + 1)"),
        (SMALL, "clip(moved, -chip.mmax, chip.mmax)", "clip(moved, -chip.mmax - 1, chip.mmax)"),
        (SMALL, "Mux(update.lanes.positive[lane], update", "Mux(update.lanes.enable[lane], update"),
        (SMALL, "reading.eq(self.valid)", "reading.eq(self.valid & (self.i.delta != -1))"),
        (SINGLE, "Mux(down, -chip.mmax, chip.mmax)", "Mux(down, -chip.mmax, chip.mmax + 1)"),
        (SINGLE, "Mux(down, -chip.mmax, chip.mmax)", "Mux(down, -chip.mmax - 1, chip.mmax)"),
        (SINGLE, "positive[lane] == update.delta", "enable[lane] == update.delta"),
    ],
    ids=["too high", "too low", "input of no sign", "lost update", "single high", "single low", "single of no sign"],
)
def test_accumulate_proof_finds_a_fault(tmp_path, shape, old, new):
    assert prove(*accumulate_proof(mutant(accumulate, old, new), shape), 16, tmp_path) == Verdict.DISPROVED


# Slots ----------------------------------------------------------------------------------------------------------------


def slots_proof(module: ModuleType, count: int) -> tuple[Module, list[Value]]:
    """A slot is offered whenever one is free, and it is a free one: no slot ever has two owners, none is lost, and the
    lowest comes first. Assumes that only taken slots are given back, each once.
    """
    m = Module()
    dut = module.Slots(chip(5, 2, slots=count))
    freed = dut.freed
    state = opened(m, dut)
    owners = [Signal(2, name=f"owners{slot}") for slot in range(count)]
    for slot, held_by in enumerate(owners):
        taken = dut.take & (dut.slot == slot)
        given_back = (freed.free & (freed.slot == slot)) + (freed.free_also & (freed.slot_also == slot))
        m.d.sync += held_by.eq(held_by + taken - given_back)
        m.d.comb += [
            Assume(given_back <= held_by),
            Assert(held_by <= 1),
            Assert(state["taken"][slot] == held_by),
            Assert(~dut.available | (dut.slot != slot) | (held_by == 0)),
            Assert(~dut.available | (dut.slot <= slot) | (held_by == 1)),
        ]
    m.d.comb += [
        Assume(~dut.take | dut.available),
        Assert(dut.available == (sum(owners) < count)),
        Assert(dut.empty == (sum(owners) == 0)),
    ]
    return m, list(inputs_of(dut))


@pytest.mark.parametrize("count", [2, 4])
def test_a_slot_has_one_owner(tmp_path, count):
    assert prove(*slots_proof(slots, count), 1, tmp_path) == Verdict.PROVEN


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(taken | take) & ~free", "taken & ~free"),
        ("Mux(freed.free_also, 1 << freed.slot_also, 0)", "0"),
        ("reversed(range(self.slots))", "range(self.slots)"),
    ],
    ids=["handed out again", "a freed one is lost", "highest first"],
)
def test_slots_proof_finds_a_fault(tmp_path, old, new):
    assert prove(*slots_proof(mutant(slots, old, new), 4), 8, tmp_path) == Verdict.DISPROVED


# Prng -----------------------------------------------------------------------------------------------------------------


def next_word(state: Value) -> Value:
    """The definition of the generator."""
    for shift in (13, -17, 5):
        state = (state ^ (state << shift if shift > 0 else state >> -shift))[:32]
    return state


def prng_proof(module: ModuleType) -> tuple[Module, list[Value]]:
    """A word follows from the state by the definition. A nonzero state never becomes 0, so no random word is 0; a word
    that is drawn becomes the state, and only drawing and loading change it.
    """
    m = Module()
    dut = module.Prng()
    opened(m, dut)
    expected = Signal(32, init=1)
    m.d.sync += expected.eq(Mux(dut.load, dut.load_state, Mux(dut.words.ready, dut.words.payload, dut.state)))
    m.d.comb += [
        Assume(~dut.load | (dut.load_state != 0)),
        Assert(dut.words.valid),
        Assert(dut.state == expected),
        Assert(dut.state != 0),
        Assert(dut.words.payload != 0),
        Assert(dut.words.payload == next_word(dut.state)),
    ]
    return m, list(inputs_of(dut))


def test_random_words_are_never_zero(tmp_path):
    assert prove(*prng_proof(prng), 1, tmp_path) == Verdict.PROVEN


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("range(32) if images", "range(31) if images"),
        ("m.Elif(self.words.ready)", "m.Elif(self.words.ready & ~self.state[31])"),
    ],
    ids=["a bit is lost", "keeps some states"],
)
def test_prng_proof_finds_a_fault(tmp_path, old, new):
    assert prove(*prng_proof(mutant(prng, old, new)), 8, tmp_path) == Verdict.DISPROVED
