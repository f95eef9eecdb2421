"""Archives that nobody vouches for: plain arrays are read exactly, anything else is named, and memory stays bounded."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fuzz import folder, fuzz
from hypothesis import given
from hypothesis import strategies as st

from popflip.errors import FileError
from popflip.npz import NpzError, NpzFile


def npy(header: str | bytes, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An npy file with any header."""
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + content


def fields(descr: str = "'<f8'", order: str = "False", shape: str = "(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def archive(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def error_of(path: Path, name: str = "x", limit: int = 2**20) -> str:
    with pytest.raises(NpzError) as error, NpzFile(path) as file:
        file.read(name, limit)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array(7),
        np.zeros((0, 3)),
        np.array(["ä", "bc", ""]),
        np.array([True, False]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_are_read_as_numpy_wrote_them(tmp_path, write, array):
    write(tmp_path / "a.npz", x=array, other=np.zeros(3))
    with NpzFile(tmp_path / "a.npz") as file:
        assert file.names == ("x", "other")
        header, read = file.header("x"), file.read("x", limit=array.nbytes)
    assert (header.dtype, header.shape) == (array.dtype, array.shape)
    assert (read.dtype, read.shape, read.tolist()) == (array.dtype, array.shape, array.tolist())
    assert read.flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x is no array in npy format"),
        (b"just text", "x is no array in npy format"),
        (npy(fields(), bytes(16), b"\x09\x00"), "x is no array in npy format"),
        (npy("("), "array x has a damaged header"),
        (npy("[" * 5000), "array x has a damaged header"),
        (npy("{'descr': " + "(" * 5000), "array x has a damaged header"),
        (npy("{'descr': '<f8'"), "array x has a damaged header"),
        (npy("__import__('os').abort()"), "array x has a damaged header"),
        (npy(b"\xff\xfe\x00", version=b"\x03\x00"), "array x has a damaged header"),
        (npy("{'descr': '<f8', 'shape': (2,)}"), "array x has a damaged header"),
        (npy(fields(shape="[2]"), bytes(16)), "array x has a damaged header"),
        (npy(fields(shape="(True,)"), bytes(8)), "array x has a damaged header"),
        (npy(fields(shape="(-2,)"), bytes(16)), "array x has a damaged header"),
        (npy(fields(shape="(2.0,)"), bytes(16)), "array x has a damaged header"),
        (npy(fields(order="1"), bytes(16)), "array x has a damaged header"),
        (npy(fields(shape="(" + "1," * 33 + ")"), bytes(8)), "array x has a damaged header"),
        (npy(fields(descr="'|O'"), b"cos\nabort\n"), "array x is of type |O, expected numbers or text"),
        (npy(fields(descr="'<M8[s]'"), bytes(16)), "array x is of type <M8[s], expected numbers or text"),
        (npy(fields(descr="'|V8'"), bytes(16)), "array x is of type |V8, expected numbers or text"),
        (npy(fields(descr="'<f3'"), bytes(16)), "array x is of type <f3, expected numbers or text"),
        (npy(fields(descr="'<U0'"), b""), "array x is of type <U0, expected numbers or text"),
        (
            npy(fields(descr="'(99999999,)f8'"), bytes(16)),
            "array x is of type (99999999,)f8, expected numbers or text",
        ),
        (npy(fields(descr="[('a', '<f8')]"), bytes(16)), "array x is of type with parts, expected numbers or text"),
        (
            npy(fields(), bytes(15)),
            f"array x has shape (2,) of type float64, which does not fit its {len(npy(fields())) + 15} bytes",
        ),
        (
            npy(fields(shape=f"({10**30},)"), bytes(16)),
            f"array x has shape ({10**30},) of type float64, which does not fit its "
            f"{len(npy(fields(shape=f'({10**30},)'))) + 16} bytes",
        ),
        (npy(fields("'<U1'", shape="(1,)"), b"\xff\xff\xff\x7f"), "array x holds text that is not Unicode"),
        (npy(fields("'<U1'", shape="(1,)"), b"\x00\xd8\x00\x00"), "array x holds text that is not Unicode"),
        (npy(fields(), b"")[:9], "array x is damaged: unpack requires a buffer of 2 bytes"),
        (npy(fields(), b"")[:20], "array x is damaged: its header is cut short"),
        (
            npy(b" " * 70_000, version=b"\x02\x00"),
            "array x has a header of 70000 bytes, expected at most 65536",
        ),
    ],
)
def test_a_member_that_is_no_plain_array_is_named(tmp_path, content, message):
    assert error_of(archive(tmp_path / "a.npz", x=content)) == message


def test_a_missing_a_double_and_a_large_array_are_named(tmp_path):
    path = archive(tmp_path / "a.npz", y=npy(fields(), bytes(16)))
    assert error_of(path) == "array x is missing"
    assert error_of(path, "y", 15) == "array y has 16 bytes, expected at most 15"
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as file:
        file.writestr("y.npy", npy(fields(), bytes(16)))
    assert error_of(path, "y") == "array y is there 2 times"


def patched(path: Path, place: int, size: int, value: int) -> Path:
    """``path`` with a field of the first entry in its zip directory replaced."""
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02")
    content[start + place : start + place + size] = value.to_bytes(size, "little")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("place", "size", "value", "message"),
    [
        (8, 2, 1, "array x is encrypted"),
        (10, 2, 99, "array x is compressed by method 99, expected 0 or 8 (deflate)"),
        (10, 2, 12, "array x is compressed by method 12, expected 0 or 8 (deflate)"),
        (16, 4, 0, "array x is damaged: Bad CRC-32 for file 'x.npy'"),
        (24, 4, 2**31, "array x claims 2147483648 bytes, but the file holds "),
        (24, 4, 50, "array x is damaged: Bad CRC-32 for file 'x.npy'"),
        (42, 4, 2**31, "array x is damaged"),
        (6, 2, 99, "it is no zip archive: zip file version 9.9"),
    ],
)
def test_a_damaged_zip_directory_is_named(tmp_path, place, size, value, message):
    path = archive(tmp_path / "a.npz", x=npy(fields(), bytes(16)))
    assert error_of(patched(path, place, size, value)).startswith(message)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off", b"PK\x05\x06" + b"\xff" * 18])
def test_other_bytes_are_no_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert error_of(tmp_path / "a.npz").startswith("it is no zip archive")


def test_a_bomb_takes_no_memory(tmp_path):
    """A small file that claims 20 MB, in an array asked for and in one that nobody knows."""
    size = 20_000_000
    bomb = npy(fields("'|u1'", shape=f"({size},)"), bytes(size))
    path = archive(tmp_path / "a.npz", x=bomb, bomb=bomb, y=npy(fields(), bytes(16)))
    del bomb
    tracemalloc.start()
    assert error_of(path) == f"array x has {size} bytes, expected at most {2**20}"
    with NpzFile(path) as file:
        assert file.read("y").tolist() == [0, 0]
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, message in [
        (tmp_path, f"{tmp_path}: is a folder, expected a file"),
        (tmp_path / "fifo", f"{tmp_path}/fifo: is a pipe, expected a file"),
        (Path("/dev/zero"), "/dev/zero: is a device, expected a file"),
        (tmp_path / "none", f"{tmp_path}/none: no such file or directory"),
        (Path("a\0b"), "'a\\x00b' is not the name of a file"),
    ]:
        with pytest.raises(FileError) as error:
            NpzFile(path)
        assert str(error.value) == message


@cache
def original() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=np.arange(20).reshape(4, 5), name=np.array(["a", "bc"]))
    return buffer.getvalue()


@fuzz
@given(st.data())
def test_damaged_archives_are_read_or_refused(data):
    path, content = folder() / "a.npz", original()
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert", "delete"])):
            case "change":
                damaged[place] = data.draw(st.integers(0, 255))
            case "cut":
                del damaged[place + 1 :]
            case "insert":
                damaged[place:place] = data.draw(st.binary(min_size=1, max_size=8))
            case "delete":
                del damaged[place : place + data.draw(st.integers(1, 8))]
        damaged = damaged or bytearray(1)
    path.write_bytes(damaged)
    try:
        with NpzFile(path) as file:
            for name in file.names:
                file.read(name, 2**20)
    except NpzError as error:
        assert "\n" not in str(error)
