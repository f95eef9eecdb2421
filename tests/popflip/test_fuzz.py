"""Fuzzers: whatever a file, a port or a settings file holds, the program has an answer of one line, or a result.

The suite runs few inputs of each kind; ``make fuzz`` runs 10⁵. Each fuzzer damages valid inputs, or makes up its own.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fuzz import damaged, folder, fuzz
from hypothesis import example, given
from hypothesis import strategies as st

from popflip.cli.options import parse
from popflip.data.files import read
from popflip.data.mnist import read_idx
from popflip.devices.frames import FrameReader
from popflip.errors import ConfigError, PopflipError
from popflip.golden.layers import parse as layer_items
from popflip.golden.layers import plain, plan
from popflip.hw.link.codec import OPEN, SYNC, decode, encode
from popflip.ledger import read as read_run


def check(use: Callable[[Path], object], suffix: str, content: bytes) -> None:
    """``use`` takes a file of ``content``, or refuses it in one line that names the file."""
    path = folder() / f"f{suffix}"
    path.write_bytes(content)
    try:
        use(path)
    except PopflipError as error:
        assert str(path) in str(error)


# Files of samples -----------------------------------------------------------------------------------------------------

CELLS = st.sampled_from(["0", "1", "2", "0.5", "-3", "1e3", "nan", "inf", "1e999", "", "a", '"', "\0", "٣", "9" * 20])
CSV = st.one_of(
    st.lists(st.lists(CELLS, max_size=6).map(",".join), max_size=12).map(lambda lines: "\n".join(lines).encode()),
    st.lists(st.lists(st.integers(0, 9).map(str), min_size=3, max_size=3).map(",".join), min_size=1, max_size=12).map(
        lambda lines: "\r\n".join(lines).encode("utf-8-sig")
    ),
    st.binary(max_size=60),
)


@fuzz
@given(content=damaged(CSV), features=st.none() | st.integers(0, 4), label=st.sampled_from([None, "1", "-1", "a", "9"]))
@example(content=b"\xef\xbb\xbf", features=None, label=None)
@example(content=b'"' + b"9" * 140_000, features=2, label=None)
def test_csv(content, features, label):
    check(lambda path: _label_or_file(path, features, label), ".csv", content)


def _label_or_file(path: Path, features: int | None, label: str | None) -> None:
    samples = read(path, features, label)
    assert np.isfinite(samples.values).all()
    assert samples.classes is None or len(samples.classes) == len(samples.values)


def npz(arrays: dict) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


TYPES = st.sampled_from(["u1", "i8", ">f4", "f2", "?", "U3", "c8", "M8[s]"])
NPZ = st.tuples(st.lists(st.integers(0, 3), max_size=3), TYPES, TYPES).map(
    lambda drawn: npz({"x": np.zeros(drawn[0], drawn[1]), "y": np.zeros(drawn[0][:1], drawn[2])})
)


@fuzz
@given(content=damaged(NPZ), features=st.none() | st.integers(1, 9))
def test_npz(content, features):
    check(lambda path: read(path, features), ".npz", content)


SIZES = st.lists(st.sampled_from([0, 1, 2, 5, 2**16, 2**31, 2**32 - 1]), max_size=4)
IDX = st.tuples(SIZES, st.binary(max_size=12), st.sampled_from([8, 0, 9])).map(
    lambda drawn: struct.pack(f">HBB{len(drawn[0])}I", 0, drawn[2], len(drawn[0]), *drawn[0]) + drawn[1]
)


@fuzz
@given(content=st.one_of(damaged(IDX).map(lambda raw: gzip.compress(raw, 1, mtime=0)), damaged(IDX.map(gzip.compress))))
def test_idx(content):
    check(read_idx, ".gz", content)


JSON = st.recursive(
    st.sampled_from([None, True, -1, 0, 3, 1.5, 2**64, "gft", "lbe", "ternary", "4x4", "c2k3"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rule", "layers", "k0"]), inner),
    max_leaves=5,
)
REPORT = {
    **{"samples": 4, "batches": 2, "errors": 1, "flips": [0]},
    "config": {"rule": "gft", "layers": [3, 2], "k0": [1], "window": [], "precision": "binary"},
}
CONV_REPORT = REPORT | {"flips": [0, 1]}
CONV_REPORT["config"] = {"rule": "gft", "layers": ["4x4x2", "c2k3p2", 2], "k0": [1, 1], "window": [2], "mmax": [9, 127]}
REPORTS = st.tuples(
    st.sampled_from([REPORT, CONV_REPORT]), st.dictionaries(st.sampled_from([*REPORT, "x"]), JSON, max_size=2)
).map(lambda drawn: json.dumps(drawn[0] | drawn[1]).encode())


@fuzz
@given(content=damaged(REPORTS))
@example(content=json.dumps(REPORT).encode())
@example(content=json.dumps(CONV_REPORT).encode())
@example(content=b"PK" + b"[" * 100_000)
def test_reports_of_runs(content):
    check(read_run, ".json", content)


# Settings -------------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["layers", "batch", "flip-p256", "flip_p256", "save", "label", "verify", "shift", "zzz", "a.b"])
TOML_VALUES = st.sampled_from(
    [
        "1",
        "-1",
        "[1, 2]",
        "[[1]]",
        "true",
        '"x"',
        '"a\\u0000"',
        "nan",
        "1e400",
        "9" * 5000,
        "1979-05-27",
        "{a = 1}",
        '"~x"',
        '"8x8x4,c3k3s1p2,10"',
        '["8x8", "c3k3", 10]',
    ]
)
TOML = st.one_of(
    st.lists(st.tuples(KEYS, TOML_VALUES).map(" = ".join), max_size=4).map(lambda lines: "\n".join(lines).encode()),
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: f"\ufeff{text}".encode("utf-8", "surrogatepass")),
)


@fuzz
@given(content=damaged(TOML))
@example(content=b"layers = " + b"[" * 5000)
@example(content=b"\0")
def test_toml(content):
    check(lambda path: parse({}, path), ".toml", content)


LAYERS = st.sampled_from([b"28x28,c16k5p2,c32k5s2,10", b"8x8x4,c3k3s2,10", b"784,256,10", b"1x1,c1k1,1"])


@fuzz
@given(content=damaged(LAYERS))
@example(content=b"9" * 5000 + b"x1,c1k1,2")
def test_layers(content):
    """They are a network whose layers fit each other, or refused by name."""
    try:
        items = layer_items(content.decode("utf-8", "replace"))
        layers = plan(items)
    except ConfigError as error:
        assert str(error).startswith("layers") and "\n" not in str(error)
        return
    assert layer_items(plain(items)) == items
    sizes = [layer.inputs.size for layer in layers[1:]]
    assert sizes == [layer.neurons for layer in layers[:-1]]


# The link -------------------------------------------------------------------------------------------------------------


class Line:
    """A transport that holds some bytes and no more."""

    now = 0.0

    def __init__(self, content: bytes):
        self.content = content

    def read(self, count: int, deadline: float) -> bytes:
        if len(self.content) < count:
            raise TimeoutError
        taken, self.content = self.content[:count], self.content[count:]
        return taken


SESSION, LONGEST = 77, 16
FRAMES = st.tuples(
    st.integers(0, 255), st.integers(0, 255), st.binary(max_size=20), st.sampled_from([OPEN, SESSION, 9])
)
VALID = st.lists(FRAMES.map(lambda drawn: encode(*drawn)), max_size=4).map(b"".join)
STARTED = st.lists(st.binary(max_size=20).map(lambda body: bytes([SYNC]) + body), max_size=4).map(b"".join)


@fuzz
@given(content=st.one_of(damaged(VALID), STARTED, st.binary(max_size=80)), late=st.booleans())
def test_frames(content, late):
    decoded = decode(content, SESSION)
    assert decoded is None or encode(*decoded) == content
    reader = FrameReader(Line(content), SESSION)  # type: ignore[arg-type]
    try:
        frame = reader.read(-1.0 if late else 1.0, LONGEST)
    except TimeoutError:
        return
    assert frame.session in (OPEN, SESSION) and len(frame.payload) <= LONGEST
    assert encode(*frame) in content
