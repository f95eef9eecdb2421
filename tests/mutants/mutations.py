"""The faults that can be planted in a source of the hardware or the golden model, read from its syntax tree.

A mutation replaces one piece of text. :func:`mutations` finds all of a source, :func:`sample` chooses some of many.

==============  =====================================================================================================
kind            what changes
==============  =====================================================================================================
comparison      ``<`` ↔ ``<=``, ``>`` ↔ ``>=``, ``==`` ↔ ``!=``: wrong ties, inverted tests
operator        ``+`` ↔ ``-``, ``&`` ↔ ``|``, ``<<`` ↔ ``>>``, ``//`` → ``*``, ``and`` ↔ ``or``, ``min`` ↔ ``max``
swap            operands of ``-``, ``//``, ``%`` and shifts; the two values of ``Mux``
inversion       ``~x`` and ``not x`` → ``x``; the condition of ``If``, ``Elif``, ``if`` and ``a if c else b``
constant        an integer one more or one less: index, bound, address
width           ``range(n)``, ``signed(n)``, ``unsigned(n)`` or ``n`` bits of a signal, one bit less
reset           the initial value of a register
drop            an assignment to a signal, or to a part of an array, is left out
==============  =====================================================================================================
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
OPERATORS = {"+": "-", "-": "+", "&": "|", "|": "&", "^": "&", "<<": ">>", ">>": "<<", "//": "*", "*": "+", "%": "//"}
SYMBOLS: dict[type[ast.AST], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Add: "+",
    ast.Sub: "-",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.FloorDiv: "//",
    ast.Mult: "*",
    ast.Mod: "%",
}
NOT_COMMUTATIVE = (ast.Sub, ast.FloorDiv, ast.Mod, ast.LShift, ast.RShift)
SHAPES = ("range", "signed", "unsigned")
NO_CODE = (ast.Raise, ast.JoinedStr, ast.Assert)
"""Nodes whose contents decide no value: messages, and checks that are no part of the hardware."""


@dataclass(frozen=True)
class Mutation:
    """Bytes ``start`` to ``end`` of file ``path`` become ``new``. ``line`` is where they start, counted from 1."""

    path: str
    line: int
    kind: str
    start: int
    end: int
    old: str
    new: str
    code: str
    """The line's code, without indentation: it finds the mutation again when lines above it have moved."""

    def apply(self, source: bytes) -> bytes:
        """``source``, which is that of ``path``, with the fault."""
        if source[self.start : self.end].decode() != self.old:
            raise ValueError(f"{self.path}, line {self.line}: {self.old!r} is not there; read the mutations again")
        return source[: self.start] + self.new.encode() + source[self.end :]

    @property
    def text(self) -> str:
        """What changes, on one line."""
        return re.sub(r"\s+", " ", f"{self.kind}: {self.old} → {self.new}")


def mutations(path: str, source: bytes) -> list[Mutation]:
    """All mutations of a source, in the order of their places."""
    found: dict[tuple[int, int, str], Mutation] = {}
    for mutation in _Finder(path, source).run():
        found.setdefault((mutation.start, mutation.end, mutation.new), mutation)  # a place may be of two kinds
    return sorted(found.values(), key=lambda m: (m.start, m.end, m.new))


def named(entry: Mapping[str, Any], found: Iterable[Mutation]) -> list[Mutation]:
    """Those of ``found``, mutations of one file, that an entry of ``equivalent.toml`` names.

    Its code and text fit; of several lines with that code, ``occurrence`` chooses one, from 1 on.
    """
    same = [mutation for mutation in found if (mutation.code, mutation.text) == (entry["code"], entry["text"])]
    if "occurrence" not in entry:
        return same
    lines = sorted({mutation.line for mutation in same})[entry["occurrence"] - 1 :][:1]
    return [mutation for mutation in same if mutation.line in lines]


def fault_of(entry: Mapping[str, Any], source: bytes) -> Mutation:
    """The mutation of ``source`` that an entry of ``equivalent.toml`` names."""
    return named(entry, mutations(entry["path"], source))[0]


def sample(candidates: dict[str, list[Mutation]], seed: int) -> Iterator[Mutation]:
    """All ``candidates``, which are by file, in a random order that ``seed`` decides, the files in turn.

    Within a file, the kinds take turns. So few mutations already reach every file, and every kind.
    """
    draw = random.Random(seed)
    files = []
    for _, found in sorted(candidates.items()):
        kinds: dict[str, list[Mutation]] = {}
        for mutation in found:
            kinds.setdefault(mutation.kind, []).append(mutation)
        for same in kinds.values():
            draw.shuffle(same)
        order = sorted(kinds)
        draw.shuffle(order)
        files.append(_in_turn([kinds[kind] for kind in order]))
    draw.shuffle(files)
    yield from _in_turn(files)


def _in_turn(lists: list[list[Mutation]]) -> list[Mutation]:
    return [mutation for turn in zip_longest(*lists) for mutation in turn if mutation is not None]


class _Finder:
    """Walks a syntax tree and collects mutations."""

    def __init__(self, path: str, source: bytes):
        self.path, self.source = path, source
        self.lines = source.split(b"\n")
        self.offsets = [0]
        for line in self.lines:
            self.offsets.append(self.offsets[-1] + len(line) + 1)

    def run(self) -> Iterator[Mutation]:
        yield from self.walk(ast.parse(self.source))

    def walk(self, node: ast.AST) -> Iterator[Mutation]:
        if isinstance(node, NO_CODE) or (isinstance(node, ast.If) and self.text(node.test) == "TYPE_CHECKING"):
            return
        handler = getattr(self, f"of_{type(node).__name__}", None)
        if handler:
            yield from handler(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "format_spec"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self.walk(child)

    # Places --------------------------------------------------------------------------------------------------------

    def span(self, node: ast.AST) -> tuple[int, int]:
        start = self.offsets[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self.offsets[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def replace(self, kind: str, start: int, end: int, new: str) -> Mutation:
        line = self.source.count(b"\n", 0, start) + 1
        code = self.lines[line - 1].decode().strip()
        return Mutation(self.path, line, kind, start, end, self.source[start:end].decode(), new, code)

    def instead(self, kind: str, node: ast.AST, new: str) -> Mutation:
        return self.replace(kind, *self.span(node), new)

    def symbol(self, kind: str, left: ast.AST, right: ast.AST, old: str, new: str) -> Iterator[Mutation]:
        """Replace the operator between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        between = self.source[start:end].decode()
        if "#" not in between and between.count(old) == 1:
            place = start + len(between[: between.index(old)].encode())
            yield self.replace(kind, place, place + len(old), new)

    def swap(self, left: ast.AST, right: ast.AST) -> Iterator[Mutation]:
        """Exchange two operands."""
        (start, inner), (outer, end) = self.span(left), self.span(right)
        between = self.source[inner:outer].decode()
        if self.text(left) != self.text(right) and "#" not in between:
            yield self.replace("swap", start, end, f"({self.text(right)}){between}({self.text(left)})")

    # One method for each type of node ------------------------------------------------------------------------------

    def of_Compare(self, node: ast.Compare) -> Iterator[Mutation]:
        operands = [node.left, *node.comparators]
        for left, operation, right in zip(operands, node.ops, node.comparators, strict=False):
            symbol = SYMBOLS.get(type(operation))
            if symbol:
                yield from self.symbol("comparison", left, right, symbol, COMPARISONS[symbol])

    def of_BinOp(self, node: ast.BinOp) -> Iterator[Mutation]:
        symbol = SYMBOLS.get(type(node.op))
        if symbol and not isinstance(node.left, ast.Constant | ast.JoinedStr | ast.List):
            yield from self.symbol("operator", node.left, node.right, symbol, OPERATORS[symbol])
        if isinstance(node.op, NOT_COMMUTATIVE):
            yield from self.swap(node.left, node.right)

    def of_BoolOp(self, node: ast.BoolOp) -> Iterator[Mutation]:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from self.symbol("operator", left, right, old, new)

    def of_UnaryOp(self, node: ast.UnaryOp) -> Iterator[Mutation]:
        if isinstance(node.op, ast.Invert | ast.Not):
            yield self.instead("inversion", node, f"({self.text(node.operand)})")

    def of_If(self, node: ast.If) -> Iterator[Mutation]:
        yield self.instead("inversion", node.test, f"not ({self.text(node.test)})")

    of_IfExp = of_If

    def of_Constant(self, node: ast.Constant) -> Iterator[Mutation]:
        if type(node.value) is int:
            for value in (node.value + 1, node.value - 1):
                yield self.instead("constant", node, f"({value})" if value < 0 else f"{value}")

    def of_Call(self, node: ast.Call) -> Iterator[Mutation]:
        called = self.text(node.func)
        if called in ("m.If", "m.Elif"):  # of a module under construction
            yield self.instead("inversion", node.args[0], f"~({self.text(node.args[0])})")
        if called in ("min", "max"):
            yield self.instead("operator", node.func, {"min": "max", "max": "min"}[called])
        if called == "Mux" and len(node.args) == 3:
            yield from self.swap(*node.args[1:])
        if called in ("Signal", "In", "Out") and node.args:
            yield from self.narrower(node.args[0])
        for keyword in node.keywords:
            if keyword.arg == "init" and isinstance(keyword.value, ast.Constant) and type(keyword.value.value) is int:
                yield self.instead("reset", keyword.value, f"{keyword.value.value ^ 1}")

    def narrower(self, shape: ast.AST) -> Iterator[Mutation]:
        """A shape of one bit less."""
        if isinstance(shape, ast.Call) and self.text(shape.func) in SHAPES and shape.args:
            width = shape.args[-1]
            less = "// 2" if self.text(shape.func) == "range" else "- 1"
            yield self.instead("width", width, f"({self.text(width)}) {less}")
        elif isinstance(shape, ast.Constant) and type(shape.value) is int and shape.value > 1:
            yield self.instead("width", shape, f"{shape.value - 1}")

    def of_AugAssign(self, node: ast.AugAssign) -> Iterator[Mutation]:
        if self.text(node.target).startswith("m.submodules"):
            return
        if isinstance(node.value, ast.List) and len(node.value.elts) > 1:
            for element in node.value.elts:
                if not isinstance(element, ast.Starred):
                    yield self.instead("drop", element, "*()")
        else:
            yield self.instead("drop", node, "pass")

    def of_Assign(self, node: ast.Assign) -> Iterator[Mutation]:
        if isinstance(node.targets[0], ast.Subscript):
            yield self.instead("drop", node, "pass")
