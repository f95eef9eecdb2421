"""Whether a router is stuck, by its log."""

from __future__ import annotations

import pytest

from popflip.bitstream.router_watch import REPORTS_WITHOUT_PROGRESS, is_stuck


def log(*left: int, router: int = 2) -> str:
    """The log of a router; ``left`` are the wires left in its reports."""
    if router == 2:
        return "".join(
            f"Info:     iter={n} wires=61359 overused={each} overuse=1 archfail=NA\n" for n, each in enumerate(left)
        )
    return "".join(
        f"Info:    {1000 * n:7} |  1666692       8282 | 1000     0 |{each:10}|       0.30     633.39|\n"
        for n, each in enumerate(left)
    )


@pytest.mark.parametrize("router", [1, 2])
def test_a_router_is_stuck_after_many_reports_without_progress(router):
    assert not is_stuck(
        log(9, *[8] * REPORTS_WITHOUT_PROGRESS, 7, *[7, 8] * (REPORTS_WITHOUT_PROGRESS // 2 - 1), 6, 0, router=router)
    )
    assert is_stuck(log(9, *[8] * (REPORTS_WITHOUT_PROGRESS + 1), 0, router=router))
    assert is_stuck(log(9, *[8, 9] * REPORTS_WITHOUT_PROGRESS, router=router))
    assert not is_stuck("Info: Routing..\n")
