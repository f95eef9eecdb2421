"""Whole batches over layers with positions, against the brute-force stages in the order of the definition."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from brute import (
    brute_bytes,
    brute_conv_accumulate,
    brute_conv_backward,
    brute_conv_forward,
    brute_conv_pixels,
    brute_crc32,
    brute_flip,
    brute_output_error,
    brute_predict,
    brute_select,
    brute_weights,
)
from layers import brute_layer

from popflip.golden.config import Config, Precision
from popflip.golden.gft.engine import GftEngine
from popflip.golden.trainer import Trainer


class BruteTrainer:
    """The learning rule over positions in plain Python numbers, one sample at a time."""

    def __init__(self, config: Config):
        self.config = config
        self.layers = [brute_layer(layer) for layer in config.plan]
        shapes = [(layer.rows, layer.synapses) for layer in self.layers]
        self.weights, self.rng = brute_weights(shapes, config.precision, config.seed)
        self.counters = [[[0] * len(row) for row in layer] for layer in self.weights]
        self.errors = self.correct = 0
        self.flips = [0] * config.depth
        self.record_bytes: list[int] = []

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

    def end_batch(self, k: tuple[int, ...]) -> None:
        word_base = 0
        for index in range(self.config.depth):
            w, m = self.weights[index], self.counters[index]
            _, _, selected = brute_select(m, w, k[index])
            w, m, records, self.rng = brute_flip(w, m, selected, self.config, self.rng, word_base)
            self.weights[index], self.counters[index] = w, m
            self.flips[index] += sum(mask.bit_count() for _, mask in records)
            self.record_bytes += brute_bytes(records)
            word_base += len(w) * -(-len(w[0]) // 32)


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
    rng = np.random.default_rng(21)
    trainer, brute = Trainer(config), BruteTrainer(config)
    for batch in range(3):
        x = rng.integers(0, 2, (config.batch, config.inputs)).astype(np.uint8)
        y = rng.integers(0, config.classes, config.batch)
        trainer.train(x, y)
        for x_s, t in zip(x.tolist(), y.tolist(), strict=True):
            brute.train(x_s, t)
        assert [m.tolist() for m in trainer.state.counters] == brute.counters
        trainer.end_batch(config.schedule(batch, 3))
        brute.end_batch(config.schedule(batch, 3))
        assert [w.tolist() for w in trainer.state.weights] == brute.weights
        assert [m.tolist() for m in trainer.state.counters] == brute.counters
        assert trainer.state.rng == brute.rng
        assert (trainer.errors, trainer.correct, trainer.flips) == (brute.errors, brute.correct, brute.flips)
        assert trainer.signature == brute_crc32(brute.record_bytes)
    assert (trainer.samples, trainer.batches) == (3 * config.batch, 3)
    assert trainer.infer(x).tolist() == [brute_predict(brute.forward(x_s)[1][-1]) for x_s in x.tolist()]


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
