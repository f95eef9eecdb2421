"""Whether a router is stuck, judged by its log.

If nearly all resources are used, either router of nextpnr may move the same few wires for ever. Each of its progress
reports gives the number of wires left. The log alone decides that it is stuck, so a build stops at the same report on
every machine.
"""

from __future__ import annotations

import re

REPORTS_WITHOUT_PROGRESS = 600
"""Consecutive reports without a new minimum after which a router is stuck. No build that ended made more than 360."""

REMAINING = re.compile(r"^Info:\s+(?:iter=\d+ .*overused=(\d+) |\d+ \|.*\|\s+(\d+)\|)", re.MULTILINE)
"""Wires used twice (router2), or connections not routed (router1)."""


def is_stuck(log: str) -> bool:
    """Whether the router of this log was stuck at any time."""
    least, reports = None, 0
    for wires, connections in REMAINING.findall(log):
        remaining = int(wires or connections)
        least, reports = (remaining, 0) if least is None or remaining < least else (least, reports + 1)
        if reports >= REPORTS_WITHOUT_PROGRESS:
            return True
    return False
