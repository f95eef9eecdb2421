"""The flip signature, against CRC-32 a bit at a time over bytes written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from brute import brute_bytes, brute_crc32
from chips import chip, run_on_chips
from hypothesis import given
from hypothesis.extra.numpy import arrays
from search import search

from popflip.golden.common.signature import FlipSignature
from popflip.hw.common import signature as hw


@search
@given(arrays(np.uint32, (5, 2)))
def test_equals_the_definition(records):
    signature = FlipSignature()
    signature.update(records)
    assert signature.crc == brute_crc32(brute_bytes(records.tolist()))


def test_the_signature_continues_over_batches():
    records = np.arange(12, dtype=np.uint32).reshape(6, 2)
    whole, parts = FlipSignature(), FlipSignature()
    whole.update(records)
    for part in (records[:0], records[:4], records[4:4], records[4:]):
        parts = FlipSignature(parts.crc)  # as if resumed
        parts.update(part)
    assert parts.crc == whole.crc != 0


def test_no_flips_give_zero():
    signature = FlipSignature()
    signature.update(np.empty((0, 2), np.uint32))
    assert signature.crc == 0


# On the chip ----------------------------------------------------------------------------------------------------------

CHIPS = {
    "one_word": chip(1, 2, lanes=4),
    "narrow": chip(37, 4, 3, lanes=8),
    "wide": chip(784, 256, 10, lanes=32),
}


def test_hardware_equals_golden(testbench):
    run_on_chips(testbench, hw.FlipSignature, CHIPS, "common.tb_signature", seed=1, records=[0, 1, 2, 30, 0, 5])


def test_a_wrong_crc_of_the_hardware_is_found(testbench):
    with pytest.raises(AssertionError, match="wide: 2 records: 0x"):
        run_on_chips(testbench, hw.FlipSignature, CHIPS, "common.tb_signature", seed=1, records=[2], wrong={"wide": 1})
