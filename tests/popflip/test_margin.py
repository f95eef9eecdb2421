"""The margin of a chip's clock, and IceStorm's estimate of it."""

from __future__ import annotations

import pytest

from popflip.bitstream import margin
from popflip.bitstream.margin import icetime_mhz, jitter_seconds, required_mhz
from popflip.hw.lib.pll import Ecp5Pll, Ice40Pll, find_pll


def test_jitter_of_each_kind_of_clock():
    assert jitter_seconds(None) == 0
    assert jitter_seconds(find_pll(Ice40Pll, 12e6, 48e6)) == pytest.approx(0.05 / 48e6)  # two periods of the PLL
    assert jitter_seconds(find_pll(Ice40Pll, 12e6, 240e6)) == pytest.approx(450e-12)
    assert jitter_seconds(find_pll(Ecp5Pll, 25e6, 50e6)) == pytest.approx(0.025 / 50e6 / 2)
    assert jitter_seconds(find_pll(Ecp5Pll, 25e6, 400e6)) == pytest.approx(50e-12)


def test_the_required_clock():
    assert required_mhz(25, 0) == pytest.approx(26.25)
    assert required_mhz(25, 2e-9) == pytest.approx(1000 / 38 * 1.05)  # 38 of 40 ns


def tool(folder, text: str, code: int = 0) -> None:
    path = folder / "icetime"
    path.write_text(f"#!/bin/sh\necho \"$@\" > arguments\nprintf '%s\\n' '{text}'\nexit {code}\n")
    path.chmod(0o755)


def test_icetime_is_asked_if_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(margin.shutil, "which", lambda name: None)
    said: list[str] = []
    assert icetime_mhz("iCE40UP5K", "SG48", tmp_path / "a.asc", said.append) is None
    assert said.pop().startswith("icetime is not installed, so nextpnr alone says whether the clock is met")
    monkeypatch.setattr(margin.shutil, "which", lambda name: str(tmp_path / name))
    tool(tmp_path, "// Timing estimate: 41.32 ns (24.20 MHz)")
    assert icetime_mhz("iCE40UP5K", "SG48", tmp_path / "a.asc", said.append) == 24.2
    assert (tmp_path / "arguments").read_text() == "-d up5k -P sg48 a.asc\n"
    assert icetime_mhz("LFE5U-85F", "BG381", tmp_path / "a.asc", said.append) is None
    assert said == []
    tool(tmp_path, "no chipdb", 1)
    assert icetime_mhz("iCE40UP5K", "SG48", tmp_path / "a.asc", said.append) is None
    assert "has no estimate" in said[0] and ": no chipdb; Debian: fpga-icestorm and" in said[0]
