"""Write files whole or not at all, never in place of a link, a device or a pipe; check that before a long run.

::

    content ─▶ temporary file in the same folder ─▶ fsync ─▶ rename      a new file, or one to replace
            └▶ memory or an unnamed file ─▶ copied into what is there    a device, a pipe, a file with other names, …

A symbolic link is followed: what it leads to is written, and the link stays. A file that exists keeps its mode and its
owner. Files that a rename would separate from their other names, from their access list or from a mount are
overwritten in place, as are files in a folder where no other file can be made; only then can a crash in the middle of
the copy leave a file cut short.

Temporary files are called ``.popflip-PID-RANDOM.tmp``. :func:`sweep` removes those of programs that were killed.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from popflip.errors import FileError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = re.compile(r"\.popflip-(\d+)-[0-9a-f]{8}\.tmp")
DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})")
OLD = 24 * 3600.0
"""Seconds after which a temporary file is swept although a program has its process number."""
IN_MEMORY = 2**24
"""Bytes of content that are kept in memory before they are copied into a file that cannot be replaced."""

_NO_NEW_FILE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG})
"""Why a folder takes no temporary file, though a file in it may be writable."""
_NO_RENAME = frozenset({errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM})
"""Why a file cannot be replaced, though it may be writable: a mount, or a folder that protects its files."""
_BINARY = getattr(os, "O_BINARY", 0)  # Windows


def reason(error: OSError) -> str:
    """The system's message for ``error`` in lower case, without its number or path; any other message as it is."""
    return error.strerror.lower() if error.strerror else str(error)


# Reading --------------------------------------------------------------------------------------------------------------


def open_input(path: Path) -> IO[bytes]:
    """Open a regular file to read its bytes. Raises :class:`FileError` if it cannot be opened, or is anything else.

    A pipe or a device may never end, so it is refused at once, without waiting for its other end.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    except OSError as error:
        raise FileError(f"{path}: {reason(error)}") from None
    except ValueError:  # a zero byte
        raise FileError(f"{str(path)!r} is not the name of a file") from None
    kind = _kind(os.fstat(handle))
    if kind != "file":
        os.close(handle)
        raise FileError(f"{path}: is a {kind}, expected a file")
    return os.fdopen(handle, "rb")


def read_input(path: Path, limit: int, purpose: str) -> bytes:
    """The bytes of a regular file that has at most ``limit`` of them.

    Raises :class:`FileError` if the file cannot be read, or has more, which are too many for ``purpose``.
    """
    with open_input(path) as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise FileError(f"{path}: {reason(error)}") from None
    if len(content) > limit:
        raise FileError(f"{path}: has more than {limit} bytes, too many for {purpose}")
    return content


# Writing --------------------------------------------------------------------------------------------------------------


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file for the content of ``path``, which changes only if the block ends without an error.

    The content is on the disk when the block has ended. Raises :class:`FileError` if it cannot be written.
    """
    try:
        with ExitStack() as stack:
            target = _target(path)
            if target.replaceable and (temporary := _temporary(target)) is not None:
                sweep(target.path.parent)
                stack.callback(_remove, temporary)
                with temporary.open("r+b") as file, _locked(file):
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                    _replace(temporary, file, target)
            else:
                content = stack.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))
                yield content  # type: ignore[misc]
                _copy(content, target)  # type: ignore[arg-type]
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {reason(error)}") from None
    except ValueError as error:
        if "\0" in str(path):
            raise FileError(f"{str(path)!r} is not the name of a file") from None
        raise error


def sweep(folder: Path) -> None:
    """Remove temporary files that killed programs of this user left in ``folder``."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if found := TEMPORARY.fullmatch(name):
                with suppress(OSError):
                    if _is_abandoned(folder / name, int(found[1])):
                        os.unlink(folder / name)


@dataclass(frozen=True)
class _Target:
    """Where ``given`` leads once links are followed. ``found`` is its entry, None if there is no such file yet."""

    given: Path
    path: Path
    found: os.stat_result | None

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, and not one that this program's own output goes to."""
        return self.found is None or (stat.S_ISREG(self.found.st_mode) and self.own_stream is None)

    @property
    def own_stream(self) -> int | None:
        """The open descriptor of this program that the path leads to: its output, its errors, or ``/dev/fd/N``."""
        named = DESCRIPTOR.fullmatch(str(self.given))
        for descriptor in (1, 2, *([int(named[1])] if named else [])):
            with suppress(OSError):
                if self.found is not None and os.path.samestat(self.found, os.fstat(descriptor)):
                    return descriptor
        return None

    @property
    def replaceable(self) -> bool:
        """Whether a rename loses nothing: the file has no other name and no access list."""
        if self.found is None or not self.is_file:
            return self.is_file
        return self.found.st_nlink == 1 and not _attributes(self.path)


def _target(path: Path) -> _Target:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        found = None
    return _Target(path, Path(os.path.realpath(path)), found)


def _attributes(path: Path) -> list[str]:
    """Extended attributes of a file, which a new file would lack; the system sets those of ``security`` itself."""
    if not hasattr(os, "listxattr"):
        return []
    with suppress(OSError):
        return [name for name in os.listxattr(path) if not name.startswith("security.")]
    return []


def _temporary(target: _Target) -> Path | None:
    """A new file beside ``target`` with its owner and mode; None if the folder takes none but the file may be written.

    A new ``target`` gets the mode that the system gives to new files.
    """
    path = target.path.parent / f".popflip-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    found = target.found
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if found is None else 0o600))
        if found is None or not hasattr(os, "chown"):
            return path
        own = path.stat()
        if (own.st_uid, own.st_gid) != (found.st_uid, found.st_gid):
            os.chown(path, found.st_uid, found.st_gid)
        path.chmod(stat.S_IMODE(found.st_mode))
        return path
    except OSError as error:
        _remove(path)
        if found is None or error.errno not in _NO_NEW_FILE:
            raise
        return None


def _replace(temporary: Path, content: IO[bytes], target: _Target) -> None:
    if target.found is not None and not os.access(target.path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        os.replace(temporary, target.path)
    except OSError as error:
        if target.found is None or error.errno not in _NO_RENAME:
            raise
        _copy(content, target)
    else:
        _sync_folder(target.path.parent)


def _copy(content: IO[bytes], target: _Target) -> None:
    """Copy ``content`` into what is there: a regular file is overwritten, anything else takes it as a stream."""
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    if (own := target.own_stream) is not None:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        handle = os.dup(own)
    else:
        handle = os.open(target.given, os.O_WRONLY | getattr(os, "O_NOCTTY", 0) | _BINARY)
    with os.fdopen(handle, "wb") as file:
        if target.is_file:
            _reserve(file, size)
        shutil.copyfileobj(content, file)
        file.flush()
        if target.is_file:
            file.truncate(size)
            os.fsync(file.fileno())


def _reserve(file: IO[bytes], size: int) -> None:
    """Make sure that ``size`` bytes fit before the first of the old ones is lost."""
    before = os.fstat(file.fileno()).st_size
    if size <= before or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        os.ftruncate(file.fileno(), before)
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some file systems cannot reserve
            raise


def _sync_folder(folder: Path) -> None:
    """Write the folder's entries to the disk. Not every system opens folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _locked(file: IO[bytes]) -> Iterator[None]:
    """Hold a lock that ends with this program, so that no other one sweeps ``file``. Not every disk has locks."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield


def _is_abandoned(path: Path, process: int) -> bool:
    """Whether the temporary file ``path`` is this user's, is not locked, and is old or its ``process`` dead."""
    entry = os.lstat(path)
    if not stat.S_ISREG(entry.st_mode) or (hasattr(os, "geteuid") and entry.st_uid != os.geteuid()):
        return False
    if fcntl is not None:
        with path.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
    return time.time() - entry.st_mtime > OLD or not _is_running(process)


def _is_running(process: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


# Checks before a run --------------------------------------------------------------------------------------------------


def check_writable(**paths: Path | None) -> None:
    """Raise :class:`FileError`, which starts with the parameter's name, unless each file can be written later.

    No two of them may be the same file, except a device.
    """
    targets: dict[str, _Target] = {}
    for name, path in paths.items():
        if path is None:
            continue
        targets[name] = target = _checked_target(name, path)
        for other, earlier in list(targets.items())[:-1]:
            if target.is_file and _same(target, earlier):
                raise FileError(f"{name}: {path} is also the file of {other}")


def check_outputs_differ(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | str | None]) -> None:
    """Raise :class:`FileError`, which starts with the name of an output, if that is one of the ``inputs``."""

    def target(path: Path | str | None) -> _Target | None:
        try:
            return None if path is None else _target(Path(path))
        except (OSError, ValueError):  # reading or writing it will say so
            return None

    for input_name, source in inputs.items():
        read = target(source)
        if read is None or read.found is None or not read.is_file:
            continue
        for name, path in outputs.items():
            written = target(path)
            if written is not None and _same(written, read):
                raise FileError(f"{name}: {path} is also the file of {input_name}, which is read; name another file")


def _checked_target(name: str, path: Path) -> _Target:
    """Where ``path`` leads; :class:`FileError` that begins with ``name`` if nothing can be written there."""
    try:
        target = _target(path)
        if target.found is not None and _kind(target.found) not in ("file", "pipe", "device"):
            raise FileError(f"{name}: {path} is a {_kind(target.found)}, not a file")
        if target.found is None and not target.path.parent.is_dir():
            folder = target.path.parent if path.is_symlink() else path.parent
            raise FileError(f"{name}: there is no folder {folder} for {target.path.name}; create it first")
        if target.found is None:
            with tempfile.TemporaryFile(dir=target.path.parent):
                pass
        elif not target.is_file:
            if target.own_stream is None and not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            os.close(os.open(path, os.O_WRONLY | _BINARY))
    except OSError as error:
        raise FileError(f"{name}: {path} cannot be written: {reason(error)}") from None
    except ValueError:  # a zero byte
        raise FileError(f"{name}: {str(path)!r} is not the name of a file") from None
    return target


def _same(one: _Target, other: _Target) -> bool:
    if one.found is None or other.found is None:
        return one.path == other.path
    return os.path.samestat(one.found, other.found)


def _kind(entry: os.stat_result) -> str:
    """What a path leads to, in a word."""
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(entry.st_mode), "disk" if stat.S_ISBLK(entry.st_mode) else "device")
