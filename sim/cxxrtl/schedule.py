"""Orders the statements of a design and cuts them into parts of about one module each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from popflip.sim.cxxrtl.parse import Statement

# Characters of a part. Small parts cost calls; a large part runs although little of what it reads has changed.
SMALLEST, LARGEST = 1_500, 20_000


@dataclass(frozen=True)
class Schedule:
    """The parts of a design, in the order in which they run.

    Fields
    ------
    ``parts`` : statements of each part
    ``readers`` : numbers of the parts that read a name
    ``shared`` : signals that a part defines and another one reads
    """

    parts: list[list[Statement]]
    readers: dict[str, set[int]]
    shared: set[str]

    @cached_property
    def defined(self) -> set[str]:
        """Signals that a statement defines."""
        return {name for part in self.parts for statement in part for name in statement.defines}


def schedule(statements: list[Statement]) -> Schedule:
    """Order ``statements`` and cut them. Raises AssertionError if the design has combinational feedback."""
    parts = _cut(_ordered(statements))
    readers: dict[str, set[int]] = defaultdict(set)
    for index, part in enumerate(parts):
        for statement in part:
            for name in statement.reads:
                readers[name].add(index)
    shared = {
        name
        for index, part in enumerate(parts)
        for statement in part
        for name in statement.defines
        if readers[name] - {index}
    }
    return Schedule(parts, readers, shared)


def _ordered(statements: list[Statement]) -> list[Statement]:
    """Definitions ahead of their readers; statements of one module together as far as that allows.

    The order stays in a module while one of its statements can go next, then moves to the module with the most text
    to place.
    """
    successors = _successors(statements)
    _adopt(statements, successors)
    missing = [0] * len(statements)
    for following in successors.values():
        for index in following:
            missing[index] += 1
    ready: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, count in enumerate(missing):
        if not count:
            ready[statements[index].module].append(index)
    order: list[Statement] = []
    module: tuple[str, ...] = ()
    while any(ready.values()):
        if not ready[module]:
            module = max(sorted(ready), key=lambda each: sum(statements[index].size for index in ready[each]))
        index = ready[module].pop(0)
        order.append(statements[index])
        for successor in sorted(successors[index]):
            missing[successor] -= 1
            if not missing[successor]:
                ready[statements[successor].module].append(successor)
    assert len(order) == len(statements), "the design has feedback"
    return order


def _successors(statements: list[Statement]) -> dict[int, set[int]]:
    """Numbers of the statements that read what a statement defines, by its number."""
    definitions = {name: index for index, statement in enumerate(statements) for name in statement.defines}
    successors: dict[int, set[int]] = defaultdict(set)
    for index, statement in enumerate(statements):
        for name in statement.reads & set(definitions):
            successors[definitions[name]].add(index)
    return successors


def _adopt(statements: list[Statement], successors: dict[int, set[int]]) -> None:
    """Give a statement without a module that of its first reader."""
    for index in reversed(range(len(statements))):
        if not statements[index].module and successors[index]:
            statements[index].module = statements[min(successors[index])].module


def _cut(order: list[Statement]) -> list[list[Statement]]:
    """Cut where the module changes, and inside a module where a part gets too large."""
    parts: list[list[Statement]] = [[]]
    size = 0
    for statement in order:
        other_module = parts[-1] and parts[-1][-1].module != statement.module
        if size > LARGEST or (other_module and size > SMALLEST):
            parts.append([])
            size = 0
        parts[-1].append(statement)
        size += statement.size
    return parts
