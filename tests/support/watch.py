"""Waits of a whole chip in a simulation: components that are too large for a solver, watched at random requests.

A host in Python sends requests of all kinds, some of them damaged, byte by byte with random pauses of a cycle, and
takes the answers with such pauses. Every stream of :data:`WATCHED` components is watched in every cycle.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from amaranth.sim import Simulator
from chips import chip, lbe_chip
from stream_rules import streams_of

import popflip.hw.top
from popflip.hw import trainer
from popflip.hw.config import ChipConfig
from popflip.hw.conv import blank, errors, gather, ingest, patch_words, patches
from popflip.hw.conv import forward as conv_forward
from popflip.hw.conv import learn as conv_learn
from popflip.hw.gft import engine as gft_engine
from popflip.hw.lbe import engine as lbe_engine
from popflip.hw.link import link
from popflip.hw.link.codec import HEADER_BYTES, OPEN, OVERHEAD, encode, payload_length
from popflip.hw.link.commands import Command
from popflip.hw.registers import register_values, registers
from popflip.hw.serial import forward as serial_forward
from popflip.hw.serial import ingest as serial_ingest
from popflip.hw.serial import learn as serial_learn
from popflip.hw.top import Chip
from popflip.sim.bench.networks import config_of

STUCK, SERIAL_STUCK = 400, 4000
"""Cycles of one wait after which a simulation ends; of a chip with one walk, where a sample takes hundreds of them."""
BURSTS = 25
"""Times that the host sends up to :data:`AHEAD` requests and takes their answers."""
AHEAD = 4
CYCLES = 3000
"""Cycles that a run takes, at least."""
ANSWER = "answer"
"""The silence of a chip that owes an answer; the other waits are those of items on streams."""


@dataclass(frozen=True)
class Watched:
    """``bounds`` : longest wait of an item on each stream. ``network`` : of the chip in which the component is watched.
    ``fault`` : a text of module ``where``, and one that makes the component get stuck."""

    bounds: Mapping[str, int]
    network: ChipConfig
    where: ModuleType
    fault: tuple[str, str]


GFT = chip(5, 3, 2, rows=2, lanes=4, mmax=3)
LBE = lbe_chip(5, 2, classes=2, rows=2, lanes=4, mmax=3)
CONV = chip("3x2", "c2k3", 2, rows=2, lanes=4, mmax=3, slots=2)
SERIAL = chip("3x2", "c4k3", 2, rows=4, lanes=4, mmax=3, slots=2, compact=True)

WATCHED = {
    "Chip": Watched(
        {"rx": 100, "tx": 1, ANSWER: 150},
        GFT,
        popflip.hw.top,
        (
            "wiring.connect(m, wiring.flipped(self.rx), self.link.rx)",
            "m.d.comb += self.link.rx.valid.eq(self.rx.valid)",
        ),
    ),
    "Link": Watched(
        {"rx": 100, "tx": 1, "trainer.samples.stream": 100, "trainer.predictions": 20, "trainer.command": 60},
        GFT,
        link,
        ("sender.header.ready & ~sender.header.valid", "sender.header.valid"),
    ),
    "Trainer": Watched(
        {"port.samples.stream": 100, "port.predictions": 20, "port.command": 60},
        GFT,
        trainer,
        ('m.next = "RUN"', 'm.next = "COMMAND"'),
    ),
    "GftEngine": Watched(
        {"sums": 20, "predictions": 20, "command": 100},
        GFT,
        gft_engine,
        ("self.freed.free.eq(decided & ~verdict.updates)", "self.freed.free.eq(0)"),
    ),
    "LbeEngine": Watched(
        {"sums": 50, "predictions": 20, "command": 100},
        LBE,
        lbe_engine,
        ("self.freed.free.eq(schedule.done)", "self.freed.free.eq(0)"),
    ),
    "Blank": Watched(
        {"slots": 5, "i": 30, "o": 30}, CONV, blank, ("queue.o.ready.eq(moves & last)", "queue.o.ready.eq(0)")
    ),
    "ConvIngest": Watched(
        {"i": 120, "filled": 0, "o": 30}, CONV, ingest, ("samples.ready.eq(takes & last)", "samples.ready.eq(0)")
    ),
    "Patches": Watched({"i": 10, "o": 5}, CONV, patches, ("valid.eq(must | nonzero.any())", "valid.eq(nonzero.any())")),
    "Gather": Watched(
        {"start": 5, "o": 15}, CONV, gather, ("~it.running | (moves & ends)", "it.running & moves & ends")
    ),
    "PatchWords": Watched({"start": 20, "o": 15}, CONV, patch_words, ("return moves & last,", "return last & ~last,")),
    "ConvForward": Watched({"i": 30, "o": 5}, CONV, conv_forward, ("stored.eq(layer_done)", "stored.eq(0)")),
    "ConvLearn": Watched({"i": 60}, CONV, conv_learn, ("self.done.eq(1)", "self.done.eq(0)")),
    "Errors": Watched({"i": 5}, CONV, errors, ("queue.o.ready.eq(last)", "queue.o.ready.eq(0)")),
    "SerialIngest": Watched(
        {"i": 450, "o": 450}, SERIAL, serial_ingest, ("(left == 0) & ~self.o.valid", "self.o.valid")
    ),
    "SerialForward": Watched(
        {"i": 450, "o": 10}, SERIAL, serial_forward, ("walk.idle & walk.ends_pool", "walk.idle & ~walk.ends_pool")
    ),
    "SerialLearn": Watched({"i": 450}, SERIAL, serial_learn, ("self.done.eq(1)", "self.done.eq(0)")),
}
"""By component: what is watched."""


class Stuck(Exception):
    """A wait took longer than :data:`STUCK` cycles, or :data:`SERIAL_STUCK`."""


class Monitor:
    """Measures how long items wait, by the name of component and stream, and collects the bytes of answers."""

    def __init__(self, streams: Mapping[str, Any], patience: int):
        self.streams, self._patience = streams, patience
        self.longest = dict.fromkeys([*streams, f"Chip.{ANSWER}"], 0)
        self.taken = dict.fromkeys(streams, 0)
        self.cycles = 0
        self.answer = bytearray()
        self.due = 0  # answers
        self._now = dict.fromkeys(self.longest, 0)

    def look(self, values: list[tuple[int, int]], payload: int) -> None:
        """A cycle with ``valid`` and ``ready`` of each stream, and the byte at the chip's output."""
        self.cycles += 1
        for name, (valid, ready) in zip(self.streams, values, strict=True):
            self._count(name, bool(valid and not ready))
            self.taken[name] += bool(valid and ready)
        sent = all(dict(zip(self.streams, values, strict=True))["Chip.tx"])
        self._count(f"Chip.{ANSWER}", bool(self.due) and not sent)
        if sent:
            self.answer.append(payload)

    def _count(self, name: str, waits: bool) -> None:
        self._now[name] = self._now[name] + 1 if waits else 0
        self.longest[name] = max(self.longest[name], self._now[name])

    @property
    def stuck(self) -> bool:
        return max(self._now.values()) > self._patience


class Host:
    """Sends requests to a simulated chip and takes the answers."""

    def __init__(self, ctx: Any, dut: Chip, monitor: Monitor, seed: int):
        self._ctx, self._dut, self._monitor = ctx, dut, monitor
        self._random = random.Random(seed)
        self._session, self._sequence = OPEN, 0

    async def run(self) -> None:
        """A session: identify, configure, reset, then bursts of random requests, of which the last may be damaged."""
        network = self._dut.trainer.chip
        values = register_values(network, config_of(network))
        numbers = {register.name: number for number, register in enumerate(registers(network))}
        content = b"".join(struct.pack("<Bi", numbers[name], value) for name, value in values.items())
        await self._send(Command.IDENTIFY, struct.pack("<I", 0x12345678))
        (self._session,) = struct.unpack_from("<I", await self._answer(), HEADER_BYTES)
        for command, payload in ((Command.CONFIGURE, content), (Command.RESET, struct.pack("<I", 1))):
            await self._send(command, payload)
            await self._answer()
        for _ in range(BURSTS):
            ahead = self._random.randrange(AHEAD)
            for _ in range(ahead):
                await self._send(*self._any_request())
            await self._send(*self._any_request(), damaged=self._random.random() < 0.2)
            for _ in range(ahead + 1):
                await self._answer()

    def _any_request(self) -> tuple[Command, bytes]:
        inputs, pick = self._dut.trainer.chip.inputs, self._random
        samples = pick.randrange(1, 6)
        words = struct.pack("<HI", pick.randrange(1, 3), 0)
        train = b"".join(bytes([pick.randrange(2), pick.randrange(2**inputs)]) for _ in range(samples))
        requests = {
            Command.TRAIN: train,
            Command.INFER: bytes(pick.randrange(2**inputs) for _ in range(samples)),
            Command.END_BATCH: b"",
            Command.READ_WEIGHTS: words,
            Command.READ_COUNTERS: words,
            Command.SIGNATURE: b"",
        }
        return pick.choices(list(requests.items()), [4, 2, 2, 1, 1, 1])[0]

    async def _send(self, command: Command, payload: bytes, *, damaged: bool = False) -> None:
        frame = bytearray(encode(self._sequence, command, payload, self._session))
        frame[-1] ^= damaged
        self._sequence = (self._sequence + (not damaged)) % 256
        rx, ctx = self._dut.rx, self._ctx
        for byte in frame:
            if self._random.random() < 0.3:
                await self._tick()
            ctx.set(rx.valid, 1)
            ctx.set(rx.payload, byte)
            while not await self._tick():
                pass
            ctx.set(rx.valid, 0)
        self._monitor.due += 1

    async def _answer(self) -> bytes:
        answer = self._monitor.answer
        while (length := self._length()) is None or len(answer) < length:
            await self._tick()
        frame = bytes(answer[:length])
        del answer[:length]
        self._monitor.due -= 1
        return frame

    def _length(self) -> int | None:
        """Bytes of the answer that comes; None if they are not known yet."""
        header = bytes(self._monitor.answer[:HEADER_BYTES])
        if len(header) < HEADER_BYTES:
            return None
        lengths = [payload_length(header, session) for session in (OPEN, self._session)]
        return OVERHEAD + next(length for length in lengths if length is not None)

    async def _tick(self) -> bool:
        """A cycle. Returns whether a byte offered at ``rx`` was taken."""
        if self._monitor.stuck:
            raise Stuck
        dut, streams = self._dut, self._monitor.streams.values()
        ports = [port for each in streams for port in (each.valid, each.ready)]
        sampled = await self._ctx.tick().sample(dut.tx.payload, dut.rx.ready, dut.tx.ready, *ports)
        payload, ready, taking, *values = sampled[-len(ports) - 3 :]
        self._monitor.look(list(zip(values[::2], values[1::2], strict=True)), payload)
        self._ctx.set(dut.tx.ready, not taking or self._random.random() < 0.7)
        return bool(ready)


def conv_parts(trainer: Any) -> list[Any]:
    """The parts of a trainer with positions. Learning's patch words are another instance of forward's."""
    made, forward, learn = trainer.ingest, trainer.forward, trainer.engine.learn
    return [made, made.patches, trainer.blank, forward, forward.words, forward.words.gather, learn, learn.errors]


def longest_waits(network: ChipConfig, seed: int = 1) -> Monitor:
    """Simulate a chip of ``network`` until the host has no more requests, or it is stuck."""
    dut = Chip(network, buffer=64)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    parts = [dut, dut.link, dut.trainer, dut.trainer.engine]
    if network.serial:
        parts += [dut.trainer.ingest, dut.trainer.forward, dut.trainer.engine.learn]
    elif network.convolves:
        parts += conv_parts(dut.trainer)
    streams = {f"{type(part).__name__}.{each.name}": each for part in parts for each in streams_of(part)}
    monitor = Monitor(streams, SERIAL_STUCK if network.serial else STUCK)

    async def run(ctx: Any) -> None:
        await Host(ctx, dut, monitor, seed).run()

    simulator.add_testbench(run)
    with suppress(Stuck):
        simulator.run()
    return monitor
