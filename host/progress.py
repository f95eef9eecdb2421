"""Progress of a run: a bar on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from .run import BatchResult

PLAIN_LINES = 10  # of a whole run, when there is no terminal


class Progress:
    """Shows batch ``first`` … ``last`` as they end, with accuracy, errors and flips."""

    def __init__(self, first: int, last: int, batch: int):
        self._first, self._last, self._samples = first, last, batch
        self._bar = _bar(first, last) if sys.stdout.isatty() else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, result: BatchResult) -> None:
        """Show a batch that has just ended."""
        flips = " + ".join(map(str, result.flips))
        text = f"accuracy {result.accuracy:6.1%}  errors {result.errors:{len(str(self._samples))}}  flips {flips}"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=result.batch, text=text)
        elif self._is_worth_a_line(result.batch):
            print(f"batch {result.batch} of {self._last}: {text}", flush=True)

    def _is_worth_a_line(self, batch: int) -> bool:
        """The first batch, the last, and some in between."""
        step = max(1, (self._last - self._first) // PLAIN_LINES)
        return batch in (self._first + 1, self._last) or (batch - self._first) % step == 0


def _bar(first: int, last: int):
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("batch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn()
    )
    bar.add_task("batch", total=last, completed=first, text="")
    return bar
