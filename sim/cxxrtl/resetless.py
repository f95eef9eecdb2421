"""A component without the logic of its reset, which a simulation that begins at power-up has no use for."""

from __future__ import annotations

from amaranth.hdl import ClockDomain, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Resetless(wiring.Component):
    """``component``, which has byte streams ``rx`` and ``tx``, on clock ``clk``, from its initial values."""

    def __init__(self, component: wiring.Component):
        self.component = component
        super().__init__({"clk": In(1), "rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = sync = ClockDomain(reset_less=True)
        m.submodules.chip = self.component
        m.d.comb += sync.clk.eq(self.clk)
        wiring.connect(m, wiring.flipped(self.rx), self.component.rx)
        wiring.connect(m, self.component.tx, wiring.flipped(self.tx))
        return m
