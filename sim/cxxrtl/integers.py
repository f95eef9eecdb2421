"""Rewrites CXXRTL's expressions on values of at most 64 bits as expressions on plain integers.

CXXRTL keeps each value in an array, and each operator is a call of a template that loops over it. The compiler removes
the arrays and the loops of narrow values again, and spends most of its time on that. Here a narrow value is a
``uint64_t`` whose bits above its width are 0, unless it is stored in a register, a memory or a port. Wider values stay
as CXXRTL writes them. ``values.h`` has what the text below calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

WORD, CHUNK = 64, 32  # bits of an integer, and of an element of the array of a value
STRIDE = 4  # bits at equal distances, from which on one call takes them together

_TOKEN = re.compile(
    r"\s*(?:(?P<constant>value<\d+>(?: ?\{[^}]*\}|\(\)))"
    r"|\.(?P<method>slice|concat|repeat|val|curr|next)\b(?:<(?P<numbers>\d+(?:,\d+)?)>)?(?P<call>\(\))?"
    r"|(?P<function>[a-z_]+)<(?P<width>\d+)>(?=\()"
    r"|(?P<memory>\w+)(?P<word>\[\w+\.index\])"
    r"|(?P<name>\w+)"
    r"|(?P<mark>[(),?:]))"
)
_CONSTANT = re.compile(r"value<(\d+)>(?: ?\{(.*)\}|\(\))")  # value<0>() has no bits
_ASSIGNMENT = re.compile(r"(\t+)((?:\w+|\.next|\.slice<[\d,]+>\(\)|\.concat\(|\))+) = (.*);")
_INDEX = re.compile(r"(\t+auto \w+ = memory_index\()(.*)(, \d+, \d+\);)")
_READ = re.compile(r"\t+value<(\d+)> (\w+) = \w+\[\w+\.index\];")
_ADDRESS = re.compile(r"(\t+)const value<(\d+)> &(\w+) = (.*);")
_SAME_ADDRESS = re.compile(r"(\t+)if \((\w+) == ([^ ]*)\) \{")
_UPDATED = re.compile(r"(\t+)(\w+) = \2\.update\((.*)\);")
_CONDITION = re.compile(r"(\t+if ?\()(.*)(\) \{)")
_PLAIN = re.compile(r"\t*(?:\}|\{|\} else \{|CXXRTL_ASSERT\(.*\);|if ?\(\w+\.valid\) \{|)")


@dataclass(frozen=True)
class Value:
    """An expression.

    Fields
    ------
    ``text`` : its C++, of type ``uint64_t`` if it is narrow, else ``value<width>``
    ``width`` : its bits
    ``bit`` : of a single bit of a wide name, the name and the number of the bit
    ``pieces`` : what it is put together from, highest first; empty unless it is a concatenation
    """

    text: str
    width: int
    bit: tuple[str, int] | None = None
    pieces: tuple[Value, ...] = ()

    @property
    def narrow(self) -> bool:
        return self.width <= WORD

    @property
    def value(self) -> str:
        """C++ of type ``value<width>``."""
        return f"value_of<{self.width}>({self.text})" if self.narrow else self.text

    def slice(self, high: int, low: int) -> Value:
        width = high - low + 1
        if width == self.width:
            return self
        if not self.narrow:
            bit = (self.text, low) if width == 1 and self.text.replace(".curr", "").isidentifier() else None
            return Value(_part(self.text, low, width), width, bit)
        shifted = f"{self.text} >> {low}" if low else self.text
        return Value(f"({shifted})" if high == self.width - 1 else f"({shifted} & {_mask(width)})", width)

    def repeat(self, times: int) -> Value:
        width = self.width * times
        if width > WORD:
            filled = f"filled<{width}>({self.text})"
            return Value(filled if self.width == 1 else f"{self.value}.repeat<{times}>().val()", width)
        if self.width == 1:
            return Value(f"(-{self.text} & {_mask(width)})", width)
        factor = sum(1 << self.width * index for index in range(times))
        return Value(f"({self.text} * {factor:#x}ull)", width)


class Integers:
    """Rewrites the lines of a function.

    ``members`` and ``signals`` have the bits of every name. Members are values; signals are integers if they are
    narrow. ``renamed`` gives the C++ of a name.
    """

    def __init__(self, members: Mapping[str, int], signals: Mapping[str, int], renamed: Callable[[str], str] = str):
        self._widths = {**members, **signals}
        self._integers = {name for name, width in signals.items() if width <= WORD}
        self._renamed = renamed

    def line(self, line: str) -> str:
        """``line`` on integers. Raises AssertionError if it is of no known kind."""
        if _PLAIN.fullmatch(line):
            return line
        if match := _READ.fullmatch(line):
            self._widths[match[2]] = int(match[1])
            return line
        if match := _INDEX.fullmatch(line):
            return f"{match[1]}{self.expression(match[2]).value}{match[3]}"
        if match := _ADDRESS.fullmatch(line):
            return self._address(match)
        if match := _SAME_ADDRESS.fullmatch(line):
            return f"{match[1]}if ({self._name(match[2], '').text} == {self.expression(match[3]).text}) {{"
        if match := _UPDATED.fullmatch(line):
            return f"{match[1]}{match[2]} = {match[2]}.update({self._words(match[3])});"
        if match := _CONDITION.fullmatch(line):
            return f"{match[1]}{self.expression(match[2]).text}{match[3]}"
        match = _ASSIGNMENT.fullmatch(line)
        assert match, line
        return match[1] + self._assignment(match[2], self.expression(match[3]))

    def expression(self, text: str) -> Value:
        """``text`` on integers."""
        parser = _Parser(text, self._name)
        found = parser.expression()
        assert parser.ended, text
        return _whole(found)

    def _address(self, match: re.Match[str]) -> str:
        """The address of a port that reads what another one writes in the same cycle, as an integer."""
        self._widths[match[3]] = int(match[2])
        self._integers.add(match[3])
        return f"{match[1]}const uint64_t {match[3]} = {self.expression(match[4]).text};"

    def _words(self, text: str) -> str:
        """Arguments of a call, as values."""
        parser = _Parser(f"({text})", self._name)
        return ", ".join(_whole(each).value for each in parser.arguments())

    def _name(self, name: str, state: str) -> Value:
        """The value of a signal, of a register's ``state`` (``.curr`` or ``.next``), or of a word of a memory."""
        width, text = self._widths[name], self._renamed(name) + state
        return Value(text if name in self._integers or width > WORD else narrow(text, width), width)

    def _assignment(self, target: str, source: Value) -> str:
        """Assign ``source`` to a name, to a part of one, or to a concatenation of such."""
        first, *others = _targets(target)
        if not others:
            return self._store(first, source)
        widths = [self._target_width(each) for each in (first, *others)]
        assert sum(widths) == source.width
        whole = Value("all", source.width)
        lines, low = [], source.width
        for each, width in zip((first, *others), widths, strict=True):
            low -= width
            lines.append(self._store(each, whole.slice(low + width - 1, low)))
        return f"{{ auto all = {source.text}; {' '.join(lines)} }}"

    def _target_width(self, target: str) -> int:
        name, _, high, low = _target(target)
        return self._widths[name] if high is None else high - low + 1

    def _store(self, target: str, source: Value) -> str:
        name, state, high, low = _target(target)
        text, width = self._renamed(name) + state, self._widths[name]
        if high is not None and source.width < width:
            return _insertion(text, low, source, name in self._integers)
        assert source.width == width, (target, source)
        if name in self._integers or not source.narrow:
            return f"{text} = {source.text};"
        return f"{text}.data[0] = {source.text};" if width <= CHUNK else f"set({text}, {source.text});"


def narrow(text: str, width: int) -> str:
    """The integer in ``text``, C++ of type ``value<width>``, which has at most 64 bits."""
    return f"uint64_t({text}.data[0])" if width <= CHUNK else f"get({text})"


def _part(text: str, low: int, width: int) -> str:
    """``width`` bits from bit ``low`` on of ``text``, C++ of a wide value."""
    chunk, shift = divmod(low, CHUNK)
    if shift + width > CHUNK:
        return f"{'bits' if width <= WORD else 'extract'}<{low}, {width}>({text})"
    word = f"uint64_t({text}.data[{chunk}]" + (f" >> {shift})" if shift else ")")
    return word if shift + width == CHUNK else f"({word} & {_mask(width)})"


def _insertion(text: str, low: int, source: Value, integer: bool) -> str:
    """Assign ``source`` to the bits from ``low`` on of ``text``: an ``integer``, else C++ of a value."""
    if not source.narrow:
        return f"insert<{low}, {source.width}>({text}, {source.text});"
    chunk, shift = (0, low) if integer else divmod(low, CHUNK)
    if not integer and shift + source.width > CHUNK:
        return f"put<{low}, {source.width}>({text}, {source.text});"
    word = text if integer else f"{text}.data[{chunk}]"
    hole = ~(((1 << source.width) - 1) << shift) % (1 << (WORD if integer else CHUNK))
    return f"{word} = ({word} & {hole:#x}ull) | ({source.text} << {shift});"


# Targets of assignments -----------------------------------------------------------------------------------------------

_TARGET = re.compile(r"(\w+)(\.next)?(?:\.slice<(\d+)(?:,(\d+))?>\(\))?")


def _targets(text: str) -> list[str]:
    """The parts of a concatenation, highest first; ``text`` alone if it is none."""
    return [match[0] for match in _TARGET.finditer(text.replace(".concat(", " "))]


def _target(text: str) -> tuple[str, str, int | None, int]:
    """Name, ``.next`` or nothing, highest and lowest bit of a target; no highest bit if it is the whole."""
    match = _TARGET.fullmatch(text)
    assert match, text
    name, state, high, low = match.groups()
    return name, state or "", None if high is None else int(high), int(low if low is not None else high or 0)


# Expressions ----------------------------------------------------------------------------------------------------------


class _Parser:
    """Recursive descent over an expression of CXXRTL."""

    def __init__(self, text: str, name: Callable[[str, str], Value]):
        self._text, self._position, self._name_of = text, 0, name

    @property
    def ended(self) -> bool:
        return self._position == len(self._text)

    def _next(self) -> re.Match[str]:
        match = _TOKEN.match(self._text, self._position)
        assert match, self._text[self._position :]
        return match

    def _take(self, mark: str) -> None:
        match = self._next()
        assert match["mark"] == mark, (mark, self._text[self._position :])
        self._position = match.end()

    def expression(self) -> Value:
        """A primary and the methods called on it."""
        match = self._next()
        self._position = match.end()
        value = self._primary(match)
        while not self.ended and (match := self._next())["method"]:
            self._position = match.end()
            value = self._method(value, match)
        return value

    def _primary(self, match: re.Match[str]) -> Value:
        if match["constant"]:
            return _constant(match["constant"])
        if match["memory"]:
            return self._name_of(match["memory"], match["word"])
        if match["name"]:
            state = self._next() if not self.ended else None
            if state and state["method"] in ("curr", "next"):
                self._position = state.end()
                return self._name_of(match["name"], f".{state['method']}")
            return self._name_of(match["name"], "")
        if match["function"]:
            return _call(match["function"], int(match["width"]), [_whole(each) for each in self.arguments()])
        assert match["mark"] == "(", self._text
        condition = _whole(self.expression())
        if self._next()["mark"] == ")":
            self._take(")")
            return condition
        self._take("?")
        yes = _whole(self.expression())
        self._take(":")
        no = _whole(self.expression())
        self._take(")")
        assert yes.width == no.width
        return Value(f"({condition.text} ? {yes.text} : {no.text})", yes.width)

    def arguments(self) -> Iterator[Value]:
        """Those of a call, from its opening bracket on."""
        self._take("(")
        yield self.expression()
        while self._next()["mark"] == ",":
            self._take(",")
            yield self.expression()
        self._take(")")

    def _method(self, value: Value, match: re.Match[str]) -> Value:
        method, numbers = match["method"], match["numbers"]
        if method == "val":
            return value
        if method == "concat":
            self._take("(")
            below = self.expression()
            self._take(")")
            pieces = (value.pieces or (value,)) + (below.pieces or (below,))
            return Value("", value.width + below.width, pieces=pieces)
        value = _whole(value)
        if method == "repeat":
            return value.repeat(int(numbers))
        assert method == "slice", method
        high, _, low = numbers.partition(",")
        return value.slice(int(high), int(low or high))


def _constant(text: str) -> Value:
    match = _CONSTANT.fullmatch(text)
    assert match, text
    width, chunks = int(match[1]), [int(chunk.rstrip("u"), 0) for chunk in (match[2] or "").split(",") if chunk.strip()]
    if width > WORD:
        return Value(text, width)
    return Value(f"{sum(chunk << 32 * index for index, chunk in enumerate(chunks)):#x}ull", width)


def _whole(value: Value) -> Value:
    """``value``, its pieces put together."""
    if not value.pieces:
        return value
    strided = _strided(value.pieces)
    if strided:
        return strided
    if value.narrow:
        return Value(f"({_shifted(value.pieces)})", value.width)
    parts = [part.value for part in _grouped(tuple(piece for piece in value.pieces if piece.width))]
    return Value(f"joined({', '.join(parts)})", value.width)


def _shifted(pieces: tuple[Value, ...]) -> str:
    """Pieces of a narrow value, each at its place."""
    low, found = sum(piece.width for piece in pieces), []
    for piece in pieces:
        low -= piece.width
        if piece.text != "0x0ull":
            found.append(f"{piece.text} << {low}" if low else piece.text)
    return " | ".join(found) or "0x0ull"


def _grouped(pieces: tuple[Value, ...]) -> Iterator[Value]:
    """Neighbours that fit into one word are put together first."""
    group: list[Value] = []
    for piece in pieces:
        if group and sum(each.width for each in (*group, piece)) > WORD:
            yield _group(group)
            group = []
        group.append(piece)
    yield _group(group)


def _group(pieces: list[Value]) -> Value:
    (first, *others) = pieces
    return Value(f"({_shifted(tuple(pieces))})", sum(piece.width for piece in pieces)) if others else first


def _strided(pieces: tuple[Value, ...]) -> Value | None:
    """Single bits of one wide name at equal distances, such as a bit plane of an array of two-bit numbers."""
    found = [piece.bit for piece in pieces]
    if len(found) < STRIDE or None in found:
        return None
    names, bits = {bit[0] for bit in found if bit}, [bit[1] for bit in found if bit]
    distances = {above - below for above, below in pairwise(bits)}
    if len(names) > 1 or len(distances) > 1 or min(distances) < 2:
        return None
    text = f"strided<{len(bits)}, {bits[-1]}, {min(distances)}>({names.pop()})"
    return Value(narrow(text, len(bits)) if len(bits) <= WORD else text, len(bits))


def _mask(width: int) -> str:
    return f"{(1 << width) - 1:#x}ull"


# Functions ------------------------------------------------------------------------------------------------------------

_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_UNARY = {
    "logic_not": "!{0}",
    "reduce_or": "{0} != 0",
    "reduce_bool": "{0} != 0",
    "reduce_and": "{0} == {mask}",
    "reduce_xor": "__builtin_parityll({0})",
}


def _call(function: str, width: int, arguments: list[Value]) -> Value:
    """A function of CXXRTL: on integers if it is a common one, else as it is."""
    if width <= WORD and all(argument.narrow for argument in arguments):
        text = _on_integers(function, width, arguments)
        if text:
            return Value(text, width)
    call = f"{function}<{width}>({', '.join(argument.value for argument in arguments)})"
    return Value(narrow(call, width) if width <= WORD else call, width)


def _on_integers(function: str, width: int, arguments: list[Value]) -> str:
    """``function`` on integers, cut to ``width``; nothing if it is none of the common ones."""
    first = arguments[0]
    if function in _UNARY:
        return f"uint64_t({_UNARY[function].format(first.text, mask=_mask(first.width))})"
    operator, _, kinds = function.partition("_")
    signed = kinds in ("ss", "s")
    texts = [f"extended<{each.width}>({each.text})" if signed and each.width else each.text for each in arguments]
    if operator in _COMPARISONS and len(texts) == 2:
        casts = [f"int64_t({text})" if kinds == "ss" else text for text in texts]
        return f"uint64_t({casts[0]} {_COMPARISONS[operator]} {casts[1]})"
    if operator in _ARITHMETIC and len(texts) == 2:
        exact = {"and": min, "or": max, "xor": max}.get(operator)
        whole = exact and kinds == "uu" and exact(each.width for each in arguments) <= width
        return _cut(f"{texts[0]} {_ARITHMETIC[operator]} {texts[1]}", WORD if whole else width)
    if operator in ("not", "neg", "pos") and len(texts) == 1:
        return _cut({"not": "~", "neg": "-", "pos": ""}[operator] + texts[0], width)
    return ""


def _cut(text: str, width: int) -> str:
    return f"({text})" if width >= WORD else f"(({text}) & {_mask(width)})"
