"""Shared by the tests of layers with positions: random layers and networks, and each layer by its definition."""

from __future__ import annotations

import numpy as np
from brute import BruteLayer
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from numpy.typing import NDArray

from popflip.golden.layers import Conv, Layer, Planes, plan

MAX_PRODUCTS = 4000  # of a layer and sample: the definitions are slow


def brute_layer(layer: Layer) -> BruteLayer:
    """``layer`` by its definition."""
    planes = layer.inputs
    shape = (planes.height, planes.width, planes.channels)
    return BruteLayer(*shape, layer.rows, layer.kernel, layer.stride, layer.pool, layer.bias)


@st.composite
def conv_layers(draw: DrawFn) -> Layer:
    """A convolutional layer: kernels 1 to 9, every stride and pool, odd sizes, patches larger than the image."""
    kernel, stride, pool = draw(st.sampled_from((1, 3, 5, 7, 9))), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    least = (pool - 1) * stride + 1
    sizes = st.integers(least, least + 5)
    channels = draw(st.integers(1, 3))
    layer = Layer(Planes(draw(sizes), draw(sizes), channels), draw(st.integers(1, 4)), kernel, stride, pool)
    if layer.positions * layer.rows * layer.synapses > MAX_PRODUCTS:
        layer = Layer(Planes(least, least, 1), 1, kernel, stride, pool)
    return layer


dense_layers = st.builds(
    lambda width, rows, bias: Layer(Planes(1, 1, width), rows, bias=bias),
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(0, 1),
)
layers = st.one_of(conv_layers(), dense_layers)


@st.composite
def networks(draw: DrawFn) -> tuple[Layer, ...]:
    """One to three convolutional layers and one or two dense ones."""
    items: list = [Planes(draw(st.integers(4, 9)), draw(st.integers(4, 9)), draw(st.integers(1, 2)))]
    layers: list[Layer] = []
    for _ in range(draw(st.integers(1, 3))):
        inputs = layers[-1].outputs if layers else items[0]
        shortest = min(inputs.height, inputs.width)
        stride = draw(st.integers(1, min(3, shortest)))
        pool = draw(st.integers(1, min(3, (shortest - 1) // stride + 1)))
        conv = Conv(draw(st.integers(1, 4)), draw(st.sampled_from((1, 3, 5))), stride, pool)
        layers.append(Layer(inputs, conv.rows, conv.kernel, conv.stride, conv.pool))
        items.append(conv)
    items += [draw(st.integers(1, 9)) for _ in range(draw(st.integers(0, 1)))]
    return plan([*items, draw(st.integers(2, 5))])


def random_bits(rng: np.random.Generator, shape: tuple[int, ...], density: float = 0.4) -> NDArray[np.uint8]:
    """0 and 1."""
    return (rng.random(shape) < density).astype(np.uint8)


def random_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """−1 and +1."""
    return rng.choice(np.array([-1, 1], np.int8), shape)


def random_deltas(rng: np.random.Generator, shape: tuple[int, ...], dclip: int) -> NDArray[np.int32]:
    """Errors of neurons, half of them 0."""
    return (rng.integers(-dclip, dclip + 1, shape) * rng.integers(0, 2, shape)).astype(np.int32)
