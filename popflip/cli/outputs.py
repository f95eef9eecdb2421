"""Results of a command: written one after the other, so that one that fails costs none of the others."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from popflip.cli.options import EXPERIMENT, RUN, SETTINGS, Settings, flag, with_flag
from popflip.cli.screen import complain
from popflip.cli.signals import held
from popflip.errors import ConfigError, DeviceError, Difference, Interrupted, PopflipError

if TYPE_CHECKING:
    from popflip.checkpoint import Checkpoint
    from popflip.experiment import Experiment
    from popflip.repair import Snapshot

FAILED = 2
"""Exit code of a command that could not write one of its results."""
SAME = (
    *(name for name in RUN if name not in (*EXPERIMENT, "waves")),
    *("data_dir", "save_every", "allow_other_data", "verify", "report", "plot"),
)
"""Settings of a run that a command which resumes it repeats; the saved network has the others."""


class Outputs:
    """Writes results, each with :meth:`attempt`. A failure is one line; the command then ends with exit code 2.

    As a context manager, it holds back Ctrl-C until all are written; the message names those that are.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._written: list[Path] = []
        self._stack = ExitStack()

    def attempt(self, work: Callable[..., object], *arguments: object, path: Path | None = None) -> None:
        """Call ``work``, which writes ``path``, or nothing if that is None and something else was said."""
        try:
            work(*arguments)
        except PopflipError as error:
            self.fail(error)
        else:
            if path is not None:
                self._written.append(path)

    def fail(self, error: PopflipError) -> None:
        """Report a result that could not be written."""
        self.failures += 1
        complain(with_flag(str(error)))

    def __enter__(self) -> Self:
        self._stack.enter_context(held())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.__exit__(kind, error, trace)
        except KeyboardInterrupt as interrupt:
            error = interrupt
        if isinstance(error, KeyboardInterrupt):
            names = " and ".join(map(str, self._written))
            raise Interrupted(
                f"interrupted; {names or 'nothing'} {'were' if ' and ' in names else 'was'} written"
            ) from None
        if error is None and self.failures:
            raise typer.Exit(FAILED)


class Saver:
    """Saves the network of a run in the file of ``--save``, and says what is in it.

    An instance is the ``save`` of :func:`popflip.training.run`. A failure is one line and does not end the run. A pipe
    or a device receives the network once, from :meth:`finish`.
    """

    def __init__(self, settings: Settings, experiment: Experiment, start: Checkpoint | None, unit: str):
        from popflip.checkpoint import check_data
        from popflip.devices.base import Status
        from popflip.golden.memory.weights import State

        self.path = settings.save
        self.failure: PopflipError | None = None
        self._settings, self._experiment, self._unit = settings, experiment, unit
        self._once = self.path is not None and self.path.exists() and not self.path.is_file()
        self._waiting: Snapshot | None = None
        if self.path is not None:  # a network that could not be saved is refused before it is trained
            check_data(experiment.checkpoint(State([], [], 1), Status()))
        in_place = start is not None and self.path is not None and _is_file(self.path, settings.resume)
        self._batches = start.status.batches if start is not None and in_place else None

    def __call__(self, snapshot: Snapshot) -> None:
        """Save ``snapshot``."""
        if self._once:
            self._waiting = snapshot
        else:
            self._save(snapshot)

    def finish(self) -> None:
        """Save what still waits for the end."""
        if self._waiting is not None:
            self._save(self._waiting)
            self._waiting = None

    def _save(self, snapshot: Snapshot) -> None:
        from popflip.checkpoint import save

        assert self.path is not None
        try:
            save(self.path, self._experiment.checkpoint(snapshot.state, snapshot.status))
        except PopflipError as error:
            if self.failure is None:
                complain(f"{with_flag(str(error))}; the run goes on")
            self.failure = error
        else:
            self.failure, self._batches = None, snapshot.status.batches

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add to an error within the block what the file holds, and how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            self.finish()
            raise Interrupted(f"interrupted; {self.outcome()}") from None
        except PopflipError as error:
            self.finish()
            saved = self._batches is not None and not isinstance(error, ConfigError)
            lost = self.path is not None and isinstance(error, Difference | DeviceError)
            if saved or lost or isinstance(error, Interrupted):
                raise type(error)(f"{error}; {self.outcome(isinstance(error, Difference))}") from None
            raise
        except Exception:
            self.finish()
            if self._batches is not None:
                complain(self.outcome())
            raise

    def outcome(self, differs: bool = False) -> str:
        """What the file holds, and the command that goes on from there. ``differs``: the device did from golden."""
        if self.path is None:
            waves = self._settings.waves
            return "nothing was saved (see --save)" if waves is None else f"only {waves} was written (see --save)"
        if self._batches is None:
            return f"{self.path} could not be written" if self.failure else f"{self.path} was not written"
        equal = ", which equals golden" if differs else ""
        cut = " (a later state could not be written)" if self.failure else ""
        held_state = f"{self.path} holds the state after {self._unit} {self._batches}{equal}{cut}"
        return f"{held_state}; go on with: {self.command()}"

    def command(self) -> str:
        """The command that resumes the run from the file with the settings of this one."""
        words = ["popflip", "train", "--resume", str(self.path), "--save", str(self.path)]
        for name, value in self._settings.values(SAME).items():
            if not SETTINGS[name].metadata["metavar"]:  # a switch
                words.append(flag(name) if value else flag("no_" + name))
            else:
                words += [flag(name), str(value)]
        return shlex.join(words)


def _is_file(path: Path, other: Path | None) -> bool:
    try:
        return other is not None and path.samefile(other)
    except OSError:
        return False
