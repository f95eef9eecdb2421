"""Replaces CXXRTL's expressions on slices by cheaper ones, which ``slices.h`` implements.

CXXRTL puts a value together piece by piece, and each ``concat`` copies all pieces before it. From :data:`FEW` pieces
on, one call does it: ``strided`` for single bits at equal distances, ``joined`` for anything else.
"""

from __future__ import annotations

import re
from itertools import pairwise

FEW = 4  # pieces of a value; fewer stay as CXXRTL writes them

ASSIGNMENT = re.compile(r"\t+((?:[pi]_\w+|\.next|\.slice<[\d,]+>\(\)|\.concat\(|\))+) = ")  # its left-hand side
_CONCAT = ".concat("
_BITS = re.compile(r"([pi]_\w+(?:\.curr)?)\.slice<(\d+)>\(\)((?:\.concat\(\1\.slice<\d+>\(\)\))+)")


def simplify(line: str) -> str:
    """``line`` with long chains of ``concat`` on its right-hand side replaced."""
    assignment = ASSIGNMENT.match(line)
    start = assignment.end() if assignment else 0
    return line[:start] + _joined(_strided(line[start:]))


def _strided(text: str) -> str:
    """Replace chains of bits at equal distances, such as one bit plane of an array of two-bit numbers."""

    def replacement(match: re.Match) -> str:
        name, first, rest = match.groups()
        bits = [int(first), *map(int, re.findall(r"slice<(\d+)>", rest))]
        distances = {above - below for above, below in pairwise(bits)}
        if len(bits) < FEW or len(distances) > 1 or min(distances) < 2:
            return match[0]
        return f"strided<{len(bits)}, {bits[-1]}, {min(distances)}>({name})"

    return _BITS.sub(replacement, text)


def _joined(text: str) -> str:
    """Replace chains of ``concat``, those inside brackets included."""
    position = 0
    while (end := text.find(_CONCAT, position)) >= 0:
        start = _expression_start(text, end)
        pieces = [text[start:end]]
        while text.startswith(_CONCAT, end):
            close = _closing_bracket(text, end + len(_CONCAT))
            pieces.append(_joined(text[end + len(_CONCAT) : close]))
            end = close + 1
        first, *others = pieces
        chain = first + "".join(f"{_CONCAT}{piece})" for piece in others)
        whole = chain if len(pieces) < FEW else f"joined({', '.join(pieces)})"
        text = text[:start] + whole + text[end:]
        position = start + len(whole)
    return text


def _expression_start(text: str, end: int) -> int:
    """Where the expression that ends before ``end`` starts. Outside brackets it has only name characters and dots."""
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


def _closing_bracket(text: str, start: int) -> int:
    """Where the bracket closes that opens just before ``start``."""
    depth = 1
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if not depth:
            return position
    raise AssertionError(text)
