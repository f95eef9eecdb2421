"""The pass over CXXRTL's C++, piece by piece; ``test_chip.py`` runs what it writes."""

import pytest

from popflip.sim.cxxrtl.compile import compiler
from popflip.sim.cxxrtl.expressions import simplify
from popflip.sim.cxxrtl.parse import Statement
from popflip.sim.cxxrtl.schedule import schedule
from popflip.sim.errors import SimulatorError


def chain(*pieces: str) -> str:
    """CXXRTL's concatenation of ``pieces``, the first one highest."""
    first, *others = pieces
    return first + "".join(f".concat({piece})" for piece in others)


def bits(name: str, *indices: int) -> str:
    """The concatenation of single bits of ``name``."""
    return chain(*(f"{name}.slice<{index}>()" for index in indices))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (bits("p_a", 7, 5, 3, 1), "strided<4, 1, 2>(p_a)"),
        (bits("i_b.curr", 9, 6, 3, 0), "strided<4, 0, 3>(i_b.curr)"),
        (bits("p_a", 7, 5, 3), bits("p_a", 7, 5, 3)),  # too few
        (bits("p_a", 7, 5, 4, 1), f"joined({', '.join(bits('p_a', index) for index in (7, 5, 4, 1))})"),
        (chain("p_a", "p_b", "p_c", "p_d"), "joined(p_a, p_b, p_c, p_d)"),
        (chain("p_a", "p_b", "p_c"), chain("p_a", "p_b", "p_c")),
        (f"add_uu<4>(p_x, {chain('p_a', 'p_b', 'p_c', 'p_d')})", "add_uu<4>(p_x, joined(p_a, p_b, p_c, p_d))"),
        (chain("p_a", f"({bits('p_b', 6, 4, 2, 0)})"), "p_a.concat((strided<4, 0, 2>(p_b)))"),
    ],
)
def test_long_concatenations_become_one_call(before, after):
    assert simplify(f"\tp_z = {before};") == f"\tp_z = {after};"


def test_the_target_of_an_assignment_stays():
    target = chain("p_a", "p_b", "p_c", "p_d")
    assert simplify(f"\t{target} = p_z;") == f"\t{target} = p_z;"


def test_statements_run_after_those_they_read():
    last = Statement(["last"], reads={"b"}, defines={"c"}, module=("x",))
    middle = Statement(["middle"], reads={"a"}, defines={"b"}, module=("y",))
    first = Statement(["first"], defines={"a"})
    result = schedule([last, middle, first])
    assert [statement.lines for part in result.parts for statement in part] == [["first"], ["middle"], ["last"]]


def test_feedback_is_refused():
    with pytest.raises(AssertionError, match="feedback"):
        schedule([Statement([], reads={"b"}, defines={"a"}), Statement([], reads={"a"}, defines={"b"})])


def test_large_parts_are_cut_and_share_signals():
    lines = ["x" * 15_000]
    statements = [Statement(lines, {f"s{index - 1}"}, {f"s{index}"}, module=("m",)) for index in range(4)]
    result = schedule(statements)
    assert [len(part) for part in result.parts] == [2, 2]
    assert result.shared == {"s1"}
    assert result.readers["s1"] == {1}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("'", 'CXX: "\'" is not a command: no closing quotation; correct or unset it'),
        ("''", "no C++ compiler for the simulated chip (tried ''): install g++, or set CXX"),
        ("no-such-compiler -O1", "no C++ compiler for the simulated chip (tried no-such-compiler -O1): install g++, or "
         "set CXX"),
    ],
)  # fmt: skip
def test_a_compiler_that_is_none_is_one_line(monkeypatch, wanted, message):
    monkeypatch.setenv("CXX", wanted)
    with pytest.raises(SimulatorError) as error:
        compiler.__wrapped__()
    assert str(error.value) == message


@pytest.mark.parametrize("wanted", ["", " "])
def test_an_empty_compiler_is_the_system_s(monkeypatch, wanted):
    monkeypatch.setenv("CXX", wanted)
    found = compiler.__wrapped__()
    monkeypatch.delenv("CXX")
    assert found == compiler.__wrapped__()
