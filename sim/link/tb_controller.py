"""Testbench of the whole link: valid and invalid requests, against the link's model. The trainer learns nothing."""

import random
import struct
from collections import deque
from itertools import accumulate

import cocotb

from popflip.golden.config import Rule
from popflip.hw.link.buffer import counter_bytes, weight_bytes
from popflip.hw.link.codec import HEADER_BYTES, OPEN, OVERHEAD, decode, encode, payload_length
from popflip.hw.link.commands import (
    PACKED_COMMANDS,
    SESSION_BYTES,
    SET_COMMANDS,
    STORE_COMMANDS,
    Command,
    Result,
    commands_of,
)
from popflip.hw.link.controller import packed_latency, replay_latency, train_latency
from popflip.hw.link.identity import Identity
from popflip.hw.registers import KEY, LAST_SAMPLE, registers
from popflip.hw.trainer_port import TrainerCommand
from popflip.sim.bench.link_model import LinkModel, TrainerModel
from popflip.sim.bench.memories import ReadPort, WritePort
from popflip.sim.bench.networks import chip_of
from popflip.sim.bench.parts import EachCycle, Part, each_part
from popflip.sim.bench.runner import parameters

WITHOUT_SESSION = 10  # frames to a chip without a session, unless one of them begins a session
LINGER = 12  # cycles a trainer may stay busy after a sample or a command


class Trainer(EachCycle):
    """A :class:`TrainerModel` at the ports of ``part``. Asserts that strobes that need an idle trainer wait for it."""

    def __init__(self, part: Part, chip, seed: int, stall: float):
        self.model, self.chip = TrainerModel(chip, seed), chip
        self._random, self._stall = random.Random(f"{seed} {part.name}"), stall
        self._bytes = bytearray()
        self._kind = None  # label, infer and packed of the current sample
        self._busy = 0
        self._status = 0
        self.predictions = part.source("trainer__predictions", range(chip.classes), stall=stall, seed=seed)
        self.samples = part.sink("trainer__samples__stream", 8, stall=stall, seed=seed)
        self.commands = part.sink("trainer__command", 1, stall=stall, seed=seed)
        weights, counters = "trainer__state__weights__", "trainer__state__counters__"
        place = ["read_address", "read_bank"], ["write_address", "write_bank"]
        ReadPort(
            part,
            f"{weights}read",
            [weights + port for port in place[0]],
            [f"{weights}read_data"],
            self._weight,
            latency=chip.read_latency,
        )
        WritePort(part, f"{weights}write", [weights + port for port in (*place[1], "write_data")], self._write_weight)
        ReadPort(
            part,
            f"{counters}read",
            [counters + port for port in place[0]],
            [f"{counters}read_data"],
            lambda address, bank: (self.model.counters[address * chip.learn_rows + bank],),
            latency=chip.read_latency,
        )
        WritePort(
            part,
            f"{counters}write",
            [counters + port for port in (*place[1], "write_data")],
            self._write_counters,
        )
        self._strobes = ["trainer__register__write"] + [
            f"{memory}{strobe}" for memory in (weights, counters) for strobe in ("read", "write")
        ]
        super().__init__(part)

    def _weight(self, address: int, bank: int) -> tuple[int]:
        return (self.model.weights[address * self.chip.array_rows + bank],)

    def _write_weight(self, address: int, bank: int, word: int) -> None:
        self.model.weights[address * self.chip.array_rows + bank] = word

    def _write_counters(self, address: int, bank: int, word: int) -> None:
        self.model.counters[address * self.chip.learn_rows + bank] = word

    def drive(self) -> None:
        answered = len(self.predictions.monitor.items) == self.predictions._sent
        self._busy = max(self._busy - answered, 0)
        self.part.set("trainer__idle", self._idle())
        self.part.set("trainer__status__valid", 1)
        self.part.set("trainer__status__value", self.model.status[self._status % len(self.model.status)])

    def _idle(self) -> bool:
        return not self._busy and not self._bytes

    def look(self) -> None:
        part = self.part
        for strobe in self._strobes:
            assert not part.get(strobe) or self._idle(), f"{strobe} while the trainer is busy"
        self._status = part.get("trainer__status__index")
        if part.get("trainer__register__write"):
            self.model.write_register(part.get("trainer__register__index"), part.get("trainer__register__value"))
        if part.get("trainer__command__valid") and part.get("trainer__command__ready"):
            assert not self._bytes
            self.model.command(TrainerCommand(part.get("trainer__command__payload")))
            self._linger()
        if part.get("trainer__samples__stream__valid"):
            self._sample()

    def _sample(self) -> None:
        part = self.part
        packed = part.get("trainer__samples__packed")
        kind = part.get("trainer__samples__label"), part.get("trainer__samples__infer"), packed
        assert self._kind in (None, kind), "label or kind changed within a sample"
        self._kind = kind
        if part.get("trainer__samples__stream__ready"):
            self._bytes.append(part.get("trainer__samples__stream__payload"))
        last = part.get("trainer__samples__last") if packed else len(self._bytes) == self.chip.input_bytes
        if last and part.get("trainer__samples__stream__ready"):
            label, infer, _ = kind
            learn = self.model.packed if packed else self.model.sample
            prediction = learn(bytes(self._bytes), None if infer else label)
            if infer:
                self.predictions.send(prediction)
            self._bytes.clear()
            self._kind = None
            self._linger()

    def _linger(self) -> None:
        self._busy = 1 + self._random.randrange(LINGER)


class Requests:
    """Random frames, about half of them invalid or damaged."""

    def __init__(self, chip, buffer: int, seed: int):
        self.chip, self.buffer = chip, buffer
        self.last_sample = 0
        self.random = random.Random(seed)

    def frame(self, expected: int, session: int) -> bytes:
        """The bytes of a request; ``expected`` is the correct sequence number, ``session`` the chip's session."""
        draw = self.random
        often = [Command.TRAIN, Command.INFER, Command.CONFIGURE] * 2 + [Command.IDENTIFY]
        if self.chip.store_samples:
            often += [*STORE_COMMANDS] * 2
        if self.chip.packs:
            often += [*PACKED_COMMANDS] * 2
        if self.chip.walks:
            often += [*SET_COMMANDS] * 2
        command = draw.choice([*commands_of(self.chip), *often])
        payload = getattr(self, command.name.lower(), lambda: b"")()
        code = int(command)
        fault = draw.choice(
            ["none"] * 8 + ["sequence", "command", "length", "bits", "noise", "cut", "long", "zeros", "session"]
        )
        sequence = expected if fault != "sequence" else draw.randrange(256)
        if fault == "command":
            unknown = set(Command) - set(commands_of(self.chip))
            code = draw.choice([0, 20, *unknown, 32 + code, 128 + code])
        if fault == "length":
            payload = draw.choice([payload + b"\0", payload[:-1], payload + draw.randbytes(5), b""])
        if fault == "long":
            payload = draw.randbytes(self.buffer - draw.randrange(6, 10))
        if fault == "session":
            other = draw.choice([OPEN, draw.getrandbits(32), session ^ 1 << draw.randrange(32)])
            return encode(sequence, code, payload, other)
        frame = bytearray(encode(sequence, code, payload, session))
        if command == Command.IDENTIFY and draw.random() < 0.3:  # of the session that ends before it is executed
            frame += encode((sequence + 1) % 256, Command.END_BATCH, b"", session)
        if fault == "bits":
            for _ in range(draw.choice([1, 2, 8])):
                place = draw.choice([draw.randrange(6), draw.randrange(len(frame))])
                frame[place] ^= 1 << draw.randrange(8)
        if fault == "noise":
            frame = draw.randbytes(draw.randrange(1, 12)) + frame
        if fault == "cut":
            place = draw.randrange(len(frame))
            del frame[place : place + draw.choice([1, 1, 3])]
        if fault == "zeros":
            frame += bytes(self.buffer)
        return bytes(frame)

    def configure(self) -> bytes:
        draw, known = self.random, registers(self.chip)
        content = self.set() if self.chip.walks and draw.random() < 0.4 else b""
        for _ in range(draw.randrange(4)):
            number = draw.randrange(len(known) + (draw.random() < 0.2))
            low, high = (known[number].low, known[number].high) if number < len(known) else (0, 0)
            value = draw.choice([low, high, low + 1, high - 1, draw.randint(low, high), draw.randint(low, high)])
            if draw.random() < 0.1:
                value = draw.choice([low - 1, high + 1, low - 256, high + 256, draw.getrandbits(32)])
            content += struct.pack("<BI", number, value % 2**32)
        return content

    def set(self) -> bytes:
        """Writes of the registers of a set, most often the whole store or a small one."""
        draw, names = self.random, [register.name for register in registers(self.chip)]
        self.last_sample = draw.choice([draw.randrange(self.chip.store_samples), self.chip.store_samples - 1])
        writes = [(LAST_SAMPLE, self.last_sample), *((KEY, draw.getrandbits(32)) for _ in range(draw.choice([0, 3])))]
        return b"".join(struct.pack("<BI", names.index(name), value) for name, value in writes)

    def identify(self) -> bytes:
        draw = self.random
        return struct.pack(
            "<I", draw.choice([1, draw.getrandbits(32), draw.getrandbits(32), draw.getrandbits(16) << 16])
        )

    def reset(self) -> bytes:
        return struct.pack("<I", self.random.choice([0, 1, 1 << 31, self.random.getrandbits(32)]))

    def samples(self, label_bytes: int) -> bytes:
        draw, chip = self.random, self.chip
        most = (self.buffer - OVERHEAD) // (chip.input_bytes + label_bytes)
        content = b""
        for _ in range(draw.randint(0, min(most, 6))):
            label = draw.choice([draw.randrange(chip.classes), chip.classes - 1])
            if draw.random() < 0.03:
                label = draw.choice([chip.classes, 256**chip.label_bytes - 1])
            content += (label % 256**chip.label_bytes).to_bytes(chip.label_bytes, "little")[:label_bytes]
            content += draw.randbytes(chip.input_bytes)
        return content

    def train(self) -> bytes:
        return self.samples(self.chip.label_bytes)

    def infer(self) -> bytes:
        return self.samples(0)

    def packed(self, label_bytes: int) -> bytes:
        draw, chip = self.random, self.chip
        room, content = self.buffer - OVERHEAD, b""
        for _ in range(draw.randint(0, 8)):
            label = draw.choice([draw.randrange(chip.classes), chip.classes - 1])
            if draw.random() < 0.03:
                label = draw.choice([chip.classes, 256**chip.label_bytes - 1])
            inputs = draw.randbytes(draw.choice([1, 2, draw.randint(1, chip.packed_bytes + 3)]))
            size = label_bytes + len(inputs)
            if draw.random() < 0.05:
                size = draw.choice([0, label_bytes, size - 1, size + 1, 255, 256**chip.size_bytes - 1])
            item = size.to_bytes(chip.size_bytes, "little")
            item += (label % 256**chip.label_bytes).to_bytes(chip.label_bytes, "little")[:label_bytes] + inputs
            if len(content) + len(item) <= room:
                content += item
        return content

    def train_packed(self) -> bytes:
        return self.packed(self.chip.label_bytes)

    def infer_packed(self) -> bytes:
        return self.packed(0)

    def store(self) -> bytes:
        draw, samples = self.random, self.chip.store_samples
        content = self.packed(self.chip.label_bytes) if self.chip.packs else self.samples(self.chip.label_bytes)
        last = max(0, samples - (8 if self.chip.packs else len(content) // self.chip.sample_bytes))
        first = draw.choice([0, last, draw.randint(0, last)])
        if draw.random() < 0.1:
            first = draw.choice([last + 1, samples, samples + 1, 2 * samples, 1 << 16, 1 << 31])
        return struct.pack("<I", first) + content

    def train_stored(self) -> bytes:
        draw, samples = self.random, self.chip.store_samples
        numbers = [draw.choice([0, samples - 1, draw.randrange(samples)]) for _ in range(draw.randrange(8))]
        if draw.random() < 0.1:
            numbers.append(draw.choice([samples, 2 * samples - 1, 255, 256, 2**15, 2**16 - 1]))
            draw.shuffle(numbers)
        return struct.pack(f"<{len(numbers)}H", *numbers)

    def piece(self, pieces: int) -> bytes:
        """Samples of a piece and the first one's place, most often within the set."""
        draw, most = self.random, self.last_sample + 1
        samples = draw.choice([1, 1, max(1, most // max(1, pieces)), draw.randint(0, 5)])
        first = draw.choice([0, max(0, most - samples * max(1, pieces)), draw.randrange(most)])
        if draw.random() < 0.1:
            samples, first = draw.choice([(0, 0), (0, 1), (1, most), (65535, 0), (1, 1 << 20), (1, 1 << 31), (most, 1)])
        return struct.pack("<HI", samples % 2**16, first)

    def train_set(self) -> bytes:
        draw, known = self.random, registers(self.chip)
        limits = [register.high for register in known if register.name in {f"k{n}" for n in range(self.chip.depth)}]
        pieces = draw.randrange(4) if self.chip.rule == Rule.GFT else 0
        pieces = min(pieces, (self.buffer - OVERHEAD - 8) // (4 * self.chip.depth))
        flips = [draw.choice([0, 1, high, draw.randint(0, high)]) for _ in range(pieces) for high in limits]
        if flips and draw.random() < 0.1:
            flips[draw.randrange(len(flips))] = draw.choice([max(limits) + 1, 2**32 - 1])
        return self.piece(pieces) + struct.pack(f"<{len(flips)}I", *flips)

    def infer_set(self) -> bytes:
        return self.piece(1)

    def place(self, words: int) -> tuple[int, int]:
        """An address and a number of words, mostly within a memory of ``words``."""
        draw = self.random
        count = draw.choice([0, 1, 2, 3, min(words, 9)])
        address = draw.choice([0, max(words - count, 0), draw.randrange(words)])
        if draw.random() < 0.1:
            address, count = draw.choice(
                [(words, 0), (words, 1), (words - 1, 2), (1 << 31, 0), (0, 65535), (address + (1 << 20), count)]
            )
        return address, count

    def read(self, words: int) -> bytes:
        address, count = self.place(words)
        return struct.pack("<HI", count, address)

    def write(self, words: int, size: int) -> bytes:
        address, count = self.place(words)
        count = min(count, (self.buffer - OVERHEAD - 4) // size)
        return struct.pack("<I", address) + self.random.randbytes(count * size)

    def read_weights(self) -> bytes:
        return self.read(self.chip.weight_map.size)

    def read_counters(self) -> bytes:
        return self.read(self.chip.counter_map.depth)

    def write_weights(self) -> bytes:
        return self.write(self.chip.weight_map.size, weight_bytes(self.chip))

    def write_counters(self) -> bytes:
        return self.write(self.chip.counter_map.depth, counter_bytes(self.chip))


async def answered(sink, answers: deque, kinds: set) -> None:
    """The next frames out of the chip equal ``answers``, which this empties. Adds their results to ``kinds``."""
    while answers:
        answer = answers.popleft()
        header = bytes(await sink.receive(HEADER_BYTES))
        rest = bytes(await sink.receive(OVERHEAD - HEADER_BYTES + (payload_length(header, answer.session) or 0)))
        frame = decode(header + rest, answer.session)
        assert frame == answer, f"{frame} instead of {answer}"
        kinds.add(answer.code)


async def requests(part: Part, chip: dict, identity: str, memory: str = "") -> None:
    """Answers and effects equal the model's, in order."""
    options = parameters()
    told, chip = Identity.unpack(bytes.fromhex(identity)), chip_of(chip)
    seed, stall = options["seed"], options["stall"]
    trainer = Trainer(part, chip, seed, stall)
    model = LinkModel(chip, told, TrainerModel(chip, seed), bytes.fromhex(memory))
    source, sink = part.source("rx", 8, stall=stall, seed=seed), part.sink("tx", 8, stall=stall, seed=seed)

    draw, unseen, kinds, sessions = Requests(chip, told.buffer_bytes, seed), deque(), set(), 0
    for number in range(options["count"]):
        frame, session = draw.frame(model.expected, model.session), model.session
        if number == WITHOUT_SESSION and not session:
            frame = encode(0, Command.IDENTIFY, struct.pack("<I", 1))
        source.send(*frame)
        unseen += model.feed(frame)
        if model.session != session:  # the next frame must not begin before the session does
            await answered(sink, unseen, kinds)
            sessions += 1
            model.nonce = draw.random.getrandbits(16)
            part.set("nonce", model.nonce)
    flush = bytes(told.buffer_bytes)
    source.send(*flush)
    unseen += model.feed(flush)
    await answered(sink, unseen, kinds)
    assert kinds == set(Result), f"results not seen: {set(Result) - kinds}"
    assert sessions > options["count"] // 100
    await source.drain()
    for mine, theirs in zip(trainer.model.events, model.trainer.events, strict=False):
        assert mine == theirs
    assert len(trainer.model.events) == len(model.trainer.events)
    assert trainer.model.weights == model.trainer.weights
    assert trainer.model.counters == model.trainer.counters


async def speed(part: Part, chip: dict, identity: str, memory: str = "") -> None:
    """The trainer gets a byte every cycle. Between samples pass as many cycles as label and size have bytes, and those
    that a number takes if samples come from the store."""
    chip = chip_of(chip)
    count = 5
    trainer = Trainer(part, chip, seed=1, stall=0)
    source, sink = part.source("rx", 8, stall=0), part.sink("tx", 8, stall=0)
    samples = count * (bytes(chip.label_bytes) + chip.input_bytes * bytes([1]))
    whole = [chip.input_bytes] * count
    requests = [(Command.TRAIN, samples, whole, train_latency(chip, count), chip.label_bytes)]
    if chip.packs:
        sizes = [1, chip.packed_bytes, 3, 1, 2]
        before = chip.label_bytes + chip.size_bytes
        items = [
            (chip.label_bytes + size).to_bytes(chip.size_bytes, "little") + bytes(chip.label_bytes + size)
            for size in sizes
        ]
        requests.append((Command.TRAIN_PACKED, b"".join(items), sizes, packed_latency(chip, count), before))
    if chip.store_samples:
        if chip.packs:
            whole = sizes
        stored = min(count, chip.store_samples)
        content = items[:stored] if chip.packs else [samples[: stored * chip.sample_bytes]]
        numbers = struct.pack(f"<{count}H", *(index % stored for index in range(count)))
        before = chip.label_bytes + chip.number_bytes + 2 + (chip.size_bytes if chip.packs else 0)
        requests.append((Command.STORE, bytes(4) + b"".join(content), [], 0, 0))
        requests.append((Command.TRAIN_STORED, numbers, whole, replay_latency(chip, count), before))
    session = 0x1234_5678
    part.set("nonce", 0)
    source.send(*encode(255, Command.IDENTIFY, struct.pack("<I", session)))
    await sink.receive(OVERHEAD + SESSION_BYTES + len(bytes.fromhex(identity)))
    for sequence, (command, payload, sizes, latency, between) in enumerate(requests):
        frame = encode(sequence, command, payload, session)
        source.send(*frame)
        assert decode(bytes(await sink.receive(OVERHEAD)), session).code == Result.OK
        taken, given, fed = source.monitor.cycles, sink.monitor.cycles, trainer.samples.monitor.cycles
        taken, given, fed = taken[-len(frame) :], given[-OVERHEAD:], fed[len(fed) - sum(sizes) :]
        assert taken[-1] - taken[0] == len(frame) - 1, "a byte a cycle in"
        assert given[-1] - given[0] == OVERHEAD - 1, "a byte a cycle out"
        if command == Command.STORE:
            continue
        expected = [
            number * between + byte
            for number, end in enumerate(accumulate(sizes))
            for byte in range(end - sizes[number], end)
        ]
        assert [cycle - fed[0] for cycle in fed] == expected, command
        assert fed[0] - taken[-1] == latency, command


@cocotb.test()
async def answers_and_effects_equal_the_model(dut):
    """The check that the parameters name."""
    await each_part(dut, {"requests": requests, "speed": speed}[parameters()["check"]])
