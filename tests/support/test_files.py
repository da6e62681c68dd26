"""Files appear whole or not at all, and one process at a time writes to one that is locked."""

import fcntl
import os
from contextlib import suppress

import pytest

from headstart.errors import DataError
from headstart.support import files
from headstart.support.files import FULL_DISK, in_words, nearest_name, whole_file
from headstart.support.plain_files import open_locked


@pytest.fixture
def path(tmp_path):
    return tmp_path / "figures.json"


def test_a_file_has_its_name_only_when_it_is_complete(path):
    path.write_text("before")
    with whole_file(path) as temporary:
        temporary.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there_and_nothing_else(path, error):
    path.write_text("before")
    with suppress(error), whole_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_under_a_given_name_is_removed(path):
    remains = path.with_name("figures.json.new")
    remains.write_text("half")
    with whole_file(path, remains) as temporary:
        assert temporary == remains
        assert not temporary.exists()
        temporary.write_text("whole")
    assert list(path.parent.iterdir()) == [path]


def test_a_file_system_that_cannot_sync_folders_is_good_enough(path, monkeypatch):
    sync, synced = os.fsync, []

    def files_only(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        synced.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", files_only)
    with whole_file(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert len(synced) == 1


def test_a_locked_file_is_refused_until_it_is_closed(path):
    with open_locked(path), pytest.raises(BlockingIOError):
        open_locked(path)
    with open_locked(path):
        pass


def test_a_file_that_was_removed_between_open_and_lock_is_opened_anew(path, monkeypatch):
    calls, flock = [], fcntl.flock

    def removed_at_the_worst_moment(descriptor, how):
        if not calls:
            path.unlink()
        calls.append(how)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", removed_at_the_worst_moment)
    with open_locked(path) as file:
        assert len(calls) == 2
        assert os.path.samestat(os.fstat(file.fileno()), os.stat(path))


REASONS = {
    "No space left on device.": OSError(28, "No space left on device", "a.tmp"),
    "Is a directory (a.tmp).": IsADirectoryError(21, "Is a directory", "a.tmp"),
    "File too large.": RuntimeError("Can't write (errno = 27, error message = 'File too large', buf = 0x5)"),
    "the disk is full.": RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 1088 vs 982"),
    "something else.": RuntimeError("something else\nand more"),
}


@pytest.mark.parametrize(("reason", "error"), REASONS.items())
def test_the_reason_of_the_system_is_given_whatever_library_meets_it(reason, error):
    with pytest.raises(DataError) as raised, in_words(DataError, "It fails", errors=FULL_DISK):
        raise error
    assert str(raised.value) == f"It fails: {reason}"


def test_a_name_that_is_missing_is_answered_with_the_nearest_beside_its_first_missing_part(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/runs/photos").mkdir(parents=True)
    assert nearest_name("data/runs/phtos/best") == " Did you mean photos?"
    assert nearest_name(tmp_path / "data/runs/photos/bset", ["best"]) == " Did you mean best?"
    assert nearest_name("data/rnus/best", ["best"]) == " Did you mean runs?"
    assert nearest_name("data/runs") == nearest_name("something else") == ""


def test_temporary_files_of_dead_processes_are_removed_but_no_others(tmp_path):
    """A checkpoint's is as large as net and optimiser."""
    names = [".a.pth.1.tmp", ".a.pth.99999999.tmp", ".b.pth.1.tmp", ".a.pth.x.tmp", "a.pth.1.tmp"]
    for name in names:
        (tmp_path / name).write_text("left")
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / ".a.pth.2.tmp").symlink_to(tmp_path / "mine.txt")
    with (tmp_path / names[0]).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as a process that writes it
        with files.whole_file(tmp_path / "a.pth") as path:
            path.write_text("new")
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {"a.pth", ".a.pth.1.tmp", ".a.pth.2.tmp", ".b.pth.1.tmp", ".a.pth.x.tmp", "a.pth.1.tmp", "mine.txt"}
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_nobody_takes_the_temporary_file_of_a_living_process_for_left(tmp_path):
    with files.whole_file(tmp_path / "a") as path:
        path.write_text("first")
        files.remove_left(tmp_path / "a")
        assert path.read_text() == "first"
    assert (tmp_path / "a").read_text() == "first"


def test_a_file_never_takes_the_place_of_a_pipe_or_a_device(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="device or a pipe"), files.whole_file(tmp_path / "pipe") as path:
        path.write_text("new")
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]
    assert (tmp_path / "pipe").is_fifo()
