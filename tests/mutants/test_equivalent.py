"""The reasons of ``equivalent.toml``, tried: any value of a listed constant gives the same result as the usual one.

A fault of the golden model may be listed only if it is the value of a constant of :data:`SIZES`, whose reason says
that any value will do, or if it is in a line of :data:`CHOICES` between two ways to the same result, both of which run.
A fault of the hardware is compared by a solver (``tests/proofs/test_equivalent.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
from mutate import ROOT, equivalent
from mutations import fault_of

from popflip.golden.config import AnyConfig, Config, LbeConfig
from popflip.golden.trainer import Trainer

GFT = Config((30, 12, 9, 4), k0=(40, 20, 9), window=(6, 4), margin=9, dclip=3, mmax=6, batch=140, seed=2)
WHOLE = Config((12, 5, 3), k0=(9, 4), window=(2,), margin=4, batch=1030, seed=3)
LBE = LbeConfig((40, 33, 17), 5, group=(8, 4), margin=(9, 6), reinforce_p256=9, mmax=7, seed=4)


def run(config: AnyConfig, samples: int) -> tuple:
    """State, counts and predictions after two batches of ``samples`` noisy samples, most of which trigger an update."""
    generator = np.random.default_rng(1)
    y = generator.integers(0, config.classes, 2 * samples)
    x = generator.integers(0, 2, (config.classes, config.inputs))[y] ^ (generator.random((2 * samples, 1)) < 0.3)
    x = (x ^ (generator.random(x.shape) < 0.2)).astype(np.uint8)
    trainer = Trainer(config)
    for half in (slice(samples), slice(samples, None)):
        trainer.train(x[half], y[half])
        trainer.end_batch(config.schedule(0, 2))
    assert trainer.errors > samples / 2
    return trainer.state.sha256(), trainer.signature, trainer.errors, trainer.correct, trainer.infer(x).tolist()


SIZES: dict[tuple[str, str], Callable[[], tuple]] = {
    ("golden/gft/accumulate.py", "_CHUNK"): lambda: run(GFT, 140),
    ("golden/gft/accumulate.py", "_BLOCK"): lambda: run(GFT, 140),
    ("golden/gft/accumulate.py", "_SPARSE"): lambda: run(GFT, 140),
    ("golden/trainer.py", "_CHUNK"): lambda: run(WHOLE, 1030),
    ("golden/lbe/engine.py", "_CHUNK"): lambda: run(LBE, 70),
}
"""Constants that may have any value, by file and name, and a run whose result must not depend on them."""

CHOICES: dict[tuple[str, str], tuple[Callable[[ModuleType], object], str]] = {
    ("golden/common/prng.py", "stride = _STRIDE if count >= _LONG else 0"): (
        lambda prng: [prng.Xorshift32(7).draws(prng._LONG + more).tolist() for more in (-1, 0, 1)],
        "stride = _STRIDE if count >= _LONG and self.draw() else 0",
    ),
    ("golden/common/prng.py", "while known < count:"): (
        lambda prng: [prng.Xorshift32(7).draws(count).tolist() for count in (1, 2, 3, 4, 8, 9)],
        "while known < count - 1:",
    ),
}
"""Lines that choose between two ways to the same result, by file and code: a run of a module that takes both ways, and
a wrong line, which the run sees."""

ANY = (1, 2, 7, 64)
"""Values that no fault plants: the reasons speak of any."""


@cache
def usual(place: tuple[str, str]) -> tuple:
    """The result with the value of the sources."""
    return SIZES[place]()


def constant(entry: dict[str, str]) -> tuple[str, str]:
    """File and name of the constant whose line an entry changes."""
    return entry["path"], entry["code"].partition(" = ")[0]


def faulty_value(entry: dict[str, str]) -> int:
    """The value of the constant in the faulty source."""
    source = (ROOT / entry["path"]).read_bytes()
    faulty = fault_of(entry, source).apply(source).decode()
    line = next(line for line in faulty.splitlines() if line.startswith(f"{constant(entry)[1]} = "))
    return eval(line.partition(" = ")[2])


GOLDEN = [entry for entry in equivalent() if entry["path"].startswith("golden/")]


SIZED = [entry for entry in GOLDEN if (entry["path"], entry["code"]) not in CHOICES]


def test_every_entry_is_tried():
    assert {constant(entry) for entry in SIZED} <= SIZES.keys()
    assert all(entry["path"].startswith(("golden/", "hw/")) for entry in equivalent())


@pytest.mark.parametrize("place", SIZES, ids=":".join)
def test_any_value_of_the_constant_gives_the_same_result(place, monkeypatch):
    path, name = place
    module = import_module(f"popflip.{path.removesuffix('.py').replace('/', '.')}")
    expected = usual(place)
    for value in (*ANY, *(faulty_value(entry) for entry in SIZED if constant(entry) == place)):
        monkeypatch.setattr(module, name, value)
        assert SIZES[place]() == expected, value


def faulty_module(path: str, source: bytes) -> ModuleType:
    """The module of a file of the golden model, made from ``source``."""
    faulty = ModuleType(f"popflip.{path.removesuffix('.py').replace('/', '.')}")
    faulty.__package__ = faulty.__name__.rpartition(".")[0]
    exec(compile(source, path, "exec"), vars(faulty))
    return faulty


@pytest.mark.parametrize("place", CHOICES, ids=":".join)
def test_both_ways_give_the_same_result(place):
    path, code = place
    run_both, wrong = CHOICES[place]
    source = (ROOT / path).read_bytes()
    expected = run_both(faulty_module(path, source))
    entries = [entry for entry in GOLDEN if (entry["path"], entry["code"]) == place]
    assert entries
    for entry in entries:
        assert run_both(faulty_module(path, fault_of(entry, source).apply(source))) == expected
    assert run_both(faulty_module(path, source.replace(code.encode(), wrong.encode()))) != expected


def test_the_run_sees_a_constant_that_matters(monkeypatch):
    """The sizes are looked up when they are used, so the tests above can fail."""
    module = import_module("popflip.golden.gft.accumulate")
    monkeypatch.setattr(module, "product", lambda a, b, bound: np.zeros((len(a), b.shape[1]), np.int64))
    assert run(GFT, 140) != usual(("golden/gft/accumulate.py", "_CHUNK"))
