"""A run of the golden model of rule gft beside its definition in plain Python: the end of a batch, and all compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from brute import Layer, brute_bytes, brute_crc32, brute_flip, brute_select

from popflip.golden.config import Config
from popflip.golden.trainer import Trainer


class BruteBatches:
    """State and counts of a run that begins with ``initial`` weights and random state, and the end of its batches.

    A definition of the rule adds ``train(bits, class)`` and ``predict(bits)``.
    """

    def __init__(self, config: Config, initial: tuple[list[Layer], int]):
        self.config = config
        self.weights, self.rng = initial
        self.counters = [[[0] * len(row) for row in layer] for layer in self.weights]
        self.errors = self.correct = 0
        self.flips = [0] * config.depth
        self.record_bytes: list[int] = []

    def end_batch(self, k: tuple[int, ...]) -> None:
        """Select and flip, layer by layer."""
        word_base = 0
        for index in range(self.config.depth):
            w, m = self.weights[index], self.counters[index]
            _, _, selected = brute_select(m, w, k[index])
            w, m, records, self.rng = brute_flip(w, m, selected, self.config, self.rng, word_base)
            self.weights[index], self.counters[index] = w, m
            self.flips[index] += sum(mask.bit_count() for _, mask in records)
            self.record_bytes += brute_bytes(records)
            word_base += len(w) * -(-len(w[0]) // 32)


def assert_equal_runs(config: Config, brute: Any, batches: int) -> None:
    """Assert that golden equals ``brute``, a :class:`BruteBatches`.

    In state, counts and signature after each batch, and in predictions at the end.
    """
    rng = np.random.default_rng(21)
    trainer = Trainer(config)
    for batch in range(batches):
        x = rng.integers(0, 2, (config.batch, config.inputs)).astype(np.uint8)
        y = rng.integers(0, config.classes, config.batch)
        trainer.train(x, y)
        for x_s, t in zip(x.tolist(), y.tolist(), strict=True):
            brute.train(x_s, t)
        assert [m.tolist() for m in trainer.state.counters] == brute.counters
        trainer.end_batch(config.schedule(batch, batches))
        brute.end_batch(config.schedule(batch, batches))
        assert [w.tolist() for w in trainer.state.weights] == brute.weights
        assert [m.tolist() for m in trainer.state.counters] == brute.counters
        assert trainer.state.rng == brute.rng
        assert (trainer.errors, trainer.correct, trainer.flips) == (brute.errors, brute.correct, brute.flips)
        assert trainer.signature == brute_crc32(brute.record_bytes)
    assert (trainer.samples, trainer.batches) == (batches * config.batch, batches)
    assert trainer.infer(x).tolist() == [brute.predict(x_s) for x_s in x.tolist()]
