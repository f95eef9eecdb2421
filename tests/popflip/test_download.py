"""Files of data sets: read from a user's folder, or downloaded once from the first mirror that is right."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from pathlib import Path

import pytest

from popflip.data import download
from popflip.data.download import Source, downloads, folder_of
from popflip.data.shakespeare import SOURCE, tiny_shakespeare
from popflip.errors import DataError

FILES = {"a.txt": b"first", "b.txt": b"second"}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of downloads, which does not exist yet."""
    monkeypatch.delenv("POPFLIP_DATA", raising=False)
    monkeypatch.setattr(download, "downloads", lambda: tmp_path / "home")
    return tmp_path / "home"


def mirrors(folder: Path, **ends: bytes) -> tuple[str, ...]:
    """Addresses of mirrors ``name``, whose files end with other bytes; one without files if those are ``?``."""
    for name, end in ends.items():
        (folder / name).mkdir()
        for file, content in FILES.items() if end != b"?" else ():
            (folder / name / file).write_bytes(content + end)
    return tuple(f"{(folder / name).as_uri()}/" for name in ends)


def test_files_are_downloaded_once_from_the_first_mirror_that_is_right(home, tmp_path, monkeypatch):
    source = Source("letters", SHA256, mirrors(tmp_path, broken=b"?", wrong=b"!", right=b""))
    assert folder_of(source, None) == home / "letters"
    assert {path.name: path.read_bytes() for path in (home / "letters").iterdir()} == FILES
    monkeypatch.setattr(urllib.request, "urlopen", None)
    assert folder_of(source, None) == home / "letters"


def test_only_what_is_missing_is_downloaded(home, tmp_path):
    (home / "letters").mkdir(parents=True)
    (home / "letters" / "a.txt").write_bytes(b"there")
    folder_of(Source("letters", SHA256, mirrors(tmp_path, right=b"")), None)
    assert (home / "letters" / "a.txt").read_bytes() == b"there"
    assert (home / "letters" / "b.txt").read_bytes() == b"second"


@pytest.mark.parametrize("end", [b"!", b"?"])
def test_a_download_that_fails_leaves_nothing(home, tmp_path, end):
    source = Source("letters", SHA256, mirrors(tmp_path, only=end))
    with pytest.raises(DataError) as error:
        folder_of(source, None)
    problem = "wrong checksum" if end == b"!" else "[Errno 2] No such file or directory: "
    start = f"letters: a.txt cannot be downloaded ({source.mirrors[0]}: {problem}"
    end_of_message = f"; put a.txt, b.txt into {home / 'letters'}, or give data_dir=D with D/letters"
    assert str(error.value).startswith(start) and str(error.value).endswith(end_of_message)
    assert os.listdir(home / "letters") == []


def test_a_user_s_folder_is_not_downloaded_to(tmp_path, monkeypatch):
    source = Source("letters", SHA256, mirrors(tmp_path, right=b""))
    message = f"^{tmp_path}/mine/letters: a.txt is not there; it must hold a.txt, b.txt$"
    with pytest.raises(DataError, match=message):
        folder_of(source, tmp_path / "mine")
    monkeypatch.setenv("POPFLIP_DATA", str(tmp_path / "mine"))
    with pytest.raises(DataError, match=message):
        folder_of(source, None)
    assert folder_of(Source("right", SHA256, ()), tmp_path) == tmp_path / "right"


def test_a_home_folder_that_is_not_known_is_one_line(monkeypatch):
    monkeypatch.setattr(download, "user_data_dir", lambda name: "~nobody-at-all/popflip")
    with pytest.raises(DataError, match=r"^data_dir: there is no home folder to download to; set POPFLIP_DATA to "):
        downloads()


def test_tiny_shakespeare_is_one_text(tmp_path):
    assert list(SOURCE.sha256) == ["input.txt"]
    (tmp_path / "tinyshakespeare").mkdir()
    path = tmp_path / "tinyshakespeare" / "input.txt"
    path.write_bytes("“O brave new world,\r\n".encode())
    assert tiny_shakespeare(tmp_path) == "“O brave new world,\r\n"
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match=rf"^{path}: not a text in UTF-8: "):
        tiny_shakespeare(tmp_path)
