"""Plant faults in the hardware and the golden model, and find out whether the tests see them: ``make mutate``.

Each mutant is one fault in a copy of the tree. The tests that look at its module run until one fails. A mutant that
none of them sees survives: either a test is missing, or no test could see it. The latter are listed in
``equivalent.toml``, each with the reason, and are left out. An entry of that list that fits no fault of the present
sources is an error.

The same seed gives the same mutants of the same sources. Every test that catches a mutant also runs on the sources as
they are, where it must pass.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from covering import CoveringTests
from mutations import Mutation, mutations, named, sample
from tree import Run, Tree

ROOT = Path(__file__).parents[2]
SOURCES = ("golden", "hw")
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
RESULTS = ROOT / "build" / "mutants" / "results.jsonl"
COUNT = 72


class Stale(Exception):
    """Entries of the list of equivalent mutants fit no mutation of the sources."""


@dataclass(frozen=True)
class Result:
    """What became of a mutant: ``verdict`` and ``by`` as in :class:`tree.Run`, ``seconds`` of wall time."""

    path: str
    line: int
    text: str
    code: str
    verdict: str
    by: str
    seconds: float

    @property
    def row(self) -> str:
        """A row of the table."""
        caught = {
            "passed": "SURVIVED",
            "import": "(cannot be imported)",
            "control": f"FAILS WITHOUT A FAULT, TOO: {self.by}",
        }.get(self.verdict, self.by)
        return f"{self.path}:{self.line}  {self.text}\n    {caught}  [{self.seconds:.0f} s]"


def candidates(root: Path) -> dict[str, list[Mutation]]:
    """All mutations of the sources below ``root``, by file."""
    paths = [path for folder in SOURCES for path in sorted((root / folder).rglob("*.py"))]
    names = [path.relative_to(root).as_posix() for path in paths]
    found = {name: mutations(name, path.read_bytes()) for name, path in zip(names, paths, strict=True)}
    return {name: some for name, some in found.items() if some}


def without_equivalent(
    found: dict[str, list[Mutation]], entries: Iterable[dict[str, Any]]
) -> dict[str, list[Mutation]]:
    """``found`` without the mutations that ``entries`` list by path, code and text. Raises :class:`Stale`."""
    left = dict(found)
    stale = []
    for entry in entries:
        same = named(entry, found.get(entry["path"], []))
        if not same or not entry["reason"].strip():
            stale.append(f"{entry['path']}: {entry['code']}: {entry['text']}")
        left[entry["path"]] = [m for m in left.get(entry["path"], []) if m not in same]
    if stale:
        raise Stale("fit no fault of the sources, or lack a reason; mend the list:\n" + "\n".join(stale))
    return left


def equivalent() -> list[dict[str, Any]]:
    """Entries of ``equivalent.toml``."""
    return tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("mutant", [])


class Session:
    """Copies of the tree for ``jobs`` mutants at a time, and the results ``done`` before."""

    def __init__(self, folder: Path, jobs: int, done: dict[tuple[str, ...], Result]):
        self._done = done
        self._tests = CoveringTests(ROOT)
        self._trees = [Tree(ROOT, folder / str(job)) for job in range(jobs)]
        self._free: SimpleQueue[Tree] = SimpleQueue()
        for tree in self._trees:
            self._free.put(tree)
        self._passes: dict[str, bool] = {}  # whether a test passes without a fault

    def result(self, mutation: Mutation) -> Result:
        """What becomes of ``mutation``."""
        known = self._done.get((mutation.path, mutation.code, mutation.text))
        if known:
            return known
        tree, start = self._free.get(), time.monotonic()
        try:
            run = self._run(tree, mutation)
            seconds = time.monotonic() - start
            valid = run.verdict != "failed" or "::" not in run.by or self._passes_without(tree, run.by)
        finally:
            self._free.put(tree)
        verdict = run.verdict if valid else "control"
        return Result(mutation.path, mutation.line, mutation.text, mutation.code, verdict, run.by, round(seconds, 1))

    def _run(self, tree: Tree, mutation: Mutation) -> Run:
        nearest, *others = self._tests.of(mutation.path)
        run = tree.run([nearest], mutation)  # alone, since most mutants need no other file to be read
        return tree.run(others, mutation) if run.verdict == "passed" else run

    def _passes_without(self, tree: Tree, test: str) -> bool:
        """Whether ``test`` passes on the sources as they are: one that does not has caught nothing."""
        if test not in self._passes:
            self._passes[test] = tree.run([test]).verdict == "passed"
        return self._passes[test]

    def stop(self) -> None:
        """End what runs."""
        for tree in self._trees:
            tree.stop()


def run_all(chosen: Iterator[Mutation], count: int, jobs: int, done: dict[tuple[str, ...], Result]) -> Iterator[Result]:
    """Results of mutants out of ``chosen`` until ``count`` of them could be imported. ``done`` has known results."""
    with tempfile.TemporaryDirectory(prefix="popflip-mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        session = Session(Path(folder), jobs, done)
        try:
            while count > 0 and (some := list(islice(chosen, min(jobs, count)))):
                for result in pool.map(session.result, some):
                    count -= result.verdict != "import"
                    yield result
        finally:
            session.stop()


def known_results(path: Path) -> dict[tuple[str, ...], Result]:
    """Mutants that an earlier run caught."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    results = [Result(**json.loads(line)) for line in lines]
    return {(r.path, r.code, r.text): r for r in results if r.verdict not in ("passed", "control")}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=COUNT, help=f"mutants that can be imported (default {COUNT})")
    parser.add_argument("--seed", type=int, default=1, help="chooses the mutants (default 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants tested at once (default: cores)")
    parser.add_argument("--only", default="", help="of the same mutants, only those in files whose path begins so")
    parser.add_argument("--list", action="store_true", help="print the mutants and test none")
    parser.add_argument(
        "--equivalent", action="store_true", help="test the mutants of equivalent.toml: all must survive"
    )
    parser.add_argument("--resume", action="store_true", help=f"keep what an earlier run caught ({RESULTS.name})")
    return parser.parse_args()


def choose(arguments: argparse.Namespace) -> Iterator[Mutation]:
    """The mutants in the order in which they are tested."""
    found = candidates(ROOT)
    left = without_equivalent(found, equivalent())
    if arguments.equivalent:
        left = {name: [m for m in some if m not in left[name]] for name, some in found.items()}
    return (mutation for mutation in sample(left, arguments.seed) if mutation.path.startswith(arguments.only))


def main() -> int:
    arguments = options()
    try:
        chosen = choose(arguments)
    except Stale as stale:
        print(f"{EQUIVALENT.name}: {stale}", file=sys.stderr)
        return 1
    if arguments.list:
        for mutation in islice(chosen, arguments.count):
            print(f"{mutation.path}:{mutation.line}  {mutation.text}")
        return 0
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    done = known_results(RESULTS) if arguments.resume else {}
    results = []
    with RESULTS.open("a" if arguments.resume else "w", encoding="utf-8") as log:
        for result in run_all(chosen, arguments.count, arguments.jobs, done):
            results.append(result)
            print(result.row, flush=True)
            print(json.dumps(asdict(result), ensure_ascii=False), file=log, flush=True)
    return summary(results, arguments.equivalent)


def summary(results: list[Result], expect_survivors: bool) -> int:
    """Print the totals. Exit code 0 if every mutant was caught, or, of equivalent ones, if none was."""
    counts = {verdict: sum(r.verdict == verdict for r in results) for verdict in ("failed", "time", "passed", "import")}
    wrong = sum(r.verdict == "control" for r in results)
    caught, tested = counts["failed"] + counts["time"], counts["failed"] + counts["time"] + counts["passed"]
    print(
        f"\n{tested} mutants, {caught} caught ({counts['time']} by the time limit), {counts['passed']} survived; "
        f"{counts['import']} more cannot be imported; {wrong} by tests that fail without a fault, too"
    )
    return int(wrong > 0 or (caught if expect_survivors else counts["passed"]) > 0)


if __name__ == "__main__":
    sys.exit(main())
