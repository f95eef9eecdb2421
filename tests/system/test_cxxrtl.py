"""The pass over CXXRTL's C++, piece by piece; ``test_chip.py`` runs what it writes."""

import pytest

from popflip.sim.cxxrtl.compile import compiler
from popflip.sim.cxxrtl.integers import Integers
from popflip.sim.cxxrtl.parse import Statement
from popflip.sim.cxxrtl.schedule import schedule
from popflip.sim.errors import SimulatorError


def bits(name: str, *indices: int) -> str:
    """The concatenation of single bits of ``name``, the first one highest."""
    first, *others = (f"{name}.slice<{index}>()" for index in indices)
    return first + "".join(f".concat({bit})" for bit in others)


MEMBERS = {"p_c": 64, "p_w": 96, "p_r": 40, "memory_p_m": 12}
SIGNALS = {"p_a": 8, "p_b": 5}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("p_a", "p_a"),
        ("p_r.curr", "get(p_r.curr)"),
        ("memory_p_m[tmp_1.index]", "uint64_t(memory_p_m[tmp_1.index].data[0])"),
        ("value<40>{0x12345678u,0x9au}", "0x9a12345678ull"),
        ("le_uu<1>(p_a, value<0>())", "uint64_t(p_a <= 0x0ull)"),
        ("add_ss<8>(p_a, value<0>())", "((extended<8>(p_a) + 0x0ull) & 0xffull)"),
        ("p_w.concat(value<0>()).concat(p_a).val()", "joined(p_w, value_of<8>(p_a))"),
        ("p_a.slice<7,4>().val()", "(p_a >> 4)"),
        ("p_a.slice<4>().val()", "(p_a >> 4 & 0x1ull)"),
        ("p_w.slice<37,33>().val()", "(uint64_t(p_w.data[1] >> 1) & 0x1full)"),
        ("p_w.slice<33,30>().val()", "bits<30, 4>(p_w)"),
        ("p_w.slice<80,10>().val()", "extract<10, 71>(p_w)"),
        ("p_b.concat(p_a).concat(value<1>{0u}).val()", "(p_b << 9 | p_a << 1)"),
        ("p_w.concat(p_a).val()", "joined(p_w, value_of<8>(p_a))"),
        ("p_c.concat(p_b.concat(p_a)).val()", "joined(value_of<64>(get(p_c)), value_of<13>((p_b << 8 | p_a)))"),
        ("p_a.slice<0>().repeat<3>().val()", "(-(p_a & 0x1ull) & 0x7ull)"),
        ("p_b.repeat<2>().val()", "(p_b * 0x21ull)"),
        ("p_b.slice<2>().repeat<70>().val()", "filled<70>((p_b >> 2 & 0x1ull))"),
        ("add_uu<8>(p_a, p_b)", "((p_a + p_b) & 0xffull)"),
        ("add_ss<9>(p_a, p_b)", "((extended<8>(p_a) + extended<5>(p_b)) & 0x1ffull)"),
        ("and_uu<8>(p_a, p_b)", "(p_a & p_b)"),
        ("gt_ss<1>(p_a, p_b)", "uint64_t(int64_t(extended<8>(p_a)) > int64_t(extended<5>(p_b)))"),
        ("reduce_and<1>(p_b)", "uint64_t(p_b == 0x1full)"),
        ("not_u<8>(p_b)", "((~p_b) & 0xffull)"),
        ("sshr_su<8>(p_a, p_b)", "uint64_t(sshr_su<8>(value_of<8>(p_a), value_of<5>(p_b)).data[0])"),
        ("xor_uu<96>(p_w, p_a)", "xor_uu<96>(p_w, value_of<8>(p_a))"),
        ("(p_b ? p_w : p_w)", "(p_b ? p_w : p_w)"),
        (bits("p_w", 7, 5, 3, 1), "uint64_t(strided<4, 1, 2>(p_w).data[0])"),
        (bits("p_w.curr", 9, 6, 3, 0), "uint64_t(strided<4, 0, 3>(p_w.curr).data[0])"),
    ],
)
def test_expressions_become_integers(before, after):
    assert Integers(MEMBERS, SIGNALS).expression(before).text == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("p_a = p_b.concat(p_b.slice<2,0>()).val();", "p_a = (p_b << 3 | (p_b & 0x7ull));"),
        ("p_r.next = p_r.curr;", "set(p_r.next, get(p_r.curr));"),
        ("p_a.slice<4,1>() = p_b.slice<3,0>().val();", "p_a = (p_a & 0xffffffffffffffe1ull) | ((p_b & 0xfull) << 1);"),
        ("p_w.slice<36,32>() = p_b;", "p_w.data[1] = (p_w.data[1] & 0xffffffe0ull) | (p_b << 0);"),
        ("p_w.slice<34,30>() = p_b;", "put<30, 5>(p_w, p_b);"),
        ("p_w.slice<95,20>() = p_w.slice<75,0>().val();", "insert<20, 76>(p_w, extract<0, 76>(p_w));"),
        ("if (p_a) {", "if (p_a) {"),
        ("if (p_r.curr) {", "if (get(p_r.curr)) {"),
        ("auto tmp_0 = memory_index(p_b, 0, 32);", "auto tmp_0 = memory_index(value_of<5>(p_b), 0, 32);"),
        ("const value<3> &tmp_1 = p_b.slice<2,0>().val();", "const uint64_t tmp_1 = (p_b & 0x7ull);"),
        ("if (p_a == p_b) {", "if (p_a == p_b) {"),
        ("if (p_b == p_r.curr) {", "if (p_b == get(p_r.curr)) {"),
        (
            "p_w = p_w.update(p_w.curr, p_a.slice<0>().repeat<96>().val());",
            "p_w = p_w.update(p_w.curr, filled<96>((p_a & 0x1ull)));",
        ),
        (
            "p_b.slice<4,3>().concat(p_a.slice<0>()) = p_a.slice<2,0>().val();",
            "{ auto all = (p_a & 0x7ull); p_b = (p_b & 0xffffffffffffffe7ull) | ((all >> 1) << 3); "
            "p_a = (p_a & 0xfffffffffffffffeull) | ((all & 0x1ull) << 0); }",
        ),
    ],
)
def test_lines_become_integers(before, after):
    assert Integers(MEMBERS, SIGNALS).line("\t" + before) == "\t" + after


def test_other_names_stand_for_signals():
    integers = Integers(MEMBERS, SIGNALS, lambda name: f"shared_{name}")
    assert integers.line("\tp_a = not_u<8>(p_a);") == "\tshared_p_a = ((~shared_p_a) & 0xffull);"


@pytest.mark.parametrize("line", ["\tp_a += p_b;", "\tp_a = p_b p_a;", "\twhile (p_a) {"])
def test_unknown_lines_are_refused(line):
    with pytest.raises(AssertionError):
        Integers(MEMBERS, SIGNALS).line(line)


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
