"""Training and verification: order, schedule, history, cycles, the store, and the first difference by its place."""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace
from functools import cache

import model_chip
import numpy as np
import pytest

from popflip.data.augment import MovingImages
from popflip.devices.base import Status
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.errors import ChipLost, ConfigError, DeviceError, Difference, Interrupted, LinkError
from popflip.golden.config import AnyConfig, Config, LbeConfig
from popflip.repair import Snapshot
from popflip.steps import sample_order, steps
from popflip.training import accuracy, infer, run, store_training_set, train
from popflip.verification import same_predictions

CONFIG = Config((40, 9, 4), k0=(30, 9), window=(3,), margin=5, batch=16, epochs=3, seed=5)


def data(samples: int = 50, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 2, (samples, CONFIG.inputs), np.uint8)
    return x, x[:, :2] @ np.array([1, 2])


def fresh(config: AnyConfig = CONFIG, kind: type[GoldenDevice] = GoldenDevice) -> GoldenDevice:
    device = kind(config)
    device.reset()
    return device


@pytest.mark.parametrize("batch", [1, 7, 16, 50, 120])
def test_sample_order_concatenates_the_epochs(batch):
    generator = np.random.Generator(np.random.PCG64(5))
    whole = np.concatenate([generator.permutation(50) for _ in range(3)])
    batches = list(sample_order(50, replace(CONFIG, batch=batch)))
    assert len(batches) == 150 // batch
    assert np.concatenate(batches).tolist() == whole[: 150 // batch * batch].tolist()


def test_training_follows_order_and_schedule():
    x, y = data()
    device, golden = fresh(), fresh()
    trained = train(device, x, y)
    for index, samples in enumerate(sample_order(50, CONFIG)):
        golden.train(x[samples], y[samples])
        golden.end_batch(tuple(-(-k * (9 - index) // 9) for k in CONFIG.k0))
    assert device.state().sha256() == golden.state().sha256()
    assert device.status() == golden.status()
    assert trained.samples == 9 * 16
    assert [result.batch for result in trained.history] == list(range(1, 10))
    assert sum(result.errors for result in trained.history) == device.status().errors
    assert tuple(np.sum([result.flips for result in trained.history], axis=0)) == device.status().flips


def test_a_limit_keeps_the_schedule_of_the_full_run():
    x, y = data()
    whole, part = fresh(), fresh()
    train(part, x, y, limit=4)
    states = []
    train(whole, x, y, on_step=lambda result: states.append(whole.state().sha256()))
    assert part.state().sha256() == states[3]


def test_a_resumed_run_ends_like_an_uninterrupted_one():
    x, y = data()
    whole, first, second = fresh(), fresh(), fresh(replace(CONFIG))
    train(whole, x, y)
    train(first, x, y, limit=5)
    second.load(first.state(), first.status())
    trained = train(second, x, y)
    assert [result.batch for result in trained.history] == [6, 7, 8, 9]
    assert second.state().sha256() == whole.state().sha256()
    assert second.status() == whole.status()


def test_no_batch_is_trained_with_limit_zero():
    x, y = data()
    trained = train(fresh(), x, y, limit=0)
    assert (trained.history, trained.samples, trained.cycles) == ((), 0, None)


def test_data_that_does_not_fill_a_batch_is_refused():
    x, y = data(5)
    with pytest.raises(ConfigError, match=r"^batch: 16 samples per batch, but 3 epochs of 5 samples have only 15$"):
        train(fresh(), x, y)


def test_accuracy_is_the_share_of_correct_predictions():
    assert accuracy(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 0.75


@pytest.mark.parametrize("verified", [False, True])
def test_a_run_resets_its_devices_or_loads_a_state(verified):
    x, y = data()
    whole, device = fresh(), GoldenDevice(CONFIG)
    golden = GoldenDevice(CONFIG) if verified else None
    train(whole, x, y)
    device.train(x, y)  # forgotten by the reset
    part = run(device, x, y, golden=golden, limit=5)
    start = device.state(), device.status()
    device.reset()
    rest = run(device, x, y, golden=golden, start=start)
    assert [result.batch for result in (*part.history, *rest.history)] == list(range(1, 10))
    assert (part.verified, rest.verified) == ((5, 4) if verified else (0, 0))
    assert device.state().sha256() == whole.state().sha256()
    assert device.status() == whole.status()


def test_a_run_without_a_batch_does_not_touch_its_device():
    device = fresh()
    device.train(*data())
    before = device.status()
    with pytest.raises(ConfigError):
        run(device, *data(5))
    assert device.status() == before


# Cycles ---------------------------------------------------------------------------------------------------------------


class Clocked(GoldenDevice):
    """A golden device with a clock: 100 cycles a batch, 7 a status, 1000 a state."""

    start = 0

    def __init__(self, config: Config):
        super().__init__(config)
        self.clock = self.start

    def end_batch(self, k):
        super().end_batch(k)
        self.clock += 100

    def state(self):
        self.clock += 1000
        return super().state()

    def status(self) -> Status:
        self.clock += 7
        return replace(super().status(), cycles={"total": self.clock % 2**32, "select": 0})


class AboutToWrap(Clocked):
    start = 2**32 - 250


@pytest.mark.parametrize("kind", [Clocked, AboutToWrap])
@pytest.mark.parametrize("verified", [False, True])
def test_cycles_cover_training_only(kind, verified):
    x, y = data()
    trained = train(fresh(kind=kind), x, y, golden=fresh() if verified else None)
    assert trained.cycles == {"total": 9 * 107, "select": 0}


# Verification ---------------------------------------------------------------------------------------------------------


def test_equal_devices_are_verified_in_every_batch():
    x, y = data()
    assert train(fresh(), x, y, golden=fresh()).verified == 9
    assert train(fresh(), x, y).verified == 0


def broken(change) -> type[GoldenDevice]:
    """A golden device in which ``change(trainer)`` happens once, at the end of batch 3."""

    class Broken(GoldenDevice):
        def end_batch(self, k):
            super().end_batch(k)
            if self.trainer.batches == 3:
                change(self.trainer)

    return Broken


def swap_weight(layer: int, row: int, synapse: int):
    def change(trainer):
        trainer.state.weights[layer][row, synapse] *= -1
        trainer.state.weights[layer][row, synapse] += trainer.state.weights[layer][row, synapse] == 0

    return change


def add_to_counter(layer: int, row: int, synapse: int):
    def change(trainer):
        trainer.state.counters[layer][row, synapse] += 1

    return change


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (swap_weight(0, 0, 0), "layer 0, row 0, word 0, synapse 0: weight"),
        (swap_weight(0, 8, 40), "layer 0, row 8, word 1, synapse 40: weight"),
        (swap_weight(1, 3, 9), "layer 1, row 3, word 0, synapse 9: weight"),
        (add_to_counter(0, 5, 32), "layer 0, row 5, word 1, synapse 32: counter"),
        (add_to_counter(1, 0, 0), "layer 1, row 0, word 0, synapse 0: counter"),
    ],
)
def test_a_wrong_value_is_named_by_its_first_place(change, place):
    x, y = data()
    golden = fresh()
    device = fresh(kind=broken(change))
    with pytest.raises(Difference) as difference:
        train(device, x, y, golden=golden)
    kind, layer, row, synapse = place.split()[-1], *map(int, re.findall(r"(?:layer|row|synapse) (\d+)", place))
    mine, theirs = (getattr(each.trainer.state, f"{kind}s")[layer][row, synapse] for each in (device, golden))
    assert mine != theirs
    assert str(difference.value) == f"batch 3: {place} is {mine}, golden has {theirs}"


def test_the_first_of_several_differences_is_named():
    def change(trainer):
        for layer, row, synapse in ((1, 0, 0), (0, 7, 3), (0, 2, 39), (0, 2, 33)):
            add_to_counter(layer, row, synapse)(trainer)

    x, y = data()
    with pytest.raises(Difference, match=r"^batch 3: layer 0, row 2, word 1, synapse 33: counter is"):
        train(fresh(kind=broken(change)), x, y, golden=fresh())


@pytest.mark.parametrize("name", ["samples", "batches", "errors", "correct", "signature", "rng", "flips"])
def test_a_wrong_count_is_named_though_the_state_is_equal(name):
    class Miscounting(GoldenDevice):
        def status(self) -> Status:
            status = super().status()
            if self.trainer.batches < 3:
                return status
            value = getattr(status, name)
            return replace(status, **{name: (value[0], value[1] + 1) if name == "flips" else value ^ 1})

    x, y = data()
    golden = fresh()
    with pytest.raises(Difference) as difference:
        train(fresh(kind=Miscounting), x, y, golden=golden)
    value = getattr(golden.status(), name)
    shown = f"{value:08x}" if name in ("signature", "rng") else value
    assert re.match(rf"^batch 3: {name} is .*, golden has {re.escape(str(shown))}; ", str(difference.value))


def test_a_wrong_start_is_found_before_training():
    device = fresh()
    swap_weight(0, 0, 1)(device.trainer)
    x, y = data()
    with pytest.raises(Difference, match=r"^batch 0: layer 0, row 0, word 0, synapse 1: weight is"):
        train(device, x, y, golden=fresh())


def test_a_wrong_prediction_is_named():
    same_predictions(np.array([1, 2]), np.array([1, 2]))
    with pytest.raises(Difference, match=r"^test sample 1: predicted 2, golden predicts 3$"):
        same_predictions(np.array([1, 2, 0]), np.array([1, 3, 1]))


def test_an_interrupted_run_names_its_last_batch():
    def stop(result):
        if result.batch == 4:
            raise KeyboardInterrupt

    x, y = data()
    with pytest.raises(Interrupted, match=r"^interrupted after batch 4 of 9$"):
        train(fresh(), x, y, on_step=stop)


# LBE: steps of samples ------------------------------------------------------------------------------------------------

LBE = LbeConfig((40, 33, 9), 4, group=(8, 3), margin=(6, 2), epochs=14, seed=5)


def test_lbe_steps_are_256_samples_and_the_rest():
    generator = np.random.Generator(np.random.PCG64(5))
    whole = np.concatenate([generator.permutation(50) for _ in range(14)])
    order = list(sample_order(50, LBE))
    assert [len(step) for step in order] == [256, 256, 188]
    assert np.concatenate(order).tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0, 700, [(0, 256), (256, 256), (512, 188)]),
        (0, 300, [(0, 256), (256, 44)]),
        (300, 700, [(300, 212), (512, 188)]),
        (300, 310, [(300, 10)]),
        (256, 512, [(256, 256)]),
        (700, 700, []),
        (0, 0, []),
    ],
)
def test_steps_end_at_the_same_samples_after_a_resume(first, last, expected):
    whole = np.concatenate(list(sample_order(50, LBE)))
    parts = list(steps(50, LBE, first, last))
    assert [(begin, len(part)) for begin, part in parts] == expected
    assert all(part.tolist() == whole[begin : begin + len(part)].tolist() for begin, part in parts)


def test_lbe_learns_sample_by_sample_in_that_order():
    x, y = data()
    device, golden = fresh(LBE), fresh(LBE)
    trained = train(device, x, y, golden=fresh(LBE))
    for sample in np.concatenate(list(sample_order(50, LBE))):
        golden.train(x[sample : sample + 1], y[sample : sample + 1])
    assert device.state().sha256() == golden.state().sha256()
    assert device.status() == golden.status()
    assert (trained.samples, trained.verified) == (700, 3)
    assert [result.batch for result in trained.history] == [256, 512, 700]
    assert sum(result.errors for result in trained.history) == device.status().errors
    assert tuple(np.sum([result.flips for result in trained.history], axis=0)) == device.status().flips
    assert (
        round(sum(r.accuracy * n for r, n in zip(trained.history, (256, 256, 188), strict=True)))
        == device.status().correct
    )


def test_a_resumed_lbe_run_ends_like_an_uninterrupted_one():
    x, y = data()
    whole, first, second = fresh(LBE), fresh(LBE), fresh(LBE)
    history = train(whole, x, y).history
    train(first, x, y, limit=300)
    second.load(first.state(), first.status())
    trained = train(second, x, y)
    assert second.state().sha256() == whole.state().sha256()
    assert second.status() == whole.status()
    assert [result.batch for result in trained.history] == [512, 700]
    assert trained.history[-1] == history[-1]


def test_a_difference_under_lbe_is_named_by_its_sample():
    class Broken(GoldenDevice):
        def end_batch(self, k):
            super().end_batch(k)
            if self.trainer.samples == 512:
                self.trainer.state.counters[1][3, 32] ^= 1

    x, y = data()
    with pytest.raises(Difference, match=r"^sample 512: layer 1, row 3, word 1, synapse 32: counter is "):
        train(fresh(LBE, Broken), x, y, golden=fresh(LBE))


def test_an_interrupted_lbe_run_names_its_last_sample():
    def stop(result):
        if result.batch == 512:
            raise KeyboardInterrupt

    x, y = data()
    with pytest.raises(Interrupted, match=r"^interrupted after sample 512 of 700$"):
        train(fresh(LBE), x, y, on_step=stop)


# The device's store ---------------------------------------------------------------------------------------------------


STORE = 256


class Storing(GoldenDevice):
    """A golden device that trains stored samples only."""

    store_samples = STORE

    def store(self, x, y):
        self.kept = x.copy(), y.copy()

    def train(self, x, y):
        raise AssertionError("samples were sent")

    def train_stored(self, numbers):
        x, y = self.kept
        super().train(x[numbers], y[numbers])


def kept(device, samples: int, wanted: bool | None) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return store_training_set(device, *data(samples), wanted, lines.append), lines


@pytest.mark.parametrize("samples", [1, STORE])
@pytest.mark.parametrize("wanted", [None, True])
def test_a_training_set_that_fits_is_stored(samples, wanted):
    device = Storing(CONFIG)
    assert kept(device, samples, wanted) == (True, [f"storing {samples} training samples on the chip"])
    assert [part.tolist() for part in device.kept] == [part.tolist() for part in data(samples)]


def test_a_training_set_that_does_not_fit_is_announced():
    line = "the chip stores 256 samples, the training set has 257: each epoch sends them all"
    assert kept(Storing(CONFIG), STORE + 1, None) == (False, [line])


def test_nothing_is_stored_without_replay_or_a_store():
    assert kept(Storing(CONFIG), 1, False) == (False, [])
    assert kept(GoldenDevice(CONFIG), 1, None) == (False, [])


def test_moving_images_are_never_stored():
    x, y = data(4)
    images = MovingImages(x[:, :36], (6, 6), np.array([1]))
    assert store_training_set(Storing(CONFIG), images, y) is False
    with pytest.raises(DeviceError) as error:
        store_training_set(Storing(CONFIG), images, y, True)
    assert str(error.value) == "replay: training images move anew in each epoch, so they must be sent; leave it out"


@pytest.mark.parametrize(
    ("kind", "place"), [(Storing, "the device stores 256"), (GoldenDevice, "the device has no store")]
)
def test_impossible_replay_is_one_line(kind, place):
    with pytest.raises(DeviceError) as error:
        kept(kind(CONFIG), 257, True)
    assert str(error.value) == f"replay: the data set has 257 training samples, but {place}; leave it out"


@pytest.mark.parametrize("verified", [False, True])
def test_a_replayed_run_trains_the_same_samples(verified):
    x, y = data()
    device, golden, plain = Storing(CONFIG), GoldenDevice(CONFIG), fresh()
    lines: list[str] = []
    done = run(device, x, y, golden=golden if verified else None, announce=lines.append)
    assert done.history == train(plain, x, y).history
    assert done.replayed
    assert lines == ["storing 50 training samples on the chip"]
    assert device.state().sha256() == plain.state().sha256()
    assert device.status() == plain.status()


# The last state known -------------------------------------------------------------------------------------------------


SHORT_LBE = replace(LBE, epochs=6)
"""Two steps."""


class Saved(list):
    """What ``save`` received: number of batches, hash of the state, status."""

    def __call__(self, snapshot: Snapshot) -> None:
        self.append((snapshot.status.batches, snapshot.state.sha256(), snapshot.status))


@cache
def states(config: AnyConfig = CONFIG) -> dict[int, str]:
    """Hash of the state after each step of the full run."""
    device, found = fresh(config), {}
    train(device, *data(), on_step=lambda result: found.update({result.batch: device.state().sha256()}))
    return found


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("config", [CONFIG, SHORT_LBE], ids=["gft", "lbe"])
def test_the_state_is_saved_after_every_step_and_once_at_the_end(config, verified):
    saved = Saved()
    golden = GoldenDevice(config) if verified else None
    done = run(GoldenDevice(config), *data(), golden=golden, save=saved, save_every=0)
    assert {batch: state for batch, state, _ in saved} == states(config)
    assert len(saved) == len(done.history)
    assert all(status.batches == batch for batch, _, status in saved)
    assert (done.end.state.sha256(), done.end.status) == saved[-1][1:]


def test_a_short_run_is_saved_once_at_its_end():
    saved = Saved()
    run(GoldenDevice(CONFIG), *data(), save=saved)
    assert [batch for batch, *_ in saved] == [9]
    assert saved[0][1] == states()[9]


def test_the_state_is_saved_as_often_as_asked(monkeypatch):
    """The clock gains a second a step."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    saved = Saved()
    run(GoldenDevice(CONFIG), *data(), save=saved, save_every=3, on_step=lambda _: clock.__setitem__(0, clock[0] + 1))
    assert [batch for batch, *_ in saved] == [3, 6, 9]


def test_a_resumed_run_saves_nothing_before_its_first_step():
    device = fresh()
    train(device, *data(), limit=4)
    start, saved = (device.state(), device.status()), Saved()
    run(GoldenDevice(CONFIG), *data(), start=start, limit=4, save=saved, save_every=0)
    assert [batch for batch, *_ in saved] == [4]
    with pytest.raises(Interrupted):
        run(GoldenDevice(CONFIG), *data(), start=start, save=saved, on_step=interrupt)
    assert [batch for batch, *_ in saved] == [4]


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [Clocked, AboutToWrap])
@pytest.mark.parametrize("verified", [False, True])
def test_saving_takes_no_training_cycles(kind, verified):
    golden = GoldenDevice(CONFIG) if verified else None
    done = run(kind(CONFIG), *data(), golden=golden, save=Saved(), save_every=0)
    assert done.cycles == {"total": 9 * 107, "select": 0}


def test_a_run_stops_after_the_step_in_which_it_is_asked_to():
    saved, batches = Saved(), []
    with pytest.raises(Interrupted, match=r"^interrupted after batch 4 of 9$"):
        run(
            GoldenDevice(CONFIG),
            *data(),
            save=saved,
            on_step=lambda result: batches.append(result.batch),
            stop=lambda: len(batches) == 4,
        )
    assert [entry[:2] for entry in saved] == [(4, states()[4])]


def test_a_run_interrupted_within_a_step_saves_the_last_state_known():
    def stop(result):
        if result.batch == 4:
            raise KeyboardInterrupt

    saved = Saved()
    with pytest.raises(Interrupted, match=r"^interrupted after batch 4 of 9$"):
        run(GoldenDevice(CONFIG), *data(), golden=GoldenDevice(CONFIG), save=saved, on_step=stop)
    assert [entry[:2] for entry in saved] == [(3, states()[3])]


def test_the_last_equal_state_is_saved_before_a_difference():
    saved = Saved()
    with pytest.raises(Difference, match=r"^batch 3: "):
        run(broken(add_to_counter(0, 5, 32))(CONFIG), *data(), golden=GoldenDevice(CONFIG), save=saved)
    assert [entry[:2] for entry in saved] == [(2, states()[2])]


def test_the_last_state_known_is_saved_when_the_device_fails():
    class Vanishing(GoldenDevice):
        def end_batch(self, k):
            if self.trainer.batches == 5:
                raise LinkError("the port: gone")
            super().end_batch(k)

    saved = Saved()
    with pytest.raises(LinkError, match=r"^the port: gone$"):
        run(Vanishing(CONFIG), *data(), save=saved, save_every=0)
    assert [entry[:2] for entry in saved] == [(batch, states()[batch]) for batch in range(1, 6)]


def test_a_run_longer_than_its_data_allows_is_refused():
    device = fresh()
    train(device, *data())
    with pytest.raises(ConfigError, match=r"^the saved run trained 9 batches, but the full run over this data has 3$"):
        run(GoldenDevice(replace(CONFIG, epochs=1)), *data(), start=(device.state(), device.status()))


# A lost chip ----------------------------------------------------------------------------------------------------------


class Losing(GoldenDevice):
    """A device that loses its state in some of its calls, which it counts from 1."""

    def __init__(self, config: AnyConfig, *lost_calls: int):
        super().__init__(config)
        self.calls, self.lost_calls = 0, lost_calls
        self.lost = self.used = False
        self.reopened = 0

    def _call(self) -> None:
        assert not self.lost, "a lost chip was used before it was reopened"
        self.calls += 1
        if self.calls in self.lost_calls:
            self.lost = True
            self.trainer.reset()
            raise ChipLost("the chip: it restarted")

    def reset(self):
        self._call()
        super().reset()

    def train(self, x, y):
        self._call()
        super().train(x, y)

    def status(self):
        self._call()
        return super().status()

    def state(self):
        self._call()
        return super().state()

    def load(self, state, status=None):
        self._call()
        super().load(state, status)

    def infer(self, x):
        self._call()
        return super().infer(x)

    def reopen(self):
        assert self.lost
        self.lost = False
        self.reopened += 1


def calls_of_a_run(config: AnyConfig, **options) -> int:
    device = Losing(config)
    run(device, *data(), **options)
    return device.calls


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("config", [CONFIG, SHORT_LBE], ids=["gft", "lbe"])
def test_a_chip_lost_at_any_call_is_repaired_to_the_same_end(config, verified):
    x, y = data()

    def options() -> dict:
        return {"golden": GoldenDevice(config) if verified else None, "save": Saved(), "save_every": 0}

    whole = run(GoldenDevice(config), x, y, **options())
    for call in range(1, calls_of_a_run(config, **options()) + 1, 5):  # every kind of call, early and late
        device, lines = Losing(config, call), []
        done = run(device, x, y, announce=lines.append, **options())
        assert done.end.state.sha256() == whole.end.state.sha256() == states(config)[config.batches(50)]
        assert done.end.status == whole.end.status
        assert (done.history, done.samples, done.verified) == (whole.history, whole.samples, whole.verified)
        assert (done.repairs, device.reopened) == (1, 1)
        assert len(lines) == 1
        assert lines[0].startswith("the chip: it restarted; going on from ")


def test_images_that_move_do_so_again_after_a_repair():
    x, y = data()
    images = MovingImages(x[:, :36], (6, 6), np.array([1]))
    config = replace(CONFIG, layers=(36, 9, 4))
    whole = run(GoldenDevice(config), images, y)
    done = run(Losing(config, 9, 20), images, y, save_every=0)
    assert (done.end.state.sha256(), done.repairs) == (whole.end.state.sha256(), 2)


def test_stored_samples_are_stored_again_after_a_repair():
    class LosingStore(Losing):
        store_samples = STORE
        stores = 0

        def store(self, x, y):
            self.kept = x, y
            self.stores += 1

        def train_stored(self, numbers):
            x, y = self.kept
            self.train(x[numbers], y[numbers])

        def reopen(self):
            super().reopen()
            self.kept = None

    device = LosingStore(CONFIG, 10)
    done = run(device, *data(), save_every=0)
    assert (done.end.state.sha256(), device.stores, done.replayed) == (states()[9], 2, True)


def test_cycles_of_lost_steps_do_not_count():
    class LosingClocked(Clocked):
        lost = False

        def train(self, x, y):
            if self.trainer.batches == 5 and not self.lost:
                self.lost = True
                raise ChipLost("the chip: it restarted")
            super().train(x, y)

    done = run(LosingClocked(CONFIG), *data())
    assert (done.repairs, done.cycles) == (1, {"total": 9 * 107, "select": 0})


def test_a_chip_that_is_lost_again_and_again_ends_the_run():
    saved = Saved()
    device = Losing(CONFIG, *range(12, 1000))
    with pytest.raises(LinkError) as error:
        run(device, *data(), save=saved, save_every=0)
    place = saved[-1][0]
    assert 0 < place < 9
    assert str(error.value) == f"the chip: it restarted; gave up after 5 repairs, all at batch {place}"
    assert device.reopened == 5
    assert saved[-1][1] == states()[place]


def test_a_chip_that_is_lost_often_but_gets_on_reaches_the_end():
    """A reset or load, a status, a step and a state pass between two losses: one step is kept each time."""

    class Often(Losing):
        def reopen(self):
            super().reopen()
            self.lost_calls = (self.calls + 6,)

    device = Often(CONFIG, 6)
    done = run(device, *data())
    assert done.end.state.sha256() == states()[9]
    assert done.repairs == device.reopened > 5


def test_a_lost_chip_is_repaired_to_predict():
    x, y = data()
    done = run(GoldenDevice(CONFIG), x, y)
    expected = GoldenDevice(CONFIG)
    expected.load(done.end.state, done.end.status)
    device, lines = Losing(CONFIG, 1, 3), []
    assert infer(device, x, done.end, lines.append).tolist() == expected.infer(x).tolist()
    assert lines == ["the chip: it restarted; its state is written back"] * 2
    device = Losing(CONFIG, *range(1, 100))
    with pytest.raises(LinkError) as error:
        infer(device, x, done.end)
    assert str(error.value) == "the chip: it restarted; gave up after 5 repairs"
    assert device.reopened == 5


@pytest.mark.parametrize("lost_calls", [(1,), (1, 2), (2,), (2, 3, 4, 6)])
def test_a_chip_lost_while_it_is_loaded_or_repaired_predicts(lost_calls):
    """Calls are loads and predictions in turn."""
    x, y = data()
    done = run(GoldenDevice(CONFIG), x, y)
    expected = GoldenDevice(CONFIG)
    expected.load(done.end.state, done.end.status)
    device = Losing(CONFIG, *lost_calls)
    assert infer(device, x, done.end, loaded=False).tolist() == expected.infer(x).tolist()
    assert device.reopened == len(lost_calls)


@pytest.mark.parametrize(
    ("config", "share", "seed"), [(model_chip.CONFIG, 0.02, 4), (model_chip.LBE, 0.06, 3)], ids=["gft", "lbe"]
)
def test_a_chip_that_restarts_at_any_moment_ends_in_the_same_state(config, share, seed):
    """The link's model in front of the golden trainer restarts at random before bytes reach it."""
    generator = np.random.default_rng(3)
    x, y = generator.integers(0, 2, (40, config.inputs), np.uint8), generator.integers(0, config.classes, 40)
    config = replace(config, epochs=8)
    whole = run(GoldenDevice(config), x, y)
    moments = random.Random(seed)

    class Restarting(model_chip.ModelChip):
        restarts = 0

        def write(self, data):
            if moments.random() < share:
                self.restart()
                self.restarts += 1
            super().write(data)

    transport = Restarting(config)
    done = run(ChipDevice(transport, config), x, y, golden=GoldenDevice(config))
    assert (done.end.state.sha256(), done.history) == (whole.end.state.sha256(), whole.history)
    assert transport.restarts >= done.repairs > 1
