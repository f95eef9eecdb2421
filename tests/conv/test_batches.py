"""Whole batches over layers with positions, against the brute-force stages in the order of the definition."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from brute import (
    brute_conv_accumulate,
    brute_conv_backward,
    brute_conv_forward,
    brute_conv_pixels,
    brute_output_error,
    brute_predict,
    brute_weights,
)
from brute_run import BruteBatches, assert_equal_runs
from layers import brute_layer

from popflip.golden.config import Config, Precision
from popflip.golden.gft.engine import GftEngine
from popflip.golden.trainer import Trainer


class BruteTrainer(BruteBatches):
    """The learning rule over positions in plain Python numbers, one sample at a time."""

    def __init__(self, config: Config):
        self.layers = [brute_layer(layer) for layer in config.plan]
        shapes = [(layer.rows, layer.synapses) for layer in self.layers]
        super().__init__(config, brute_weights(shapes, config.precision, config.seed))

    def predict(self, bits: list[int]) -> int:
        return brute_predict(self.forward(bits)[1][-1])

    def forward(self, bits: list[int]) -> tuple[list[int], list[list[int]]]:
        image = self.config.image
        x = brute_conv_pixels(bits, image.height, image.width, image.channels)
        return x, brute_conv_forward(self.weights, x, self.layers)

    def train(self, bits: list[int], t: int) -> None:
        x, v = self.forward(bits)
        self.correct += brute_predict(v[-1]) == t
        updates, rival = brute_output_error(v[-1], t, self.config.margin)
        if not updates:
            return
        self.errors += 1
        delta = [(c == t) - (c == rival) for c in range(self.config.classes)]
        deltas = brute_conv_backward(self.weights, v, delta, self.config.window, self.config.dclip, self.layers)
        inputs = [x] + [[1 if v_o > 0 else -1 for v_o in sums] for sums in v[:-1]]
        for index, (d, a, mmax) in enumerate(zip(deltas, inputs, self.config.mmaxes, strict=True)):
            self.counters[index] = brute_conv_accumulate(self.counters[index], d, a, self.layers[index], mmax)


CONFIGS = {
    "one convolution": Config("6x5x2,c3k3p2,3", k0=(6, 9), margin=9, window=(3,), batch=6),
    "strides": Config("9x8,c4k5s2,c3k3s2p2,4", k0=(6, 9, 9), margin=6, window=(4, 9), dclip=3, shift=2, batch=6),
    "small counters": Config("6x6,c3k3,c4k3p3,3", k0=(9, 9, 4), margin=9, window=(4, 9), mmax=(9, 3, 1), batch=6),
    "one mmax": Config("5x5,c3k7,3,3", k0=(9, 9, 4), margin=5, window=(4, 9), mmax=12, shift=None, batch=6),
    "dense": Config((12, 7, 3), k0=(9, 4), window=(3,), margin=4, mmax=3, batch=6),
    "dense on planes": Config("3x2x2,3", k0=(9,), margin=4, flip_p256=77, batch=6),
}


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seen", [50, 2**22])
def test_equals_the_definition(name, precision, seen, monkeypatch):
    monkeypatch.setattr("popflip.golden.gft.engine._SEEN", seen)
    config = dataclasses.replace(CONFIGS[name], precision=precision)
    assert_equal_runs(config, BruteTrainer(config), 3)


@pytest.mark.parametrize(("seen", "sizes"), [(1, [1] * 10), (540, [2] * 5), (9 * 270, [9, 1]), (10**6, [10])])
def test_samples_at_a_time_hold_no_more_patches_than_allowed(monkeypatch, seen, sizes):
    """The layer with the most inputs of patches decides."""
    monkeypatch.setattr("popflip.golden.gft.engine._SEEN", seen)
    engine = GftEngine(Config("6x5,c3k3,c2k3s2,3", k0=(6, 9, 9), margin=9, window=(3, 3), batch=6))
    assert [layer.pools * layer.synapses for layer in engine.config.plan[:2]] == [270, 243]
    assert [len(range(10)[chunk]) for chunk in engine._chunks(10)] == sizes


def test_inference_of_no_samples():
    config = CONFIGS["strides"]
    assert Trainer(config).infer(np.zeros((0, 72), np.uint8)).tolist() == []
