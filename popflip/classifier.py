"""A scikit-learn classifier that learns on the golden model, the simulated chip or a board.

::

    x [samples, features] ─▶ thermometer ─▶ bits ─▶ device ─▶ class number ─▶ classes_
                                ▲                     ▲ │
                           thresholds_    state_, status_ ◀┘  (loaded for each call, read back after training)

An instance holds arrays and numbers only. Each call opens the device, loads the state and closes the device again, so
an instance pickles, and ``device`` may change between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from popflip import checkpoint as checkpoints
from popflip.checkpoint import Checkpoint
from popflip.data.encoding import quantile_thresholds, thermometer
from popflip.devices.base import Device
from popflip.devices.golden import GoldenDevice
from popflip.devices.open import open_device
from popflip.errors import ConfigError, DataError, PopflipError
from popflip.experiment import find_preset
from popflip.golden.config import AnyConfig, Order, Rule
from popflip.golden.layers import Planes, parse
from popflip.heuristics import CALIBRATION, PARAMETERS, Shape, calibrated, configure, windows_are_guessed
from popflip.history import StepResult
from popflip.repair import Snapshot, with_repairs
from popflip.steps import batch_name, batches_to_run
from popflip.training import infer, run
from popflip.verification import compare, same_predictions

if TYPE_CHECKING:
    from popflip.hw.config import ChipConfig

DEFAULT_LEVELS = 4  # thresholds chosen for each feature
PROGRESS_LINES = 20  # printed in a verbose run


class NotFitted(PopflipError, NotFittedError):
    """A classifier that has learned nothing yet. Call ``fit``, ``partial_fit`` or ``Classifier.load`` first."""


class Classifier(ClassifierMixin, BaseEstimator):
    """A network of binary or ternary weights that learns without gradients, as a scikit-learn classifier.

    Parameters have the names of the flags of ``popflip train``. None leaves a parameter to ``preset``, or to the rules
    of thumb in docs/algorithm.md.

    Data:
        preset: name of an experiment whose thresholds and parameters to start from, such as ``"digits"``.
        thresholds: ``[levels]`` for all features, or ``[levels, features]``. A value becomes one bit for each
            threshold, 1 where value ≥ threshold.
        levels: number of thresholds to choose from quantiles of the training data. By default as many as ``layers``
            has input bits for, else 4, or 1 for data of 0 and 1, which stays as it is.

    Network:
        layers: widths, input bits first: ``(256, 64, 10)`` has 256 input bits, 64 hidden neurons and 10 classes; or an
            image and convolutions, ``"28x28,c16k5p2,c32k5s2,10"`` (docs/conv.md), for X whose features are the pixels
            of an image, row by row. Rule ``lbe``: input bits and the neurons of each layer, without the classes.
        precision: ``"ternary"`` or ``"binary"`` weights. Rule ``lbe``: binary.
        mmax: counters saturate at ±mmax, one number or one for each layer; rule ``lbe``: at −mmax − 1 and mmax.
        dclip: largest error of a hidden neuron. Rule ``gft``.

    Learning:
        rule: ``"gft"`` or ``"lbe"``.
        batch: samples between two updates. Rule ``gft``.
        epochs: passes of ``fit`` over the training samples.
        k0: weights selected in the first batch, one number for each layer. Rule ``gft``.
        margin: a sample triggers an update while its class leads by no more than this. Rule ``lbe``: while it leads by
            less, one number or one for each layer.
        window: a hidden neuron learns while |sum| ≤ window, one number for each hidden layer. Rule ``gft``.
        shift: counters lose ``m >> shift`` at the end of a batch; ``"none"`` clears them. Rule ``gft``.
        flip_p256: a selected weight flips with probability flip_p256 / 256. Rule ``gft``.
        group: neurons of which at most one is updated, one number or one for each layer. Rule ``lbe``.
        near: a right neuron with ``|sum| < near`` is updated in a group without a wrong one, one number or one for each
            layer. Rule ``lbe``.
        reinforce_p256: an updated counter moves away from 0 with probability reinforce_p256 / 256. Rule ``lbe``.
        seed: seed of everything random.
        order: of the samples in each epoch of ``fit``. ``"numpy"`` draws it; ``"chip"`` is one that a chip makes by
            itself, so that it learns a stored set without the host.

    Device:
        device: ``"golden"`` (NumPy), ``"sim"`` (simulated chip), ``"usb"`` or a serial port. All learn the same bits.
        rows, synapses: MAC array of the simulated chip, by default 4 × 32.
        learn_rows: rows of its first layer that it updates in a cycle.
        store: training samples that it can keep.
        compact: whether it is the variant for an iCE40 UP5K.
        replay: send training samples once, then their numbers. By default if they fit the chip's store.
        baud: speed of the serial port, in bits per second; ``"auto"``: the speed at which the chip answers.
        verify: compare the device with the golden model, in ``fit`` after every batch, in ``partial_fit`` and
            ``predict`` once.
        verbose: print progress.

    Attributes of a fitted classifier:
        classes_: sorted labels.
        n_features_in_, feature_names_in_: as in scikit-learn.
        thresholds_: ``[levels]`` or ``[levels, features]``.
        config_: every parameter of network and learning, as used.
        state_: weights, counters and random state. ``state_sha256_`` is its hash.
        status_: counts of samples, batches, errors and flips, the signature of the flips, and cycles of a chip.
        history_: the steps of the last ``fit``.

    A chip that is lost during a call, because it restarted or another program used it, gets its state back and the
    call begins again, ``fit`` from the last state known: the result is the same. If that fails too often, the call ends
    with :class:`LinkError`. A call that fails leaves the classifier as it was.

    Every error is a :class:`popflip.PopflipError`. :class:`ConfigError` and :class:`DataError`, for unusable parameters
    and data, are also a ``ValueError``; :class:`NotFitted` is also scikit-learn's ``NotFittedError``;
    :class:`DeviceError` says that the device fails, and :class:`Difference` that ``verify`` found one. Only X of a type
    that no classifier takes, such as a sparse matrix, is scikit-learn's own ``TypeError``.
    """

    _origin: dict[str, Any]
    """The data that a loaded network learned from, as its file says; empty after training here."""

    def __init__(
        self,
        layers: str | Sequence[int | str] | None = None,
        *,
        preset: str | None = None,
        thresholds: ArrayLike | None = None,
        levels: int | None = None,
        precision: str | None = None,
        mmax: int | Sequence[int] | None = None,
        dclip: int | None = None,
        rule: str | None = None,
        batch: int | None = None,
        epochs: int | None = None,
        k0: Sequence[int] | None = None,
        margin: int | Sequence[int] | None = None,
        window: Sequence[int] | None = None,
        shift: int | str | None = None,
        flip_p256: int | None = None,
        group: int | Sequence[int] | None = None,
        near: int | Sequence[int] | None = None,
        reinforce_p256: int | None = None,
        seed: int | None = None,
        order: str | None = None,
        device: str = "golden",
        rows: int | None = None,
        synapses: int | None = None,
        learn_rows: int | None = None,
        store: int | None = None,
        replay: bool | None = None,
        compact: bool | None = None,
        baud: int | str | None = None,
        verify: bool = False,
        verbose: bool = False,
    ):
        self.layers = layers
        self.preset = preset
        self.thresholds = thresholds
        self.levels = levels
        self.precision = precision
        self.mmax = mmax
        self.dclip = dclip
        self.rule = rule
        self.batch = batch
        self.epochs = epochs
        self.k0 = k0
        self.margin = margin
        self.window = window
        self.shift = shift
        self.flip_p256 = flip_p256
        self.group = group
        self.near = near
        self.reinforce_p256 = reinforce_p256
        self.seed = seed
        self.order = order
        self.device = device
        self.rows = rows
        self.synapses = synapses
        self.learn_rows = learn_rows
        self.store = store
        self.replay = replay
        self.compact = compact
        self.baud = baud
        self.verify = verify
        self.verbose = verbose

    # Learning ---------------------------------------------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn ``X`` ``[samples, features]`` and labels ``y`` ``[samples]`` from the initial state of ``seed``.

        The run equals ``popflip train`` with the same parameters and training samples: ``epochs`` passes in an order
        drawn from the seed, cut into batches.
        """
        with self._kept_on_failure():
            X, y = self._training_samples(X, y, first=True)
            classes, numbers = np.unique(y, return_inverse=True)
            thresholds, config = self._configure(X, classes)
            bits = thermometer(X, thresholds)
            progress = _Progress(config, len(X)) if self.verbose else _ignore
            with self._open(config) as (device, golden):
                outcome = run(
                    device, bits, numbers, golden=golden, replay=self.replay, announce=self._announce, on_step=progress
                )
        assert outcome.end is not None
        self.state_, self.status_ = outcome.end.state, outcome.end.status
        self.classes_, self.thresholds_, self.config_ = classes, thresholds, config
        self.history_ = outcome.history
        self._origin = {}
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self:
        """Go on learning from the current state with ``X`` ``[samples, features]`` and labels ``y`` ``[samples]``.

        The samples of all calls form one stream, in the order given. Every ``batch`` samples end a batch, wherever
        calls begin: weights move then, and an unfinished batch waits in the counters for the next call. A batch selects
        ``⌈k0/4⌉`` weights in each layer, as three quarters into a run of ``fit``: more would undo what that run
        settled. Rule ``lbe`` updates after every sample.

        The first call of a classifier that was not fitted needs ``classes``, all labels there will ever be, and chooses
        thresholds and parameters from its samples.
        """
        first = not self._fitted
        with self._kept_on_failure():
            X, y = self._training_samples(X, y, first)
            known = self._known_classes(classes)
            thresholds, config = self._configure(X, known) if first else (self.thresholds_, self.config_)
            numbers = _numbers(y, known)
            bits = thermometer(X, thresholds)
            start = None if first else Snapshot(self.state_, self.status_)
            pending = 0 if first else self._pending
            with self._open(config) as (device, golden):

                def learn() -> Snapshot:
                    for each in filter(None, (device, golden)):
                        _learn_stream(each, bits, numbers, pending)
                    status = device.status()
                    if golden is not None:
                        compare(device, golden, status, batch_name(config))
                    return Snapshot(device.state(), status)

                end = with_repairs(learn, device, start, golden=golden, announce=self._announce)
        self.state_, self.status_ = end.state, end.status
        self.classes_, self.thresholds_, self.config_ = known, thresholds, config
        self._origin = {}
        return self

    # Predicting -------------------------------------------------------------------------------------------------------

    def predict(self, X: ArrayLike) -> NDArray:
        """Labels ``[samples]``, predicted by the device. The lowest class wins a tie."""
        bits = self._bits(X)
        with self._open(self.config_) as (device, golden):
            numbers = infer(device, bits, Snapshot(self.state_, self.status_), self._announce, loaded=False)
            if golden is not None:
                golden.load(self.state_, self.status_)
                same_predictions(numbers, golden.infer(bits))
        return self.classes_[numbers]

    def decision_function(self, X: ArrayLike) -> NDArray[np.int32]:
        """Score of each class, int32 ``[samples, classes]``; of two classes ``[samples]``, above 0 for the second.

        ``gft``: sums of the last layer. ``lbe``: agreement of the last layer with the random code of each class. A
        chip returns classes only, so the golden model computes the scores from the weights, whatever the ``device``.
        The largest score is the class that :meth:`predict` returns.
        """
        bits = self._bits(X)
        golden = GoldenDevice(self.config_)
        golden.load(self.state_, self.status_)
        scores = golden.trainer.scores(bits)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    # What was learned -------------------------------------------------------------------------------------------------

    @property
    def state_sha256_(self) -> str:
        """Hash of the weights and counters, as ``popflip train`` reports it."""
        self._check_fitted()
        return self.state_.sha256()

    def save(self, path: str | Path) -> None:
        """Write the network to ``path``, an ``.npz`` that :meth:`load` and ``popflip infer --model`` read.

        Raises :class:`FileError` if the file cannot be written.
        """
        self._check_fitted()
        origin: dict[str, Any] = {"dataset": None, "test_split": None} | self._origin
        names = getattr(self, "feature_names_in_", None)
        checkpoints.save(
            Path(path),
            Checkpoint(
                self.config_,
                self.state_,
                self.status_,
                thresholds=self.thresholds_,
                classes=_plain_labels(self.classes_),
                feature_names=None if names is None else _plain_labels(names),
                **origin,
            ),
        )

    @classmethod
    def load(cls, path: str | Path, device: str = "golden") -> Self:
        """The classifier in a file written by :meth:`save` or ``popflip train --save``, to run on ``device``.

        Its parameters are those that were used, none of them None. Raises :class:`FileError` if the file cannot be
        read or holds anything else.
        """
        saved = checkpoints.load(Path(path))
        model = cls(**_parameters(saved.config), thresholds=saved.thresholds, device=device)
        model.config_, model.state_, model.status_ = saved.config, saved.state, saved.status
        model.thresholds_ = saved.thresholds
        model.classes_ = np.arange(saved.config.classes) if saved.classes is None else saved.classes
        model.n_features_in_ = saved.config.inputs // len(saved.thresholds)
        if saved.feature_names is not None:
            model.feature_names_in_ = saved.feature_names.astype(object)
        model._origin = {
            "dataset": saved.dataset,
            "test_split": saved.test_split,
            "augment": saved.augment,
            "data_sha256": saved.data_sha256,
        }
        return model

    # Data to bits -----------------------------------------------------------------------------------------------------

    def _training_samples(self, X: ArrayLike, y: ArrayLike, first: bool) -> tuple[NDArray, NDArray]:
        """Checked X and y. The ``first`` X sets the number of features, and their names."""
        with _data_errors():
            samples, labels = validate_data(self, X, y, reset=first)
            check_classification_targets(labels)
            return samples, column_or_1d(labels)

    def _bits(self, X: ArrayLike) -> NDArray[np.uint8]:
        """Bits ``[samples, inputs]`` of X, which must have the features of the training samples."""
        self._check_fitted()
        with _data_errors():
            return thermometer(validate_data(self, X, reset=False), self.thresholds_)

    def _known_classes(self, classes: ArrayLike | None) -> NDArray:
        """All labels of a stream: those given at the first call."""
        if classes is not None:
            with _data_errors():
                given = np.unique(column_or_1d(classes))
            if self._fitted and not np.array_equal(given, self.classes_):
                raise DataError(
                    f"classes: {_list(given)} given, but the first call said {_list(self.classes_)}; leave them out"
                )
            return given
        if not self._fitted:
            raise DataError("classes: the first call of partial_fit needs them; pass classes=[all labels]")
        return self.classes_

    def _configure(self, X: NDArray, classes: NDArray) -> tuple[NDArray, AnyConfig]:
        """Thresholds and configuration for training samples X: as given, the rest by rules of thumb."""
        if len(classes) < 2:
            raise DataError(f"y: holds 1 class, {classes[0]}; a classifier needs at least two")
        preset = find_preset(self.preset, rule=self.rule)
        thresholds = self._thresholds(X, None if self.preset is None else preset.thresholds)
        shape = Shape(len(thresholds) * X.shape[1], len(classes), len(X))
        given = {name: _plain(getattr(self, name)) for name in PARAMETERS}
        tuned = self.preset is not None
        config = configure(preset.config, given, shape, tuned=tuned)
        _check_layers(config, X.shape[1], len(thresholds), len(classes))
        if windows_are_guessed(preset.config, config, given, tuned):
            config = calibrated(config, thermometer(X[:CALIBRATION], thresholds))
        return thresholds, config

    def _thresholds(self, X: NDArray, of_preset: Sequence[int] | None) -> NDArray:
        """The thresholds given, the preset's, or quantiles of X."""
        features = X.shape[1]
        if self.thresholds is not None:
            if self.levels is not None:
                raise ConfigError("levels: thresholds are given too; leave one of the two out")
            return _given_thresholds(self.thresholds, features)
        if of_preset is not None and self.levels is None:
            return np.array(of_preset)
        binary = bool(((X == 0) | (X == 1)).all())
        levels = self.levels
        if levels is None:
            room, rest = divmod(_inputs(self.layers), features) if self.layers is not None else (0, 0)
            levels = room if room and not rest else 1 if binary else DEFAULT_LEVELS
        if not isinstance(levels, Integral) or levels < 1:
            raise ConfigError(f"levels: {levels!r} is not a whole number of 1 or more")
        return np.array([1]) if binary and levels == 1 else quantile_thresholds(X, int(levels))

    # Devices ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _open(self, config: AnyConfig) -> Iterator[tuple[Device, Device | None]]:
        """The device, and a golden model to compare it with if ``verify`` says so."""
        with ExitStack() as stack:
            opened = open_device(
                self.device, config, self._chip(config), announce=self._announce, baud=_plain(self.baud)
            )
            device = stack.enter_context(opened)
            yield device, stack.enter_context(GoldenDevice(config)) if self.verify else None

    def _chip(self, config: AnyConfig) -> ChipConfig | None:
        """The chip to simulate; None for devices that are not simulated."""
        if self.device != "sim":
            return None
        from popflip.hw.config import ChipConfig  # the golden model does without Amaranth

        given = {
            "array_rows": self.rows,
            "array_synapses": self.synapses,
            "learn_rows": self.learn_rows,
            "store_samples": self.store,
            "compact": self.compact,
            "walks": bool(self.store) and config.order == Order.CHIP,
        }
        return ChipConfig.of(config, **{name: _plain(value) for name, value in given.items() if value is not None})

    @property
    def _announce(self) -> Callable[[str], object]:
        return _print if self.verbose else _ignore

    # State ------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _kept_on_failure(self) -> Iterator[None]:
        """If the block fails, take back every attribute that it set, such as the number of features."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    @property
    def _fitted(self) -> bool:
        return hasattr(self, "state_")

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise NotFitted("this Classifier is not fitted yet; call fit or partial_fit first")

    @property
    def _pending(self) -> int:
        """Samples of an unfinished batch, whose votes are in the counters."""
        return self.status_.samples - self.status_.batches * self.config_.batch


def load(path: str | Path, device: str = "golden") -> Classifier:
    """:meth:`Classifier.load`."""
    return Classifier.load(path, device)


def _learn_stream(device: Device, x: NDArray[np.uint8], y: NDArray[np.integer], pending: int) -> None:
    """Train samples ``x`` ``[n, inputs]``, ``y`` ``[n]`` in order; ``pending`` samples began the first batch."""
    config = device.config
    k = config.schedule(3, 4)
    size = len(x) if config.rule == Rule.LBE else config.batch  # LBE: any number of samples are whole batches
    first, last = 0, size - pending
    while last <= len(x) and first < last:
        device.train(x[first:last], y[first:last])
        device.end_batch(k)
        first, last = last, last + size
    if first < len(x):
        device.train(x[first:], y[first:])


class _Progress:
    """Prints a line now and then during a run."""

    def __init__(self, config: AnyConfig, samples: int):
        self._unit = batch_name(config)
        self._last = batches_to_run(config, samples, None)
        self._shown = 0

    def __call__(self, step: StepResult) -> None:
        share = step.batch * PROGRESS_LINES // self._last
        if share > self._shown:
            self._shown = share
            _print(f"{self._unit} {step.batch} of {self._last}: {step.accuracy:.1%} correct before learning")


def _print(line: str) -> None:
    print(line, flush=True)


def _ignore(_: object) -> None:
    """The callback of a silent run."""


# Parameters and labels ------------------------------------------------------------------------------------------------


@contextmanager
def _data_errors() -> Iterator[None]:
    """Give scikit-learn's complaints about data the type of this package."""
    try:
        yield
    except ValueError as error:
        raise DataError(str(error)) from error


def _plain(value: Any) -> Any:
    """Python numbers and tuples for NumPy's, which a parameter search passes."""
    if isinstance(value, np.ndarray | list | tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return value


def _parameters(config: AnyConfig) -> dict[str, Any]:
    """Parameters of a classifier that has ``config``."""
    values = {name: value for name, value in asdict(config).items() if name in PARAMETERS}
    values |= {"rule": config.rule.value, "precision": config.precision.value, "order": config.order.value}
    if "shift" in values and values["shift"] is None:
        values["shift"] = "none"
    return values


def _given_thresholds(thresholds: ArrayLike, features: int) -> NDArray:
    """Thresholds of a user as an array ``[levels]`` or ``[levels, features]``."""
    try:
        array = np.asarray(thresholds)
        numbers = array.dtype.kind in "iuf" and not np.isnan(array).any()
    except ValueError:  # rows of different lengths
        numbers = False
    if not numbers:
        raise ConfigError(f"thresholds: {thresholds!r} is not a list of numbers")
    if not array.size or array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != features):
        raise ConfigError(f"thresholds: shape {array.shape} given, expected (levels,) or (levels, {features})")
    return array


def _check_layers(config: AnyConfig, features: int, levels: int, classes: int) -> None:
    """Raise :class:`ConfigError` unless the network takes the bits of the data and tells its classes apart."""
    bits = features * levels
    if (config.inputs, config.classes) != (bits, classes):
        last = config.layers[1:] if config.rule == Rule.LBE else (*config.layers[1:-1], classes)
        image = f"an image of {bits} bits" if isinstance(config.layers[0], str) else bits
        raise ConfigError(
            f"layers: {config.layers} given, but X has {features} features × {levels} thresholds = {bits} bits and y "
            f"has {classes} classes; use {(image, *last)}, or other thresholds"
        )


def _inputs(layers: object) -> int:
    """Input bits of ``layers``; 0 if there are none."""
    items = parse(_plain(layers))
    first = items[0] if items else 0
    return first.size if isinstance(first, Planes) else first if isinstance(first, int) else 0


def _numbers(y: NDArray, classes: NDArray) -> NDArray[np.int64]:
    """Position in ``classes``, which are sorted, of each label in ``y``."""
    unknown = np.setdiff1d(y, classes)
    if unknown.size:
        raise DataError(f"y: has labels {_list(unknown)}, but classes are {_list(classes)}; train a new classifier")
    return np.searchsorted(classes, y).astype(np.int64)


def _plain_labels(labels: NDArray) -> NDArray:
    """Labels of a type that a file can hold without pickling: numbers, or text for strings."""
    if labels.dtype.kind in "biufU":
        return labels
    if all(isinstance(label, str) for label in labels):
        return np.array(labels.tolist(), dtype=np.str_)
    raise DataError(f"classes: labels of type {labels.dtype} cannot be saved; use numbers or strings")


def _list(labels: NDArray) -> str:
    return ", ".join(map(str, labels))
