"""The queue, and groups split into their items."""

from __future__ import annotations

import pytest

from popflip.hw.lib.stream import Queue, RegisteredQueue, Unroll
from popflip.sim.bench.parts import SideBySide
from popflip.sim.lib.tb_stream import TAG, WIDTH

KINDS = {
    "queue": (lambda depth: Queue(WIDTH, depth), (1, 2, 3, 4, 7)),
    "registered": (lambda depth: RegisteredQueue(WIDTH, depth), (2, 3, 5, 7)),
    "unroll": (lambda count: Unroll(WIDTH, count, TAG), (1, 2, 3, 8)),
    "unroll_ahead": (lambda count: Unroll(WIDTH, count, TAG, ahead=True), (1, 2, 3, 8)),
}


def run(testbench, **parameters) -> None:
    parts = {f"{kind}{size}": {"kind": kind, "size": size} for kind, (_, sizes) in KINDS.items() for size in sizes}
    dut = SideBySide({name: KINDS[part["kind"]][0](part["size"]) for name, part in parts.items()})
    testbench(dut, "popflip.sim.lib.tb_stream", {"parts": parts, **parameters})


def test_all_come_out_in_order(testbench):
    run(testbench)


def test_a_wrong_item_is_named(testbench):
    with pytest.raises(AssertionError, match="unroll3: item 17: "):
        run(testbench, wrong={"unroll3": 17})
