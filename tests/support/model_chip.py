"""A chip without hardware: the link's model in front of the golden trainer, behind a line that damages bytes."""

from __future__ import annotations

import random

import numpy as np

from popflip.devices.state_codec import decode_counters, decode_weights, encode_counters, encode_weights
from popflip.golden.common.packing import unpack
from popflip.golden.config import AnyConfig, Config, LbeConfig, Precision
from popflip.golden.trainer import Trainer
from popflip.hw.config import ChipConfig
from popflip.hw.link.buffer import buffer_bytes
from popflip.hw.link.codec import encode
from popflip.hw.link.identity import Identity
from popflip.hw.registers import registers, status_words
from popflip.hw.trainer_port import TrainerCommand
from popflip.sim.bench.link_model import LinkModel

CONFIG = Config(layers=(20, 9, 3), k0=(12, 4), window=(3,), batch=16, margin=4, seed=5)
BINARY = Config(layers=(33, 300), precision=Precision.BINARY, k0=(40,), batch=8, margin=9, mmax=20, shift=None)
SPARSE = Config(layers=(150, 9, 3), k0=(12, 4), window=(3,), batch=16, margin=4, seed=5)
LBE = LbeConfig((37, 9, 5), 3, group=(4, 2), margin=(6, 3), reinforce_p256=200, mmax=7, seed=6)


class Words(list):
    """A memory of the chip that passes on what is written to it."""

    def __init__(self, words: np.ndarray, changed):
        super().__init__(int.from_bytes(word.tobytes(), "little") for word in words)
        self.size, self.changed = words.shape[1], changed

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        content = b"".join(word.to_bytes(self.size, "little") for word in self)
        self.changed(np.frombuffer(content, np.uint8).reshape(-1, self.size))


class GoldenTrainer:
    """The golden trainer as the trainer of :class:`LinkModel`: a chip without hardware."""

    def __init__(self, chip: ChipConfig, config: AnyConfig):
        self.chip, self.golden = chip, Trainer(config)
        self.registers = {register.name: register.init for register in registers(chip)}

    def sample(self, inputs: bytes, label: int | None) -> int:
        x = np.unpackbits(np.frombuffer(inputs, np.uint8), count=self.chip.inputs, bitorder="little")[None]
        if label is None:
            return int(self.golden.infer(x)[0])
        self.golden.train(x, np.array([label]))
        return 0

    def packed(self, content: bytes, label: int | None) -> int:
        inputs = unpack(np.frombuffer(content, np.uint8), np.array([len(content)]), self.chip.input_bytes)
        return self.sample(inputs.tobytes(), label)

    def command(self, command: TrainerCommand) -> None:
        if command == TrainerCommand.RESET:
            assert self.registers["rng"] == self.golden.state.rng
            self.golden.reset()
        else:
            self.golden.end_batch(tuple(self.registers[f"k{layer}"] for layer in range(self.chip.depth)))

    def write_register(self, number: int, value: int) -> None:
        name = registers(self.chip)[number].name
        self.registers[name] = value
        if name == "rng":
            self.golden.state.rng = value
        if name == "signature":
            self.golden.signature = value

    @property
    def status(self) -> list[int]:
        golden = self.golden
        known = {"rng": golden.state.rng, **{f"flips{layer}": flips for layer, flips in enumerate(golden.flips)}}
        for name in ("samples", "batches", "errors", "correct", "signature"):
            known[name] = getattr(golden, name)
        return [known.get(word.name, 0) for word in status_words(self.chip)]

    @property
    def weights(self) -> Words:
        state = self.golden.state

        def changed(memory: np.ndarray) -> None:
            state.weights[:] = decode_weights(self.chip, memory)

        return Words(encode_weights(self.chip, state.weights), changed)

    @property
    def counters(self) -> Words:
        state = self.golden.state

        def changed(memory: np.ndarray) -> None:
            state.counters[:] = decode_counters(self.chip, memory)

        return Words(encode_counters(self.chip, state.counters), changed)


class ModelChip:
    """A transport to :class:`LinkModel` and :class:`GoldenTrainer`. It damages each byte with probability ``fault``."""

    def __init__(
        self, config: AnyConfig, seed: int = 1, fault: float = 0, buffer: int = 256, lanes: int = 8, store: int = 0
    ):
        self.chip = ChipConfig.of(config, 2, lanes, store_samples=store)
        identity = Identity.of(self.chip, buffer_bytes(self.chip, buffer), 0, bytes(8))
        self.config, self.identity = config, identity
        self.random, self.fault = random.Random(seed), fault
        self.restart()
        self.bytes = bytearray()
        self.faults = 0
        self.closed = False

    def restart(self) -> None:
        """Return to the state at power-up. Bytes on the way to the host still come."""
        self.model = LinkModel(self.chip, self.identity, GoldenTrainer(self.chip, self.config))
        self.model.nonce = self.random.getrandbits(16)

    def _damage(self, data: bytes) -> bytes:
        damaged = bytearray()
        for byte in data:
            kind = self.random.choice(["lost", "doubled", "wrong"]) if self.random.random() < self.fault else ""
            self.faults += bool(kind)
            if kind == "wrong":
                byte ^= 1 << self.random.randrange(8)
            damaged += bytes([byte]) * {"lost": 0, "doubled": 2}.get(kind, 1)
        return bytes(damaged)

    def write(self, data: bytes) -> None:
        self.bytes += self._damage(b"".join(encode(*answer) for answer in self.model.feed(self._damage(data))))

    def read(self, count: int) -> bytes:
        if len(self.bytes) < count:
            raise TimeoutError
        data = bytes(self.bytes[:count])
        del self.bytes[:count]
        return data

    def close(self) -> None:
        self.closed = True
