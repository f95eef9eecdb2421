"""A chip as a device equals the golden model, with damage on the line, and with plain, packed and stored samples."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from faulty_line import FaultyLine
from model_chip import BINARY, CONFIG, LBE, SPARSE, ModelChip, RestartingChip

from popflip.devices.base import LinkSpeed, Status
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.devices.session import OPENING_PATIENCE
from popflip.devices.transport import PortLost
from popflip.errors import ChipLost, DeviceError, LinkError
from popflip.golden.common.packing import pack
from popflip.golden.config import AnyConfig, Config, Precision, Rule
from popflip.golden.memory.weights import first_difference
from popflip.hw.link.codec import decode
from popflip.hw.link.commands import Command


def learn(device, config: AnyConfig, batches: int) -> list[np.ndarray]:
    """Train a few batches, and predict after each; the predictions."""
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
@pytest.mark.parametrize(("fault", "seed"), [(0, 1), (2e-3, 2), (2e-3, 3), (2e-3, 6)])
def test_device_equals_golden_over_a_faulty_line(config, fault, seed):
    transport = FaultyLine(ModelChip(config), rate=fault, seed=seed)
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


@pytest.mark.parametrize(("fault", "seed"), [(0, 1), (2e-3, 2), (2e-3, 3)])
def test_replayed_samples_have_the_effect_of_sent_ones(fault, seed):
    """Training sets one after another, one of them with as many samples as the store holds."""
    transport = FaultyLine(ModelChip(CONFIG, store=256), rate=fault, seed=seed)
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
def test_training_continues_from_a_loaded_state(config):
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


def test_counts_continue_past_32_bits():
    transport = ModelChip(CONFIG)
    golden = transport.golden
    golden.samples, golden.correct, golden.flips = 2**32 - 5, 2**32 - 1, [2**32 - 1, 7]
    device = ChipDevice(transport, CONFIG)
    x, y = np.zeros((16, 20), np.uint8), np.zeros(16, int)
    for _ in range(2):
        before = golden.correct, list(golden.flips)
        device.train(x, y)
        device.end_batch((12, 4))
        device.link.wait()
        golden.samples, golden.correct = golden.samples % 2**32, golden.correct % 2**32
        golden.flips = [flips % 2**32 for flips in golden.flips]
        status = device.status()
        assert [status.correct - before[0], *np.subtract(status.flips, before[1])] >= [0, 0, 0]
    assert (status.samples, status.batches) == (2**32 + 27, 2)
    assert (status.correct % 2**32, [flips % 2**32 for flips in status.flips]) == (golden.correct, golden.flips)
    assert status.correct >= 2**32 - 1
    assert status.flips[0] >= 2**32


# Chips that do not hold what was sent ---------------------------------------------------------------------------------


def trained_chip(config: AnyConfig = CONFIG) -> tuple[ModelChip, ChipDevice]:
    transport = ModelChip(config)
    device = ChipDevice(transport, config)
    device.reset()
    learn(device, config, 2)
    device.status()
    return transport, device


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 47}, "it counts 47 samples, the host sent 48"),
        ({"samples": 0}, "it counts 0 samples, the host sent 48"),
        ({"batches": 2}, "it counts 2 batches, the host sent 3"),
        ({"batches": 4}, "it counts 4 batches, the host sent 3"),
        ({"errors": 0}, "its count of errors went from {errors} to 0"),
        ({"correct": 99}, "its count of correct went from {correct} to 99"),
        ({"flips": [9999, 0]}, "its count of flips0 went from {flips0} to 9999"),
    ],
)
def test_counts_that_cannot_be_are_one_line(change, message):
    transport, device = trained_chip()
    golden = transport.golden
    known = {"errors": golden.errors, "correct": golden.correct, "flips0": golden.flips[0]}
    assert all(known.values())
    learn(device, CONFIG, 1)
    for name, value in change.items():
        setattr(transport.golden, name, value)
    with pytest.raises(ChipLost) as error:
        device.status()
    assert str(error.value) == f"the chip: {message.format(**known)}; its state is not that of this run"


def test_samples_are_batches_under_lbe():
    transport, device = trained_chip(LBE)
    assert (device.status().samples, device.status().batches) == (48, 48)
    transport.golden.batches = 47
    with pytest.raises(ChipLost, match=r"^the chip: it counts 47 batches, the host sent 48; "):
        device.status()


def test_a_random_state_of_0_is_one_line():
    transport, device = trained_chip()
    transport.golden.state.rng = 0
    with pytest.raises(ChipLost, match=r"^the chip: its random state is 0; its state is not that of this run$"):
        device.status()


def test_values_that_no_chip_can_hold_are_one_line():
    transport, device = trained_chip()
    transport.golden.state.counters[1][2, 5] = -128
    with pytest.raises(ChipLost, match=r"^the chip: a counter of layer 1 is not within -127 and 127; its state"):
        device.state()
    transport.golden.state.counters[1][2, 5] = -127
    transport.golden.state.weights[0][2, 5] = -2
    with pytest.raises(ChipLost, match=r"^the chip: a weight of layer 0 is not within -1 and 1; its state"):
        device.state()


def test_a_class_that_does_not_exist_is_one_line():
    transport, device = trained_chip()
    transport.model.trainer.sample = lambda inputs, label: 3
    with pytest.raises(ChipLost, match=r"^the chip: it predicts class 3 of 3; its state is not that of this run$"):
        device.infer(np.zeros((5, 20), np.uint8))


@pytest.mark.parametrize("config", [CONFIG, LBE], ids=["gft", "lbe"])
def test_a_restarted_chip_is_repaired_from_a_saved_state(config):
    transport, golden = ModelChip(config), GoldenDevice(config)
    device = ChipDevice(transport, config)
    for each in (device, golden):
        each.reset()
        learn(each, config, 3)
    saved = device.state(), device.status()
    learn(device, config, 2)
    transport.restart()
    with pytest.raises(ChipLost) as error:
        learn(device, config, 2)
    assert str(error.value) == "the chip: it was restarted; its state is not that of this run"
    device.reopen()
    device.load(*saved)
    for each in (device, golden):
        learn(each, config, 3)
    assert device.state().sha256() == golden.state().sha256()
    assert Status(**{**vars(device.status()), "cycles": None}) == golden.status()


def opening_writes(config: AnyConfig) -> int:
    """Writes until a chip is open."""
    transport = RestartingChip(config, lambda _: False)
    ChipDevice(transport, config)
    return transport.writes


@RULES
def test_a_chip_that_restarts_while_it_is_opened_is_opened_again(config):
    golden = GoldenDevice(config)
    learn(golden, config, 2)
    writes = opening_writes(config)
    for first, second in product(range(1, writes), range(2 * writes)):  # the second while it is opened again, too
        transport = RestartingChip(config, (first, second).__contains__)
        device = ChipDevice(transport, config)
        assert transport.writes > writes
        device.reset()
        learn(device, config, 2)
        assert device.state().sha256() == golden.state().sha256()


def test_a_chip_that_restarts_while_it_is_reopened_is_opened_again():
    transport, golden = RestartingChip(CONFIG, lambda _: False), GoldenDevice(CONFIG)
    device = ChipDevice(transport, CONFIG)
    learn(golden, CONFIG, 2)
    for moment in range(opening_writes(CONFIG)):
        transport.restarts = (transport.writes + moment).__eq__
        device.reopen()
        device.load(golden.state(), golden.status())
        assert device.state().sha256() == golden.state().sha256()


def test_a_chip_that_restarts_whenever_it_is_opened_is_one_line():
    transport = RestartingChip(CONFIG, lambda _: True)
    with pytest.raises(LinkError) as error:
        ChipDevice(transport, CONFIG, "/dev/ttyUSB1")
    assert str(error.value) == (
        "/dev/ttyUSB1: it was restarted; its state is not that of this run; gave up after 5 attempts to open it; "
        "check its power"
    )
    assert transport.closed


def test_a_chip_that_restarts_slowly_is_given_up_at_the_deadline():
    """It restarts before every write, three times in an attempt."""

    class Slow(RestartingChip):
        def restart(self) -> None:
            self.now += OPENING_PATIENCE / 4
            super().restart()

    transport = Slow(CONFIG, lambda _: True)
    with pytest.raises(LinkError, match=r"; gave up after 2 attempts to open it; check its power$"):
        ChipDevice(transport, CONFIG)
    assert transport.closed


def test_a_port_that_comes_and_goes_is_given_up_at_the_deadline():
    class Flapping(ModelChip):
        restored = 0

        def write(self, data: bytes) -> None:
            raise PortLost("gone")

        def restore(self) -> None:
            self.restored += 1
            self.now += OPENING_PATIENCE / 5

    transport = Flapping(CONFIG)
    with pytest.raises(LinkError, match=r"^the chip: no answer; "):
        ChipDevice(transport, CONFIG)
    assert transport.restored == 5
    assert transport.closed


def test_another_chip_is_not_taken_up():
    transport = ModelChip(CONFIG)
    device = ChipDevice(transport, CONFIG, "/dev/ttyUSB1")
    transport.identity = replace(transport.identity, build_hash=bytes(range(8)))
    transport.restart()
    with pytest.raises(DeviceError) as error:
        device.reopen()
    assert str(error.value) == "/dev/ttyUSB1: another chip answers; connect the one that the run began with"


def test_another_network_is_one_line():
    wanted = Config(layers=(20, 8, 3), precision=Precision.BINARY, k0=(12, 4), window=(3,), mmax=7, dclip=2)
    transport = ModelChip(CONFIG)
    with pytest.raises(DeviceError) as error:
        ChipDevice(transport, wanted, "/dev/ttyUSB1")
    assert str(error.value) == (
        "/dev/ttyUSB1: built for another network, with layers 20-9-3 instead of 20-8-3, precision ternary instead of "
        "binary, mmax 127 instead of 7, dclip 1 instead of 2; use its parameters or another bitstream"
    )
    assert transport.closed


def test_lbe_needs_the_same_number_of_classes():
    transport = ModelChip(LBE)
    with pytest.raises(DeviceError) as error:
        ChipDevice(transport, replace(LBE, classes=4), "/dev/ttyUSB1")
    assert str(error.value) == (
        "/dev/ttyUSB1: built for another network, with classes 3 instead of 4; use its parameters or another bitstream"
    )


def test_sample_larger_than_half_the_buffer():
    config = Config(layers=(2000, 2), k0=(5,), batch=4)
    transport = ModelChip(config, buffer=16)
    assert transport.model.identity.buffer_bytes == 512
    device, golden = ChipDevice(transport, config), GoldenDevice(config)
    learn(device, config, 2)
    learn(golden, config, 2)
    assert device.state().sha256() == golden.state().sha256()


# Packed samples -------------------------------------------------------------------------------------------------------


def some_samples(config: Config, count: int, density: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = (rng.random((count, config.inputs)) < density).astype(np.uint8)
    return x, rng.integers(0, config.classes, count)


class Listening(ModelChip):
    """Records the frames that are sent."""

    def write(self, data: bytes) -> None:
        frame = decode(data, self.model.session)
        self.frames = [*getattr(self, "frames", []), frame]
        super().write(data)


@pytest.mark.parametrize(("fault", "seed"), [(0, 1), (2e-3, 2), (2e-3, 4)])
def test_packed_samples_have_the_effect_of_plain_ones(fault, seed):
    transport = FaultyLine(ModelChip(SPARSE, lanes=16), rate=fault, seed=seed)
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
    """A frame has as many samples as fit, and no more bytes than in either form. Small chips get plain samples."""
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
