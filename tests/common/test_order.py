"""The chip's order of samples, against a definition bit by bit, and what makes it an order."""

from __future__ import annotations

import re

import numpy as np
import pytest
from brute import brute_order
from hypothesis import given
from hypothesis import strategies as st
from search import search

from popflip.golden.common.order import KEY_WORDS, MOST, draw_key, key_of, order_state, permutation, permuted
from popflip.golden.common.prng import Xorshift32
from popflip.golden.errors import ConfigError
from popflip.hw.common.order import Order
from popflip.sim.bench.parts import SideBySide

keys = st.tuples(*[st.integers(0, 0xFFFF)] * (2 * KEY_WORDS))


@search
@given(keys, st.integers(1, 300))
def test_the_order_equals_the_definition(key, count):
    assert permutation(key, count).tolist() == [brute_order(key, count, place) for place in range(count)]


@search
@given(keys, st.integers(1, MOST), st.data())
def test_single_places_of_large_sets_equal_the_definition(key, count, data):
    place = data.draw(st.integers(0, count - 1))
    assert permuted(key, count, np.array([[place]])).tolist() == [[brute_order(key, count, place)]]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 63, 64, 65, 1437, 4096, 60_000])
def test_every_sample_comes_once(count):
    order = permutation(key_of(1, 0), count)
    assert order.dtype == np.int64
    assert np.sort(order).tolist() == list(range(count))


def test_every_epoch_has_its_own_key():
    prng = Xorshift32(order_state(7))
    drawn = [draw_key(prng) for _ in range(50)]
    assert [key_of(7, epoch) for epoch in range(50)] == drawn
    assert len(set(drawn)) == 50
    assert key_of(1, 0) != key_of(2, 0)


def test_the_first_orders_of_seed_1():
    """Written down, so that no change of the rule goes unnoticed."""
    assert key_of(1, 0) == (32604, 37858, 47704, 23867, 17248, 25701)
    assert permutation(key_of(1, 0), 10).tolist() == [6, 1, 5, 9, 3, 8, 2, 4, 0, 7]
    assert permutation(key_of(1, 1), 10).tolist() == [9, 1, 4, 2, 3, 6, 8, 7, 0, 5]
    assert permuted(key_of(1, 0), MOST, np.array([5])).tolist() == [16_551_084]


def test_a_seed_whose_state_would_be_zero_works(monkeypatch):
    monkeypatch.setattr("popflip.golden.common.order.first_state", lambda seed: 0x5BD1E995)
    assert order_state(0) == 1


def test_places_outside_the_set_are_refused():
    with pytest.raises(ValueError, match=r"^places 0 … 5 are outside 0 … 4$"):
        permuted(key_of(1, 0), 5, np.arange(6))
    with pytest.raises(ValueError, match=r"^places -1 … -1 are outside 0 … 4$"):
        permuted(key_of(1, 0), 5, np.array([-1]))


@pytest.mark.parametrize("count", [0, -1, MOST + 1])
def test_an_impossible_set_is_refused(count):
    message = f"samples {count}: the chip's order has 1 … 16,777,216 samples"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        permutation(key_of(1, 0), count)


# On the chip ----------------------------------------------------------------------------------------------------------

PARTS = {
    "two": {"most": 2, "counts": [1, 2]},
    "small": {"most": 37, "counts": [5, 37, 1, 33]},
    "large": {"most": MOST, "counts": [100, 65]},
}


def run(testbench, **parameters) -> None:
    dut = SideBySide({name: Order(part["most"]) for name, part in PARTS.items()})
    testbench(dut, "popflip.sim.common.tb_order", {"parts": PARTS, "seed": 5, **parameters})


def test_hardware_equals_golden(testbench):
    run(testbench)


def test_a_wrong_number_is_named(testbench):
    with pytest.raises(AssertionError, match="small: 37 samples, place 20: "):
        run(testbench, wrong=["small", 37, 20])
