"""Packing, against its format, byte by byte."""

from __future__ import annotations

import numpy as np
import pytest

from popflip.golden.common.packing import GROUP, pack, unpack

WIDTHS = (1, 7, 8, 9, 16, 98, 227)


def packed_by_hand(sample: list[int]) -> list[int]:
    groups = [sample[start : start + GROUP] for start in range(0, len(sample), GROUP)]
    while len(groups) > 1 and not any(groups[-1]):
        groups.pop()
    found = []
    for group in groups:
        found.append(sum((byte != 0) << place for place, byte in enumerate(group)))
        found += [byte for byte in group if byte]
    return found


def unpacked_by_hand(packed: list[int], width: int) -> list[int]:
    sample, base, waiting = [0] * width, -GROUP, []
    for byte in packed:
        if not waiting:
            base += GROUP
            waiting = [base + place for place in range(GROUP) if byte >> place & 1]
            continue
        place = waiting.pop(0)
        if place < width:
            sample[place] = byte
    return sample


def random_samples(width: int, seed: int = 1) -> np.ndarray:
    """Samples ``[n, width]`` with no, all or some nonzero bytes, and with zeros at the end."""
    rng = np.random.default_rng(seed)
    samples = rng.integers(1, 256, (40, width), np.uint8)
    samples[rng.random(samples.shape) >= rng.choice([0, 0.05, 0.3, 0.8, 1], (40, 1))] = 0
    samples[:2] = [[0], [255]]
    samples[np.arange(width) >= rng.integers(0, 2 * width, (40, 1))] = 0
    return samples


@pytest.mark.parametrize("width", WIDTHS)
def test_pack_is_what_the_format_says(width):
    samples = random_samples(width)
    packed, sizes = pack(samples)
    by_hand = [packed_by_hand(sample) for sample in samples.tolist()]
    assert sizes.tolist() == [len(sample) for sample in by_hand]
    assert packed.tolist() == [byte for sample in by_hand for byte in sample]
    assert (packed.dtype, sizes.dtype) == (np.uint8, np.int64)


@pytest.mark.parametrize("width", WIDTHS)
def test_unpack_inverts_pack(width):
    samples = random_samples(width)
    assert unpack(*pack(samples), width).tolist() == samples.tolist()


@pytest.mark.parametrize("width", WIDTHS)
def test_any_bytes_unpack_to_a_sample(width):
    """Also too many bytes, zeros that a mask marks as nonzero, and zero masks at the end."""
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 2 * width + 40, 60)
    packed = rng.integers(0, 256, sizes.sum()).astype(np.uint8)
    packed[rng.random(len(packed)) < 0.3] = 0
    parts = np.split(packed, np.cumsum(sizes)[:-1])
    by_hand = [unpacked_by_hand(part.tolist(), width) for part in parts]
    assert unpack(packed, sizes, width).tolist() == by_hand


def test_the_example():
    sample = bytes.fromhex("0000078000000000 0000000000000000 0001000000")
    packed, sizes = pack(np.frombuffer(sample, np.uint8)[None])
    assert packed.tobytes() == bytes.fromhex("0c0780 00 0201")
    assert sizes.tolist() == [6]


def test_no_samples():
    packed, sizes = pack(np.zeros((0, 5), np.uint8))
    assert (packed.tolist(), sizes.tolist()) == ([], [])
    assert unpack(packed, sizes, 5).shape == (0, 5)


@pytest.mark.parametrize("sizes", [[3, 0], [2], [2, 2]])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match=f"3 bytes are not {len(sizes)} packed samples of such sizes"):
        unpack(np.zeros(3, np.uint8), np.array(sizes), 5)
