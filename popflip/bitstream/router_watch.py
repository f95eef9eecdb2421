"""Routing that ends: whether a router, by its log, goes round in circles.

Where nearly everything is taken, either router of nextpnr may move the same few wires for ever. What it has left to do
is in each report it makes, so that a log says by itself when it was stuck: the same build stops at the same place on
every machine.
"""

from __future__ import annotations

import re

CIRCLES = 600
"""Reports in a row without a new least of what is left. Of the builds that ended none had made more than 360."""

LEFT = re.compile(r"^Info:\s+(?:iter=\d+ .*overused=(\d+) |\d+ \|.*\|\s+(\d+)\|)", re.MULTILINE)
"""Wires that are used twice (router2), or connections that are not made (router1)."""


def circling(log: str) -> bool:
    """Whether the router of this log has gone round in circles at any time."""
    least, since = None, 0
    for wires, connections in LEFT.findall(log):
        left = int(wires or connections)
        least, since = (left, 0) if least is None or left < least else (least, since + 1)
        if since >= CIRCLES:
            return True
    return False
