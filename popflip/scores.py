"""How well each class is predicted: recall, balanced accuracy, and the confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES = 256  # classes up to which there is a confusion matrix


@dataclass(frozen=True)
class Scores:
    """Counts of predictions, by class: ``samples``, ``correct`` and ``predicted``, [classes] each.

    ``confusion`` [class, predicted class] : counts of samples; None with more than :data:`MOST_CLASSES` classes.
    """

    samples: NDArray[np.int64]
    correct: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confusion: NDArray[np.int64] | None

    @property
    def recall(self) -> list[float | None]:
        """Share of each class's samples that are predicted right, 0 … 1; None for a class without samples."""
        pairs = zip(self.correct.tolist(), self.samples.tolist(), strict=True)
        return [correct / samples if samples else None for correct, samples in pairs]

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have samples: 1 / classes for a network that always says the same."""
        found = [share for share in self.recall if share is not None]
        return sum(found) / len(found)

    @property
    def never_predicted(self) -> list[int]:
        """Classes that have samples and are never predicted."""
        return np.flatnonzero((self.samples > 0) & (self.predicted == 0)).tolist()


def score(predictions: NDArray[np.integer], classes: NDArray[np.integer], count: int) -> Scores:
    """Scores of ``predictions`` [samples] for samples of ``classes`` [samples], both from 0 to ``count`` − 1."""
    confusion = None
    if count <= MOST_CLASSES:
        confusion = np.bincount(classes * count + predictions, minlength=count * count).reshape(count, count)
    return Scores(
        samples=np.bincount(classes, minlength=count),
        correct=np.bincount(classes[predictions == classes], minlength=count),
        predicted=np.bincount(predictions, minlength=count),
        confusion=confusion,
    )


def never_predicted(classes: list[int], shown: int = 5) -> str:
    """A line about classes that are never predicted, the first ``shown`` of them by number."""
    more = f" and {len(classes) - shown} more" if len(classes) > shown else ""
    return f"{'class' if len(classes) == 1 else 'classes'} {', '.join(map(str, classes[:shown]))}{more}"
