"""How much faster than its clock a chip must be, and IceStorm's second opinion on how fast it is.

Timing reports come from models of the wires: for one chip of a UP5K, nextpnr says 24.79 MHz and IceStorm's ``icetime``
24.20. A clock from a PLL also has shorter periods than the average one. So a build asks nextpnr for
:data:`CLOCK_MARGIN` above the clock that the shortest period makes, and refuses a chip that does not reach that; where
``icetime`` is installed (Debian: ``fpga-icestorm``, ``fpga-icestorm-chipdb``), by its figures too.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from popflip.hw.lib.pll import Ecp5Pll, Ice40Pll

CLOCK_MARGIN = 1.05
"""For what timing models leave out: their own errors, and noise on the supply."""

ICETIME = "icetime"
PACKAGES = "fpga-icestorm and fpga-icestorm-chipdb"
ICETIME_DEVICES = {"iCE40UP5K": "up5k", "iCE40HX8K": "hx8k"}
"""Names of the FPGAs for ``icetime -d``."""


def jitter_seconds(pll: Ice40Pll | Ecp5Pll | None) -> float:
    """How much shorter than the average one a period of the chip's clock may be.

    Peak to peak, a period of an iCE40's PLL varies by at most 450 ps or 5 % of it: "Output Clock Period Jitter" in
    table 4.22, sysCLOCK PLL Timing, of Lattice FPGA-DS-02008-1.9 (UP5K), and in the table of that name of DS1040 3.4,
    page 3-16, now FPGA-DS-02029 (HX8K). An ECP5's varies by 100 ps or 2.5 %: FPGA-DS-02012, sysCLOCK PLL Timing; these
    two figures have not been compared with the document. Each figure is for one range of frequencies, and the two data
    sheets of the iCE40 disagree which; this takes the larger one. The figures are for a quiet chip and a clean
    reference: they grow with the load of the fabric, which :data:`CLOCK_MARGIN` covers. A period is short by half of
    it at most. A period of an iCE40's chip is two of its PLL's.
    """
    if pll is None:
        return 0.0  # an oscillator's: tens of picoseconds
    absolute, relative = (450e-12, 0.05) if isinstance(pll, Ice40Pll) else (100e-12, 0.025)
    return max(absolute, relative / pll.hz) / 2 * pll.CLOCK_DIVIDER


def required_mhz(clock_mhz: float, jitter: float) -> float:
    """The frequency that timing reports must show for a clock of ``clock_mhz`` with ``jitter`` seconds."""
    return CLOCK_MARGIN / (1 / clock_mhz - jitter * 1e6)


def icetime_mhz(device: str, package: str, ascii_: Path, announce: Callable[[str], object]) -> float | None:
    """The clock that IceStorm's ``icetime`` finds for a bitstream in ASCII; None if there is no such tool or estimate.

    ``device``, ``package``: as Amaranth's platform names them. Calls ``announce`` with a line about what is missing.
    """
    tool = shutil.which(ICETIME)
    if device not in ICETIME_DEVICES:
        return None
    if tool is None:
        announce(f"{ICETIME} is not installed, so nextpnr alone says whether the clock is met; Debian: {PACKAGES}")
        return None
    command = [tool, "-d", ICETIME_DEVICES[device], "-P", package.lower(), ascii_.name]
    done = subprocess.run(command, cwd=ascii_.parent, capture_output=True, text=True, errors="replace")
    found = re.search(r"^// Timing estimate: \S+ ns \((\S+) MHz\)$", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        said = " ".join((done.stderr or done.stdout).split()) or "nothing"
        announce(
            f"{ICETIME} has no estimate, so nextpnr alone says whether the clock is met: {said}; Debian: {PACKAGES}"
        )
        return None
    return float(found[1])
