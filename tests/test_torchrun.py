"""Several processes, as torchrun starts them, make the cache that one makes, also after one of them was killed."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import picture
from helpers.processes import children, until

from headstart import extract
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, PENDING
from headstart.errors import CacheError

EXTRACT = Path(__file__).parents[1] / "pipelines" / "extract.py"
SETTINGS = {"weights": "random", "image_px": 96, "batch_size": 4, "precision": "fp32", "compile": "off", "workers": 1}
FLAGS = [word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
IMAGES = 240

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes; every tenth picture is another's copy, one is broken."""
    root = tmp_path_factory.mktemp("team") / "photos"
    for place in range(IMAGES):
        folder = root / ("cat", "dog")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(place - place % 10 // 9, (120, 100)).save(folder / f"{place:03}.png")
    (root / "cat" / "010.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory):
    """The cache that one process makes."""
    return extract(photos, cache=tmp_path_factory.mktemp("alone") / "f.h5", **SETTINGS)


def start(photos, cache, *how, program=EXTRACT):
    """A torchrun of its own process group, so that all of it can be ended."""
    command = [sys.executable, "-m", "torch.distributed.run", *how, str(program)]
    return subprocess.Popen(
        [*command, "--data", str(photos), "--cache", str(cache), "--max-unreadable", "0.1", *FLAGS],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def started():
    """Starts a torchrun; none outlives its test."""
    processes = []

    def begin(*arguments, **options):
        processes.append(start(*arguments, **options))
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def assert_same(one, other):
    done = one.status == DONE
    for name in ("status", "reasons"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("digests", "checksums"):
        np.testing.assert_array_equal(getattr(one, name)[done], getattr(other, name)[done])
    np.testing.assert_array_equal(one.read()[done], other.read()[done])
    assert one.manifest.digest() == other.manifest.digest()


def test_several_processes_make_the_same_cache_to_the_bit_and_one_of_them_speaks(photos, alone, tmp_path, started):
    said, _ = (ran := started(photos, tmp_path / "f.h5", "--standalone", "--nproc-per-node=3")).communicate()
    assert ran.returncode == 0, said
    assert_same(FeatureCache(tmp_path / "f.h5"), alone)
    assert said.count(f"{IMAGES - 1:,} of {IMAGES:,} images, 2 classes") == 1
    assert said.count("unreadable: cat/010.png: not an image") == 1
    forwarded = int(said.partition(" images through the backbone")[0].split()[-1])
    assert IMAGES - 1 - IMAGES // 10 <= forwarded <= IMAGES - 1  # who shares its bytes may have been with another


def test_nothing_to_do_is_soon_found_out_by_all(photos, alone, started):
    said, _ = (ran := started(photos, alone.path, "--standalone", "--nproc-per-node=2")).communicate(timeout=120)
    assert ran.returncode == 0, said
    assert said.count("is up to date: nothing to do.") == 1


def test_several_backbones_share_one_pass_of_several_processes(photos, tmp_path, monkeypatch):
    names = ["shufflenet_v2_x0_5", "mobilenet_v3_small"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(EXTRACT)]
    flags = ["--data", str(photos), "--backbone", " ".join(names), "--max-unreadable", "0.1", *FLAGS]
    said = subprocess.run([*command, *flags], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for name in names:
        (seconds,) = re.findall(rf"images through {name} in ([0-9.]+) s", said)
        assert float(seconds) > 0, "also where another process did all of it"
        monkeypatch.chdir(tmp_path)
        other = extract(photos, backbone=name, cache=f"{name}.h5", **SETTINGS)
        assert_same(FeatureCache(f"data/features/photos@{name}.h5"), other)


def finished_rows(path):
    try:
        return int((FeatureCache(path).status == DONE).sum())
    except CacheError:
        return 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_a_process_that_is_killed_ends_the_others_and_another_number_of_them_goes_on(photos, alone, tmp_path, started):
    path = tmp_path / "f.h5"
    process = started(photos, path, "--standalone", "--nproc-per-node=2")
    until(lambda: finished_rows(path) >= 8)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Signal 9" in said or "SIGKILL" in said
    left = FeatureCache(path)
    assert 8 <= (left.status == DONE).sum() < IMAGES - 1
    assert (left.status == PENDING).any()
    said, _ = (again := started(photos, path, "--standalone", "--nproc-per-node=4")).communicate()
    assert again.returncode == 0, said
    assert_same(FeatureCache(path), alone)


NODE = """
import os, runpy
from headstart.support import heartbeat, team

heartbeat.BEAT_SECONDS, heartbeat.SILENT_BEATS, team.NODE_ROWS = 0.25, 20, 32
claim_rows = team.Team.claim_rows


def noted(self, rows, run_length):
    for row in claim_rows(self, rows, run_length):
        with open(f"{{os.environ['TAKEN']}}.{{self.node}}", "a") as file:
            file.write(f"{{row}}\\n")
        yield row


team.Team.claim_rows = noted
runpy.run_path({extract!r}, run_name="__main__")
"""


@pytest.fixture
def two_nodes(photos, tmp_path, started, monkeypatch):
    """Starts two torchruns of one process each, with small blocks; each notes its rows in `taken.<node>`."""
    program = tmp_path / "node.py"
    program.write_text(NODE.format(extract=str(EXTRACT)))
    monkeypatch.setenv("TAKEN", str(tmp_path / "taken"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = ("--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}")
    return [started(photos, tmp_path / "f.h5", *where, f"--node-rank={rank}", program=program) for rank in range(2)]


def test_two_machines_which_agree_through_a_socket_fill_one_file(two_nodes, alone, tmp_path):
    said = [node.communicate()[0] for node in two_nodes]
    assert [node.returncode for node in two_nodes] == [0, 0], said
    assert_same(FeatureCache(tmp_path / "f.h5"), alone)
    one, other = ({int(row) for row in (tmp_path / f"taken.{node}").read_text().split()} for node in range(2))
    assert one
    assert other
    assert one | other == set(range(IMAGES))
    assert not {row // 32 for row in one} & {row // 32 for row in other}


def without(killed, nodes, tmp_path):
    """What the other node says when the process of one is killed."""
    until(lambda: finished_rows(tmp_path / "f.h5") >= 8 and (tmp_path / "taken.1").exists())
    os.kill(children(nodes[killed].pid)[-1], signal.SIGKILL)
    said, _ = nodes[1 - killed].communicate(timeout=60)
    assert said.count("What is finished is kept: the same command goes on.") == 1
    assert "c10d" not in said
    return said


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_a_process_that_is_killed_ends_those_on_the_other_machine_and_one_alone_goes_on(
    two_nodes, photos, alone, tmp_path
):
    said = without(1, two_nodes, tmp_path)
    assert "\nProcess 1 on node 1 has not been heard of for 5 seconds." in said
    assert (FeatureCache(tmp_path / "f.h5").status == PENDING).any()
    assert_same(extract(photos, cache=tmp_path / "f.h5", **SETTINGS), alone)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_where_the_machine_is_lost_that_they_agree_through_the_other_says_so(two_nodes, tmp_path):
    said = without(0, two_nodes, tmp_path)
    assert "process 1: The connection to torchrun on the first node is lost." in said
