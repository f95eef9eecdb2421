"""Writes the C++ of a scheduled design: a function for each part, and an evaluation that runs the stale ones.

Two words of flags have one bit for each part. ``stale``: something that the part reads has changed. ``ran``: the part
ran in this evaluation, so the commit copies the registers and memories that it sets.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from popflip.sim.cxxrtl.expressions import simplify
from popflip.sim.cxxrtl.parse import (
    CONVERGED,
    EDGE,
    EVALUATION,
    NAME,
    UPDATE,
    Design,
    split,
    statements,
    temporaries,
)
from popflip.sim.cxxrtl.schedule import LARGEST, Schedule

BITS = 64  # flags of a word

_CONSTRUCTOR = "\t\treset();"
_DEBUG = "void p_top::debug_eval() {"
_COMMIT = re.compile(r"\t\tif \((\w+)\.commit\(observer\)\) changed = true;")
_ALL_STALE = "for (uint64_t &word : stale) word = ~0ull;"


def emit(design: Design, schedule: Schedule) -> str:
    """The C++ of ``design``, evaluated in the parts of ``schedule``."""
    before = _commits(design.before, schedule)
    before[before.index(_CONSTRUCTOR)] += f" {_ALL_STALE}"
    functions = [line for index in range(len(schedule.parts)) for line in _function(index, design, schedule)]
    lines = [*before, *functions, *_evaluation(design, schedule), *design.after]
    return "\n".join(_split_debug(_with_members(_members(design, schedule), lines)))


def _evaluation(design: Design, schedule: Schedule) -> list[str]:
    """``p_top::eval`` but for its closing brace."""
    everything = f"\tif (!posedge_p_clk) {_ALL_STALE}"
    return [
        EVALUATION,
        *design.prologue,
        *("\t" + _move(name, f"old_{name}", schedule.readers[name]) for name in design.inputs),
        everything,
        *(
            f"\tif ({_bit('stale', i)}) {{ {_clear('stale', i)} {_set('ran', [i])} part{i}(posedge_p_clk); }}"
            for i in range(len(schedule.parts))
        ),
        "\t// Registers and memory ports wait for a clock edge, so without one every part stays stale.",
        everything,
        CONVERGED[1],
    ]


def _members(design: Design, schedule: Schedule) -> list[str]:
    """Members that the parts add to ``p_top``."""
    words = len(schedule.parts) // BITS + 1
    shared = sorted(schedule.shared & set(design.temporaries))
    return [
        f"\tuint64_t stale[{words}], ran[{words}] = {{}}; // one bit per part",
        *(f"\tvalue<{bits}> old_{name};" for name, bits in design.inputs.items()),
        *(f"\t{design.temporaries[name]} shared_{name};" for name in shared),
        *(f"\tvoid part{index}(bool posedge_p_clk);" for index in range(len(schedule.parts))),
    ]


def _with_members(members: list[str], lines: list[str]) -> list[str]:
    end = lines.index("}; // struct p_top")
    return [*lines[:end], *members, *lines[end:]]


# Parts ----------------------------------------------------------------------------------------------------------------


def _function(index: int, design: Design, schedule: Schedule) -> list[str]:
    """The function of part ``index``. Parts that read its results become stale only if the results changed."""
    part, variables = schedule.parts[index], design.temporaries
    defined = {name for statement in part for name in statement.defines}
    incoming = {name for statement in part for name in statement.reads & set(variables)} - defined

    def renamed(line: str) -> str:
        return NAME.sub(lambda match: f"shared_{match[0]}" if match[0] in incoming else match[0], line)

    lines = [f"void p_top::part{index}(bool posedge_p_clk) {{"]
    lines += [f"\t{variables[name]} {name};" for name in sorted(defined & set(variables))]
    lines += [renamed(line) for statement in part if not statement.sets for line in statement.lines]
    for name in sorted(defined & schedule.shared):
        others = schedule.readers[name] - {index}
        lines.append("\t" + (_move(name, f"shared_{name}", others) if name in variables else _set("stale", others)))
    lines.append(EDGE)
    for statement in part:
        if statement.sets:
            assert statement.lines[0] == EDGE
            lines += ["\t{", *(_guarded(renamed(line), index) for line in statement.lines[1:])]
    return [*lines, "\t}", "}", ""]


def _guarded(line: str, index: int) -> str:
    """A memory write, skipped if its mask is zero. The part stays stale after a write, which the next cycle repeats."""
    update = UPDATE.fullmatch(line)
    if not update:
        return line
    indent, memory, arguments = update.groups()
    address, value, mask, priority = _arguments(arguments)
    write = f"{memory}.update({address}, {value}, mask, {priority});"
    return f"{indent}auto mask = {mask};\n{indent}if (!mask.is_zero()) {{ {_set('stale', [index])} {write} }}"


def _arguments(text: str) -> list[str]:
    """Arguments of a call, one by one."""
    depth, found = 0, [""]
    for character in text:
        depth += (character in "(<{") - (character in ")>}")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [each.strip() for each in found]


def _commits(lines: list[str], schedule: Schedule) -> list[str]:
    """Commit the registers and memories of parts that ran. Parts that read one that changed become stale."""
    commits = {match[1] for line in lines if (match := _COMMIT.fullmatch(line))}
    first = next(index for index, line in enumerate(lines) if _COMMIT.fullmatch(line))
    grouped: list[str] = []
    for index, part in enumerate(schedule.parts):
        grouped += [f"\t\tif ({_bit('ran', index)}) {{", f"\t\t\t{_clear('ran', index)}"]
        for name in sorted({name for statement in part for name in statement.sets}):
            commits.discard(name)
            if name.startswith("memory_"):
                mark = _set("stale", schedule.readers[name], "moved")
                grouped.append(f"\t\t\t{{ bool moved = {name}.commit(observer); {mark} }}")
            else:
                grouped.append("\t\t\t" + _move(f"{name}.next", f"{name}.curr", schedule.readers[name]))
        grouped.append("\t\t}")
    assert not commits, commits
    return [*lines[:first], *grouped, *(line for line in lines[first:] if not _COMMIT.fullmatch(line))]


# Flags ----------------------------------------------------------------------------------------------------------------


def _move(source: str, target: str, readers: Iterable[int]) -> str:
    """Assign ``source`` to ``target`` and mark ``readers`` stale if it changed. No branch: changes are common."""
    mark = _set("stale", readers, "moved")
    return f"{{ bool moved = {target} != {source}; {target} = {source}; {mark} }}"


def _set(flags: str, parts: Iterable[int], condition: str = "") -> str:
    """Set the flags of ``parts``, only under ``condition`` if there is one."""
    masks: dict[int, int] = defaultdict(int)
    for index in parts:
        masks[index // BITS] |= 1 << index % BITS
    only = f"-uint64_t({condition}) & " if condition else ""
    return " ".join(f"{flags}[{word}] |= {only}{mask:#x}ull;" for word, mask in sorted(masks.items())) or ";"


def _bit(flags: str, index: int) -> str:
    return f"{flags}[{index // BITS}] & {1 << index % BITS:#x}ull"


def _clear(flags: str, index: int) -> str:
    return f"{flags}[{index // BITS}] &= ~{1 << index % BITS:#x}ull;"


# Waves ----------------------------------------------------------------------------------------------------------------


def _split_debug(lines: list[str]) -> list[str]:
    """Split the function that computes inner signals for waves, if there is one, into pieces of :data:`LARGEST`."""
    if _DEBUG not in lines:
        return lines
    before, body, after = split(lines, _DEBUG)
    variables = temporaries(body)

    def renamed(line: str) -> str:
        return NAME.sub(lambda match: f"debug_{match[0]}" if match[0] in variables else match[0], line)

    functions: list[str] = []
    calls: list[str] = []
    for piece in _pieces([simplify(renamed(line)) for line in statement.lines] for statement in statements(body)):
        functions += [f"void p_top::debug{len(calls)}() {{", *piece, "}", ""]
        calls.append(f"\tdebug{len(calls)}();")
    members = [f"\t{kind} debug_{name};" for name, kind in variables.items()]
    members += [f"\tvoid {call.strip()}" for call in calls]
    return _with_members(members, [*before, *functions, _DEBUG, *calls, *after])


def _pieces(found: Iterable[list[str]]) -> Iterator[list[str]]:
    """Statements put together into pieces that are just longer than :data:`LARGEST` characters."""
    piece: list[str] = []
    for lines in found:
        if sum(map(len, piece)) > LARGEST:
            yield piece
            piece = []
        piece += lines
    yield piece
