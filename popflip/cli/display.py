"""Progress of a run: a bar on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from popflip.training import StepResult

PLAIN_LINES = 10  # of a whole run, when there is no terminal


class Progress:
    """Shows steps as they end, with accuracy, errors and flips, of a run from ``batch`` number ``first`` to ``last``.

    ``unit`` is what a batch is called; a step has at most ``samples`` samples.
    """

    def __init__(self, first: int, last: int, samples: int, unit: str = "batch"):
        self._first, self._last, self._samples, self._unit = first, last, samples, unit
        self._due = first + 1  # batch at whose end the next plain line is printed
        self._bar = _bar(first, last, unit) if sys.stdout.isatty() else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, result: StepResult) -> None:
        """Show a step that has just ended."""
        flips = " + ".join(map(str, result.flips))
        text = f"accuracy {result.accuracy:6.1%}  errors {result.errors:{len(str(self._samples))}}  flips {flips}"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=result.batch, text=text)
        elif self._is_worth_a_line(result.batch):
            print(f"{self._unit} {result.batch} of {self._last}: {text}", flush=True)

    def _is_worth_a_line(self, batch: int) -> bool:
        """The first step, the last, and some in between."""
        if batch < self._due and batch != self._last:
            return False
        part = max(1, (self._last - self._first) // PLAIN_LINES)
        self._due = self._first + ((batch - self._first) // part + 1) * part
        return True


def _bar(first: int, last: int, unit: str):
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn(unit), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn()
    )
    bar.add_task(unit, total=last, completed=first, text="")
    return bar
