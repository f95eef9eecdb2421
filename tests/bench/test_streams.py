"""The tools of testbenches: a correct component passes; each violation of a stream rule is caught and named."""

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popflip.sim.bench.streams import pack, unpack
from popflip.sim.bench.tb_streams import PAYLOAD, payloads


class Register(wiring.Component):
    """A one-place pipeline register, correct or with one fault."""

    def __init__(self, fault: str = ""):
        self.fault = fault
        super().__init__({"i": In(stream.Signature(PAYLOAD)), "o": Out(stream.Signature(PAYLOAD))})

    def elaborate(self, platform) -> Module:
        m = Module()
        full, held = Signal(), Signal.like(self.i.payload)
        taken = Signal(4)
        m.d.comb += [
            self.i.ready.eq(~full | self.o.ready),
            self.o.valid.eq(full),
            self.o.payload.eq(held),
        ]
        with m.If(self.i.ready):
            m.d.sync += full.eq(self.i.valid)
            m.d.sync += held.eq(self.i.payload)
            m.d.sync += taken.eq(taken + full)
        with m.If(full & ~self.o.ready):
            if self.fault == "valid drops":
                m.d.sync += full.eq(0)
            elif self.fault == "payload changes":
                m.d.sync += held.as_value().eq(~held.as_value())
        if self.fault == "valid waits":
            m.d.comb += self.o.valid.eq(full & self.o.ready)
        elif self.fault == "swallows":
            m.d.comb += self.o.valid.eq(full & ~taken.all())
        elif self.fault == "bit flipped":
            m.d.comb += self.o.payload.flag.eq(held.flag ^ taken.all())
        return m


@pytest.mark.parametrize("stall", [0, 0.4, 0.9])
def test_correct_component_passes(testbench, stall):
    testbench(Register(), "popflip.sim.bench.tb_streams", {"stall": stall, "count": 60})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("valid drops", "stream o: valid dropped before the payload was taken"),
        ("payload changes", "stream o: the payload changed before it was taken"),
        ("valid waits", "stream o: valid or the payload waits for ready"),
        ("bit flipped", "passes_on: assert"),
        ("swallows", "stream o: stuck after [0-9]+ of 60 payloads"),
    ],
)
def test_fault_is_caught(testbench, fault, message):
    with pytest.raises(AssertionError, match=message):
        testbench(Register(fault), "popflip.sim.bench.tb_streams", {"stall": 0.4, "count": 60})


def test_pack_puts_the_first_member_lowest():
    assert pack(PAYLOAD, {"number": -1, "list": [5, 2], "flag": 1}) == 0b1_010_101_11111


def test_unpack_inverts_pack():
    for value in payloads(seed=4, count=100):
        assert unpack(PAYLOAD, pack(PAYLOAD, value)) == value


@pytest.mark.parametrize(("shape", "value", "bits"), [(signed(3), -4, 0b100), (7, 99, 99), (range(-2, 2), -1, 0b11)])
def test_pack_of_numbers(shape, value, bits):
    assert pack(shape, value) == bits
    assert unpack(shape, bits) == value


def test_testbench_without_tests_fails(testbench):
    with pytest.raises(AssertionError, match=r"(?s)popflip\.sim\.bench\.streams: .*No tests were discovered"):
        testbench(Register(), "popflip.sim.bench.streams")
