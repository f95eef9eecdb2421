"""Logs as nextpnr's routers write them."""

from __future__ import annotations


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
