"""Files are written whole or not at all, and what they are (link, device, pipe, mount, mode) stays as it is."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from popflip import files
from popflip.errors import FileError
from popflip.files import check_outputs_differ, check_writable, sweep, whole_file

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def write(path: Path, content: bytes = b"new") -> None:
    with whole_file(path) as file:
        file.write(content)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_whole_file_replaces_the_old_one(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_file_leaves_the_old_one(tmp_path, error):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(error), whole_file(path) as file:
        file.write(b"half of the n")
        raise error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


def test_a_missing_folder_is_one_line(tmp_path):
    path = tmp_path / "gone" / "f"
    with pytest.raises(FileError) as error, whole_file(path):
        pass
    assert str(error.value) == f"{path}: cannot be written: no such file or directory"


def test_the_file_and_its_folder_are_on_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle):
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("rename"), replace(*paths)))
    write(tmp_path / "f")
    assert events == ["file", "rename", "folder"]


@pytest.mark.parametrize("size", [245, 246, 250, 255])
def test_the_longest_names_work(tmp_path, size):
    path = tmp_path / ("n" * size)
    check_writable(save=path)
    write(path)
    assert path.read_bytes() == b"new"
    longer = tmp_path / ("n" * 256)
    with pytest.raises(FileError) as error:
        check_writable(save=longer)
    assert str(error.value) == f"save: {longer} cannot be written: file name too long"


# Modes and owners -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_the_mode_of_a_file_stays(tmp_path, mode):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


def test_a_new_file_has_the_mode_of_new_files(tmp_path):
    (tmp_path / "usual").touch()
    write(tmp_path / "f")
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(not ROOT, reason="only root may give files away")
def test_the_owner_of_a_file_stays(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    os.chown(path, 1234, 4321)
    write(path)
    assert (path.read_bytes(), path.stat().st_uid, path.stat().st_gid) == (b"new", 1234, 4321)


def test_a_file_whose_owner_cannot_be_kept_is_overwritten_in_place(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"old and longer")
    inode = path.stat().st_ino

    def forbidden(*_):
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, "chmod", forbidden)
    monkeypatch.setattr(Path, "chmod", forbidden)
    write(path)
    assert (path.read_bytes(), path.stat().st_ino) == (b"new", inode)
    assert names(tmp_path) == ["f"]


@pytest.mark.skipif(ROOT, reason="root may write everywhere")
def test_a_writable_file_in_an_unwritable_folder_is_written(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old and longer")
    tmp_path.chmod(0o500)
    try:
        check_writable(save=path)
        write(path)
        with pytest.raises(FileError, match=r"^save: .*/g cannot be written: permission denied$"):
            check_writable(save=tmp_path / "g")
    finally:
        tmp_path.chmod(0o700)
    assert path.read_bytes() == b"new"


def test_a_folder_without_room_for_new_files_keeps_its_writable_file(tmp_path, monkeypatch):
    """As in an unwritable folder, but also for root."""
    path = tmp_path / "f"
    path.write_bytes(b"old and longer")
    opened = os.open

    def refusing(name, flags, *mode, **options):
        if flags & os.O_CREAT and ".popflip-" in str(name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(name, flags, *mode, **options)

    monkeypatch.setattr(os, "open", refusing)
    check_writable(save=path)
    write(path)
    assert path.read_bytes() == b"new"
    with pytest.raises(FileError, match=r"/g: cannot be written: permission denied$"):
        write(tmp_path / "g")


# Links, mounts, devices, pipes ----------------------------------------------------------------------------------------


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "f").write_bytes(b"old")
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("there/f")
    write(tmp_path / "first")
    assert (folder / "f").read_bytes() == b"new"
    assert [os.readlink(tmp_path / name) for name in ("first", "second")] == ["second", "there/f"]
    assert names(folder) == ["f"]


def test_a_link_to_nothing_makes_its_target(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "f")
    check_writable(save=tmp_path / "link")
    write(tmp_path / "link")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "lost").symlink_to(tmp_path / "gone" / "f")
    with pytest.raises(FileError) as error:
        check_writable(save=tmp_path / "lost")
    assert str(error.value) == f"save: there is no folder {tmp_path}/gone for f; create it first"


def test_a_file_with_two_names_keeps_both(tmp_path):
    (tmp_path / "f").write_bytes(b"old and longer")
    os.link(tmp_path / "f", tmp_path / "g")
    write(tmp_path / "f")
    assert [(tmp_path / name).read_bytes() for name in ("f", "g")] == [b"new", b"new"]
    assert names(tmp_path) == ["f", "g"]


def test_a_mounted_file_is_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"old and longer")

    def busy(*_):
        raise OSError(errno.EBUSY, "device or resource busy")

    monkeypatch.setattr(os, "replace", busy)
    write(path)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_stays_a_device(tmp_path, device):
    link = tmp_path / "link"
    link.symlink_to(device)
    for path in (Path(device), link):
        check_writable(report=path, plot=path)
        if device == "/dev/full":
            with pytest.raises(FileError) as error:
                write(path)
            assert str(error.value) == f"{path}: cannot be written: no space left on device"
        else:
            write(path)
        assert stat.S_ISCHR(path.stat().st_mode)
    assert names(tmp_path) == ["link"]


def test_a_pipe_takes_the_content_and_stays(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    check_writable(report=path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    write(path, b"x" * 100_000)
    reader.join(10)
    assert received == [b"x" * 100_000]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "out.txt"])
@pytest.mark.parametrize("piped", [False, True])
def test_standard_output_takes_the_content_in_its_place(tmp_path, name, piped):
    if piped and name == "out.txt":
        pytest.skip("a pipe has no name")
    script = (
        "import sys; from pathlib import Path; from popflip.files import check_writable, whole_file\n"
        f"path = Path({name!r}); check_writable(report=path); print('before')\n"
        "with whole_file(path) as file: file.write(b'content\\n')\n"
        "print('after')"
    )
    command = [sys.executable, "-c", script]
    if piped:
        out = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
    else:
        with (tmp_path / "out.txt").open("wb") as file:
            subprocess.run(command, cwd=tmp_path, check=True, stdout=file)
        out = (tmp_path / "out.txt").read_bytes()
        assert names(tmp_path) == ["out.txt"]
    assert out == b"before\ncontent\nafter\n"


def test_a_full_disk_leaves_the_old_content_of_a_file_overwritten_in_place(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"old")
    os.link(tmp_path / "f", tmp_path / "g")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(FileError, match=r"no space left on device$"):
        write(tmp_path / "f", b"new and longer")
    assert (tmp_path / "f").read_bytes() == b"old"


# Temporary files of killed programs -----------------------------------------------------------------------------------

KILLED = (
    "import os, signal, sys; from pathlib import Path; from popflip.files import whole_file\n"
    "with whole_file(Path(sys.argv[1])) as file:\n"
    "    file.write(b'half'); print(flush=True); os.kill(os.getpid(), signal.SIGKILL)"
)


def test_the_next_write_sweeps_what_a_killed_one_left(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True)
    assert len(names(tmp_path)) == 2  # the second one swept the first one's
    assert path.read_bytes() == b"old"
    write(path)
    assert names(tmp_path) == ["f"]


def test_only_abandoned_temporary_files_are_swept(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours, dead = f".popflip-{os.getpid()}-00000000.tmp", f".popflip-{gone.pid}-00000000.tmp"
    old = f".popflip-{os.getpid()}-11111111.tmp"
    others = [".popflip-1-xyz.tmp", "popflip-1-00000000.tmp", f".popflip-{gone.pid}-00000000.tmp.bak"]
    for name in (ours, dead, old, *others):
        (tmp_path / name).touch()
    (tmp_path / f".popflip-{gone.pid}-22222222.tmp").symlink_to("target")
    os.utime(tmp_path / old, (0, 0))
    sweep(tmp_path)
    assert names(tmp_path) == sorted([ours, *others, f".popflip-{gone.pid}-22222222.tmp"])


def test_a_file_being_written_is_not_swept_whatever_its_process_number(tmp_path, monkeypatch):
    """Two machines, or containers, that share a folder do not know each other's processes."""
    with whole_file(tmp_path / "f") as file:
        file.write(b"new")
        monkeypatch.setattr(files, "_is_running", lambda process: False)
        sweep(tmp_path)
    assert names(tmp_path) == ["f"]


# Checks before a run --------------------------------------------------------------------------------------------------


def test_paths_are_checked_before_they_are_written(tmp_path):
    check_writable(report=tmp_path / "r.json", plot=None)
    assert names(tmp_path) == []
    cases = [
        ({"report": tmp_path}, f"report: {tmp_path} is a folder, not a file"),
        ({"plot": tmp_path / "no" / "p"}, f"plot: there is no folder {tmp_path}/no for p; create it first"),
        (
            {"report": tmp_path / "f", "save": tmp_path / "." / "f"},
            f"save: {tmp_path}/f is also the file of report",
        ),
        ({"plot": Path("a\0b")}, "plot: 'a\\x00b' is not the name of a file"),
    ]
    for paths, message in cases:
        with pytest.raises(FileError) as error:
            check_writable(**paths)
        assert str(error.value) == message


def test_two_names_of_one_file_are_one_output(tmp_path):
    (tmp_path / "f").touch()
    (tmp_path / "link").symlink_to("f")
    os.link(tmp_path / "f", tmp_path / "hard")
    for name in ("link", "hard"):
        with pytest.raises(FileError) as error:
            check_writable(report=tmp_path / "f", plot=tmp_path / name)
        assert str(error.value) == f"plot: {tmp_path / name} is also the file of report"


@pytest.mark.parametrize("name", ["own.csv", "./own.csv", "link", "hard"])
def test_an_output_that_is_an_input_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_text("1,2\n")
    Path("link").symlink_to("own.csv")
    os.link("own.csv", "hard")
    with pytest.raises(FileError) as error:
        check_outputs_differ({"plot": None, "report": Path(name)}, {"model": None, "dataset": "own.csv"})
    assert str(error.value) == f"report: {Path(name)} is also the file of dataset, which is read; name another file"
    check_outputs_differ({"report": Path("r.json")}, {"dataset": "own.csv", "config": Path("none"), "model": "a\0b"})
    check_outputs_differ({"report": Path("/dev/null")}, {"dataset": "/dev/null"})
