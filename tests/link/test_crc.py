"""The CRC of a frame against zlib's, from power-up on."""

from __future__ import annotations

import random
import zlib

from amaranth.sim import Simulator

from popflip.hw.link.crc import Crc32


def run(sessions: list[int | None]) -> None:
    """Compare with zlib on messages of random bytes; one of session None begins without ``start``."""
    dut, draw = Crc32(), random.Random(1)

    async def messages(ctx):
        for session in sessions:
            if session is not None:
                ctx.set(dut.start, 1)
                ctx.set(dut.session, session)
                await ctx.tick()
                ctx.set(dut.start, 0)
            message = draw.randbytes(9)
            expected = zlib.crc32(message, session or 0)
            assert ctx.get(dut.crc) == (session or 0)
            ctx.set(dut.valid, 1)
            for byte in (*message, *expected.to_bytes(4, "little")):
                assert ctx.get(dut.match) == 0
                ctx.set(dut.data, byte)
                await ctx.tick()
            ctx.set(dut.valid, 0)
            assert ctx.get(dut.match) == 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(messages)
    simulator.run()


def test_equals_zlib_s():
    run([0, 0x1234_5678, 0xFFFF_FFFF])


def test_the_first_message_after_power_up_needs_no_start():
    run([None, 0])
