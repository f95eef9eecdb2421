"""Tiny Shakespeare: a million characters of plays, as one text."""

from __future__ import annotations

from pathlib import Path

from popflip.data.download import Source, folder_of
from popflip.errors import DataError, FileError
from popflip.files import open_input

SOURCE = Source(
    "tinyshakespeare",
    {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
    (
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
        "https://cdn.jsdelivr.net/gh/karpathy/char-rnn@master/data/tinyshakespeare/",
    ),
)


def tiny_shakespeare(data_dir: Path | None) -> str:
    """The text of ``tinyshakespeare/input.txt`` in ``data_dir``, in ``$POPFLIP_DATA``, or downloaded once.

    Raises :class:`DataError` if there is none, or if it is not UTF-8.
    """
    path = folder_of(SOURCE, data_dir) / "input.txt"
    try:
        with open_input(path) as file:
            return file.read().decode()
    except FileError as error:
        raise DataError(str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a text in UTF-8: {error}") from None
