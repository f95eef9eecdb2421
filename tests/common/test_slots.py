"""The slots of samples on the chip."""

from __future__ import annotations

from chips import chip, run_on_chips

from popflip.hw.common.slots import Slots


def test_offers_the_lowest_free_slot(testbench):
    chips = {f"of{slots}": chip(5, 2, slots=slots) for slots in (2, 4, 16)}
    run_on_chips(testbench, Slots, chips, "common.tb_slots", seed=1)
