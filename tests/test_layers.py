"""Layers as text and as shapes: what is read, what follows from it, and one line for what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search import search

from popflip.golden.errors import ConfigError
from popflip.golden.layers import Conv, Layer, Planes, parse, plain, plan

MNIST = "28x28,c16k5p2,c32k5s2,10"


def test_a_network_by_hand():
    items = parse(MNIST)
    assert items == (Planes(28, 28), Conv(16, 5, pool=2), Conv(32, 5, stride=2), 10)
    first, second, last = plan(items)
    assert first == Layer(Planes(28, 28), 16, kernel=5, pool=2)
    assert (first.synapses, first.outputs, first.positions, first.pools) == (25, Planes(14, 14, 16), 784, 196)
    assert second == Layer(Planes(14, 14, 16), 32, kernel=5, stride=2)
    assert (second.synapses, second.outputs, second.positions, second.neurons) == (400, Planes(7, 7, 32), 49, 1568)
    assert last == Layer(Planes(1, 1, 1568), 10, bias=1)
    assert (last.synapses, last.outputs, last.positions) == (1569, Planes(1, 1, 10), 1)


@pytest.mark.parametrize(
    ("text", "synapses", "products"),
    [
        ("784,256,10", 203_530, 203_530),
        ("28x28,c8k5p2,c16k5p2,10", 11_250, 791_850),
        ("28x28,c16k5s2,c32k5s2,10", 28_890, 721_290),
        ("28x28,c64k9s3,10", 69_194, 582_410),
        (MNIST, 28_890, 956_490),
        ("28x28,c16k5p2,c32k5p2,10", 28_890, 2_838_090),
        ("28x28,c32k5s2,c64k5s2,10", 83_370, 2_696_970),
        ("28x28,c32k5p2,c64k5p2,256,10", 857_642, 11_468_042),
    ],
)
def test_sizes_of_known_networks(text, synapses, products):
    """Synapses, and multiply-adds a sample, of docs/conv.md's table."""
    layers = plan(parse(text))
    assert sum(layer.rows * layer.synapses for layer in layers) == synapses
    assert sum(layer.positions * layer.rows * layer.synapses for layer in layers) == products


@pytest.mark.parametrize(
    ("layer", "outputs", "positions"),
    [
        (Layer(Planes(8, 8, 2), 5, 5, stride=3), Planes(3, 3, 5), 9),
        (Layer(Planes(7, 9), 1, 3, pool=2), Planes(3, 4, 1), 48),  # the last row and column are unused
        (Layer(Planes(7, 9), 1, 3, stride=4, pool=2), Planes(1, 1, 1), 4),
        (Layer(Planes(2, 3, 4), 2, 15), Planes(2, 3, 2), 6),  # patches larger than the image
        (Layer(Planes(1, 1, 6), 3, bias=1), Planes(1, 1, 3), 1),
    ],
)
def test_positions_by_hand(layer, outputs, positions):
    assert (layer.outputs, layer.positions) == (outputs, positions)


def test_a_dense_network_has_one_position_a_layer():
    assert plan(parse((784, 256, 10))) == (Layer(Planes(1, 1, 784), 256, bias=1), Layer(Planes(1, 1, 256), 10, bias=1))
    assert plan(parse("784,256"), bias=0) == (Layer(Planes(1, 1, 784), 256),)
    assert plan(parse("28x28x2,10")) == (Layer(Planes(1, 1, 1568), 10, bias=1),)


def test_items_have_one_shortest_form():
    assert plain(parse(" 28x28x1, c016k5s1p1 ,c8k3s2p1,010")) == ("28x28", "c16k5", "c8k3s2", 10)
    assert plain(parse(["8x8x4", "c12k5s2p2", "33", 10])) == ("8x8x4", "c12k5s2p2", 33, 10)


convolutions = st.builds(
    Conv, st.integers(1, 65_535), st.integers(0, 7).map(lambda n: 2 * n + 1), st.integers(1, 4), st.integers(1, 4)
)
images = st.builds(Planes, st.integers(1, 90), st.integers(1, 90), st.integers(1, 8))


@search
@given(st.lists(st.one_of(convolutions, images, st.integers(1, 65_535))))
def test_text_and_items_are_inverse(items):
    assert parse(plain(items)) == tuple(items)
    assert not items or parse(",".join(map(str, items))) == tuple(items)
    assert parse(items) == tuple(items)


FORMS = "a number of neurons, an image such as 28x28, or a convolution such as c16k5s1p2"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("", f"layers[0]: '' is not {FORMS}"),
        (None, f"layers: None is not a list of layers; give {FORMS}"),
        (64, f"layers: 64 is not a list of layers; give {FORMS}"),
        (b"64,10", f"layers: b'64,10' is not a list of layers; give {FORMS}"),
        ("28x28", "layers: 1 given, expected the inputs and 1 to 8 layers after them"),
        ("28x28" + ",c1k1" * 8 + ",10", "layers: 10 given, expected the inputs and 1 to 8 layers after them"),
        ("28x28,c16k5p2s2,10", f"layers[1]: 'c16k5p2s2' is not {FORMS}"),
        ("28x28,C16K5,10", f"layers[1]: 'C16K5' is not {FORMS}"),
        ("28x28,c16,10", f"layers[1]: 'c16' is not {FORMS}"),
        ("28x28,c٣k5,10", f"layers[1]: 'c٣k5' is not {FORMS}"),
        ("28x28x1x1,10", f"layers[0]: '28x28x1x1' is not {FORMS}"),
        ("64,-3,10", f"layers[1]: '-3' is not {FORMS}"),
        ((64, 33.0, 10), f"layers[1]: 33.0 is not {FORMS}"),
        ((64, True, 10), f"layers[1]: True is not {FORMS}"),
        ("9" * 5000, f"layers[0]: '{'9' * 36}… is not {FORMS}"),
        ((64, 0, 10), "layers[1]: 0 is outside 1 … 65535"),
        ((64, 10**20, 10), "layers[1]: 100000000000000000000 is outside 1 … 65535"),
        ((64, 10**5000, 10), "layers[1]: a number of 16610 bits is outside 1 … 65535"),
        ("28x28,c0k5,10", "layers[1]: rows: 0 is outside 1 … 65535"),
        ("28x28,c16k4,10", "layers[1]: kernel: 4 is even; take 3 or 5"),
        ("28x28,c16k17,10", "layers[1]: kernel: 17 is outside 1 … 15"),
        ("28x28,c16k0,10", "layers[1]: kernel: 0 is outside 1 … 15"),
        ("28x28,c16k5s0,10", "layers[1]: stride: 0 is outside 1 … 4"),
        ("28x28,c16k5s5,10", "layers[1]: stride: 5 is outside 1 … 4"),
        ("28x28,c16k5p5,10", "layers[1]: pool: 5 is outside 1 … 4"),
        ("0x28,c16k5,10", "layers[0]: height: 0 is outside 1 … 65535"),
        ("28x0,c16k5,10", "layers[0]: width: 0 is outside 1 … 65535"),
        ("28x28x0,c16k5,10", "layers[0]: planes: 0 is outside 1 … 65535"),
        ("256x256,c16k5,10", "layers[0]: input bits: 65536 is outside 1 … 65535"),
        ("c16k5,10", "layers[0]: c16k5 needs an image before it, such as 28x28"),
        ("784,c16k5,10", "layers[1]: c16k5 follows 784; convolutions come first, and after an image"),
        ("28x28,64,c16k5,10", "layers[2]: c16k5 follows 64; convolutions come first, and after an image"),
        ("28x28,c16k5,14x14,10", "layers[2]: 14x14 is an image; only the first item may be one"),
        ("28x28,c16k5", "layers[1]: c16k5 is the last layer; the last one is dense"),
        ("8x8,28x28", "layers[1]: 28x28 is an image; only the first item may be one"),
        (
            "5x9,c4k3s2p4,10",
            "layers[1]: c4k3s2p4 has no 4 × 4 positions on 5 × 9 pixels; pool or stride less",
        ),
        (
            "200x300,c60k3,10",
            "layers[1]: c60k3 has 3600000 neurons, more than 1048576; pool more, or take fewer rows",
        ),
    ],
)
def test_what_is_no_network_is_one_line(layers, message):
    with pytest.raises(ConfigError) as error:
        plan(parse(layers))
    assert str(error.value) == message
