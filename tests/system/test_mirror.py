"""A stage has one name and one room: ``golden/gft/x.py``, ``hw/gft/x.py``, ``sim/gft/tb_x.py`` and
``tests/gft/test_x.py``.

A stage that lacks one of the four files is listed here with the reason. Every file that a reason names exists. A
testbench lies in the room of its component.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from paths import ROOT

ROOMS = ("common", "gft", "lbe", "conv", "serial", "memory", "link", "lib")
SIDES = {"golden": ("golden", ""), "hw": ("hw", ""), "testbench": ("sim", "tb_"), "test": ("tests", "test_")}
"""Folder and file name prefix of each side."""
NAMED_BY = ("golden", "hw", "testbench")  # a file of tests/ may test something else than a stage
TOOLS = "bench"  # the room in sim/ of the testbenches' tools, which has its own testbench

MISSING = "is missing; write it, or list the exception with its reason"
NO_ROOM = "lies in no room; move it to the room of its component"
LINK = "golden knows no link"
CONTROLLER = f"{LINK}; part of hw/link/controller.py, in sim/link/tb_controller.py"
BOARD = "golden knows no board"

WITHOUT = {
    # Golden alone
    "common/integers": ("hw testbench", "exact integers in NumPy; hardware has wires as wide as it needs"),
    "common/packing": ("hw testbench", "the host packs; hw/common/unpack.py is the inverse"),
    # Layers with positions
    "layers": ("hw testbench", "shapes; hardware takes golden's"),
    "conv/backward": ("hw testbench", "part of hw/conv/learn.py"),
    "conv/accumulate": ("testbench", "part of hw/conv/learn.py; in sim/conv/tb_learn.py"),
    "conv/learn": ("golden", "a sample's backward and accumulate; golden/gft/engine.py: learn"),
    "conv/gather": ("golden", "golden/conv/patches.py"),
    "conv/patch_words": ("golden testbench test", "a choice; in sim/conv/tb_forward.py and sim/conv/tb_learn.py"),
    "conv/fields": ("golden testbench test", "addresses; golden has arrays; in sim/conv/tb_gather.py"),
    "conv/pool_accumulator": ("golden testbench test", "golden multiplies matrices; in sim/conv/tb_forward.py"),
    "conv/blank": ("golden testbench test", "golden computes all activations; run by tests/test_trainer.py"),
    "conv/errors": ("golden testbench test", "the errors of golden/conv/backward.py; in sim/conv/tb_learn.py"),
    "conv/deltas": ("golden testbench test", "golden/conv/backward.py; in sim/conv/tb_learn.py"),
    "conv/weight_rows": ("golden testbench test", "a copy of hw/memory/weights.py; run by tests/test_trainer.py"),
    "conv/signatures": ("golden testbench test", "signatures; the testbenches of the memories' users drive them"),
    "conv/ingest": ("golden testbench test", "wires up hw/conv/patches.py; run by tests/test_trainer.py"),
    "conv/activations": ("golden testbench test", "a memory; golden has arrays; run by tests/test_trainer.py"),
    # Forward and learning in turn
    "serial/walk": ("golden", "golden/conv/patches.py"),
    "serial/forward": ("golden testbench test", "golden/conv/forward.py; run by tests/serial/test_serial.py"),
    "serial/learn": (
        "golden testbench test",
        "golden/conv/backward.py, golden/conv/accumulate.py; run by tests/serial/test_serial.py",
    ),
    "serial/places": ("golden testbench test", "addresses; golden has arrays; in sim/serial/tb_walk.py"),
    "serial/signatures": ("golden testbench test", "signatures; in sim/serial/tb_walk.py"),
    "serial/samples": ("golden testbench test", "a memory; golden has arrays; run by tests/serial/test_serial.py"),
    "serial/ingest": ("golden testbench test", "fills hw/serial/samples.py; run by tests/serial/test_serial.py"),
    # Parameters and lists: no hardware of their own
    "config": ("testbench", "parameters"),
    "network": ("hw testbench test", "parameters; tests/test_config.py"),
    "gft/config": ("hw testbench test", "parameters; tests/test_config.py"),
    "lbe/config": ("hw testbench test", "parameters; tests/test_config.py"),
    "presets": ("hw testbench test", "parameters; tests/test_config.py"),
    "memory_map": ("golden testbench", "addresses; golden has arrays"),
    "errors": ("hw testbench test", "exceptions; every test of bad input raises them"),
    "lib/arithmetic": (
        "golden testbench",
        "expressions; Python has them, and tests/lib/test_arithmetic.py tries all values",
    ),
    "layouts": ("golden testbench test", "layouts of bits; golden has arrays"),
    "memory/signatures": ("golden testbench test", "signatures; the testbenches of the memories drive them"),
    "registers": (
        "golden testbench test",
        "lists; tests/common/test_status.py compares hw/common/status.py with them",
    ),
    "common/registers": ("golden testbench test", "records; hw/registers.py lists them"),
    "gft/registers": ("golden testbench test", "a list; part of hw/registers.py"),
    "lbe/registers": ("golden testbench test", "a list; part of hw/registers.py"),
    "trainer_port": (
        "golden testbench test",
        "a signature; sim/common/tb_trainer.py and sim/link/tb_controller.py are its two ends",
    ),
    "fingerprint": (
        "golden testbench test",
        "a hash of sources; tested by tests/system/test_fingerprint.py",
    ),
    "memory/spram": (
        "golden testbench test",
        "a vendor part and its model; in sim/memory/tb_counters.py, tested by tests/link/test_store.py",
    ),
    "memory/sdram": ("golden", "a memory; golden has arrays"),
    "memory/sdram_part": ("golden testbench", "times of data sheets; sim/memory/sdram_model.py checks them"),
    "memory/sdram_pads": ("golden testbench test", "registers in pads; in sim/memory/sdram_board.py"),
    "lib/lookup": (
        "golden testbench test",
        "a lookup and a constant factor; in sim/common/tb_scan.py for every layer, row and word",
    ),
    # Hardware that stores and moves data; golden has arrays
    "memory/activations": ("golden", "a memory between layers"),
    "memory/counters": ("golden", "a memory; golden/memory/weights.py holds the state"),
    "common/ingest": ("golden", "a sample's bytes as a list of words; golden takes arrays of bits"),
    "lib/popcount": ("golden", "golden/common/forward.py multiplies matrices"),
    "memory/samples": ("golden", "a memory; golden has arrays"),
    "common/scan": ("golden", "the order of NumPy's arrays"),
    "common/slots": ("golden", "samples on the chip at once; golden takes one after another"),
    "lib/stream": ("golden", "queues"),
    "common/unpack": ("golden", "golden/common/packing.py: unpack"),
    # Sequences of stages, which are in golden's engines and trainer, or parts of a stage
    "common/initialise": ("golden", "golden/gft/initialise.py and golden/lbe/initialise.py"),
    "gft/initialise": ("testbench test", "run by tests/common/test_initialise.py"),
    "lbe/initialise": ("testbench test", "run by tests/common/test_initialise.py"),
    "common/engine": ("testbench test", "an interface; tests/test_trainer.py runs both engines"),
    "gft/engine": ("testbench test", "run by tests/test_trainer.py"),
    "lbe/engine": ("testbench test", "run by tests/test_trainer.py"),
    "gft/first_layer": ("golden testbench test", "the first layer of gft/learn; in sim/gft/tb_learn.py"),
    "gft/prefetcher": ("golden testbench test", "golden has arrays; in sim/gft/tb_learn.py"),
    "gft/row_lists": ("golden testbench test", "golden has arrays; in sim/gft/tb_learn.py"),
    "gft/learn": ("golden", "a sample's backward and accumulate; golden/gft/engine.py: learn"),
    "common/state_pass": (
        "golden testbench test",
        "a base class; run by sim/gft/tb_end_of_batch.py and sim/lbe/tb_update.py",
    ),
    "common/write_back": (
        "golden testbench test",
        "a base class; run by sim/gft/tb_flip.py and sim/lbe/tb_reinforce_row.py",
    ),
    "gft/block_scan": (
        "golden testbench test",
        "the order of NumPy's arrays; in sim/gft/tb_end_of_batch.py, with banks of counters",
    ),
    "gft/end_of_batch": ("golden", "select and flip of every layer; golden/gft/engine.py: end_batch"),
    "lbe/update": ("golden", "a row's counters and inputs to golden/lbe/reinforce.py"),
    "lbe/reinforce_row": ("golden hw test", "the pass in hw/lbe/reinforce.py, run by tests/lbe/test_reinforce.py"),
    "lbe/schedule": (
        "golden testbench test",
        "a sample's layers in order; golden/lbe/engine.py: _learn_one; run by sim/common/tb_trainer.py",
    ),
    "common/scheduler": ("golden testbench test", "golden takes one sample after another; in sim/common/tb_forward.py"),
    "common/row_accumulator": ("golden testbench test", "golden multiplies matrices; in sim/common/tb_forward.py"),
    "trainer": ("testbench", "sim/common/tb_trainer.py: the wheel includes the top of sim/ but no testbench"),
    "common/trainer": ("golden hw test", "hw/trainer.py, run by tests/test_trainer.py"),
    "common/mac_array": ("golden test", "golden/common/forward.py multiplies; run by tests/common/test_forward.py"),
    # Link, chip, board
    "link/controller": ("golden", LINK),
    "link/checker": ("golden testbench test", CONTROLLER),
    "link/executor": ("golden testbench test", CONTROLLER),
    "link/responder": ("golden testbench test", CONTROLLER),
    "link/datapath": ("golden testbench test", CONTROLLER),
    "link/samples": ("golden testbench test", CONTROLLER),
    "link/walk": ("golden testbench test", CONTROLLER),
    "link/sdram_store": ("golden", LINK),
    "link/tables": ("golden testbench test", CONTROLLER),
    "link/receiver": ("golden", LINK),
    "link/sender": ("golden", LINK),
    "link/buffer": ("golden", LINK),
    "link/store": ("golden", LINK),
    "link/uart": ("golden", LINK),
    "link/commands": ("golden testbench", f"{LINK}; tables"),
    "link/identity": ("golden testbench", f"{LINK}; a record"),
    "link/codec": ("golden testbench", f"{LINK}; frames as bytes; hardware has hw/link/receiver.py, hw/link/sender.py"),
    "link/crc": ("golden testbench", f"{LINK}; in sim/link/tb_receiver.py, on every frame"),
    "link/link": (
        "golden testbench test",
        f"{LINK}; wires it up, as does sim/link/tb_controller.py; tests/popflip/test_chip_device.py has all",
    ),
    "lib/pll": (
        "golden testbench test",
        f"{BOARD}; vendor parts, tested with the boards in tests/system/test_boards.py",
    ),
    "link/usb": ("golden testbench", f"{LINK}; with LUNA, run by tests/link/test_usb.py over the wires of the bus"),
    "link/usb_names": (
        "golden testbench test",
        f"{LINK}; numbers, which tests/link/test_usb.py finds in the descriptors",
    ),
    "usb_top": ("golden testbench test", "pins and clocks; tests/system/test_links.py looks at both"),
    "top": ("golden testbench test", "the chip, run by tests/popflip/test_chip_device.py against the golden model"),
}
"""For each stage that lacks a file: the sides without one, and the reason."""


def path_of(side: str, stage: str) -> str:
    """Path of ``stage``, named ``room/name``, on ``side``."""
    folder, prefix = SIDES[side]
    room, _, name = stage.rpartition("/")
    return "/".join(filter(None, (folder, room, f"{prefix}{name}.py")))


def stage_of(path: str) -> tuple[str, str] | None:
    """The side and the stage that ``path`` belongs to, if any."""
    for side, (folder, prefix) in SIDES.items():
        match = re.fullmatch(rf"{folder}/(?:({'|'.join(ROOMS)})/)?{prefix}([a-z]\w*)\.py", path)
        if match:
            return side, "/".join(filter(None, match.groups()))
    return None


def files_in(root: Path) -> set[str]:
    """Paths below ``root`` of all files that may be a side of a stage, or that a reason may name."""
    folders = [root / folder / room for folder, _ in SIDES.values() for room in ("", *ROOMS, "popflip", "system")]
    paths = {path for folder in folders for path in folder.glob("*.py")} | set((root / "sim").rglob("tb_*.py"))
    return {path.relative_to(root).as_posix() for path in paths}


def stages(files: set[str]) -> set[str]:
    """The stages found on the sides that name them."""
    return {stage for file in files if (found := stage_of(file)) for side, stage in [found] if side in NAMED_BY}


def complaints(files: set[str]) -> list[str]:
    """Every violation of the rules, one line each."""
    found = stages(files)
    lines = [
        f"{stage}: is listed as an exception, but nothing has that name" for stage in sorted(WITHOUT.keys() - found)
    ]
    lines += [f"{path}: {NO_ROOM}" for path in sorted(files) if is_testbench(path) and stage_of(path) is None]
    for stage in sorted(found):
        without, reason = WITHOUT.get(stage, ("", ""))
        for side in SIDES:
            path = path_of(side, stage)
            if path not in files and side not in without.split():
                lines.append(f"{stage}: {path} {MISSING}")
            if path in files and side in without.split():
                lines.append(f"{stage}: is listed as having no {side}, but has one")
        for path in re.findall(r"[\w/]+\.py", reason):
            if path not in files:
                lines.append(f"{stage}: the reason for its exception names {path}, which is missing")
    return lines


def is_testbench(path: str) -> bool:
    """Whether ``path`` is the testbench of a component, not of the testbenches' tools."""
    return re.fullmatch(rf"sim/(?!{TOOLS}/)(.+/)?tb_\w+\.py", path) is not None


FILES = files_in(ROOT)


def belongs_to_a_stage(path: str) -> bool:
    """Whether ``path`` is a side of a stage."""
    found = stage_of(path)
    return found is not None and found[1] in stages(FILES)


def test_every_stage_is_on_every_side():
    assert complaints(FILES) == []


def test_any_missing_file_is_found():
    sides = sorted(filter(belongs_to_a_stage, FILES))
    assert len(sides) > 80
    for path in sides:
        found = stage_of(path)
        assert found is not None
        assert [line for line in complaints(FILES - {path}) if line.startswith(f"{found[1]}: ")], path


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("golden/gft/new.py", f"gft/new: hw/gft/new.py {MISSING}"),
        ("hw/common/new.py", f"common/new: golden/common/new.py {MISSING}"),
        ("hw/link/new.py", f"link/new: tests/link/test_new.py {MISSING}"),
        ("sim/lbe/tb_new.py", f"lbe/new: hw/lbe/new.py {MISSING}"),
        ("sim/lbe/tb_select.py", f"lbe/select: hw/lbe/select.py {MISSING}"),
        ("sim/rooms/tb_new.py", f"sim/rooms/tb_new.py: {NO_ROOM}"),
        ("golden/common/slots.py", "common/slots: is listed as having no golden, but has one"),
        ("hw/common/select.py", f"common/select: tests/common/test_select.py {MISSING}"),
    ],
)
def test_a_new_file_without_its_mirror_is_found(path, complaint):
    assert complaint in complaints(FILES | {path})


def test_files_are_read_from_their_folders(tmp_path):
    for path in FILES - {"sim/gft/tb_select.py"}:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert complaints(files_in(tmp_path)) == [f"gft/select: sim/gft/tb_select.py {MISSING}"]


def test_no_testbench_is_in_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = [ROOT / package.removeprefix("popflip.").replace(".", "/") for package in settings["packages"]]
    assert ROOT / "sim" in folders and ROOT / "sim/cxxrtl" in folders
    assert [path for folder in folders for path in folder.glob("tb_*.py")] == []
