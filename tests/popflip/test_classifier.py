"""The classifier: scikit-learn's own checks, the command line's hashes, equal bits on golden and sim, files, errors."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from digits import TRAIN, digits
from model_chip import RestartingChip
from simulated import need_compiler
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

import popflip
from popflip import Classifier, PopflipError
from popflip import classifier as classifiers
from popflip.cli.main import run_command
from popflip.devices.chip import ChipDevice
from popflip.devices.golden import GoldenDevice
from popflip.errors import ConfigError, DataError, Difference, FileError, LinkError
from popflip.golden.memory.weights import first_difference
from popflip.golden.trainer import Trainer

GFT = {"layers": (20, 6, 3), "k0": (9, 4), "window": (2,), "margin": 4, "batch": 8, "epochs": 2, "seed": 3}
LBE = {"rule": "lbe", "layers": (45, 33, 7), "group": (8, 3), "margin": (9, 4), "epochs": 2, "seed": 3}
SMALL = pytest.mark.parametrize("parameters", [GFT, LBE], ids=["gft", "lbe"])
"""Small networks for 3 classes of 5 features."""

EXPLICIT = {"layers": (256, 64, 10), "thresholds": (3, 6, 9, 12), "k0": (164, 26), "window": (6,)}
"""Preset digits, spelled out."""


def blobs(samples: int, seed: int = 1, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Real values [samples, 5] around a center for each class, and class numbers."""
    centers = np.random.default_rng(0).normal(size=(classes, 5))
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, samples)
    return centers[y] + generator.normal(scale=0.5, size=(samples, 5)), y


def equal(one: Classifier, other: Classifier) -> bool:
    """Whether both have the same state and counts, to the last bit."""
    counts = [
        {name: value for name, value in vars(model.status_).items() if name != "cycles"} for model in (one, other)
    ]
    return first_difference(one.state_, other.state_) is None and counts[0] == counts[1]


# As an estimator ------------------------------------------------------------------------------------------------------


@parametrize_with_checks([Classifier()])
def test_it_is_a_scikit_learn_estimator(estimator, check):
    """Every check of scikit-learn holds: none is expected to fail."""
    check(estimator)


def test_a_clone_has_the_parameters_and_learned_nothing():
    x, y = blobs(40)
    model = Classifier(**GFT).fit(x, y)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "state_sha256_")


@SMALL
def test_a_pickled_classifier_goes_on(parameters):
    x, y = blobs(40)
    model = Classifier(**parameters).fit(x, y)
    again = pickle.loads(pickle.dumps(model))
    assert equal(model.partial_fit(x, y), again.partial_fit(x, y))


def test_a_search_may_pass_numpy_numbers():
    x, y = blobs(60)
    search = GridSearchCV(Classifier(**GFT), {"margin": np.array([2, 4]), "k0": [np.array([9, 4])]}, cv=2).fit(x, y)
    assert type(search.best_estimator_.config_.margin) is int


# Equal to the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "flags"),
    [
        ({"preset": "digits"}, ("--preset", "digits")),
        (EXPLICIT, ("--preset", "digits")),
        ({"preset": "digits-lbe"}, ("--preset", "digits-lbe")),
        (
            {"thresholds": (4, 8), "precision": "binary", "shift": "none"},
            ("--thresholds", "4,8", "--precision", "binary", "--shift", "none"),
        ),
    ],
    ids=["preset", "explicit", "lbe", "rules"],
)
def test_fit_gives_the_state_of_the_command_line(tmp_path, parameters, flags):
    report = tmp_path / "report.json"
    assert run_command(["train", *flags, "--epochs", "2", "--report", str(report)]) == 0
    expected = json.loads(report.read_text())
    x, y = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(x))
    train, test = order[:TRAIN], order[TRAIN:]
    model = Classifier(**parameters, epochs=2).fit(x[train], y[train])
    assert model.state_sha256_ == expected["state_sha256"]
    assert f"{model.status_.signature:08x}" == expected["signature"]
    assert model.score(x[test], y[test]) == expected["test_accuracy"]
    assert [step.errors for step in model.history_] == [step["errors"] for step in expected["history"]]


def test_bits_stay_bits():
    x, y = digits((3, 6, 9, 12))
    model = Classifier(layers=(256, 64, 10), epochs=2).fit(x[:TRAIN], y[:TRAIN])
    assert model.thresholds_.tolist() == [1]
    values, y = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(values))[:TRAIN]
    same = Classifier(preset="digits", epochs=2).fit(values[order], y[order])
    assert model.state_sha256_ == same.state_sha256_


# Golden and sim -------------------------------------------------------------------------------------------------------


@SMALL
def test_sim_learns_and_predicts_the_same_bits(parameters):
    need_compiler()
    x, y = blobs(60)
    golden = Classifier(**parameters)
    sim = Classifier(**parameters, device="sim", rows=2, synapses=8, verify=True)
    assert equal(golden.fit(x, y), sim.fit(x, y))
    assert sim.status_.cycles["total"] > 0
    for size in (1, 12, 31):  # batches end within and between calls
        assert equal(golden.partial_fit(x[:size], y[:size]), sim.partial_fit(x[:size], y[:size]))
    assert np.array_equal(golden.predict(x), sim.predict(x))
    assert np.array_equal(golden.decision_function(x), sim.decision_function(x))
    fresh = [clone(model).partial_fit(x, y, classes=[0, 1, 2]) for model in (golden, sim)]
    assert equal(*fresh)


class Forgetful(GoldenDevice):
    """A golden model that skips the last sample."""

    def train(self, x, y) -> None:
        super().train(x[:-1], y[:-1])


def test_verify_finds_what_differs(monkeypatch):
    x, y = blobs(60)
    model = Classifier(**GFT).fit(x, y)
    model.set_params(verify=True)
    monkeypatch.setattr(classifiers, "open_device", lambda name, config, *rest, **options: Forgetful(config))
    with pytest.raises(Difference, match=r"^batch 1: "):
        clone(model).fit(x, y)
    before = model.state_sha256_
    with pytest.raises(Difference, match=r"^batch 16: "):
        model.partial_fit(x[:8], y[:8])
    assert model.state_sha256_ == before


# A chip that restarts -------------------------------------------------------------------------------------------------


class Board:
    """A new model chip for each call of a classifier. It restarts before the writes that ``restarts`` says."""

    restarts: Callable[[int], bool] = staticmethod(lambda _: False)

    def open(self, name: str, config, *_, **__) -> ChipDevice:
        self.chip = RestartingChip(config, self.restarts, buffer=1024)
        return ChipDevice(self.chip, config, name)


@pytest.fixture
def board(monkeypatch) -> Board:
    """The chip behind every device that is not golden."""
    board = Board()
    opened = classifiers.open_device

    def open_device(name, *arguments, **options):
        return opened(name, *arguments, **options) if name == "golden" else board.open(name, *arguments, **options)

    monkeypatch.setattr(classifiers, "open_device", open_device)
    return board


TALKS = {
    "fit": lambda model, x, y: model.fit(x, y),
    "partial_fit": lambda model, x, y: model.partial_fit(x[:21], y[:21]),
    "partial_fit first": lambda model, x, y: clone(model).partial_fit(x[:21], y[:21], classes=[0, 1, 2]),
    "predict": lambda model, x, y: model.predict(x[:30]).tolist(),
    "score": lambda model, x, y: model.score(x[:30], y[:30]),
}
"""Every call that talks to the device, and what it leads to."""
TALK = pytest.mark.parametrize("talk", TALKS.values(), ids=list(TALKS))


def same(one: object, other: object) -> bool:
    return equal(one, other) if isinstance(one, Classifier) else one == other


@TALK
@pytest.mark.parametrize(
    ("parameters", "verify"), [(GFT, False), (GFT, True), (LBE, False)], ids=["gft", "gft verified", "lbe"]
)
def test_a_chip_that_restarts_at_any_moment_of_a_call_changes_nothing(board, parameters, talk, verify):
    x, y = blobs(40)
    model = Classifier(**{**parameters, "epochs": 1}).fit(x, y)
    expected = talk(pickle.loads(pickle.dumps(model)), x, y)
    model.set_params(device="/dev/board", verify=verify)

    def called() -> object:
        return talk(pickle.loads(pickle.dumps(model)), x, y)

    assert same(called(), expected)
    writes = board.chip.writes
    for moment in range(1, writes, max(1, writes // 4)):
        board.restarts = moment.__eq__
        assert same(called(), expected), moment
        assert board.chip.writes > writes


@SMALL
@TALK
def test_a_chip_that_always_restarts_ends_a_call_in_one_line_and_nothing_is_lost(board, parameters, talk):
    x, y = blobs(40)
    model = Classifier(**{**parameters, "epochs": 1}).fit(x, y)
    expected = talk(pickle.loads(pickle.dumps(model)), x, y)
    before = dict(vars(model.set_params(device="/dev/board")))
    board.restarts = lambda write: write % 7 == 6  # less than it takes to open and load it, and to do the least
    with pytest.raises(LinkError) as error:
        talk(model, x, y)
    assert "\n" not in str(error.value)
    assert "gave up after 5 " in str(error.value)
    assert board.chip.closed
    assert vars(model) == before
    board.restarts = lambda _: False
    assert same(talk(model, x, y), expected)


def test_a_call_that_fails_takes_nothing_back_but_its_own(board):
    """``fit`` on other features: those of the network that the classifier still has are kept."""
    x, y = blobs(40)
    model = Classifier(**GFT).fit(x, y)
    expected = model.predict(x)
    model.set_params(device="/dev/board", layers=None, k0=None, window=None)
    board.restarts = lambda _: True
    with pytest.raises(LinkError, match=r"; gave up after 5 attempts to open it; check its power$"):
        model.fit(x[:, :3], y)
    assert model.n_features_in_ == 5
    model.set_params(device="golden")
    assert np.array_equal(model.predict(x), expected)


# Streams --------------------------------------------------------------------------------------------------------------


def test_partial_fit_is_batches_of_a_stream():
    """By its definition: every ``batch`` samples in the order given, then ``⌈k0/4⌉`` flips in each layer."""
    x, y = blobs(50)
    model = Classifier(**GFT).fit(x, y)
    trainer = Trainer(model.config_)
    trainer.state = model.state_.copy()
    bits = np.concatenate([x >= threshold for threshold in model.thresholds_], axis=1).astype(np.uint8)
    for first in range(0, 48, 8):
        trainer.train(bits[first : first + 8], y[first : first + 8])
        trainer.end_batch((3, 1))
    model.partial_fit(x[:48], y[:48])
    assert first_difference(model.state_, trainer.state) is None


@SMALL
@pytest.mark.parametrize("fitted", [False, True])
def test_calls_may_cut_a_stream_anywhere(tmp_path, parameters, fitted):
    x, y = blobs(100)
    models = []
    for cuts in ([], [1, 2, 3, 8, 16, 17, 60], range(1, 100)):
        model = Classifier(**parameters, thresholds=np.linspace(-1, 1, parameters["layers"][0] // 5))
        if fitted:
            model.fit(x, y)
        for part_x, part_y in zip(np.split(x, cuts), np.split(y, cuts), strict=True):
            model.partial_fit(part_x, part_y, classes=[0, 1, 2])
            model.save(tmp_path / "m.npz")
            model = Classifier.load(tmp_path / "m.npz")
        models.append(model)
    assert equal(models[0], models[1]) and equal(models[0], models[2])
    assert models[0].status_.samples == 100 + (
        fitted and parameters["epochs"] * 100 // model.config_.batch * model.config_.batch
    )


def test_partial_fit_learns():
    x, y = blobs(400)
    model = Classifier(layers=(20, 16, 3), batch=32)
    for part in np.split(np.tile(np.arange(400), 5), 40):
        model.partial_fit(x[part], y[part], classes=[0, 1, 2])
    assert model.score(*blobs(200, seed=2)) > 0.8


def test_the_first_call_needs_all_classes():
    x, y = blobs(20)
    with pytest.raises(
        DataError, match=r"^classes: the first call of partial_fit needs them; pass classes=\[all labels\]$"
    ):
        Classifier(**GFT).partial_fit(x, y)
    model = Classifier(**GFT).partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(DataError, match=r"^classes: 0, 1 given, but the first call said 0, 1, 2; leave them out$"):
        model.partial_fit(x, y, classes=[1, 0])
    with pytest.raises(DataError, match=r"^y: has labels 7, but classes are 0, 1, 2; train a new classifier$"):
        model.partial_fit(x, np.where(y, 7, 0))


# Predictions ----------------------------------------------------------------------------------------------------------


@SMALL
def test_the_largest_score_is_predicted(parameters):
    x, y = blobs(200)
    names = np.array(["no", "perhaps", "yes"])
    model = Classifier(**parameters).fit(x, names[y])
    x = np.random.default_rng(2).normal(size=(1000, 5))
    scores = model.decision_function(x)
    assert scores.shape == (1000, 3)
    ties = np.sort(scores, axis=1)
    assert (ties[:, -1] == ties[:, -2]).any(), "no sample tries a tie"
    assert np.array_equal(names[np.argmax(scores, axis=1)], model.predict(x))


@pytest.mark.parametrize("rule", ["gft", "lbe"])
def test_two_classes_have_one_score(rule):
    x, y = blobs(200, classes=2)
    model = Classifier(rule=rule, epochs=1).fit(x, y)
    scores = model.decision_function(x)
    assert scores.shape == (200,)
    assert np.array_equal(scores > 0, model.predict(x) == 1)


# Files ----------------------------------------------------------------------------------------------------------------


@SMALL
@pytest.mark.parametrize(
    "labels", [["no", "perhaps", "yes"], [-1, 3, 400], [0.5, 1.0, 7.0]], ids=["strings", "integers", "floats"]
)
def test_everything_saved_is_loaded(tmp_path, parameters, labels):
    x, y = blobs(60)
    dtype = object if isinstance(labels[0], str) else None
    if dtype is None and isinstance(labels[0], float):
        labels = [label * 2 for label in labels]  # whole numbers: others are regression
    labels = np.array(labels, dtype)
    model = Classifier(**parameters).fit(x, labels[y])
    model.save(tmp_path / "m.npz")
    again = popflip.load(tmp_path / "m.npz")
    assert equal(model, again)
    assert again.config_ == model.config_
    assert again.classes_.tolist() == labels.tolist()
    assert np.array_equal(again.thresholds_, model.thresholds_)
    assert np.array_equal(again.predict(x), model.predict(x))
    assert clone(again).fit(x, labels[y]).state_sha256_ == model.state_sha256_


def test_feature_names_are_kept(tmp_path):
    x, y = blobs(60)
    model = Classifier(**GFT).fit(x, y)
    model.feature_names_in_ = np.array(["a", "b", "c", "d", "e"], object)
    model.save(tmp_path / "m.npz")
    assert Classifier.load(tmp_path / "m.npz").feature_names_in_.tolist() == ["a", "b", "c", "d", "e"]


def test_the_command_predicts_with_a_saved_classifier(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x, y = blobs(60)
    names = np.array(["no", "perhaps", "yes"])
    model = Classifier(**GFT).fit(x, names[y])
    model.save("m.npz")
    np.savez("x.npz", x=x)
    assert run_command(["infer", "--model", "m.npz", "--dataset", "x.npz", "--predictions", "p.csv"]) == 0
    assert (tmp_path / "p.csv").read_text().split() == model.predict(x).tolist()
    assert run_command(["infer", "--model", "m.npz"]) == 2
    assert "names no data; give a data set to predict" in capsys.readouterr().err

    numbers = np.array([5, 6, 9])
    Classifier(**GFT).fit(x, numbers[y]).save("n.npz")
    np.savez("xy.npz", x=x, y=numbers[y])
    capsys.readouterr()
    assert run_command(["infer", "--model", "n.npz", "--dataset", "xy.npz"]) == 0
    assert f"accuracy: {Classifier.load('n.npz').score(x, numbers[y]):.2%}" in capsys.readouterr().out


def test_a_network_of_the_command_line_is_loaded_and_saved_again(tmp_path):
    files = [str(tmp_path / name) for name in ("one.npz", "two.npz")]
    small = ("--layers", "256,12,10", "--batch", "100", "--epochs", "2")
    assert run_command(["train", *small, "--limit-batches", "5", "--save", files[0]]) == 0
    model = Classifier.load(files[0])
    assert (model.layers, model.batch, model.thresholds_.tolist()) == ((256, 12, 10), 100, [3, 6, 9, 12])
    model.save(files[1])
    hashes = []
    for file in files:
        report = tmp_path / "report.json"
        assert run_command(["train", "--resume", file, "--report", str(report)]) == 0
        hashes.append(json.loads(report.read_text())["state_sha256"])
    assert hashes[0] == hashes[1]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileError, match=r"no such file or directory$"):
        Classifier.load(tmp_path / "missing.npz")


def test_labels_that_need_pickling_are_not_saved(tmp_path):
    model = Classifier(**GFT).fit(*blobs(60))
    model.classes_ = np.array([0, "b", None], object)
    with pytest.raises(DataError, match=r"^classes: labels of type object cannot be saved; use numbers or strings$"):
        model.save(tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


# Thresholds and errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "levels"),
    [({}, 4), ({"levels": 2}, 2), ({"layers": (15, 4, 3)}, 3), ({"thresholds": [0]}, 1), ({"layers": (5, 3)}, 1)],
)
def test_levels(parameters, levels):
    x, y = blobs(60)
    model = Classifier(**parameters, epochs=1).fit(x, y)
    assert len(model.thresholds_) == levels
    assert model.config_.inputs == 5 * levels


def test_thresholds_for_each_feature():
    x, y = blobs(60)
    thresholds = np.arange(10).reshape(2, 5) / 10
    assert np.array_equal(Classifier(thresholds=thresholds, epochs=1).fit(x, y).thresholds_, thresholds)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"layers": (256, 64, 10)},
            "layers: (256, 64, 10) given, but X has 5 features × 4 thresholds = 20 bits and y has 3 classes; "
            "use (20, 64, 3), or other thresholds",
        ),
        (
            {"layers": (20, 64, 10)},
            "layers: (20, 64, 10) given, but X has 5 features × 4 thresholds = 20 bits and y has 3 classes; "
            "use (20, 64, 3), or other thresholds",
        ),
        (
            {"layers": (7, 9), "rule": "lbe"},
            "layers: (7, 9) given, but X has 5 features × 4 thresholds = 20 bits and y has 3 classes; "
            "use (20, 9), or other thresholds",
        ),
        ({"layers": (20,)}, "layers: 1 given, expected the inputs and 1 to 8 layers after them"),
        ({"layers": ()}, "layers: 0 given, expected the inputs and 1 to 8 layers after them"),
        ({"levels": 0}, "levels: 0 is not a whole number of 1 or more"),
        ({"levels": 2, "thresholds": [1]}, "levels: thresholds are given too; leave one of the two out"),
        ({"thresholds": []}, "thresholds: shape (0,) given, expected (levels,) or (levels, 5)"),
        ({"thresholds": [[1, 2]]}, "thresholds: shape (1, 2) given, expected (levels,) or (levels, 5)"),
        ({"thresholds": [[1], [1, 2]]}, "thresholds: [[1], [1, 2]] is not a list of numbers"),
        ({"thresholds": "many"}, "thresholds: 'many' is not a list of numbers"),
        ({"thresholds": [float("nan")]}, "thresholds: [nan] is not a list of numbers"),
        ({"preset": "digit"}, "preset: 'digit' is not one of "),
        ({"rule": "lbe", "batch": 3}, "batch: is for rule gft, but this network learns by lbe; leave it out"),
        ({"batch": 1.5}, "batch: 1.5 is not a whole number"),
        ({"device": "goldn"}, "device: 'goldn' is not golden, sim, usb or a serial port such as /dev/ttyUSB1 or COM3"),
        ({"device": "/nowhere/ttyUSB1"}, "/nowhere/ttyUSB1: "),
        ({"device": "sim", "store": 3}, "store"),
        ({"batch": 10_000}, "batch: 10000 samples per batch, but "),
    ],
)
def test_one_line_says_what_is_wrong(parameters, message):
    model = Classifier(**parameters)
    with pytest.raises(PopflipError) as error:
        model.fit(*blobs(60))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert not hasattr(model, "classes_")


def test_errors_are_also_those_of_scikit_learn():
    x, y = blobs(60)
    assert issubclass(ConfigError, ValueError)
    with pytest.raises(NotFittedError) as error:
        Classifier().predict(x)
    assert isinstance(error.value, PopflipError)
    assert str(error.value) == "this Classifier is not fitted yet; call fit or partial_fit first"
    with pytest.raises(DataError, match=r"contains NaN"):
        Classifier().fit(np.full((60, 5), np.nan), y)
    with pytest.raises(DataError, match=r"^y: holds 1 class, 0; a classifier needs at least two$"):
        Classifier().fit(x, np.zeros(60, int))


def test_verbose_prints_progress(capsys):
    x, y = blobs(60)
    Classifier(**GFT).fit(x, y)
    assert capsys.readouterr().out == ""
    Classifier(**GFT, verbose=True).fit(x, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15
    assert lines[-1].startswith("batch 15 of 15: ")
