"""Run the fuzzers on inputs that coverage guides, with atheris: a part of ``make fuzz``. ::

    guided.py             every fuzzer on POPFLIP_FUZZ inputs, each in a process of its own
    guided.py NAME        one fuzzer
    guided.py NAME FILE   one fuzzer on the input in FILE, which made it fail

The bytes that atheris changes are the choices of hypothesis, so both find their inputs in the same fuzzer. Inputs that
reach new lines stay in ``build/fuzz/NAME/``, where the next run begins. Exit code 1 if a fuzzer failed.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

ROOT = Path(__file__).parents[2]
FILES = tuple(ROOT / "tests" / "popflip" / f"test_{name}.py" for name in ("fuzz", "npz", "checkpoint"))
"""Where the fuzzers are."""
READERS = ("popflip", "tomllib", "zipfile")
"""Packages whose lines guide the inputs: Popflip's, and those of Python that read files for it."""
FOLDER = ROOT / "build" / "fuzz"
MISSING = "guided fuzzers left out: atheris is not installed; it has wheels for Linux on x86-64 only"
LONGEST = 4096  # bytes of choices
SEEDS = 8  # inputs to begin with


def load() -> dict:
    """The fuzzers by name. Imports them, and with atheris counts the lines of :data:`READERS`."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    counted = nullcontext() if atheris is None else atheris.instrument_imports(include=list(READERS))
    with counted:
        for name in ("popflip.cli.options", "popflip.checkpoint", "popflip.data.files", "popflip.devices.frames"):
            import_module(name)
        for path in FILES:
            spec = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[path.stem] = module
            spec.loader.exec_module(module)
    from fuzz import FUZZERS

    return FUZZERS


def fuzz_one(name: str, files: list[str]) -> None:
    """Run fuzzer ``name`` and end the process. Its exit code is not 0 if the fuzzer failed."""
    fuzzer = load()[name].hypothesis.fuzz_one_input
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in range(SEEDS):  # hypothesis rejects inputs that are too short for its choices
        (corpus / f"seed{seed}").write_bytes(random.Random(seed).randbytes(LONGEST))
    from fuzz import INPUTS

    where = files or [f"-runs={INPUTS}", str(corpus)]
    atheris.Setup(
        [name, f"-max_len={LONGEST}", "-len_control=0", f"-artifact_prefix={FOLDER / name}-", "-verbosity=0", *where],
        fuzzer,
    )
    atheris.Fuzz()


def fuzz_all() -> int:
    """Run all fuzzers one after the other and print a line for each. Returns the exit code."""
    failed = False
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in load():
        log = FOLDER / f"{name}.log"
        with tempfile.TemporaryDirectory() as temporary, log.open("wb") as output:  # atheris ends without cleaning up
            environment = {**os.environ, "TMPDIR": temporary}
            command = [sys.executable, __file__, name]
            ended = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        failed |= ended.returncode != 0
        print(f"{name}: {f'FAILED; see {log}' if ended.returncode else 'no failure'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    if atheris is None:
        print(MISSING)
    elif len(sys.argv) > 1:
        fuzz_one(sys.argv[1], sys.argv[2:])
    else:
        sys.exit(fuzz_all())
