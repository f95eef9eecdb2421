"""Whether a router is stuck, by its log."""

from __future__ import annotations

import pytest
from router_log import log

from popflip.bitstream.router_watch import REPORTS_WITHOUT_PROGRESS, is_stuck


@pytest.mark.parametrize("router", [1, 2])
def test_a_router_is_stuck_after_many_reports_without_progress(router):
    assert not is_stuck(
        log(9, *[8] * REPORTS_WITHOUT_PROGRESS, 7, *[7, 8] * (REPORTS_WITHOUT_PROGRESS // 2 - 1), 6, 0, router=router)
    )
    assert is_stuck(log(9, *[8] * (REPORTS_WITHOUT_PROGRESS + 1), 0, router=router))
    assert is_stuck(log(9, *[8, 9] * REPORTS_WITHOUT_PROGRESS, router=router))
    assert not is_stuck("Info: Routing..\n")
