"""Very many random requests to the SDRAM controllers of the boards: compiled, with the model of the chip in C++."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from formal import mutant
from simulated import need_compiler

from popflip.hw.memory import sdram
from popflip.hw.memory.sdram_part import COLORLIGHT_I5, ULX3S
from popflip.sim.cxxrtl.compile import PACKAGE, compiler, runtime
from popflip.sim.cxxrtl.memory import macros
from popflip.sim.cxxrtl.translate import translate_top
from popflip.sim.memory.sdram_board import SdramBoard, inputs_layout, outputs_layout

BOARDS = {
    "ulx3s": (ULX3S, 62.5e6, 256, 32, 20),
    "colorlight_i5": (COLORLIGHT_I5, 72e6, 100, 20, 20),
    "fast": (ULX3S, 125e6, 512, 7, 0),
}
"""Part, clock, longest request, words of the read queue, per cent of the cycles in which a side pauses."""
REQUESTS = int(os.environ.get("POPFLIP_SDRAM_REQUESTS", "30000"))
"""Random requests in all, ``make sdram`` has ten million."""
SEED = 1


class Top(wiring.Component):
    """A controller on its pads, clocked by ``clk``; the fields of :class:`SdramBoard`'s two ports are ports."""

    def __init__(self, board: SdramBoard):
        self.board = board
        part, longest = board.controller.part, board.controller.longest
        outputs = {name: Out(field.width) for name, field in outputs_layout(part) if field.width}
        inputs = {_input(name): In(field.width) for name, field in inputs_layout(part, longest)}
        super().__init__({"clk": In(1), **outputs, **inputs})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.sync = sync = ClockDomain(reset_less=True)
        m.submodules.board = board = self.board
        m.d.comb += sync.clk.eq(self.clk)
        for name, _ in outputs_layout(board.controller.part):
            if hasattr(self, name):
                m.d.comb += getattr(self, name).eq(getattr(board.outputs, name))
        for name, field in inputs_layout(board.controller.part, board.controller.longest):
            bits = board.inputs.as_value()[field.offset : field.offset + field.width]
            m.d.comb += bits.eq(getattr(self, _input(name)))
        return m


def _input(name: str) -> str:
    """Both directions have data."""
    return "data_in" if name == "data" else name


def build(name: str, folder: Path, module=sdram) -> ctypes.CDLL:
    """The compiled run of one of :data:`BOARDS`."""
    need_compiler()
    part, hz, longest, buffer, stall = BOARDS[name]
    board = SdramBoard(module.Sdram(part, part.cycles(hz), longest=longest, buffer=buffer))
    request = inputs_layout(part, longest)["request"].shape
    numbers = {
        "LONGEST": longest,
        "STALL": stall,
        "KEEP_BITS": part.mask_bits,
        "MORE_PLACE": request["more"].offset,
    }
    (folder / "design.cc").write_text(translate_top(Top(board)))
    flags = ["-std=c++17", "-O1", "-DNDEBUG", "-fPIC", "-shared", f"-I{PACKAGE}", f"-I{folder}", f"-I{runtime()}"]
    defined = [f"-D{key}={value}" for key, value in numbers.items()]
    source, library = Path(__file__).with_name("sdram_requests.cc"), folder / "run.so"
    subprocess.run([*compiler(), *flags, *macros(part, hz), *defined, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def run(library: ctypes.CDLL, requests: int) -> tuple[str, list[int]]:
    """What went wrong, or nothing; cycles, words read and words written."""
    counts = (ctypes.c_uint64 * 3)()
    library.run.restype = ctypes.c_char_p
    error = library.run(ctypes.c_uint64(requests), ctypes.c_uint64(SEED), counts)
    return error.decode(), list(counts)


@pytest.mark.parametrize("name", BOARDS)
def test_words_come_back(name, tmp_path):
    requests = -(-REQUESTS // len(BOARDS))
    error, (cycles, read, written) = run(build(name, tmp_path), requests)
    assert error == ""
    print(f"{name}: {requests} requests, {cycles} cycles, {read} words read, {written} written")
    assert min(read, written) > requests


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("free & ~current.write & ~credit[-1]", "free & ~current.write", "is another one"),
        ("self._reads_word, cycles.cas + 2)", "self._reads_word, cycles.cas + 1)", "the data pins need a free cycle"),
    ],
)
def test_a_planted_fault_is_found(old, new, complaint, tmp_path):
    error, _ = run(build("ulx3s", tmp_path, mutant(sdram, old, new)), 30_000)
    assert complaint in error
