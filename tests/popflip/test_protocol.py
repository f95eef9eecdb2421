"""The host's end of the link: frames, recovery from every kind of damage, the device on top, and the page about it."""

from __future__ import annotations

import dataclasses
import os
import random
import threading
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from paths import ROOT

from popflip.devices.base import DeviceError, GoldenDevice, Status
from popflip.devices.chip import (
    ChipDevice,
    SerialTransport,
    counter_places,
    decode_counters,
    decode_weights,
    encode_counters,
    encode_weights,
    packed_items,
    weight_places,
)
from popflip.devices.link import FrameReader, Link, LinkError, page
from popflip.golden.common.packing import pack, unpack
from popflip.golden.config import AnyConfig, Config, LbeConfig, Precision, Rule
from popflip.golden.memory.weights import first_difference
from popflip.golden.trainer import Trainer
from popflip.hw.config import ChipConfig
from popflip.hw.fingerprint import build_hash
from popflip.hw.link.buffer import buffer_bytes, counter_bytes, weight_bytes
from popflip.hw.link.frames import Command, Frame, Identity, Result, decode, encode
from popflip.hw.registers import registers, status_words
from popflip.hw.trainer_port import TrainerCommand
from popflip.replay import LinkSpeed
from popflip.sim.bench.link_model import LinkModel

CONFIG = Config(layers=(20, 9, 3), k0=(12, 4), window=(3,), batch=16, margin=4, seed=5)
BINARY = Config(layers=(33, 300), precision=Precision.BINARY, k0=(40,), batch=8, margin=9, mmax=20, shift=None)
LBE = LbeConfig((37, 9, 5), 3, group=(4, 2), margin=(6, 3), reinforce_p256=200, mmax=7, seed=6)


class Words(list):
    """A memory of the chip: what is written to it goes into the state as well."""

    def __init__(self, words: np.ndarray, changed):
        super().__init__(int.from_bytes(word.tobytes(), "little") for word in words)
        self.size, self.changed = words.shape[1], changed

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        content = b"".join(word.to_bytes(self.size, "little") for word in self)
        self.changed(np.frombuffer(content, np.uint8).reshape(-1, self.size))


class GoldenTrainer:
    """The golden trainer, for :class:`LinkModel`: a chip without hardware."""

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
        chip, state = self.chip, self.golden.state
        words = np.zeros((chip.weight_depth * chip.array_rows, weight_bytes(chip)), np.uint8)
        for layer in range(chip.depth):
            words[weight_places(chip, layer)] = encode_weights(chip, state.weights[layer])

        def changed(content: np.ndarray) -> None:
            for layer in range(chip.depth):
                state.weights[layer] = decode_weights(chip, content[weight_places(chip, layer)], layer)

        return Words(words, changed)

    @property
    def counters(self) -> Words:
        chip, state = self.chip, self.golden.state
        words = np.zeros((chip.counter_depth, counter_bytes(chip)), np.uint8)
        for layer in range(chip.depth):
            words[counter_places(chip, layer)] = encode_counters(chip, state.counters[layer])

        def changed(content: np.ndarray) -> None:
            for layer in range(chip.depth):
                state.counters[layer] = decode_counters(chip, content[counter_places(chip, layer)], layer)

        return Words(words, changed)


class ModelChip:
    """A transport to :class:`LinkModel` and :class:`GoldenTrainer`; bytes are damaged both ways with odds ``fault``."""

    def __init__(
        self, config: AnyConfig, seed: int = 1, fault: float = 0, buffer: int = 256, lanes: int = 8, store: int = 0
    ):
        self.chip = ChipConfig.of(config, 2, lanes, store_samples=store)
        identity = Identity.of(self.chip, buffer_bytes(self.chip, buffer), 0, bytes(8))
        self.model = LinkModel(self.chip, identity, GoldenTrainer(self.chip, config))
        self.random, self.fault = random.Random(seed), fault
        self.bytes = bytearray()
        self.faults = 0
        self.closed = False

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


# Frames ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"\0", b"\xa5" * 7, bytes(range(256))])
def test_decode_inverts_encode(payload):
    assert decode(encode(200, Command.TRAIN, payload)) == Frame(200, Command.TRAIN, payload)


def test_example_frame():
    frame = encode(7, Command.CONFIGURE, bytes([0, 0, 1, 0, 0]))
    assert frame.hex(" ") == "a5 07 02 05 00 8e 00 00 01 00 00 72 4a 38 42"


def test_every_wrong_bit_is_found():
    frame = encode(3, Command.RESET, b"seed")
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode(bytes(damaged)) is None


def test_reader_finds_frames_between_noise():
    draw = random.Random(1)
    frames = [Frame(number, 0, draw.randbytes(draw.randrange(30))) for number in range(40)]
    transport = ModelChip(CONFIG)
    for frame in frames:
        noise = draw.choice([b"", b"\xa5", encode(*frame)[:-1], draw.randbytes(9), b"\xa5" * 9])
        transport.bytes += noise + encode(*frame)
    reader = FrameReader(transport)
    assert [reader.read() for _ in frames] == frames
    with pytest.raises(TimeoutError):
        reader.read()


def test_identity_survives_the_link():
    chip = ChipConfig.of(CONFIG, 4, 64, slots=8, store_samples=65536)
    identity = Identity.of(chip, 4096, 12_000_000, b"12345678")
    assert Identity.unpack(identity.pack()) == identity
    assert identity.chip() == chip


@pytest.mark.parametrize("size", [0, 3, 30, 42])
def test_other_bytes_are_no_identity(size):
    with pytest.raises(ValueError, match=f"{size} bytes are not an identity"):
        Identity.unpack(bytes(size))


def test_build_hash_depends_on_the_shape_alone():
    chip = ChipConfig.of(CONFIG)
    assert build_hash(chip) == build_hash(ChipConfig.of(CONFIG))
    assert build_hash(chip) != build_hash(ChipConfig.of(CONFIG, 2 * chip.array_rows))
    assert len(build_hash(chip)) == 8


# Memory layout --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CONFIG, BINARY, LBE])
@pytest.mark.parametrize("lanes", [4, 16, 64])
def test_words_hold_what_the_layout_says(config, lanes):
    """Against :mod:`popflip.hw.config`, weight by weight."""
    chip = ChipConfig.of(config, 2, lanes)
    state = Trainer(config).state
    rng = np.random.default_rng(1)
    for layer in range(chip.depth):
        shape = state.counters[layer].shape
        lowest = -config.mmax - (config.rule == Rule.LBE)
        state.counters[layer] = rng.integers(lowest, config.mmax + 1, shape).astype(np.int16)
        encoded = (
            (encode_weights(chip, state.weights[layer]), chip.weight_bits, state.weights[layer]),
            (encode_counters(chip, state.counters[layer]), chip.counter_bits, state.counters[layer]),
        )
        for words, bits, values in encoded:
            for row in range(chip.rows[layer]):
                for synapse in range(chip.synapses[layer]):
                    word, lane = divmod(synapse, lanes)
                    value = int.from_bytes(words[row, word].tobytes(), "little") >> lane * bits & (1 << bits) - 1
                    expected = int(values[row, synapse])
                    assert value == ((expected > 0) if bits == 1 else expected % (1 << bits))
            last = int.from_bytes(words[0, -1].tobytes(), "little")
            assert last >> bits * (chip.synapses[layer] - lanes * (words.shape[1] - 1)) == 0
        np.testing.assert_array_equal(decode_weights(chip, encoded[0][0], layer), state.weights[layer])
        np.testing.assert_array_equal(decode_counters(chip, encoded[1][0], layer), state.counters[layer])


@pytest.mark.parametrize(
    ("config", "learn_rows"), [*((config, rows) for config in (CONFIG, BINARY) for rows in (1, 2, 4)), (LBE, 1)]
)
def test_places(config, learn_rows):
    chip = ChipConfig.of(config, 4, 8, learn_rows=learn_rows)
    for layer in range(chip.depth):
        weights, counters = weight_places(chip, layer), counter_places(chip, layer)
        for row in range(chip.rows[layer]):
            for word in range(chip.words[layer]):
                bank, address = row % 4, chip.weight_base[layer] + row // 4 * chip.words[layer] + word
                assert weights[row, word] == address * 4 + bank
                bank, address = row % learn_rows, chip.counter_base[layer] + row // learn_rows
                address += word * -(-chip.rows[layer] // learn_rows)
                assert counters[row, word] == address * learn_rows + bank


# Device ---------------------------------------------------------------------------------------------------------------


def learn(device, config: AnyConfig, batches: int) -> list[np.ndarray]:
    """A few batches with questions between them."""
    rng = np.random.default_rng(3)
    predictions = []
    for batch in range(batches):
        samples = 24 if config.rule == Rule.LBE else config.batch
        x = rng.integers(0, 2, (samples, config.inputs), np.uint8)
        y = rng.integers(0, config.classes, samples)
        device.train(x[:5], y[:5])
        device.train(x[5:], y[5:])
        device.end_batch(config.schedule(batch, batches))
        predictions.append(device.infer(x))
    return predictions


@pytest.mark.parametrize("config", [CONFIG, BINARY, LBE], ids=["ternary", "binary", "lbe"])
@pytest.mark.parametrize(("fault", "seed"), [(0, 1), (5e-4, 2), (5e-4, 3), (5e-4, 6)])
def test_device_equals_golden_whatever_the_line_does(config, fault, seed):
    transport = ModelChip(config, seed, fault)
    device, golden = ChipDevice(transport, config), GoldenDevice(config)
    device.reset()
    for mine, theirs in zip(learn(device, config, 12), learn(golden, config, 12), strict=True):
        assert mine.tolist() == theirs.tolist()
    assert first_difference(device.state(), golden.state()) is None
    assert device.state().rng == golden.state().rng
    status = device.status()
    assert status.cycles is not None
    assert status == Status(**{**vars(golden.status()), "cycles": status.cycles})
    assert transport.faults == 0 if not fault else transport.faults >= 3


@pytest.mark.parametrize(("fault", "seed"), [(0, 1), (5e-4, 2), (5e-4, 3)])
def test_replayed_samples_teach_what_sent_ones_do(fault, seed):
    """Training sets one after another, one of them with as many samples as the store holds."""
    transport = ModelChip(CONFIG, seed, fault, store=256)
    device, golden = ChipDevice(transport, CONFIG), GoldenDevice(CONFIG)
    assert device.store_samples == 256
    device.reset()
    rng = np.random.default_rng(4)
    for size in (100, 256, 1):
        x, y = rng.integers(0, 2, (size, 20), np.uint8), rng.integers(0, 3, size)
        device.store(x, y)
        for batch in range(5):
            numbers = rng.permutation(np.arange(160) % size)
            device.train_stored(numbers)
            golden.train(x[numbers], y[numbers])
            for each in (device, golden):
                each.end_batch(CONFIG.schedule(batch, 5))
    assert device.state().sha256() == golden.state().sha256()
    status = device.status()
    assert status == Status(**{**vars(golden.status()), "cycles": status.cycles})
    assert transport.faults == 0 if not fault else transport.faults >= 3


def test_a_store_that_is_too_small_is_one_line():
    device = ChipDevice(ModelChip(CONFIG, store=4), CONFIG)
    with pytest.raises(LinkError) as error:
        device.store(np.zeros((5, 20), np.uint8), np.zeros(5, int))
    assert str(error.value) == ("the chip: STORE was refused: words or samples outside the memory")


def test_link_speed_is_that_of_a_line_to_a_board():
    def speed(clock: int, baud: int | None, store: int):
        transport = ModelChip(CONFIG, store=store)
        transport.model.identity = replace(transport.model.identity, clock_hz=clock)
        return ChipDevice(transport, CONFIG, baud=baud).link_speed

    # 4 bytes a sample, 118 a payload: 29 samples, or 59 numbers
    assert speed(12_000_000, 500_000, 64) == LinkSpeed(12_000_000, 500_000, 4 + 10 / 29, 2 + 10 / 59)
    assert speed(12_000_000, 500_000, 0) == LinkSpeed(12_000_000, 500_000, 4 + 10 / 29, None)
    assert speed(0, 500_000, 64) is None
    assert speed(12_000_000, None, 64) is None


RULES = pytest.mark.parametrize("config", [CONFIG, LBE], ids=["gft", "lbe"])


@RULES
def test_loaded_state_goes_on(config):
    golden = GoldenDevice(config)
    learn(golden, config, 4)
    device = ChipDevice(ModelChip(config), config)
    learn(device, config, 1)
    device.load(golden.state(), golden.status())
    assert device.state().sha256() == golden.state().sha256()
    learn(device, config, 2)
    learn(golden, config, 2)
    assert device.state().sha256() == golden.state().sha256()
    assert Status(**{**vars(device.status()), "cycles": None}) == golden.status()


@RULES
def test_loaded_without_status_counts_from_zero(config):
    golden = GoldenDevice(config)
    learn(golden, config, 2)
    device = ChipDevice(ModelChip(config), config)
    device.load(golden.state())
    status = device.status()
    assert (status.samples, status.batches, status.signature, status.flips) == (0, 0, 0, (0, 0))
    assert status.rng == golden.state().rng


def test_counts_go_on_past_32_bits():
    transport = ModelChip(CONFIG)
    device = ChipDevice(transport, CONFIG)
    golden = transport.model.trainer.golden
    for samples in (2**31, 2**32 + 5, 2**33 - 1):
        golden.samples = samples % 2**32
        assert device.status().samples == samples


def test_another_network_is_one_line():
    wanted = Config(layers=(20, 8, 3), precision=Precision.BINARY, k0=(12, 4), window=(3,), mmax=7, dclip=2)
    transport = ModelChip(CONFIG)
    with pytest.raises(DeviceError) as error:
        ChipDevice(transport, wanted, "/dev/ttyUSB1")
    assert str(error.value) == (
        "/dev/ttyUSB1: built for another network, with layers 20-9-3 instead of 20-8-3, precision ternary instead of "
        "binary, mmax 127 instead of 7, dclip 1 instead of 2"
    )
    assert transport.closed


def test_lbe_needs_as_many_classes():
    transport = ModelChip(LBE)
    with pytest.raises(DeviceError) as error:
        ChipDevice(transport, dataclasses.replace(LBE, classes=4), "/dev/ttyUSB1")
    assert str(error.value) == "/dev/ttyUSB1: built for another network, with classes 3 instead of 4"


def test_sample_larger_than_half_the_buffer():
    config = Config(layers=(2000, 2), k0=(5,), batch=4)
    transport = ModelChip(config, buffer=16)
    assert transport.model.identity.buffer_bytes == 512
    device, golden = ChipDevice(transport, config), GoldenDevice(config)
    learn(device, config, 2)
    learn(golden, config, 2)
    assert device.state().sha256() == golden.state().sha256()


# Link -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "payload", "message"),
    [
        (Command.CONFIGURE, bytes([0] * 5 + [99] * 5), "CONFIGURE was refused: no such register"),
        (Command.CONFIGURE, bytes([2, 1, 1, 0, 0]), "CONFIGURE was refused: a value outside its range"),
        (Command.TRAIN, bytes([2, 1, 1, 1, 3, 0, 0, 0]), "TRAIN was refused: a label that is not a class"),
        (
            Command.READ_WEIGHTS,
            bytes([1, 0, 0, 0, 1, 0]),
            "READ_WEIGHTS was refused: words or samples outside the memory",
        ),
        (Command.RESET, bytes(4), "RESET was refused: a value outside its range"),
        (Command.TRAIN_STORED, bytes(2), "TRAIN_STORED was refused: no such command"),
        (Command.TRAIN_PACKED, bytes([2, 1, 0]), "TRAIN_PACKED was refused: no such command"),
    ],
)
def test_refused_request_changes_nothing_and_the_link_goes_on(command, payload, message):
    transport = ModelChip(CONFIG)
    link = Link(transport)
    before = link.call(Command.STATUS), transport.model.trainer.golden.state.sha256()
    refused = link.post(command, payload)
    with pytest.raises(LinkError) as error:
        link.answer(refused)
    assert str(error.value) == f"the chip: {message}"
    assert (link.call(Command.STATUS), transport.model.trainer.golden.state.sha256()) == before


def test_a_refusal_drops_what_was_sent_behind_it():
    transport = ModelChip(CONFIG)
    link = Link(transport)
    link.post(Command.RESET, bytes(4))
    link.post(Command.END_BATCH)
    with pytest.raises(LinkError):
        link.wait()
    link.wait()
    assert transport.model.trainer.golden.batches == 0


def test_no_more_is_unanswered_than_the_buffer_holds():
    class Counting(ModelChip):
        unanswered = most = 0

        def write(self, data: bytes) -> None:
            self.unanswered += len(data)
            self.most = max(self.most, self.unanswered)
            super().write(data)

        def read(self, count: int) -> bytes:
            self.unanswered = len(self.bytes) and self.unanswered
            data = super().read(count)
            self.unanswered -= min(self.unanswered, 1)
            return data

    transport = Counting(CONFIG)
    link = Link(transport)
    requests = [link.post(Command.TRAIN, bytes(4 * 20)) for _ in range(50)]
    assert sum(request.answer is None for request in requests) * 90 <= 256
    link.wait()
    assert transport.model.trainer.golden.samples == 1000


def test_restarted_chip_is_one_line():
    transport = ModelChip(CONFIG)
    link = Link(transport)
    for _ in range(20):
        link.call(Command.END_BATCH)
    transport.model.expected = 0
    with pytest.raises(LinkError) as error:
        link.call(Command.END_BATCH)
    assert str(error.value) == "the chip: it was restarted or reprogrammed during the run; start again"


def test_chip_that_falls_silent_is_one_line():
    transport = ModelChip(CONFIG)
    link = Link(transport)
    transport.fault = 1
    with pytest.raises(LinkError) as error:
        link.call(Command.STATUS)
    assert str(error.value) == "the chip: it does not answer any more; gave up after 8 attempts"


def test_nobody_there_is_one_line():
    with pytest.raises(LinkError) as error:
        Link(ModelChip(CONFIG, fault=1), "/dev/ttyUSB1")
    assert str(error.value) == "/dev/ttyUSB1: no answer; is it a popflip chip, and at this speed?"


# Serial port ----------------------------------------------------------------------------------------------------------


def test_port_that_is_not_there_is_one_line(tmp_path):
    name = str(tmp_path / "ttyUSB7")
    with pytest.raises(DeviceError) as error:
        SerialTransport(name)
    assert str(error.value) == (
        f"{name}: there is no such port; `python -m serial.tools.list_ports` lists those there are"
    )


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")
class TestPseudoTerminal:
    """A port whose other end is in the test."""

    @pytest.fixture
    def ends(self):
        ours, theirs = os.openpty()
        yield ours, os.ttyname(theirs)
        os.close(ours)
        os.close(theirs)

    def test_bytes_go_both_ways(self, ends):
        ours, name = ends
        transport = SerialTransport(name, silence=2)
        transport.write(b"to the chip")
        assert os.read(ours, 100) == b"to the chip"
        os.write(ours, b"from")
        os.write(ours, b" it")
        assert transport.read(7) == b"from it"
        transport.close()

    def test_what_came_before_a_timeout_is_kept(self, ends):
        ours, name = ends
        transport = SerialTransport(name, silence=0.05)
        os.write(ours, b"ab")
        with pytest.raises(TimeoutError):
            transport.read(3)
        os.write(ours, b"c")
        assert transport.read(3) == b"abc"
        transport.close()

    def test_silence_is_one_line(self, ends):
        ours, name = ends
        transport = SerialTransport(name, silence=0.05)

        def swallow() -> None:
            with suppress(OSError):  # the end of the test
                while os.read(ours, 4096):
                    pass

        threading.Thread(target=swallow, daemon=True).start()
        with pytest.raises(LinkError) as error:
            ChipDevice(transport, CONFIG, name)
        assert str(error.value) == f"{name}: no answer; is it a popflip chip, and at this speed?"

    def test_port_in_use_is_one_line(self, ends):
        _, name = ends
        transport = SerialTransport(name)
        with pytest.raises(DeviceError) as error:
            SerialTransport(name)
        assert str(error.value) == f"{name}: another program uses it"
        transport.close()


# Page -----------------------------------------------------------------------------------------------------------------


# Packed samples -------------------------------------------------------------------------------------------------------

SPARSE = Config(layers=(150, 9, 3), k0=(12, 4), window=(3,), batch=16, margin=4, seed=5)


def some_samples(config: Config, count: int, density: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = (rng.random((count, config.inputs)) < density).astype(np.uint8)
    return x, rng.integers(0, config.classes, count)


class Listening(ModelChip):
    """Keeps the frames that are sent."""

    def write(self, data: bytes) -> None:
        frame = decode(data)
        self.frames = [*getattr(self, "frames", []), frame]
        super().write(data)


@pytest.mark.parametrize(("fault", "seed"), [(0, 1), (5e-4, 2), (5e-4, 4)])
def test_packed_samples_teach_what_sent_ones_do(fault, seed):
    transport = ModelChip(SPARSE, seed, fault, lanes=16)
    device, golden = ChipDevice(transport, SPARSE), GoldenDevice(SPARSE)
    for each in (device, golden):
        each.reset()
    for batch in range(8):
        x, y = some_samples(SPARSE, 64, (0.01, 0.05, 0.5)[batch % 3], batch)
        predictions = []
        for each in (device, golden):
            each.train(x, y)
            each.end_batch(SPARSE.schedule(batch, 8))
            predictions.append(each.infer(x).tolist())
        assert predictions[0] == predictions[1]
    assert device.state().sha256() == golden.state().sha256()
    status = device.status()
    assert status == Status(**{**vars(golden.status()), "cycles": status.cycles})
    assert transport.faults == 0 if not fault else transport.faults >= 3


@pytest.mark.parametrize(("lanes", "density"), [(16, 0.02), (16, 0.9), (8, 0.02)])
def test_each_frame_has_the_shorter_form(lanes, density):
    """As many samples as fit it, and no more bytes than either form takes; small chips get samples as they are."""
    transport = Listening(SPARSE, lanes=lanes)
    device = ChipDevice(transport, SPARSE)
    x, y = some_samples(SPARSE, 100, density)
    content = np.packbits(x, axis=1, bitorder="little")
    room, (_, sizes), raw = device.link.payload_bytes, pack(content), content.shape[1]
    for send, commands, head in (
        (lambda: device.train(x, y), (Command.TRAIN, Command.TRAIN_PACKED), 1),
        (lambda: device.infer(x), (Command.INFER, Command.INFER_PACKED), 0),
    ):
        transport.frames = []
        send()
        device.link.wait()
        left = [raw + head] * len(x), (sizes + 1 + head).tolist()
        for frame in transport.frames:
            shorter = lanes == 16 and density < 0.1
            assert frame.code == commands[shorter]
            count = 0
            while count < len(left[0]) and sum(left[shorter][: count + 1]) <= room:
                count += 1
            assert len(frame.payload) == sum(left[shorter][:count]) <= sum(left[0][:count])
            left = left[0][count:], left[1][count:]
        assert left == ([], [])


def test_samples_of_both_kinds_go_in_frames_of_their_own_form():
    transport = Listening(SPARSE, lanes=16)
    device = ChipDevice(transport, SPARSE)
    sparse, dense = some_samples(SPARSE, 40, 0.02), some_samples(SPARSE, 40, 0.9)
    transport.frames = []
    device.train(*(np.concatenate(parts) for parts in zip(sparse, dense, sparse, strict=True)))
    device.link.wait()
    codes = [frame.code for frame in transport.frames]
    assert [code for code, before in zip(codes, [None, *codes], strict=False) if code != before] == [
        Command.TRAIN_PACKED,
        Command.TRAIN,
        Command.TRAIN_PACKED,
    ]
    assert device.status().samples == 120


def test_link_speed_is_that_of_the_bytes_sent():
    def speed(density: float, stored: bool) -> float:
        transport = ModelChip(SPARSE, lanes=16, store=64)
        transport.model.identity = replace(transport.model.identity, clock_hz=12_000_000)
        device = ChipDevice(transport, SPARSE, baud=500_000)
        x, y = some_samples(SPARSE, 50, density)
        (device.store if stored else device.train)(x, y)
        return device.link_speed.sample_bytes

    content = np.packbits(some_samples(SPARSE, 50, 0.02)[0], axis=1, bitorder="little")
    size = (pack(content)[1].sum() + 50 * 2) / 50
    for stored in (False, True):
        assert speed(0.02, stored) == size + 10 / (118 // size)
        assert speed(0.9, stored) == 20 + 10 / 5


@pytest.mark.parametrize("label_bytes", [0, 1, 2])
@pytest.mark.parametrize("size_bytes", [1, 2])
def test_items_are_size_label_and_packed_inputs(label_bytes, size_bytes):
    rng = np.random.default_rng(3)
    samples = rng.integers(0, 256, (9, label_bytes + 200)).astype(np.uint8)
    samples[:, label_bytes:][rng.random((9, 200)) < 0.5] = 0
    items, ends = packed_items(samples, label_bytes, size_bytes)
    by_hand, expected = b"", []
    for sample in samples:
        inputs, _ = pack(sample[None, label_bytes:])
        by_hand += (label_bytes + len(inputs)).to_bytes(size_bytes, "little")
        by_hand += sample[:label_bytes].tobytes() + inputs.tobytes()
        expected.append(len(by_hand))
    assert (items.tobytes(), ends.tolist()) == (by_hand, expected)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ([3, 1, 1], "the payload is not what the command takes, or the answer would not fit a frame"),
        ([2, 1, 0, 1], "the payload is not what the command takes, or the answer would not fit a frame"),
        ([2, 1, 0, 1, 1, 0], "the payload is not what the command takes, or the answer would not fit a frame"),
        ([2, 1, 0, 4, 0, 1, 1], "the payload is not what the command takes, or the answer would not fit a frame"),
        ([2, 1, 0, 2, 3, 0], "a label that is not a class"),
    ],
)
def test_a_packed_request_that_is_wrong_changes_nothing(payload, reason):
    transport = ModelChip(SPARSE, lanes=16)
    link = Link(transport)
    with pytest.raises(LinkError) as error:
        link.call(Command.TRAIN_PACKED, bytes(payload))
    assert str(error.value) == f"the chip: TRAIN_PACKED was refused: {reason}"
    assert link.call(Command.TRAIN_PACKED, bytes([2, 1, 0])) == b""
    assert transport.model.trainer.golden.samples == 1


def test_page_is_what_the_code_says():
    committed = ROOT / "docs" / "protocol.md"
    assert committed.read_text() == page(), "python -m popflip.devices.link > docs/protocol.md"


def test_page_names_every_command_and_result():
    text = page()
    for number in (*Command, *Result):
        assert f"| {number:d} | {number.name} |" in text
