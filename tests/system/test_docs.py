"""README and docs name files and headings that exist, and commands and flags that the program has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = {
    "hw/gft/x.py",
    "golden/gft/x.py",
    "sim/gft/tb_x.py",
    "tests/gft/test_x.py",
}  # placeholders of CONTRIBUTING.md
SOURCE = re.compile(r"`((?:golden|hw|sim|popflip|constraints|tests|bench|docs|examples)/[\w/.]+\.\w+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)")
COMMAND = re.compile(r"popflip (train|infer|verify|estimate|account|build|load|verilog|info)\b([^`\n|#]*)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def complaints(page: Path, text: str, flags: dict[str, set[str]]) -> list[str]:
    """Names in ``text`` of ``page`` that do not exist, one line each."""
    lines = [f"file {name}" for name in SOURCE.findall(text) if name not in EXAMPLES and not (ROOT / name).exists()]
    for target, anchor in LINK.findall(text):
        other = (page.parent / target).resolve() if target else page
        if not other.exists():
            lines.append(f"link {target}")
        elif anchor and anchor not in anchors(other):
            lines.append(f"anchor {target}#{anchor}")
    for command, rest in COMMAND.findall(text):
        lines += [f"{command} {flag}" for flag in re.findall(r"--[a-z][\w-]*", rest) if flag not in flags[command]]
    return lines


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    """The flags of each command."""
    from typer.main import get_command

    from popflip.cli.main import app

    commands = get_command(app).commands
    return {
        name: {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
        for name, command in commands.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_in_a_page_exists(page, flags):
    assert complaints(page, page.read_text(), flags) == []


def test_missing_files_anchors_and_flags_are_found(flags):
    text = "`hw/none.py` [a](none.md) [b](README.md#nowhere) `popflip train --nothing`"
    found = complaints(ROOT / "README.md", text, flags)
    assert found == ["file hw/none.py", "link none.md", "anchor README.md#nowhere", "train --nothing"]
