"""Files of public data sets: in a folder of the user's, or downloaded once, with their checksums."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_dir
from rich.progress import Progress

from popflip.errors import DataError
from popflip.files import reason, whole_file

DOWNLOAD_SECONDS = 30  # without a byte, before the next mirror is tried


@dataclass(frozen=True)
class Source:
    """Where the files of a data set come from: ``sha256`` by file name, and mirrors that hold all of them."""

    name: str  # of the data set, and of its folder
    sha256: Mapping[str, str]
    mirrors: tuple[str, ...]  # addresses that end with a slash


def folder_of(source: Source, data_dir: Path | None) -> Path:
    """Folder with the files of ``source``: in ``data_dir``, in ``$POPFLIP_DATA``, or in :func:`downloads`.

    Downloads those that are missing in the last one, and checks them; a user's own files may differ. Raises
    :class:`DataError` if a file is missing and cannot be downloaded.
    """
    given = data_dir or (_expanded(os.environ["POPFLIP_DATA"]) if os.environ.get("POPFLIP_DATA") else None)
    folder = (given or downloads()) / source.name
    missing = [name for name in source.sha256 if not (folder / name).is_file()]
    if missing and given:
        raise DataError(f"{folder}: {missing[0]} is not there; it must hold {', '.join(source.sha256)}")
    if missing:
        _download(source, missing, folder)
    return folder


def downloads() -> Path:
    """Folder of downloaded data sets. Raises :class:`DataError` if it lies in a home folder that is not known."""
    return _expanded(user_data_dir("popflip"))


def _expanded(path: str) -> Path:
    """``path`` with a leading ``~`` replaced by the home folder."""
    try:
        folder = Path(path).expanduser()
    except (RuntimeError, KeyError):
        folder = None
    if folder is None or str(folder).startswith("~"):
        raise DataError(
            "data_dir: there is no home folder to download to; set POPFLIP_DATA to a folder that holds the data sets"
        )
    return folder


def _download(source: Source, names: Sequence[str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: {reason(error)}") from None
    with Progress(transient=True) as progress:
        for name in names:
            content = _fetch(source, name, folder, progress)
            with whole_file(folder / name) as file:
                file.write(content)


def _fetch(source: Source, name: str, folder: Path, progress: Progress) -> bytes:
    """The file ``name`` from the first mirror whose copy has the right checksum."""
    problem = ""
    for mirror in source.mirrors:
        try:
            content = _get(mirror + name, progress)
        except (OSError, ValueError) as error:
            problem = f"{mirror}: {getattr(error, 'reason', error)}"
            continue
        if hashlib.sha256(content).hexdigest() == source.sha256[name]:
            return content
        problem = f"{mirror}: wrong checksum"
    raise DataError(
        f"{source.name}: {name} cannot be downloaded ({problem}); put {', '.join(source.sha256)} into {folder}, or "
        f"give data_dir=D with D/{source.name}"
    )


def _get(url: str, progress: Progress) -> bytes:
    task = progress.add_task(url, total=None)
    parts = []
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as response:
            progress.update(task, total=int(response.headers.get("Content-Length") or 0) or None)
            while part := response.read(1 << 16):
                parts.append(part)
                progress.advance(task, len(part))
    finally:
        progress.remove_task(task)
    return b"".join(parts)
