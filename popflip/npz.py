"""Read ``.npz`` files that nobody vouches for: plain arrays, their sizes checked before memory is taken.

::

    file ─▶ zip directory ─▶ npy header of a member ─▶ type, shape, bytes: all consistent, below the limit? ─▶ array

Nothing is unpickled, and members that nobody asks for are never read. A file cannot ask for more memory than
:data:`INFLATION` times its own size. :func:`numpy.load` lacks these checks.
"""

from __future__ import annotations

import ast
import errno
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from popflip.files import open_input

MAX_BYTES = 2**32
"""Largest array that is read unless the caller sets another limit."""

INFLATION = 1100
"""No deflated byte stands for more than 1,032 bytes; a member that claims more is refused."""

HEADER_BYTES = 2**16
"""Longest npy header. NumPy's own are below 200 bytes for plain arrays."""

MAGIC = b"\x93NUMPY"
LENGTH_FORMATS = {1: "<H", 2: "<I", 3: "<I"}
"""Format of the header's length for each major version of npy."""
PLAIN_TYPE = re.compile(r"[<>|=]?[biufcSU?]\d{0,9}")
"""Types that need no pickling and have no parts, as NumPy writes them: ``<f8``, ``|i1``, ``<U12``."""

_DAMAGED = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError),
    *(IndexError, OverflowError, RuntimeError, NotImplementedError),
)
"""What :mod:`zipfile` raises about damaged files."""


class NpzError(Exception):
    """What is wrong with the bytes of a file. The caller adds which file it is, and what it should have been."""


@dataclass(frozen=True)
class Header:
    """Type and shape of an array, as its npy header states them. ``start`` is the header's own size in bytes."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran_order: bool
    start: int

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


class NpzFile:
    """The arrays in the ``.npz`` file ``path``. Use it as a context manager.

    Raises :class:`FileError` if ``path`` cannot be opened or is no regular file, :class:`OSError` if it cannot be read,
    and :class:`NpzError` if its bytes are no archive.
    """

    def __init__(self, path: Path):
        self._file = open_input(path)
        try:
            with _damage("it is no zip archive"):
                self._archive = zipfile.ZipFile(self._file)
        except BaseException:
            self._file.close()
            raise
        names = [member.filename for member in self._archive.infolist()]
        self.names = tuple(name.removesuffix(".npy") for name in names if name.endswith(".npy"))
        """Names of the arrays, in the order of the file."""

    def header(self, name: str) -> Header:
        """Type and shape of the array ``name``: consistent with the file's size, but its content is not read yet.

        Raises :class:`NpzError` if there is no such array, or if its header is damaged.
        """
        member = self._member(name)
        with _damage(f"array {name} is damaged"), self._archive.open(member) as stream:
            header = _read_header(stream, name)
        if header.start + header.size != member.file_size:
            raise NpzError(
                f"array {name} has shape {header.shape} of type {header.dtype}, which does not fit its "
                f"{member.file_size} bytes"
            )
        return header

    def read(self, name: str, limit: int = MAX_BYTES) -> NDArray:
        """The array ``name``, of at most ``limit`` bytes.

        Raises :class:`NpzError` as :meth:`header` does, or if the array is larger or does not have its checksum.
        """
        header = self.header(name)
        if header.size > limit:
            raise NpzError(f"array {name} has {header.size} bytes, expected at most {limit}")
        with _damage(f"array {name} is damaged"), self._archive.open(self._member(name)) as stream:
            stream.seek(header.start)
            content = bytearray(header.size)
            view = memoryview(content)
            while view and (count := stream.readinto(view)):  # type: ignore[attr-defined]
                view = view[count:]
            if view or stream.read(1):
                raise NpzError(f"array {name} is damaged: it is cut short")
        array = np.frombuffer(content, header.dtype).reshape(header.shape, order="F" if header.fortran_order else "C")
        if not is_unicode(array):
            raise NpzError(f"array {name} holds text that is not Unicode")
        return array

    def close(self) -> None:
        """Close the file."""
        self._archive.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _member(self, name: str) -> zipfile.ZipInfo:
        found = [member for member in self._archive.infolist() if member.filename == f"{name}.npy"]
        if not found:
            raise NpzError(f"array {name} is missing")
        if len(found) > 1:
            raise NpzError(f"array {name} is there {len(found)} times")
        member = found[0]
        if member.flag_bits & 1:
            raise NpzError(f"array {name} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NpzError(f"array {name} is compressed by method {member.compress_type}, expected 0 or 8 (deflate)")
        if member.file_size > INFLATION * (member.compress_size + 1):
            raise NpzError(f"array {name} claims {member.file_size} bytes, but the file holds {member.compress_size}")
        return member


@contextmanager
def _damage(text: str) -> Iterator[None]:
    """Turn the errors of :mod:`zipfile` about damaged files into an :class:`NpzError` that begins with ``text``."""
    try:
        yield
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # EINVAL: the directory points outside the file
            raise
        raise NpzError(text) from None
    except _DAMAGED as error:
        shown = str(error)
        raise NpzError(f"{text}: {shown}" if shown.isprintable() and 0 < len(shown) < 80 else text) from None


def _read_header(stream: IO[bytes], name: str) -> Header:
    """The npy header at the beginning of ``stream``."""
    start = stream.read(len(MAGIC) + 2)
    if len(start) < len(MAGIC) + 2 or not start.startswith(MAGIC) or start[-2] not in LENGTH_FORMATS:
        raise NpzError(f"{name} is no array in npy format")
    length_format = LENGTH_FORMATS[start[-2]]
    (length,) = struct.unpack(length_format, stream.read(struct.calcsize(length_format)))
    if length > HEADER_BYTES:
        raise NpzError(f"array {name} has a header of {length} bytes, expected at most {HEADER_BYTES}")
    text = stream.read(length)
    if len(text) < length:
        raise NpzError(f"array {name} is damaged: its header is cut short")
    try:
        fields = ast.literal_eval(text.decode("utf-8" if start[-2] == 3 else "latin-1").strip())
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise NpzError(f"array {name} has a damaged header")
    shape, order = fields["shape"], fields["fortran_order"]
    whole = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    if not whole or len(shape) > 32 or not isinstance(order, bool):
        raise NpzError(f"array {name} has a damaged header")
    return Header(_dtype(name, fields["descr"]), shape, order, len(start) + struct.calcsize(length_format) + length)


def _dtype(name: str, description: object) -> np.dtype:
    """The type that an npy header describes. Raises :class:`NpzError` unless it is a plain one."""
    try:
        if isinstance(description, str) and PLAIN_TYPE.fullmatch(description):
            dtype = np.dtype(description)
            if dtype.itemsize:
                return dtype
    except (TypeError, ValueError, OverflowError):
        pass
    shown = description if isinstance(description, str) and description.isprintable() else "with parts"
    raise NpzError(f"array {name} is of type {shown[:40]}, expected numbers or text")


def is_unicode(array: NDArray) -> bool:
    """Whether ``array`` holds no text, or text of Unicode characters only: others cannot be read or printed."""
    if array.dtype.kind != "U":
        return True
    codes = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
    return not ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any()
