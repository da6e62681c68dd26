"""One writer for a cache: a second is refused and told whom to wait for; the dead hold nothing."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from headstart.cache import locking
from headstart.cache.locking import lock, remove_left
from headstart.errors import CacheError, CacheLocked

HOLDER = """
import sys
from pathlib import Path
from headstart.cache.locking import lock

with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holding(cache):
    environment = {**os.environ, "PYTHONPATH": str(Path(locking.__file__).parents[2])}
    command = [sys.executable, "-c", HOLDER, str(cache)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.stdin.close()
            process.wait(10)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "features" / "pets.h5"


@pytest.fixture
def lock_file(cache):
    return cache.with_name("pets.h5.lock")


def test_a_second_process_is_refused_and_told_which_one_holds_the_cache(cache, lock_file):
    with another_process_holding(cache) as holder:
        ways_on = rf"Wait for it, or stop it \(if it is gone, remove {lock_file}\)"
        expected = rf"pets\.h5 is being filled by process {holder.pid} on {socket.gethostname()}\. {ways_on}"
        with pytest.raises(CacheLocked, match=expected), lock(cache):
            pytest.fail("two writers at once")
        assert lock_file.exists(), "the one who was refused must not take the holder's lock file away"
        with pytest.raises(CacheLocked), lock(cache):
            pytest.fail("two writers at once")
    with lock(cache):
        pass


def test_a_holder_killed_without_warning_stops_nobody(cache, lock_file):
    with another_process_holding(cache) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        assert lock_file.exists()
        with lock(cache):
            assert lock_file.read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert not lock_file.exists()


def test_a_lock_file_left_by_anyone_stops_nobody(cache, lock_file):
    lock_file.parent.mkdir()
    lock_file.write_text(f"process {os.getppid()} on this host, and much more text than we write ourselves\n" * 9)
    with lock(cache):
        assert lock_file.read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_lock_file_is_gone_afterwards_whatever_happened(cache, lock_file, error):
    with suppress(ValueError, KeyboardInterrupt), lock(cache):
        assert lock_file.exists()
        if error:
            raise error
    assert list(cache.parent.iterdir()) == []


def test_one_process_cannot_hold_a_cache_twice_but_several_caches(cache):
    refused = pytest.raises(CacheLocked, match=f"process {os.getpid()}")
    with lock(cache), lock(cache.with_name("birds.h5")), refused, lock(cache):
        pytest.fail("two writers at once")


def test_readers_are_not_disturbed(cache):
    import h5py

    cache.parent.mkdir()
    with h5py.File(cache, "w") as file:
        file["features"] = [1, 2, 3]
    with another_process_holding(cache), h5py.File(cache, "r") as file:
        assert file["features"][:].tolist() == [1, 2, 3]


def test_the_cache_itself_is_neither_made_nor_changed(cache):
    with lock(cache):
        assert not cache.exists()


def test_a_lock_file_removed_between_open_and_lock_does_not_make_two_writers(cache, lock_file, monkeypatch):
    """A holder that ends removes the file; whoever had just opened it holds a file that no one else will see."""
    calls = []

    def removed_at_the_worst_moment(descriptor, how):
        if not calls:
            lock_file.unlink()
        calls.append(how)
        flock(descriptor, how)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", removed_at_the_worst_moment)
    with lock(cache):
        assert len(calls) == 2
        with pytest.raises(CacheLocked), lock(cache):
            pytest.fail("two writers at once")


def test_many_who_wait_in_turn_never_write_together(cache):
    inside, most, turns = [], [], []

    def worker():
        while len(turns) < 60:
            try:
                with lock(cache):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.0005)
                    turns.append(1)
                    inside.pop()
            except CacheLocked:
                time.sleep(0.0002)

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(turns) >= 60
    assert set(most) == {1}


def test_a_folder_that_cannot_be_written_is_one_clear_sentence():
    refused = pytest.raises(CacheError, match=r"/dev/null/pets\.h5\.lock cannot be written: .*CACHE=")
    with refused, lock(Path("/dev/null/pets.h5")):
        pytest.fail("there is no such folder")


def test_a_full_disk_does_not_stop_the_lock(cache, monkeypatch):
    """It only cannot say who holds it; what cannot be written, the cache itself will say."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with lock(cache), pytest.raises(CacheLocked, match="another process"), lock(cache):
        pytest.fail("two writers at once")


@pytest.mark.parametrize(("process", "stopped"), [("alive", True), ("dead", False), ("elsewhere", True)])
def test_where_the_file_system_has_no_locks_the_process_named_in_the_file_decides(cache, monkeypatch, process, stopped):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    pid, host = {
        "alive": (os.getpid(), socket.gethostname()),
        "dead": (dead.pid, socket.gethostname()),
        "elsewhere": (1, "another-host"),
    }[process]
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.with_name(cache.name + ".lock").write_text(f"process {pid} on {host}\n")
    if stopped:
        with pytest.raises(CacheLocked, match=f"process {pid} on {host}"), locking.lock(cache):
            pass
    else:
        with locking.lock(cache):
            pass


def test_a_lock_that_is_a_link_or_a_pipe_is_refused_and_leads_nowhere(cache, lock_file, tmp_path):
    cache.parent.mkdir()
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    lock_file.symlink_to(precious)
    with pytest.raises(CacheError, match=r"it is a link to .*precious\.txt, remove it"), lock(cache):
        pytest.fail("a lock that is not ours")
    assert precious.read_text() == "mine"
    lock_file.unlink()
    os.mkfifo(lock_file)
    with pytest.raises(CacheError, match="it is no plain file"), lock(cache):
        pytest.fail("a lock that is not ours")


def test_a_lock_left_where_nothing_is_to_be_done_is_removed_but_not_one_that_is_held(cache, lock_file):
    """A process that is killed as it ends leaves it, and the next finds the cache complete."""
    lock_file.parent.mkdir(parents=True)
    lock_file.write_text("process 1 on elsewhere\n")
    remove_left(cache)
    assert not lock_file.exists()
    with lock(cache):
        remove_left(cache)
        assert lock_file.exists()
