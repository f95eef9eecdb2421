"""Reads the C++ of a design: the statements of ``p_top::eval`` and the names that each reads and assigns.

A statement assigns either signals, which have their value at once, or a register or a memory, at the clock edge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LEVELS = 3  # of the module hierarchy that tell modules apart

EVALUATION = "bool p_top::eval(performer *performer) {"
CONVERGED = ("\tbool converged = true;", "\treturn converged;")
CLOCK = "p_clk"
EDGE = "\tif (posedge_p_clk) {"
NAME = re.compile(r"\b(?:memory_)?[pi]_\w+")
UPDATE = re.compile(r"(\t+)(memory_\w+)\.update\((.*)\);")
ASSIGNMENT = re.compile(r"\t+((?:[pi]_\w+|\.next|\.slice<[\d,]+>\(\)|\.concat\(|\))+) = ")  # its left-hand side
_TEMPORARY = re.compile(r"\tvalue<(\d+)> ([pi]_\w+);")
_INPUT = re.compile(r"\t/\*input\*/ value<(\d+)> (p_\w+);")
_TARGET = re.compile(r"([pi]_\w+)(\.next)?")


@dataclass
class Statement:
    """A top-level statement.

    Fields
    ------
    ``lines`` : its text
    ``reads`` : names on the right-hand side
    ``defines`` : signals it assigns at once
    ``sets`` : registers and memories it assigns at the clock edge
    ``module`` : path of the module it comes from, cut to :data:`LEVELS`
    """

    lines: list[str]
    reads: set[str] = field(default_factory=set)
    defines: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)
    module: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of characters."""
        return sum(map(len, self.lines))


@dataclass(frozen=True)
class Design:
    """The C++ of a design, taken apart.

    Fields
    ------
    ``before``, ``after`` : lines ahead of the body of ``p_top::eval``, its head left out, and from its closing brace on
    ``prologue`` : first lines of the body, which detect the clock edge
    ``statements`` : the rest of the body; a signal is defined by one statement, and every signal is read
    ``temporaries`` : widths of the local variables of the body, by name
    ``inputs`` : widths of the inputs, by name; the clock is left out
    """

    before: list[str]
    after: list[str]
    prologue: list[str]
    statements: list[Statement]
    temporaries: dict[str, int]
    inputs: dict[str, str]


def parse(text: str) -> Design:
    """Take CXXRTL's C++ apart. Raises AssertionError if the design has combinational feedback."""
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("//")]
    before, body, after = split(lines, EVALUATION)
    first, edge, *body, last = body
    assert (first, last) == CONVERGED, "the design has feedback"
    variables = temporaries(body)
    return Design(
        before,
        after,
        [first, edge],
        _live(_merged(statements(body)), variables),
        variables,
        {match[2]: match[1] for line in lines if (match := _INPUT.fullmatch(line)) and match[2] != CLOCK},
    )


def split(lines: list[str], head: str) -> tuple[list[str], list[str], list[str]]:
    """Lines ahead of the function that begins with ``head``, its body, and the lines from its closing brace on."""
    first = lines.index(head)
    last = lines.index("}", first)
    return lines[:first], lines[first + 1 : last], lines[last:]


def temporaries(body: Iterable[str]) -> dict[str, int]:
    """Widths of the local variables of a function, by name."""
    return {match[2]: int(match[1]) for line in body if (match := _TEMPORARY.fullmatch(line))}


def statements(body: Iterable[str]) -> Iterator[Statement]:
    """Top-level statements of a function, declarations left out. The lines of one memory port are one statement."""
    lines: list[str] = []
    depth = 0
    for line in body:
        if _TEMPORARY.fullmatch(line):
            continue
        lines.append(line)
        depth += line.count("{") - line.count("}")
        if depth == 0 and line.endswith((";", "}")) and not line.startswith(("\tauto ", "\tCXXRTL_ASSERT(")):
            yield _statement(lines)
            lines = []
    assert not lines


def _statement(lines: list[str]) -> Statement:
    statement = Statement(lines)
    for line in lines:
        assignment, update = ASSIGNMENT.match(line), UPDATE.fullmatch(line)
        if assignment:
            for name, register in _TARGET.findall(assignment[1]):
                (statement.sets if register else statement.defines).add(name)
            line = line[assignment.end() :]
        elif update:
            statement.sets.add(update[2])
            line = update[3]
        statement.reads |= set(NAME.findall(line))
    (target,) = statement.sets | statement.defines
    path = re.sub(r"^(memory_)?[pi]_(flatten_5c_)?", "", target).replace("_5c_", "").split("_2e_")
    statement.module = tuple(path[:-1][:LEVELS])
    return statement


def _merged(found: Iterable[Statement]) -> list[Statement]:
    """Statements that define pieces of the same signal become one."""
    merged: list[Statement] = []
    definitions: dict[str, Statement] = {}
    for statement in found:
        name = next(iter(statement.defines), None)
        if name in definitions:
            definitions[name].lines += statement.lines
            definitions[name].reads |= statement.reads
        else:
            merged.append(statement)
            if name:
                definitions[name] = statement
    return merged


def _live(found: list[Statement], variables: dict[str, int]) -> list[Statement]:
    """Drop statements that define only variables that nothing reads, such as copies of the clock."""
    while True:
        unread = set(variables).difference(*(statement.reads for statement in found))
        kept = [statement for statement in found if not statement.defines or not statement.defines <= unread]
        if len(kept) == len(found):
            return kept
        found = kept
