"""Writes the C++ of a scheduled design: a function for each part, and an evaluation that runs the stale ones.

Two words of flags have one bit for each part. ``stale``: something that the part reads has changed. ``ran``: the part
ran in this evaluation, so the commit copies the registers and memories that it sets.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from popflip.sim.cxxrtl.integers import CHUNK, WORD, Integers
from popflip.sim.cxxrtl.parse import (
    CONVERGED,
    EDGE,
    EVALUATION,
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
_MEMBER = re.compile(r"\t(?:/\*\w+\*/ )?(?:value|wire|memory)<(\d+)> (\w+)(?: ?\{.*\})?;")
_ALL_STALE = "for (uint64_t &word : stale) word = ~0ull;"


def emit(design: Design, schedule: Schedule) -> str:
    """The C++ of ``design``, evaluated in the parts of ``schedule``."""
    members = _member_widths(design.before)
    before = _commits(design.before, schedule, members)
    before[before.index(_CONSTRUCTOR)] += f" {_ALL_STALE}"
    functions = [line for index in range(len(schedule.parts)) for line in _function(index, design, schedule, members)]
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
        *("\t" + _declaration(f"shared_{name}", design.temporaries[name]) for name in shared),
        *(f"\tvoid part{index}(bool posedge_p_clk);" for index in range(len(schedule.parts))),
    ]


def _with_members(members: list[str], lines: list[str]) -> list[str]:
    end = lines.index("}; // struct p_top")
    return [*lines[:end], *members, *lines[end:]]


# Parts ----------------------------------------------------------------------------------------------------------------


def _function(index: int, design: Design, schedule: Schedule, members: dict[str, int]) -> list[str]:
    """The function of part ``index``. Parts that read its results become stale only if the results changed."""
    part, variables = schedule.parts[index], design.temporaries
    defined = {name for statement in part for name in statement.defines}
    undriven = set(variables) - schedule.defined  # bits that Yosys removed, and nothing depends on
    read = {name for statement in part for name in statement.reads & set(variables)} - defined
    incoming = read - undriven
    integers = Integers(members, variables, lambda name: f"shared_{name}" if name in incoming else name)

    lines = [f"void p_top::part{index}(bool posedge_p_clk) {{"]
    lines += ["\t" + _declaration(name, variables[name]) for name in sorted(defined & set(variables) | read & undriven)]
    lines += [integers.line(line) for statement in part if not statement.sets for line in statement.lines]
    for name in sorted(defined & schedule.shared):
        others = schedule.readers[name] - {index}
        lines.append("\t" + (_move(name, f"shared_{name}", others) if name in variables else _set("stale", others)))
    lines.append(EDGE)
    for statement in part:
        if statement.sets:
            assert statement.lines[0] == EDGE
            lines += ["\t{", *(_guarded(line, index, integers) for line in statement.lines[1:])]
    return [*lines, "\t}", "}", ""]


def _declaration(name: str, width: int) -> str:
    return f"uint64_t {name} = 0;" if width <= WORD else f"value<{width}> {name};"


def _member_widths(lines: Iterable[str]) -> dict[str, int]:
    """Bits of the members of ``p_top``, by name."""
    return {match[2]: int(match[1]) for line in lines if (match := _MEMBER.fullmatch(line))}


def _guarded(line: str, index: int, integers: Integers) -> str:
    """A memory write, skipped if its mask is zero. The part stays stale after a write, which the next cycle repeats."""
    update = UPDATE.fullmatch(line)
    if not update:
        return integers.line(line)
    indent, memory, arguments = update.groups()
    address, *words, priority = _arguments(arguments)
    value, mask = (integers.expression(word).value for word in words)
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


def _commits(lines: list[str], schedule: Schedule, widths: dict[str, int]) -> list[str]:
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
                data = ".data[0]" if widths[name] <= CHUNK else ""
                grouped.append("\t\t\t" + _move(f"{name}.next{data}", f"{name}.curr{data}", schedule.readers[name]))
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
    integers = Integers(_member_widths(before), variables, lambda name: f"debug_{name}" if name in variables else name)
    functions: list[str] = []
    calls: list[str] = []
    for piece in _pieces([integers.line(line) for line in statement.lines] for statement in statements(body)):
        functions += [f"void p_top::debug{len(calls)}() {{", *piece, "}", ""]
        calls.append(f"\tdebug{len(calls)}();")
    members = ["\t" + _declaration(f"debug_{name}", width) for name, width in variables.items()]
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
