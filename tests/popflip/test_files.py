"""Files are written whole or not at all."""

from __future__ import annotations

import pytest

from popflip.errors import FileError
from popflip.files import check_writable, whole_file


def test_a_whole_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_file_leaves_the_old_one(tmp_path, error):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(error), whole_file(path) as file:
        file.write(b"half of the n")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_one_line(tmp_path):
    path = tmp_path / "gone" / "f"
    with pytest.raises(FileError) as error, whole_file(path):
        pass
    assert str(error.value) == f"{path}: cannot be written: no such file or directory"


def test_paths_are_checked_before_they_are_written(tmp_path):
    check_writable(report=tmp_path / "r.json", plot=None)
    assert list(tmp_path.iterdir()) == []
    cases = [
        ({"report": tmp_path}, f"report: {tmp_path} is a folder, not a file"),
        ({"plot": tmp_path / "no" / "p"}, f"plot: there is no folder {tmp_path}/no for p; create it first"),
        (
            {"report": tmp_path / "f", "save": tmp_path / "." / "f"},
            f"save: {tmp_path}/f is also the file of report",
        ),
    ]
    for paths, message in cases:
        with pytest.raises(FileError) as error:
            check_writable(**paths)
        assert str(error.value) == message
