"""Several processes fill the parts of a cache with what one alone makes, also after some of them were killed."""

import os
import re
import signal
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from helpers.forked import Forked
from helpers.pictures import picture
from helpers.processes import children, ran, until

from headstart import extract, extract_each, train_head
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.cache.parts import part_files
from headstart.errors import CacheError

SETTINGS = {"backbone": "resnet18", "weights": "random", "image_px": 96, "batch_size": 4, "workers": 1}
SETTINGS |= {"precision": "fp32", "compile": "off"}
FLAGS = [word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
IMAGES, PARTS = 240, 6

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes; every tenth picture is another's copy, of which 7 are in the same part; one is broken."""
    root = tmp_path_factory.mktemp("team") / "photos"
    for place in range(IMAGES):
        folder = root / ("cat", "dog")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(place - place % 10 // 9, (120, 100)).save(folder / f"{place:03}.png")
    (root / "cat" / "010.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory):
    """The parts that one process makes, with the threads that each of several has."""
    cache = tmp_path_factory.mktemp("alone") / "f.h5"
    ran("extract", *flags(photos, cache), cwd=cache.parent)
    return FeatureCache(cache)


def flags(photos, cache):
    return ("--data", photos, "--cache", cache, "--parts", PARTS, "--max-unreadable", "0.1", *FLAGS)


@pytest.fixture
def started(photos, tmp_path):
    """Starts an extraction by two processes, one thread each; none outlives its test."""
    with ExitStack() as processes:

        def begin(cache, *more):
            words = (*flags(photos, cache), "--processes", "2", *more)
            return processes.enter_context(Forked("extract", *words, cwd=tmp_path))

        yield begin


def ended(process):
    """Its exit code, and what it said."""
    result = process.ended()
    return result.code, result.out + result.err


def done_rows(cache):
    """How many rows of a cache that is being filled are done."""
    count = 0
    for file in part_files(cache, PARTS):
        try:
            count += int((FeatureCache(file).status == DONE).sum())
        except CacheError:  # not there yet
            return 0
    return count


def is_running(process):
    """Whether a process lives; one that nobody waits for any more has no command line."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


def assert_same(one, other):
    assert one.manifest_digest == other.manifest_digest
    for name in ("status", "reasons", "digests", "checksums"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.read().tobytes() == other.read().tobytes()


def test_several_make_the_same_parts_to_the_bit_and_say_it_once(alone, photos, tmp_path, started):
    cache = tmp_path / "f.h5"
    code, out = ended(started(cache))
    assert code == 0, out
    assert_same(FeatureCache(cache), alone)
    assert len(re.findall("^data: 240 images", out, re.MULTILINE)) == 1
    assert "232 images through the backbone" in out
    assert not re.search("signal|Fatal", out)
    again = ran("extract", *flags(photos, cache), "--processes", "2", cwd=tmp_path).out
    assert again.splitlines()[0] == f"{cache} is up to date: nothing to do."


def test_where_processes_are_killed_the_same_command_finishes_and_no_finished_row_is_computed_again(
    alone, tmp_path, started
):
    """First the one that has started the others, which then end; then one of the others, whose part becomes free."""
    cache = tmp_path / "f.h5"
    process = started(cache)
    until(lambda: done_rows(cache) > 20)
    helpers = children(process.pid)
    process.kill()
    until(lambda: not any(map(is_running, helpers)))
    done = done_rows(cache)
    process = started(cache)
    until(lambda: done_rows(cache) > done)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    code, out = ended(process)
    assert code == 0, out
    assert "was ended by signal 9" in out
    assert_same(FeatureCache(cache), alone)
    through = int(re.search(r"(\d+) images through the backbone", out)[1])
    assert through <= IMAGES - 1 - done


def test_several_backbones_share_the_passes(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["resnet18", "mobilenet_v3_small"]
    settings = {**SETTINGS, "image_px": 32, "max_unreadable": 0.1}
    del settings["backbone"]
    several = extract_each(photos, names, processes=2, parts=3, **settings)
    for cache in several:
        single = extract(photos, backbone=cache.recipe.backbone, cache=tmp_path / "one.h5", overwrite=True, **settings)
        np.testing.assert_array_equal(single.status, cache.status)
        rows = np.flatnonzero(single.status == DONE)
        np.testing.assert_array_equal(cache.gather(rows), single.gather(rows))


def test_tasks_of_ray_fill_the_same_parts_and_one_whose_process_is_killed_is_repeated(alone, tmp_path, started):
    pytest.importorskip("ray")
    cache = tmp_path / "f.h5"
    process = started(cache, "--ray", "auto")
    until(lambda: done_rows(cache) > 20)
    os.kill(worker_of_ray(process.pid), signal.SIGKILL)
    code, out = ended(process)
    assert code == 0, out
    assert "one is started on this machine, and stopped at the end" in out
    assert_same(FeatureCache(cache), alone)


def test_tasks_of_ray_predict_what_one_process_predicts(alone, photos, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    run, images = train_head(alone, epochs=1), photos / "cat"
    given = ("--run", run, "--images", images, "--out")
    ran("predict", *given, "one.csv", cwd=tmp_path)
    with Forked("predict", *given, "ray.csv", "--ray", "auto", cwd=tmp_path) as process:
        code, out = ended(process)
    assert code == 0, out
    written = [Path(name).read_bytes() for name in ("one.csv", "ray.csv")]
    assert written[0].count(b"\n") == len(list(images.iterdir())) + 1
    assert written[0] == written[1]


def worker_of_ray(process):
    """A process of Ray, below another one, that fills a part."""
    waiting = [process]
    while waiting:
        parent = waiting.pop()
        for child in children(parent):
            if b"ray::_in_folder" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
            waiting.append(child)
    raise AssertionError("no task of Ray runs")
