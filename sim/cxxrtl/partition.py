"""Rewrites CXXRTL's C++ so that it compiles in seconds, and so that parts of the chip that rest cost no time.

CXXRTL puts a whole design into one function that is run every cycle, too long for a compiler to optimise in reasonable
time and for the instruction cache to hold. Here its statements are put into functions of about a module each. What a
part computes depends on the registers, memories and signals it reads only, so it runs only after one of them changed:

    part reads …  ──changed──▶  part is stale  ──run──▶  its results  ──changed──▶  parts that read them are stale

The text is CXXRTL's of a pinned version, and nothing else is expected: what is not understood raises AssertionError.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

# Characters of a part: small ones cost calls, large ones run when little of what they read has changed.
SMALLEST, LARGEST = 1_500, 20_000
BITS = 64  # of a word of flags, one a part
FEW = 4  # pieces of a value that CXXRTL may put together one by one
LEVELS = 3  # of the hierarchy that a part does not mix

EVALUATION = "bool p_top::eval(performer *performer) {"
DEBUG = "void p_top::debug_eval() {"
CONSTRUCTOR = "\t\treset();"
CONCAT = ".concat("
EDGE = "\tif (posedge_p_clk) {"
CLOCK = "p_clk"
NAME = re.compile(r"\b(?:memory_)?[pi]_\w+")
TEMPORARY = re.compile(r"\t(value<\d+>) ([pi]_\w+);")
INPUT = re.compile(r"\t/\*input\*/ value<(\d+)> (p_\w+);")
ASSIGNMENT = re.compile(r"\t+((?:[pi]_\w+|\.next|\.slice<[\d,]+>\(\)|\.concat\(|\))+) = ")
TARGET = re.compile(r"([pi]_\w+)(\.next)?")
UPDATE = re.compile(r"(\t+)(memory_\w+)\.update\((.*)\);")
COMMIT = re.compile(r"\t\tif \((\w+)\.commit\(observer\)\) changed = true;")
STRIDED = re.compile(r"([pi]_\w+(?:\.curr)?)\.slice<(\d+)>\(\)((?:\.concat\(\1\.slice<\d+>\(\)\))+)")


@dataclass
class Statement:
    """A statement: its lines, the names it reads, the signals it ``defines`` at once, the registers and memories it
    ``sets`` at the clock edge, and the module it is from.
    """

    lines: list[str]
    reads: set[str] = field(default_factory=set)
    defines: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)
    module: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Characters."""
        return sum(map(len, self.lines))


def partition(text: str) -> str:
    """The design in ``text``, C++ of CXXRTL, evaluated in parts."""
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("//")]
    before, body, after = _cut(lines, EVALUATION)
    *body, epilogue = map(_cheaper, body)
    prologue, body = body[:2], body[2:]
    assert (prologue[0], epilogue) == ("\tbool converged = true;", "\treturn converged;"), "the design has feedback"
    temporaries = _temporaries(body)
    parts = _parts(_scheduled(_alive(_whole(_statements(body)), temporaries)))
    readers = _readers(parts)
    inputs = [match.groups() for line in lines if (match := INPUT.fullmatch(line)) and match[2] != CLOCK]
    shared = {
        name for index, part in enumerate(parts) for one in part for name in one.defines if readers[name] - {index}
    }
    functions = [
        line for index, part in enumerate(parts) for line in _function(index, part, temporaries, shared, readers)
    ]
    evaluation = [
        EVALUATION,
        *prologue,
        *("\t" + _move(name, f"old_{name}", readers[name]) for _, name in inputs),
        "\tif (!posedge_p_clk) for (uint64_t &word : stale) word = ~0ull;",
        *(
            f"\tif ({_bit('stale', i)}) {{ {_clear('stale', i)} {_set('ran', [i])} part{i}(posedge_p_clk); }}"
            for i in range(len(parts))
        ),
        "\t// Registers and memory ports wait for a clock edge, so a run without one leaves everything to be done.",
        "\tif (!posedge_p_clk) for (uint64_t &word : stale) word = ~0ull;",
        epilogue,
    ]
    words = len(parts) // BITS + 1
    members = [
        f"\tuint64_t stale[{words}], ran[{words}] = {{}}; // a bit a part",
        *(f"\tvalue<{bits}> old_{name};" for bits, name in inputs),
        *(f"\t{temporaries[name]} shared_{name};" for name in sorted(shared & set(temporaries))),
        *(f"\tvoid part{index}(bool posedge_p_clk);" for index in range(len(parts))),
    ]
    before = _commits(before, parts, readers)
    before[before.index(CONSTRUCTOR)] += " for (uint64_t &word : stale) word = ~0ull;"
    return "\n".join(_debug_in_pieces(_with_members(members, [*before, *functions, *evaluation, *after])))


# Reading the text ---------------------------------------------------------------------------------------------------


def _cut(lines: list[str], head: str) -> tuple[list[str], list[str], list[str]]:
    """What comes before the function that begins with ``head``, its body, and what follows, its closing brace first."""
    first = lines.index(head)
    last = lines.index("}", first)
    return lines[:first], lines[first + 1 : last], lines[last:]


def _temporaries(body: Iterable[str]) -> dict[str, str]:
    """Names and types of the variables of a function."""
    return {match[2]: match[1] for line in body if (match := TEMPORARY.fullmatch(line))}


def _statements(body: Iterable[str]) -> Iterator[Statement]:
    """Statements at the top level of a function; those of one memory port are one."""
    lines: list[str] = []
    depth = 0
    for line in body:
        if TEMPORARY.fullmatch(line):
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
            for name, register in TARGET.findall(assignment[1]):
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


def _whole(statements: Iterable[Statement]) -> list[Statement]:
    """One statement for all that define pieces of the same signal."""
    whole: list[Statement] = []
    definitions: dict[str, Statement] = {}
    for statement in statements:
        name = next(iter(statement.defines), None)
        if name in definitions:
            definitions[name].lines += statement.lines
            definitions[name].reads |= statement.reads
        else:
            whole.append(statement)
            if name:
                definitions[name] = statement
    return whole


def _alive(statements: list[Statement], temporaries: dict[str, str]) -> list[Statement]:
    """Without those that only define what nobody reads, copies of the clock among them."""
    while True:
        unread = set(temporaries).difference(*(statement.reads for statement in statements))
        kept = [statement for statement in statements if not statement.defines or not statement.defines <= unread]
        if len(kept) == len(statements):
            return kept
        statements = kept


# Order and parts ----------------------------------------------------------------------------------------------------


def _scheduled(statements: list[Statement]) -> list[Statement]:
    """Definitions before what reads them, and one module after another as far as that allows."""
    definitions = {name: index for index, statement in enumerate(statements) for name in statement.defines}
    after: dict[int, set[int]] = defaultdict(set)
    missing = [0] * len(statements)
    for index, statement in enumerate(statements):
        for name in statement.reads & set(definitions):
            after[definitions[name]].add(index)
    for successors in after.values():
        for index in successors:
            missing[index] += 1
    for index in reversed(range(len(statements))):  # what has no module of its own goes with its first reader
        if not statements[index].module and after[index]:
            statements[index].module = statements[min(after[index])].module

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
        for successor in sorted(after[index]):
            missing[successor] -= 1
            if not missing[successor]:
                ready[statements[successor].module].append(successor)
    assert len(order) == len(statements), "the design has feedback"
    return order


def _parts(order: list[Statement]) -> list[list[Statement]]:
    """Statements in order, cut where the module changes, and within it where a part gets too large."""
    parts: list[list[Statement]] = [[]]
    size = 0
    for statement in order:
        other = parts[-1] and parts[-1][-1].module != statement.module
        if size > LARGEST or (other and size > SMALLEST):
            parts.append([])
            size = 0
        parts[-1].append(statement)
        size += statement.size
    return parts


def _readers(parts: list[list[Statement]]) -> dict[str, set[int]]:
    """Parts that read each name."""
    readers: dict[str, set[int]] = defaultdict(set)
    for index, part in enumerate(parts):
        for statement in part:
            for name in statement.reads:
                readers[name].add(index)
    return readers


# Writing the text ---------------------------------------------------------------------------------------------------


def _function(
    index: int, part: list[Statement], temporaries: dict[str, str], shared: set[str], readers: dict[str, set[int]]
) -> list[str]:
    """A part: what it defines for others is compared with what it was, so that they run only if it changed."""
    defined = {name for statement in part for name in statement.defines}
    incoming = {name for statement in part for name in statement.reads & set(temporaries)} - defined

    def renamed(line: str) -> str:
        return NAME.sub(lambda match: f"shared_{match[0]}" if match[0] in incoming else match[0], line)

    lines = [f"void p_top::part{index}(bool posedge_p_clk) {{"]
    lines += [f"\t{temporaries[name]} {name};" for name in sorted(defined & set(temporaries))]
    lines += [renamed(line) for statement in part if not statement.sets for line in statement.lines]
    for name in sorted(defined & shared):
        others = readers[name] - {index}
        lines.append("\t" + (_move(name, f"shared_{name}", others) if name in temporaries else _set("stale", others)))
    lines.append(EDGE)
    for statement in part:
        if statement.sets:
            assert statement.lines[0] == EDGE
            lines += ["\t{", *(_guarded(renamed(line), index) for line in statement.lines[1:])]
    return [*lines, "\t}", "}", ""]


def _guarded(line: str, index: int) -> str:
    """A write to memory does nothing unless it writes; one that does is repeated in the next cycle, changed or not."""
    update = UPDATE.fullmatch(line)
    if not update:
        return line
    indent, memory, arguments = update.groups()
    address, value, mask, priority = _arguments(arguments)
    write = f"{memory}.update({address}, {value}, mask, {priority});"
    return f"{indent}auto mask = {mask};\n{indent}if (!mask.is_zero()) {{ {_set('stale', [index])} {write} }}"


def _arguments(text: str) -> list[str]:
    """Arguments of a call, apart."""
    depth, found = 0, [""]
    for character in text:
        depth += (character in "(<{") - (character in ")>}")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [each.strip() for each in found]


def _commits(lines: list[str], parts: list[list[Statement]], readers: dict[str, set[int]]) -> list[str]:
    """Registers and memories take their new values where a part has run; what reads those that changed is stale."""
    commits = {match[1] for line in lines if (match := COMMIT.fullmatch(line))}
    first = next(index for index, line in enumerate(lines) if COMMIT.fullmatch(line))
    grouped: list[str] = []
    for index, part in enumerate(parts):
        grouped += [f"\t\tif ({_bit('ran', index)}) {{", f"\t\t\t{_clear('ran', index)}"]
        for name in sorted({name for statement in part for name in statement.sets}):
            commits.discard(name)
            if name.startswith("memory_"):
                mark = _set("stale", readers[name], "moved")
                grouped.append(f"\t\t\t{{ bool moved = {name}.commit(observer); {mark} }}")
            else:
                grouped.append("\t\t\t" + _move(f"{name}.next", f"{name}.curr", readers[name]))
        grouped.append("\t\t}")
    assert not commits, commits
    return [*lines[:first], *grouped, *(line for line in lines[first:] if not COMMIT.fullmatch(line))]


def _move(source: str, target: str, readers: Iterable[int]) -> str:
    """Assign, and leave ``readers`` stale if that made a difference: without a branch, as it often does."""
    mark = _set("stale", readers, "moved")
    return f"{{ bool moved = {target} != {source}; {target} = {source}; {mark} }}"


def _set(bits: str, parts: Iterable[int], condition: str = "") -> str:
    """Set the bits of ``parts``, if ``condition``."""
    masks: dict[int, int] = defaultdict(int)
    for index in parts:
        masks[index // BITS] |= 1 << index % BITS
    only = f"-uint64_t({condition}) & " if condition else ""
    return " ".join(f"{bits}[{word}] |= {only}{mask:#x}ull;" for word, mask in sorted(masks.items())) or ";"


def _bit(bits: str, index: int) -> str:
    return f"{bits}[{index // BITS}] & {1 << index % BITS:#x}ull"


def _clear(bits: str, index: int) -> str:
    return f"{bits}[{index // BITS}] &= ~{1 << index % BITS:#x}ull;"


def _with_members(members: list[str], lines: list[str]) -> list[str]:
    end = lines.index("}; // struct p_top")
    return [*lines[:end], *members, *lines[end:]]


def _debug_in_pieces(lines: list[str]) -> list[str]:
    """The function that computes inner signals for waves, if there is one, in pieces a compiler can cope with."""
    if DEBUG not in lines:
        return lines
    before, body, after = _cut(lines, DEBUG)
    temporaries = _temporaries(body)

    def renamed(line: str) -> str:
        return NAME.sub(lambda match: f"debug_{match[0]}" if match[0] in temporaries else match[0], line)

    functions: list[str] = []
    calls: list[str] = []
    piece: list[str] = []
    statements = [statement.lines for statement in _statements(body)]
    for statement in [*statements, None]:
        if statement is None or sum(map(len, piece)) > LARGEST:
            functions += [f"void p_top::debug{len(calls)}() {{", *piece, "}", ""]
            calls.append(f"\tdebug{len(calls)}();")
            piece = []
        piece += [_cheaper(renamed(line)) for line in statement or ()]
    members = [f"\t{kind} debug_{name};" for name, kind in temporaries.items()]
    members += [f"\tvoid {call.strip()}" for call in calls]
    return _with_members(members, [*before, *functions, DEBUG, *calls, *after])


# Cheaper expressions --------------------------------------------------------------------------------------------------


def _cheaper(line: str) -> str:
    """The line, with many pieces of a value put together by functions of the shim at once, not one behind the other."""
    assignment = ASSIGNMENT.match(line)
    start = assignment.end() if assignment else 0
    return line[:start] + _joined(_strided(line[start:]))


def _strided(text: str) -> str:
    """Bits at equal distances, as of one plane of an array of two-bit numbers."""

    def at_once(match: re.Match) -> str:
        name, first, rest = match.groups()
        bits = [int(first), *map(int, re.findall(r"slice<(\d+)>", rest))]
        distances = {above - below for above, below in pairwise(bits)}
        if len(bits) < FEW or len(distances) > 1 or min(distances) < 2:
            return match[0]
        return f"strided<{len(bits)}, {bits[-1]}, {min(distances)}>({name})"

    return STRIDED.sub(at_once, text)


def _joined(text: str) -> str:
    """Chains of ``concat``, each of which copies all that comes before it."""
    position = 0
    while (end := text.find(CONCAT, position)) >= 0:
        start = _start(text, end)
        pieces = [text[start:end]]
        while text.startswith(CONCAT, end):
            close = _close(text, end + len(CONCAT))
            pieces.append(_joined(text[end + len(CONCAT) : close]))
            end = close + 1
        first, *others = pieces
        chain = first + "".join(f"{CONCAT}{piece})" for piece in others)
        whole = chain if len(pieces) < FEW else f"joined({', '.join(pieces)})"
        text = text[:start] + whole + text[end:]
        position = start + len(whole)
    return text


def _start(text: str, end: int) -> int:
    """Where the expression that ends before ``end`` starts: names, calls and members have no spaces but in brackets."""
    depth = 0
    for position in reversed(range(end)):
        character = text[position]
        if character in ")>}":
            depth += 1
        elif character in "(<{" and depth:
            depth -= 1
        elif not depth and not (character.isalnum() or character in "_."):
            return position + 1
    return 0


def _close(text: str, start: int) -> int:
    """Where the bracket closes that opens before ``start``."""
    depth = 1
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if not depth:
            return position
    raise AssertionError(text)
