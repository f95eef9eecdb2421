"""The tools behind ``make mutate``: which faults they plant, and which tests they choose."""

from __future__ import annotations

from itertools import islice

import pytest
from covering import CoveringTests
from mutate import Stale, candidates, equivalent, without_equivalent
from mutations import mutations, sample
from paths import ROOT
from tree import _judge

COVERING = CoveringTests(ROOT)
FOUND = candidates(ROOT)


def faults(source: str) -> list[tuple[str, str]]:
    """Kind of each mutation, and the source that it leads to."""
    encoded = source.encode()
    return [(m.kind, m.apply(encoded).decode()) for m in mutations("x.py", encoded)]


@pytest.mark.parametrize(
    ("source", "kind", "mutants"),
    [
        ("a < b", "comparison", ["a <= b"]),
        ("a >= b != c", "comparison", ["a > b != c", "a >= b == c"]),
        ("a & b", "operator", ["a | b"]),
        ("(a + b) - c", "operator", ["(a - b) - c", "(a + b) + c"]),
        ("a and b", "operator", ["a or b"]),
        ("min(a, b)", "operator", ["max(a, b)"]),
        ("a - b", "swap", ["(b) - (a)"]),
        ("Mux(a, b, c)", "swap", ["Mux(a, (c), (b))"]),
        ("~(a | δ)", "inversion", ["(a | δ)"]),
        ("m.If(a)", "inversion", ["m.If(~(a))"]),
        ("b if a else c", "inversion", ["b if not (a) else c"]),
        ("x[3]", "constant", ["x[2]", "x[4]"]),
        ("Signal(range(n))", "width", ["Signal(range((n) // 2))"]),
        ("Signal(signed(n + 1))", "width", ["Signal(signed((n + 1) - 1))"]),
        ("Signal(init=1)", "reset", ["Signal(init=0)"]),
        ("m.d.sync += a.eq(b)", "drop", ["pass"]),
        ("m.d.comb += [a.eq(b), c.eq(d)]", "drop", ["m.d.comb += [*(), c.eq(d)]", "m.d.comb += [a.eq(b), *()]"]),
        ("δ[t] = 1", "drop", ["pass"]),
    ],
)
def test_faults_of_each_kind(source, kind, mutants):
    assert sorted(mutant for found, mutant in faults(source) if found == kind) == sorted(mutants)


@pytest.mark.parametrize(
    "source",
    ['"""One < 2."""', "x: 3 = y", "raise E(1 < 2)", 'f"{a + 1}"', "m.submodules += a", "if TYPE_CHECKING:\n    a = 1"],
)
def test_what_decides_no_value_stays(source):
    assert faults(source) == []


def test_every_mutant_of_the_sources_is_python():
    for path, found in FOUND.items():
        source = (ROOT / path).read_bytes()
        for mutation in islice(found, 0, None, 50):  # all of them take a minute
            compile(mutation.apply(source), path, "exec")


def test_a_seed_decides_the_mutants_and_every_file_has_one():
    chosen = list(islice(sample(FOUND, 1), len(FOUND)))
    assert chosen == list(islice(sample(FOUND, 1), len(FOUND)))
    assert chosen != list(islice(sample(FOUND, 2), len(FOUND)))
    assert sorted(mutation.path for mutation in chosen) == sorted(FOUND)
    assert len(FOUND) > 60


def test_the_list_of_equivalent_mutants_fits_the_sources():
    without_equivalent(FOUND, equivalent())


@pytest.mark.parametrize("change", [{"code": "a < c"}, {"text": "swap: a → b"}, {"path": "y.py"}, {"reason": " "}])
def test_a_stale_entry_is_an_error(change):
    found = {"x.py": mutations("x.py", b"a < b")}
    entry = {"path": "x.py", "code": "a < b", "text": "comparison: < → <=", "reason": "never equal"}
    assert without_equivalent(found, [entry]) == {"x.py": []}
    with pytest.raises(Stale, match="lack a reason"):
        without_equivalent(found, [entry | change])


def test_an_entry_may_mean_one_of_several_lines():
    found = {"x.py": mutations("x.py", b"a < b\nc = 1 + c\na < b\n")}
    entry = {"path": "x.py", "code": "a < b", "text": "comparison: < → <=", "reason": "never equal"}
    both, second = without_equivalent(found, [entry]), without_equivalent(found, [entry | {"occurrence": 2}])
    assert [mutation.line for mutation in second["x.py"] if mutation.text == entry["text"]] == [1]
    assert len(second["x.py"]) == len(both["x.py"]) + 1
    with pytest.raises(Stale):
        without_equivalent(found, [entry | {"occurrence": 3}])


@pytest.mark.parametrize(
    ("source", "nearest"),
    [
        ("hw/gft/select.py", "tests/gft/test_select.py"),
        ("golden/gft/select.py", "tests/gft/test_select.py"),
        ("hw/gft/first_layer.py", "tests/gft/test_learn.py"),
        ("hw/link/executor.py", "tests/link/test_controller.py"),
        ("golden/lbe/config.py", "tests/test_config.py"),
    ],
)
def test_the_nearest_test_comes_first(source, nearest):
    assert COVERING.of(source)[0] == nearest


def test_every_source_has_tests():
    for path in FOUND:
        assert all((ROOT / test).is_file() for test in COVERING.of(path)), path


@pytest.mark.parametrize(
    ("code", "output", "verdict", "by"),
    [
        (0, "1 passed", "passed", ""),
        (1, "FAILED tests/a.py::test_b[1 - c] - assert 1", "failed", "tests/a.py::test_b[1 - c]"),
        (2, "ERROR tests/a.py\n!! stopping: 1 error during collection !!", "import", "tests/a.py"),
        (-24, "", "time", "SIGXCPU"),
        (-11, "", "failed", "SIGSEGV"),
    ],
)
def test_verdicts(code, output, verdict, by):
    run = _judge(code, output)
    assert (run.verdict, run.by) == (verdict, by)


def test_pytest_that_does_not_run_is_no_verdict():
    with pytest.raises(RuntimeError, match="pytest ended with 4"):
        _judge(4, "no such option")
