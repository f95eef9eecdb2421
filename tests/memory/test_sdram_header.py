"""The SDRAM beside simulated chips (``sim/cxxrtl/sdram.h``) equals the model in Python: words, and what it refuses."""

from __future__ import annotations

import ctypes
import random
import subprocess
from dataclasses import replace

import pytest
from sdram import HARD, HZ
from simulated import need_compiler

from popflip.hw.memory.sdram_part import ALL_BANKS, Command
from popflip.sim.cxxrtl.compile import PACKAGE, compiler
from popflip.sim.cxxrtl.memory import macros
from popflip.sim.memory.sdram_model import SdramError, SdramModel

PART = replace(HARD, refresh_ns=40_000)
ALL = 1 << ALL_BANKS
RULES = ("tRCD", "tRP", "tRAS", "tRC", "tRFC", "tRRD", "tWR", "tMRD")
WRAPPER = """
#include "sdram.h"
extern "C" Sdram *create() { return new Sdram; }
extern "C" void destroy(Sdram *chip) { delete chip; }
extern "C" const char *error(Sdram *chip) { return chip->error.c_str(); }
extern "C" uint32_t tick(Sdram *chip, unsigned command, unsigned bank, unsigned address, unsigned mask, bool drives,
                         uint32_t data) {
	return chip->clock(command, bank, address, mask, drives, data);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    need_compiler()
    folder = tmp_path_factory.mktemp("sdram")
    (folder / "model.cc").write_text(WRAPPER)
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", f"-I{PACKAGE}", *macros(PART, HZ)]
    subprocess.run([*compiler(), *flags, str(folder / "model.cc"), "-o", str(folder / "model.so")], check=True)
    loaded = ctypes.CDLL(str(folder / "model.so"))
    loaded.create.restype = ctypes.c_void_p
    loaded.error.restype = ctypes.c_char_p
    loaded.tick.restype = ctypes.c_uint32
    loaded.tick.argtypes = [ctypes.c_void_p, *[ctypes.c_uint] * 4, ctypes.c_bool, ctypes.c_uint32]
    loaded.error.argtypes = loaded.destroy.argtypes = [ctypes.c_void_p]
    return loaded


def initialise(draw: random.Random):
    """Commands of a chip's power-up, with NOPs between them; now and then one is left out or comes early."""
    waits = [30, 3, *[15] * 8, 15]
    commands = [(Command.PRECHARGE, 0, ALL), *[(Command.REFRESH, 0, 0)] * 8, (Command.MODE, 0, 2 << 4)]
    if draw.random() < 0.2:
        del commands[draw.randrange(len(commands))]
    for wait, command in zip(waits, commands, strict=False):
        yield from [(Command.NOP, 0, 0)] * (wait - (draw.random() < 0.02))
        yield command
    yield from [(Command.NOP, 0, 0)] * 12


def traffic(draw: random.Random, commands: int):
    """Random commands, most of them allowed: for a bank's state, and far enough apart."""
    yield from initialise(draw)
    is_open = [False, False]
    for _ in range(commands):
        bank = draw.randrange(2)
        legal = [Command.READ, Command.WRITE] * 3 + [Command.PRECHARGE] if is_open[bank] else [Command.ACTIVATE]
        command = draw.choice(legal if draw.random() < 0.98 else [*Command][1:-1])
        address = draw.randrange(4 if command == Command.ACTIVATE else 8)
        if command == Command.PRECHARGE:
            address = draw.choice([0, ALL])
        if command in (Command.ACTIVATE, Command.PRECHARGE):
            is_open = [each and not address for each in is_open] if command == Command.PRECHARGE else is_open
            is_open[bank] = command == Command.ACTIVATE
        yield command, bank, address + (draw.random() < 0.005) * 8
        yield from [(Command.NOP, 0, 0)] * draw.choice([20] * 30 + [0, 3, 7, 12])


def test_words_and_refusals_equal_those_of_the_model_in_python(library):
    refused: dict[str, int] = {}
    read = 0
    for seed in range(400):
        draw, model, chip = random.Random(seed), SdramModel(PART, HZ), library.create()
        for command, bank, address in traffic(draw, 60):
            mask = draw.choice([0, 0, 0, 1, 2, 3])
            drives = command == Command.WRITE and draw.random() > 0.002
            data = draw.getrandbits(16)
            error, expected = "", 0
            try:
                expected = model.clock(command, bank, address, mask, data if drives else None) or 0
            except SdramError as refusal:
                error = str(refusal)
            word = library.tick(chip, command.value, bank, address, mask, drives, data)
            said = library.error(chip).decode()
            assert bool(said) == bool(error), f"seed {seed}: {said!r} instead of {error!r}"
            if error:
                assert said.split(":")[0] == error.split(":")[0], "another time"
                found = [name for name in RULES if f"{name} is" in said]
                rule = found[0] if found else said.split(": ")[-1]
                refused[rule] = refused.get(rule, 0) + 1
                break
            assert word == expected, f"seed {seed}"
            read += word != 0
        library.destroy(chip)
    assert read > 200
    assert {"tRCD", "tRP", "tRAS", "tRRD", "tWR"} <= set(refused), refused
