"""The top module of a simulation: a component on a plain clock input, without reset logic."""

from __future__ import annotations

from amaranth.hdl import ClockDomain, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class SimulationTop(wiring.Component):
    """``component``, which has byte streams ``rx`` and ``tx``, clocked by ``clk`` from its initial values.

    One with an SDRAM also has its pins, ``sdram_outputs`` and ``sdram_data`` (:mod:`popflip.sim.pins`).

    A simulation begins at power-up, so the domain has no reset and the netlist no reset logic to evaluate.
    """

    def __init__(self, component: wiring.Component):
        self.component = component
        names = [name for name in ("sdram_outputs", "sdram_data") if name in component.signature.members]
        self.pins = {name: component.signature.members[name] for name in names}
        super().__init__({"clk": In(1), "rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8)), **self.pins})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = sync = ClockDomain(reset_less=True)
        m.submodules.chip = self.component
        m.d.comb += sync.clk.eq(self.clk)
        wiring.connect(m, wiring.flipped(self.rx), self.component.rx)
        wiring.connect(m, self.component.tx, wiring.flipped(self.tx))
        if self.pins:
            m.d.comb += [
                self.sdram_outputs.eq(self.component.sdram_outputs),
                self.component.sdram_data.eq(self.sdram_data),
            ]
        return m
