"""The page about the protocol."""

from __future__ import annotations

from paths import ROOT

from popflip.devices.protocol_page import page
from popflip.hw.link.commands import Command, Result


def test_the_page_is_up_to_date():
    committed = ROOT / "docs" / "protocol.md"
    assert committed.read_text() == page(), "python -m popflip.devices.protocol_page > docs/protocol.md"


def test_page_names_every_command_and_result():
    text = page()
    for number in (*Command, *Result):
        assert f"| {number:d} | {number.name} |" in text
