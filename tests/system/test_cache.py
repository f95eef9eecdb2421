"""The cache of built artefacts: an entry is complete or absent, and built once."""

import threading

import pytest

from popflip.sim.cache import built, content_hash


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


def test_the_content_hash_depends_on_where_parts_end():
    assert content_hash("ab", "c") != content_hash("a", "bc")


def test_a_build_removes_leftovers_of_a_killed_one(monkeypatch, tmp_path):
    monkeypatch.setenv("POPFLIP_CACHE", str(tmp_path))
    (tmp_path / "kind" / "key.half").mkdir(parents=True)
    built("kind", "key", lambda folder: None)
    assert sorted(path.name for path in (tmp_path / "kind").iterdir()) == ["key", "key.lock"]
