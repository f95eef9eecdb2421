"""Output of the commands: progress of a run, tables, and titled lists. Plain lines if stdout is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from popflip.history import StepResult

PLAIN_LINES = 10  # progress lines of a whole run if stdout is not a terminal


def printable(text: str) -> str:
    """``text`` with everything that a terminal might act on, such as control characters, as escapes: ``\\x1b``."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def announce(line: str) -> None:
    """Print a line at once."""
    print(printable(line), flush=True)


def table(rows: Sequence[tuple[str, str]]) -> None:
    """Print pairs of a name and a value."""
    if not sys.stdout.isatty():
        print("\n".join(printable(f"{name}: {value}") for name, value in rows))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    shown = Table("", Column(overflow="fold"), box=box.SIMPLE, show_header=False)
    for row in rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(shown)


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells below their header: the first column to the left, all others to the right."""
    lines = [[printable(cell) for cell in cells] for cells in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        first, *others = (
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        print("  ".join((first, *others)).rstrip())


def sections(titles: dict[str, list[str]]) -> None:
    """Print each list of lines below its title."""
    for title, lines in titles.items():
        print(title, *(printable(f"  {line}") for line in lines), sep="\n")


class _OnTerminal:
    """A bar that ``make_bar`` makes, on the screen from entry to exit, if the output is a terminal; else None."""

    def __init__(self, make_bar: Callable[[], Any]):
        self._bar = make_bar() if sys.stdout.isatty() else None

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()


class Progress(_OnTerminal):
    """Shows accuracy, updates and flips of each step, from batch ``first`` to batch ``last``.

    ``samples`` is the number of samples in a step, ``unit`` the name of a batch (:func:`.training.batch_name`).
    """

    def __init__(self, first: int, last: int, samples: int, unit: str = "batch"):
        self._first, self._last, self._samples, self._unit = first, last, samples, unit
        self._due = first + 1  # batch at whose end the next plain line is printed
        super().__init__(lambda: _bar(first, last, unit))

    def update(self, result: StepResult) -> None:
        """Show a step that has just ended."""
        flips = " + ".join(map(str, result.flips))
        text = f"accuracy {result.accuracy:6.1%}  updates {result.errors:{len(str(self._samples))}}  flips {flips}"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=result.batch, text=text)
        elif self._is_worth_a_line(result.batch):
            announce(f"{self._unit} {result.batch} of {self._last}: {text}")

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


class Stages(_OnTerminal):
    """Shows what a tool does and how far it is: a bar on a terminal, else a line where a stage begins."""

    def __init__(self) -> None:
        super().__init__(_percent_bar)
        self._stage = ""

    def update(self, stage: str, share: float) -> None:
        """``stage`` has reached ``share`` of its work, 0 … 1."""
        begins = stage != self._stage
        self._stage = stage
        if self._bar is None:
            if begins:
                announce(f"{stage} …")
            return
        if begins:
            self._bar.add_task(printable(stage), total=1.0)
        self._bar.update(self._bar.task_ids[-1], completed=share)


def _percent_bar():
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    return Bar(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
