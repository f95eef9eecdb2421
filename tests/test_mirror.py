"""A stage has one name everywhere: ``golden/x.py``, ``hw/x.py``, testbench ``sim/tb_x.py``, ``tests/test_x.py``.

What has no counterpart is listed here with the reason. Every file a reason names has to be there too.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SIDES = {
    "golden": ("golden/{}.py",),
    "hw": ("hw/{}.py", "hw/link/{}.py"),
    "testbench": ("sim/tb_{}.py",),
    "test": ("tests/test_{}.py",),
}
NAMED_BY = ("golden", "hw", "testbench")  # tests/ also holds tests of the host and of whole systems

MISSING = "is missing; write it, or list the exception with its reason"
LINK = "golden knows no link"
BOARD = "golden knows no board"

WITHOUT = {
    # Golden alone
    "integers": ("hw testbench", "how NumPy keeps integers exact; hardware has the bits it needs"),
    "packing": ("hw testbench", "the host packs; hw/unpack.py is the way back"),
    # Parameters and lists: no hardware of their own
    "config": ("testbench", "parameters"),
    "arithmetic": ("golden testbench", "expressions; Python has them, and tests/test_arithmetic.py tries all values"),
    "registers": (
        "golden testbench test",
        "lists; hw/status.py is their hardware, held to them by tests/test_status.py",
    ),
    "trainer_port": (
        "golden testbench test",
        "a signature; sim/tb_trainer.py and sim/tb_controller.py are its two ends",
    ),
    "build_hash": (
        "golden testbench test",
        "a hash of sources; tests/test_protocol.py compares it with the chip's answer",
    ),
    "spram": (
        "golden testbench test",
        "a vendor part and its model; in sim/tb_store.py and sim/tb_counters.py, tested by tests/test_store.py",
    ),
    "layers": (
        "golden testbench test",
        "a lookup and a constant factor; in sim/tb_scan.py for every layer, row and word",
    ),
    # What hardware needs to keep data and move it; golden has arrays
    "activations": ("golden", "a memory between layers"),
    "counters": ("golden", "a memory; golden/weights.py holds the state"),
    "ingest": ("golden", "a sample's bytes as a list of words; golden takes arrays of bits"),
    "popcount": ("golden", "golden/forward.py multiplies matrices"),
    "samples": ("golden", "a memory; golden has arrays"),
    "scan": ("golden", "the order of NumPy's arrays"),
    "slots": ("golden", "samples on the chip at once; golden takes one after another"),
    "status": ("golden", "golden/trainer.py counts as it goes"),
    "stream": ("golden", "queues"),
    "unpack": ("golden", "golden/packing.py: unpack"),
    # Sequences of stages, which golden has in its trainer, or a part of a stage
    "initialise": ("golden", "golden/weights.py: initial"),
    "learn": ("golden", "a sample's backward and accumulate; golden/trainer.py: train"),
    "update": ("golden", "select and flip of every layer; golden/trainer.py: end_batch"),
    "teach": (
        "golden testbench test",
        "a sample's layers in order; golden/trainer.py: _learn_one; in sim/tb_trainer.py, sample after sample",
    ),
    "mac_array": ("golden hw test", "the array in hw/forward.py, run by tests/test_forward.py"),
    "streams": ("golden hw", "the testbench tools in sim/streams.py, tested by a testbench themselves"),
    # Link, chip, board
    "controller": ("golden", LINK),
    "frames": ("golden", LINK),
    "store": ("golden", LINK),
    "uart": ("golden", LINK),
    "buffer": ("golden testbench test", f"{LINK}; in sim/tb_frames.py, between receiver and sender"),
    "crc": ("golden testbench test", f"{LINK}; in sim/tb_frames.py, on every frame"),
    "link": (
        "golden testbench test",
        f"{LINK}; wires it up, as does sim/tb_controller.py; tests/test_device.py has all",
    ),
    "pll": ("golden testbench test", f"{BOARD}; vendor parts, tested with the boards in tests/test_boards.py"),
    "top": ("golden testbench test", "the chip, run by tests/test_device.py against the golden model"),
}
"""Stage: the sides it has no file on, and why."""


def files_in(root: Path) -> set[str]:
    """Paths below ``root`` of all that could be a side of a stage."""
    folders = {str(Path(pattern).parent) for patterns in SIDES.values() for pattern in patterns}
    return {path.relative_to(root).as_posix() for folder in folders for path in (root / folder).glob("*.py")}


def stages(files: set[str]) -> set[str]:
    """The names found on any side that names stages."""
    patterns = [re.compile(pattern.replace("{}", r"(\w+)")) for side in NAMED_BY for pattern in SIDES[side]]
    found = {match[1] for file in files for pattern in patterns if (match := pattern.fullmatch(file))}
    return {name for name in found if not name.startswith("__")}


def complaints(files: set[str]) -> list[str]:
    """What keeps the sides from mirroring each other, one line each."""
    found = stages(files)
    lines = [f"{name}: is listed as an exception, but nothing has that name" for name in sorted(WITHOUT.keys() - found)]
    for name in sorted(found):
        without, reason = WITHOUT.get(name, ("", ""))
        for side, patterns in SIDES.items():
            paths = [pattern.format(name) for pattern in patterns]
            there = any(path in files for path in paths)
            if not there and side not in without.split():
                lines.append(f"{name}: {paths[0]} {MISSING}")
            if there and side in without.split():
                lines.append(f"{name}: is listed as having no {side}, but has one")
        for path in re.findall(r"[\w/]+\.py", reason):
            if path not in files:
                lines.append(f"{name}: the reason for its exception names {path}, which is missing")
    return lines


FILES = files_in(ROOT)


def of_a_stage(path: str) -> bool:
    """Whether ``path`` is the side of a stage."""
    return any(path == pattern.format(name) for name in stages(FILES) for side in SIDES for pattern in SIDES[side])


def test_every_stage_is_on_every_side():
    assert complaints(FILES) == []


def test_any_missing_file_is_found():
    sides = sorted(filter(of_a_stage, FILES))
    assert len(sides) > 80
    for path in sides:
        name = re.sub("^(tb|test)_", "", Path(path).stem)
        assert [line for line in complaints(FILES - {path}) if line.startswith(f"{name}: ")], path


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("golden/new.py", f"new: hw/new.py {MISSING}"),
        ("hw/new.py", f"new: golden/new.py {MISSING}"),
        ("hw/link/new.py", f"new: tests/test_new.py {MISSING}"),
        ("sim/tb_new.py", f"new: hw/new.py {MISSING}"),
        ("golden/slots.py", "slots: is listed as having no golden, but has one"),
    ],
)
def test_a_new_file_without_its_mirror_is_found(path, complaint):
    assert complaint in complaints(FILES | {path})


def test_files_are_read_from_their_folders(tmp_path):
    for path in FILES - {"sim/tb_select.py"}:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert complaints(files_in(tmp_path)) == [f"select: sim/tb_select.py {MISSING}"]
