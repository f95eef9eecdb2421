"""Samples as payloads of frames."""

from __future__ import annotations

import numpy as np
import pytest

from popflip.devices.sample_codec import packed_items
from popflip.golden.common.packing import pack


@pytest.mark.parametrize("label_bytes", [0, 1, 2])
@pytest.mark.parametrize("size_bytes", [1, 2])
def test_items_are_size_label_and_packed_inputs(label_bytes, size_bytes):
    rng = np.random.default_rng(3)
    samples = rng.integers(0, 256, (9, label_bytes + 200)).astype(np.uint8)
    samples[:, label_bytes:][rng.random((9, 200)) < 0.5] = 0
    items, ends = packed_items(samples, label_bytes, size_bytes)
    by_hand, expected = b"", []
    for sample in samples:
        inputs, _ = pack(sample[None, label_bytes:])
        by_hand += (label_bytes + len(inputs)).to_bytes(size_bytes, "little")
        by_hand += sample[:label_bytes].tobytes() + inputs.tobytes()
        expected.append(len(by_hand))
    assert (items.tobytes(), ends.tolist()) == (by_hand, expected)
