"""Popflip's golden model and other learners on MNIST: same machine, same run, same one-bit images, one thread each.

    python bench/software.py [--data-dir D] [--epochs N] [--seconds S] [--samples N]

Reads ``D/mnist/`` or ``$POPFLIP_DATA/mnist/`` and downloads nothing. No learner starts an epoch after ``--seconds`` of
training. Popflip's schedule spans ``--epochs``, so a run cut short has not finished it.

* ``trained/s``, ``inferred/s``: samples per second; inference is on the test set.
* ``state``: bits that learning reads and writes: weights, and counters, moments or automata.

Below, numbers that others published about FPGAs that train, measured on their machines.
"""

from __future__ import annotations

import argparse
import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when NumPy is loaded
    os.environ.setdefault(threads, "1")

import sys  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from popflip.devices.golden import GoldenDevice  # noqa: E402
from popflip.errors import ConfigError, PopflipError  # noqa: E402
from popflip.experiment import Experiment, prepare  # noqa: E402
from popflip.training import accuracy, train  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))

from rules import state_bits  # noqa: E402

COLUMNS = (("learner", -51), ("epochs", 6), ("accuracy", 8), ("trained/s", 9), ("inferred/s", 10), ("state", 11))
CLAUSES, THRESHOLD, SPECIFICITY = 1000, 1000, 10.0  # of the Tsetlin machine; T and s are close to its papers' on MNIST

PUBLISHED = (
    (
        "convolutional Tsetlin machine, Zynq ZU7, 50 MHz",
        ("97.6%", "40000", "134000"),
        "Tunheim et al., Tsetlin Machine-Based Image Classification FPGA Accelerator With On-Device Training, "
        "IEEE TCAS-I 2024, doi:10.1109/TCSI.2024.3519191",
    ),
    (
        "sparse MLP, back-propagation, Artix-7",
        ("96.5%", "417000", ""),
        "Dey et al., A Highly Parallel FPGA Implementation of Sparse Neural Network Training, arXiv 1806.01087",
    ),
    (
        "simplified forward-forward, FPGA",
        ("90.5%", "", ""),
        "AI on Low-Cost Hardware, FPGA subgroup, thesis, TU Delft 2023",
    ),
)
"""Learner, (accuracy, trained/s, inferred/s), reference."""


class Missing(Exception):
    """A learner cannot run here. The message says why."""


@dataclass(frozen=True)
class Result:
    """A learner's result: ``state`` in bits, ``seconds`` of training, ``inference_seconds`` of the test set."""

    name: str
    epochs: int
    accuracy: float
    trained: int
    seconds: float
    inferred: int
    inference_seconds: float
    state: int

    def row(self) -> tuple[str, ...]:
        """The cells of the table."""
        return (
            self.name,
            str(self.epochs),
            f"{self.accuracy:.2%}",
            f"{self.trained / self.seconds:.0f}",
            f"{self.inferred / self.inference_seconds:.0f}",
            f"{self.state / 1e6:.2f} Mbit",
        )


@dataclass(frozen=True)
class Budget:
    """At most ``epochs`` epochs, none started after ``seconds`` of training."""

    epochs: int
    seconds: float

    def run(self, epoch: Callable[[int], float]) -> tuple[int, float]:
        """Call ``epoch(index)``, which returns its seconds, within the budget. Epochs run, and their seconds."""
        spent, index = 0.0, 0
        while index < self.epochs and (index == 0 or spent < self.seconds):
            spent += epoch(index)
            index += 1
        return index, spent


def timed(call: Callable[[], object]) -> float:
    """Seconds ``call`` takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def popflip(data: Experiment, budget: Budget) -> Result:
    """The golden model with the MNIST preset, except for the number of epochs."""
    config, samples = replace(data.config, epochs=budget.epochs), len(data.y_train)
    predictions: list[NDArray[np.integer]] = []
    with GoldenDevice(config) as device:
        device.reset()

        def epoch(index: int) -> float:
            return train(device, data.x_train, data.y_train, (index + 1) * samples // config.batch).seconds

        epochs, seconds = budget.run(epoch)
        inference = timed(lambda: predictions.append(device.infer(data.x_test)))
        trained = device.status().samples
    return Result(
        name=f"popflip golden, {'-'.join(map(str, config.layers))} {config.precision}",
        epochs=epochs,
        accuracy=accuracy(predictions[0], data.y_test),
        trained=trained,
        seconds=seconds,
        inferred=len(data.y_test),
        inference_seconds=inference,
        state=state_bits(config),
    )


def perceptron(data: Experiment, budget: Budget) -> Result:
    """scikit-learn's MLPClassifier with the same layers; all else at its default (Adam, batches of 200)."""
    from sklearn.neural_network import MLPClassifier

    x, x_test = data.x_train.astype(np.float32), data.x_test.astype(np.float32)
    classes = np.arange(data.config.classes)
    learner = MLPClassifier(data.config.layers[1:-1], random_state=data.config.seed)
    predictions: list[NDArray[np.integer]] = []

    def epoch(index: int) -> float:
        return timed(lambda: learner.partial_fit(x, data.y_train, classes=classes))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a batch of 200 exceeds small subsets
        epochs, seconds = budget.run(epoch)
    inference = timed(lambda: predictions.append(learner.predict(x_test)))
    weights = [*learner.coefs_, *learner.intercepts_]
    return Result(
        name=f"scikit-learn MLPClassifier, {'-'.join(map(str, data.config.layers))} {weights[0].dtype}",
        epochs=epochs,
        accuracy=accuracy(predictions[0], data.y_test),
        trained=epochs * len(x),
        seconds=seconds,
        inferred=len(x_test),
        inference_seconds=inference,
        state=3 * sum(8 * array.nbytes for array in weights),  # Adam keeps two moments of each weight
    )


def tsetlin(data: Experiment, budget: Budget) -> Result:
    """green-tsetlin's machine, with a trainer per epoch to time each. It infers one sample per call."""
    try:
        import green_tsetlin
    except ImportError as error:
        raise Missing(
            f"green-tsetlin is skipped: {error}; pip install -e '.[bench]' compiles it (PyPI has its source only)"
        ) from None
    inputs, classes = data.config.inputs, data.config.classes
    machine = green_tsetlin.TsetlinMachine(
        n_literals=inputs, n_clauses=CLAUSES, n_classes=classes, s=SPECIFICITY, threshold=THRESHOLD
    )
    y, y_test = data.y_train.astype(np.uint32), data.y_test.astype(np.uint32)

    def epoch(index: int) -> float:
        trainer = green_tsetlin.Trainer(
            machine, n_epochs=1, seed=data.config.seed + index, progress_bar=False, copy_training_data=False
        )
        trainer.set_train_data(data.x_train, y)
        trainer.set_eval_data(data.x_test[:1], y_test[:1])
        return sum(trainer.train()["train_time_of_epochs"])

    epochs, seconds = budget.run(epoch)
    predictor = machine.get_predictor()
    predictions: list[int] = []
    inference = timed(lambda: predictions.extend(int(predictor.predict(x)) for x in data.x_test))
    return Result(
        name=f"green-tsetlin, {CLAUSES} clauses",
        epochs=epochs,
        accuracy=accuracy(np.array(predictions), data.y_test),
        trained=epochs * len(y),
        seconds=seconds,
        inferred=len(y_test),
        inference_seconds=inference,
        state=8 * (machine._state.c.nbytes + machine._state.w.nbytes),
    )


LEARNERS = (popflip, perceptron, tsetlin)


def line(cells: tuple[str, ...]) -> str:
    """Cells in the table's columns; a width below 0 is a column of text."""
    return " ".join(
        f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
        for cell, (_, width) in zip(cells, COLUMNS, strict=True)
    ).rstrip()


def report(data: Experiment, budget: Budget) -> Iterator[str]:
    """The lines of the table, as results arrive."""
    yield (
        f"MNIST, one bit a pixel, {len(data.y_train)} training and {len(data.y_test)} test images, one thread; "
        f"at most {budget.epochs} epochs, none started after {budget.seconds:g} s of training"
    )
    yield line(tuple(name for name, _ in COLUMNS))
    reasons = []
    for learner in LEARNERS:
        try:
            yield line(learner(data, budget).row())
        except Missing as missing:
            reasons.append(str(missing))
    yield from reasons
    yield "published, trained on the FPGA:"
    for number, (name, cells, _) in enumerate(PUBLISHED, 1):
        yield line((f"[{number}] {name}", "", *(cell or "–" for cell in cells), "–"))
    yield from (f"[{number}] {reference}" for number, (_, _, reference) in enumerate(PUBLISHED, 1))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Popflip's golden model and other learners (MNIST, one thread).")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ in it, instead of $POPFLIP_DATA")
    parser.add_argument("--epochs", type=int, help="most epochs (those of the MNIST preset)")
    parser.add_argument("--seconds", type=float, default=60, help="training time after which no epoch starts (60)")
    parser.add_argument("--samples", type=int, help="number of training images (all)")
    options = parser.parse_args(arguments)
    if options.data_dir is None and not os.environ.get("POPFLIP_DATA"):
        print("skipped: needs MNIST; give --data-dir D or POPFLIP_DATA=D, where D holds mnist/")
        return 0
    for name in ("epochs", "samples"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise ConfigError(f"--{name}: {getattr(options, name)} is less than 1")
    data = prepare(preset="mnist", data_dir=options.data_dir)
    if options.samples is not None:
        x, y = data.x_train[: options.samples], data.y_train[: options.samples]
        data = replace(data, x_train=x, y_train=y, config=replace(data.config, batch=min(data.config.batch, len(y))))
    for text in report(data, Budget(options.epochs or data.config.epochs, options.seconds)):
        print(text, flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PopflipError as error:
        sys.exit(f"software: {error}")
