"""Accumulate over positions, against one addition and one clip at a time."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_accumulate, brute_conv_accumulate
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from layers import brute_layer, conv_layers, layers, random_bits, random_deltas, random_signs
from search import counter_arrays, mmaxes, search

from popflip.golden.conv.accumulate import accumulate, saturating_sum
from popflip.golden.gft.accumulate import accumulate as dense_accumulate
from popflip.golden.layers import Layer, Planes

seeds = st.integers(0, 2**32 - 1)
random_inputs = st.sampled_from((random_bits, random_signs))
dclips = st.sampled_from((1, 3, 32_767))


def brute(m: np.ndarray, delta: np.ndarray, a: np.ndarray, layer: Layer, mmax: int) -> list[list[int]]:
    counters = m.tolist()
    for delta_s, a_s in zip(delta.tolist(), a.tolist(), strict=True):
        counters = brute_conv_accumulate(counters, delta_s, a_s, brute_layer(layer), mmax)
    return counters


@search
@given(layers, mmaxes, dclips, random_inputs, seeds, st.data())
def test_equals_the_definition(layer, mmax, dclip, inputs, seed, data):
    rng = np.random.default_rng(seed)
    m = data.draw(counter_arrays(mmax, (layer.rows, layer.synapses)))
    delta, a = random_deltas(rng, (3, layer.neurons), dclip), inputs(rng, (3, layer.inputs.size))
    before = m.copy()
    result = accumulate(m, delta, a, layer, mmax)
    assert result.dtype == np.int16
    assert result.tolist() == brute(m, delta, a, layer, mmax)
    assert m.tolist() == before.tolist()


@pytest.mark.parametrize("chunk", [1, 3, 128])
@pytest.mark.parametrize("mmax", [1, 7, 60, 32_767])
@pytest.mark.parametrize("inputs", [random_bits, random_signs])
def test_long_streams_equal_the_definition(mmax, inputs, chunk, monkeypatch):
    """Many votes for few counters; one row without votes, one that mostly goes up."""
    monkeypatch.setattr("popflip.golden.conv.accumulate._CHUNK", chunk)
    layer, rng = Layer(Planes(7, 6, 2), 3, 3, pool=2), np.random.default_rng(11)
    m = rng.integers(-mmax, mmax + 1, (3, 18)).astype(np.int16)
    delta = random_deltas(rng, (20, layer.neurons), 3).reshape(20, -1, 3)
    delta[..., 1] = 0
    delta[..., 2] = np.abs(delta[..., 2])
    delta, a = delta.reshape(20, -1), inputs(rng, (20, layer.inputs.size))
    assert accumulate(m, delta, a, layer, mmax).tolist() == brute(m, delta, a, layer, mmax)


def test_no_vote_is_walked_where_nothing_can_saturate(monkeypatch):
    monkeypatch.setattr("popflip.golden.conv.accumulate.saturating_sum", None)
    layer, rng = Layer(Planes(7, 7), 2, 3), np.random.default_rng(13)
    m = rng.integers(-100, 101, (2, 9)).astype(np.int16)
    delta, a = random_deltas(rng, (5, layer.neurons), 3), random_bits(rng, (5, 49))
    assert accumulate(m, delta, a, layer, 32_767).tolist() == brute(m, delta, a, layer, 32_767)
    with pytest.raises(TypeError):
        accumulate(m, delta, a, layer, 100)


@search
@given(st.integers(1, 4), st.integers(1, 9), mmaxes, dclips, random_inputs, seeds, st.data())
def test_a_dense_layer_is_the_case_of_one_position(rows, width, mmax, dclip, inputs, seed, data):
    rng, layer = np.random.default_rng(seed), Layer(Planes(1, 1, width), rows, bias=1)
    m = data.draw(counter_arrays(mmax, (rows, width + 1)))
    delta, a = random_deltas(rng, (9, rows), dclip), inputs(rng, (9, width))
    with_bias = np.concatenate([a, np.ones((9, 1), a.dtype)], axis=1).astype(np.int8)
    result = accumulate(m, delta, a, layer, mmax)
    assert result.tolist() == dense_accumulate(m, delta, with_bias, mmax).tolist()
    assert result.tolist() == brute_accumulate(m.tolist(), delta.tolist(), with_bias.tolist(), mmax)


@pytest.mark.parametrize("sign", [1, -1])
def test_counters_saturate_at_every_position(sign):
    """From 2 of ±2, votes +1 and −1 in the order of positions leave 1; in the other order, 2."""
    layer, a = Layer(Planes(1, 2), 1, 1), np.ones((1, 2), np.uint8)
    m = np.array([[2 * sign]], np.int16)
    assert accumulate(m, np.array([[sign, -sign]], np.int32), a, layer, 2).tolist() == [[sign]]
    assert accumulate(m, np.array([[-sign, sign]], np.int32), a, layer, 2).tolist() == [[2 * sign]]


def test_positions_of_a_pool_are_taken_row_by_row():
    """Two pools beside each other: positions 0 and 1 are the first's, 2 and 3 the second's, 4 and 5 the first's."""
    layer = Layer(Planes(2, 4), 1, 1, pool=2)
    a = np.array([[1, 0, 1, 0, 1, 0, 0, 0]], np.uint8)
    delta = np.array([[1, -1]], np.int32)
    assert accumulate(np.array([[1]], np.int16), delta, a, layer, 1).tolist() == [[1]]  # +1, −1, +1 from 1: 1, 0, 1


@search
@given(st.data(), mmaxes, st.integers(0, 40))
def test_saturating_sums_equal_steps(data, mmax, steps):
    m = data.draw(counter_arrays(mmax, (3,)))
    largest = data.draw(st.sampled_from((1, 3, mmax, 32_767)))
    votes = data.draw(arrays(np.int32, (steps, 3), elements=st.integers(-largest, largest)))
    expected = [[m_i] for m_i in m.tolist()]
    for vote in votes.tolist():
        expected = [[max(-mmax, min(mmax, row[0] + each))] for row, each in zip(expected, vote, strict=True)]
    assert saturating_sum(m, votes, mmax).tolist() == [row[0] for row in expected]


def test_saturating_sums_are_exact_beyond_32_bits():
    votes = np.full((2**17, 1), 32_767, np.int32)
    assert saturating_sum(np.array([5], np.int16), votes, 9).tolist() == [9]
    votes[-1] = -2
    assert saturating_sum(np.array([5], np.int16), votes, 9).tolist() == [7]


def test_votes_may_add_up_to_more_than_32_bits(monkeypatch):
    """16 positions a pool × 4,096 pools × 32,767 a vote."""
    layer = Layer(Planes(256, 256), 1, 1, pool=4)
    delta, a = np.full((2, layer.neurons), 32_767, np.int32), np.ones((2, 2**16), np.uint8)
    assert accumulate(np.array([[-9]], np.int16), delta, a, layer, 9).tolist() == [[9]]
    delta[1] = -1
    assert accumulate(np.array([[-9]], np.int16), delta, a, layer, 9).tolist() == [[-9]]


@search
@given(conv_layers(), seeds)
def test_splitting_a_stream_changes_nothing(layer, seed):
    rng = np.random.default_rng(seed)
    m = rng.integers(-7, 8, (layer.rows, layer.synapses)).astype(np.int16)
    delta, a = random_deltas(rng, (4, layer.neurons), 2), random_bits(rng, (4, layer.inputs.size))
    split = accumulate(accumulate(m, delta[:1], a[:1], layer, 7), delta[1:], a[1:], layer, 7)
    assert split.tolist() == accumulate(m, delta, a, layer, 7).tolist()
    assert accumulate(m, delta[:0], a[:0], layer, 7).tolist() == m.tolist()
