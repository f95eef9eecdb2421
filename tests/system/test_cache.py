"""The cache of built artefacts: an entry is complete or absent, and built once."""

import subprocess
import threading
from pathlib import Path

import pytest

from popflip.sim import cache
from popflip.sim.cache import DIGESTS, built, built_file, cache_directory, content_hash
from popflip.sim.errors import SimulatorError

CONTENTS = {"program": b"\x7fELF", "part/data": b""}
"""Files of the entries that the tests build."""


def test_concurrent_builders_build_once(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    builds, folders = [], []

    def build(folder):
        builds.append(folder)
        (folder / "file").write_text("whole")

    threads = [threading.Thread(target=lambda: folders.append(built("kind", "key", build))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert folders == [tmp_path / "kind" / "key"] * 8
    assert (folders[0] / "file").read_text() == "whole"


def test_a_failed_build_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))

    def fail(folder):
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built("kind", "key", fail)
    assert [path.name for path in (tmp_path / "kind").iterdir()] == ["key.lock"]


def test_the_folder_may_begin_with_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("POPFLIP_CACHE", "~/c")
    assert cache_directory() == Path("/home/me/c")


def test_without_a_home_folder_the_environment_says_the_folder(monkeypatch, tmp_path):
    def unknown(user):
        raise KeyError(user)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("POPFLIP_CACHE", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(SimulatorError) as error:
        cache_directory()
    assert str(error.value) == "the simulated chip needs a folder, and there is no home folder; set POPFLIP_CACHE"
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    assert cache_directory() == tmp_path


def test_a_system_without_locks_builds_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "fcntl", None)
    assert built("kind", "key", lambda folder: None) == tmp_path / "kind" / "key"


def test_the_content_hash_depends_on_where_parts_end():
    assert content_hash("ab", "c") != content_hash("a", "bc")


def test_a_build_removes_leftovers_of_a_killed_one(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    (tmp_path / "kind" / "key.half").mkdir(parents=True)
    built("kind", "key", lambda folder: None)
    assert sorted(path.name for path in (tmp_path / "kind").iterdir()) == ["key", "key.lock"]


class Builder:
    """Builds entries of :data:`CONTENTS` in a cache of its own, and counts the builds."""

    def __init__(self):
        self.builds = 0

    def __call__(self, folder):
        self.builds += 1
        for name, contents in CONTENTS.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(contents)

    def folder(self):
        return built("kind", "key", self)

    def program(self):
        return built_file("kind", "key", self, "program")


@pytest.fixture
def builder(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    return Builder()


def flip(path, bit):
    contents = bytearray(path.read_bytes())
    contents[bit // 8] ^= 1 << bit % 8
    path.write_bytes(contents)


DAMAGES = {
    "bit": lambda folder: flip(folder / "program", 13),
    "cut short": lambda folder: (folder / "program").write_bytes(b"\x7f"),
    "empty": lambda folder: (folder / "program").write_bytes(b""),
    "longer": lambda folder: (folder / "program").write_bytes(CONTENTS["program"] + b"\0"),
    "missing": lambda folder: (folder / "program").unlink(),
    "no digests": lambda folder: (folder / DIGESTS).unlink(),
    "no digest of it": lambda folder: (folder / DIGESTS).write_text(""),
    "digest with a bit flipped": lambda folder: [flip(folder / DIGESTS, bit) for bit in (100, 700)],
    "digests of no text": lambda folder: (folder / DIGESTS).write_bytes(b"\xff"),
    "digests cut in the middle of a name": lambda folder: (folder / DIGESTS).write_bytes(
        (folder / DIGESTS).read_bytes()[:-2]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("use", [Builder.folder, Builder.program], ids=["folder", "file"])
def test_a_damaged_entry_is_built_again(builder, damage, use):
    folder = builder.folder()
    damage(folder)
    use(builder)
    assert builder.builds == 2
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    use(builder)
    assert builder.builds == 2


def test_no_flipped_bit_is_overlooked(builder):
    folder = builder.folder()
    for bit in range(8 * len(CONTENTS["program"])):
        flip(folder / "program", bit)
        assert builder.program() == CONTENTS["program"]
        assert builder.builds == bit + 2


def test_an_additional_file_is_damage(builder):
    (builder.folder() / "more").touch()
    assert not (builder.folder() / "more").exists()
    assert builder.builds == 2


def test_a_file_in_the_place_of_an_entry_is_damage(builder, tmp_path):
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind" / "key").write_text("")
    assert builder.program() == CONTENTS["program"]


def test_a_disk_that_reads_back_something_else_is_an_error(builder, monkeypatch):
    monkeypatch.setattr("popflip.sim.cache._write_digests", lambda folder: None)
    with pytest.raises(OSError, match="reads back other than it was written"):
        builder.folder()


def test_sha256sum_reads_the_digests(builder):
    subprocess.run(["sha256sum", "--check", "--strict", DIGESTS], cwd=builder.folder(), check=True)


def test_concurrent_users_of_a_damaged_entry_build_it_once(builder):
    flip(builder.folder() / "program", 0)
    results = []
    threads = [threading.Thread(target=lambda: results.append(builder.program())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENTS["program"]] * 8
    assert builder.builds == 2
