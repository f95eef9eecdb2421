"""A chip without hardware: the link's model in front of the golden trainer."""

from __future__ import annotations

import random
from collections.abc import Callable

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
    """The golden trainer as the trainer of :class:`LinkModel`: a chip without hardware.

    It trains many samples in one go: as soon as something is asked of it.
    """

    def __init__(self, chip: ChipConfig, config: AnyConfig):
        self.chip, self._golden = chip, Trainer(config)
        self._waiting: list[tuple[bytes, int]] = []
        self.registers = {register.name: register.init for register in registers(chip)}

    @property
    def golden(self) -> Trainer:
        """The trainer, after all samples."""
        if self._waiting:
            samples, labels = zip(*self._waiting, strict=True)
            self._waiting = []
            self._golden.train(self._inputs(b"".join(samples)), np.array(labels))
        return self._golden

    def _inputs(self, content: bytes) -> np.ndarray:
        rows = np.frombuffer(content, np.uint8).reshape(-1, self.chip.input_bytes)
        return np.unpackbits(rows, axis=1, count=self.chip.inputs, bitorder="little")

    def sample(self, inputs: bytes, label: int | None) -> int:
        if label is None:
            return int(self.golden.infer(self._inputs(inputs))[0])
        self._waiting.append((inputs, label))
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
    """A transport to :class:`LinkModel` and :class:`GoldenTrainer`. Its clock moves only in reads that wait in vain."""

    def __init__(self, config: AnyConfig, buffer: int = 256, lanes: int = 8, store: int = 0, walks: bool = False):
        self.config, self.chip = config, ChipConfig.of(config, 2, lanes, store_samples=store, walks=walks)
        self.identity = Identity.of(self.chip, buffer_bytes(self.chip, buffer), 0, bytes(8))
        self.now = 0.0
        self.bytes = bytearray()
        self.closed = False
        self.random = random.Random(1)
        self.restart()

    def restart(self) -> None:
        """Return to the state at power-up. Bytes on the way to the host still come."""
        self.model = LinkModel(self.chip, self.identity, GoldenTrainer(self.chip, self.config))
        self.model.nonce = self.random.getrandbits(16)

    @property
    def golden(self) -> Trainer:
        """The golden trainer on the chip."""
        return self.model.trainer.golden

    def deadline(self, expected: int, cycles: int, clock_hz: int, patience: float) -> float:
        return self.now + patience

    def write(self, data: bytes) -> None:
        self.bytes += b"".join(encode(*answer) for answer in self.model.feed(data))

    def read(self, count: int, deadline: float) -> bytes:
        if len(self.bytes) < count:
            self.now = max(self.now, deadline)
            raise TimeoutError
        data = bytes(self.bytes[:count])
        del self.bytes[:count]
        return data

    def restore(self) -> None:
        raise AssertionError("this port does not go away")

    def close(self) -> None:
        self.closed = True


class RestartingChip(ModelChip):
    """Restarts before each write whose number, from 0, ``restarts`` says."""

    def __init__(self, config: AnyConfig, restarts: Callable[[int], bool], **shape: int):
        super().__init__(config, **shape)
        self.restarts, self.writes = restarts, 0

    def write(self, data: bytes) -> None:
        if self.restarts(self.writes):
            self.restart()
        self.writes += 1
        super().write(data)
