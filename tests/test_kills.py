"""kill -9 at random moments: the file always opens, no finished row is lost, wrong or computed twice.

The passes are real ones, of a whole ResNet18. Importing torch takes seconds, so one process (this file, run as a
program) imports it once, forks a child for each attempt and kills it. The tests read its record.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from zlib import crc32

import h5py
import numpy as np
import pytest
from helpers.pictures import picture

from headstart.cache.layout import DONE, PENDING

IMAGES, OLD_IMAGES = 120, 60
KILLS, KILLS_IN_GROWTH = 15, 6
KEPT = frozenset({"drawn_splits", "drawn_checksum"})
"""What a cache that has grown does not share with one that was made at once: its images keep their splits."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("kills")
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, env=os.environ | one_thread, capture_output=True, text=True, timeout=400)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads((folder / "record.json").read_text())


@pytest.mark.parametrize("where", ["pass", "growth"])
def test_a_kill_at_any_moment_leaves_a_file_that_opens_and_every_finished_row_right(record, where):
    """By its checksum, and by comparison with an undisturbed run; looked at before and after each kill."""
    kills = record[where]["kills"]
    assert len(kills) == {"pass": KILLS, "growth": KILLS_IN_GROWTH}[where]
    assert [kill["wrong"] for kill in kills if kill["wrong"]] == []
    assert sum(kill["looks"] for kill in kills) > 2 * len(kills)


def test_most_kills_found_some_rows_done_and_some_not(record):
    between = [kill["done"] for kill in record["pass"]["kills"] if 0 < kill["done"] < IMAGES]
    assert len(between) >= 10
    assert len(set(between)) >= 5  # and the pass went on from kill to kill
    assert sum(kill["done"] > OLD_IMAGES for kill in record["growth"]["kills"]) >= 2


@pytest.mark.parametrize("where", ["pass", "growth"])
def test_in_the_end_the_cache_equals_an_undisturbed_one_in_every_dataset_to_the_bit(record, where):
    assert record[where]["rounds"] >= 1
    assert record[where]["different"] == []


@pytest.mark.parametrize("where", ["pass", "growth"])
def test_no_finished_row_is_ever_computed_twice(record, where):
    kills = record[where]["kills"]
    assert [kill["twice"] for kill in kills if kill["twice"]] == []
    assert sum(kill["computed"] for kill in kills) > 0


def test_the_old_cache_keeps_its_name_and_its_bytes_until_the_new_one_is_complete(record):
    assert [kill["name"] for kill in record["growth"]["kills"] if kill["name"] != "old"] == []


class Laboratory:
    """The process that imports torch once, and forks. It starts no thread: only its children do."""

    def __init__(self, folder: Path) -> None:
        import torch

        from headstart.extraction import extractor as extraction
        from headstart.extraction import one_pass, updating
        from headstart.models import loading
        from headstart.settings import ExtractConfig

        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        self.folder, self.updating = folder, updating
        self.data, self.log = folder / "photos", folder / "log"
        self.generator = np.random.default_rng(7)
        self.settings = lambda cache: ExtractConfig(
            data=str(self.data),
            cache=cache,
            backbone="resnet18",
            weights="random",
            image_px=32,
            batch_size=4,
            precision="fp32",
            compile="off",
            device="cpu",
            workers=1,
        )
        loaded, weights = loading.load_frozen("resnet18", "random", 0, 32)
        forward = extraction.fast_form(loaded.folded, loaded.made.scale, "fp32", False, torch.device("cpu"))
        extraction.load_frozen = lambda *_: (loaded, weights)
        extraction.fast_form = lambda *_: forward
        one_pass.COMMIT_SECONDS = 0.02
        self._log_computed_rows(one_pass)

    def _log_computed_rows(self, one_pass) -> None:
        """Children append the number of each row that a pass puts through the net."""
        batch_by = one_pass.batch_by

        def logged(pixels_of, images):
            descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, b"".join(b"%7d\n" % image.row for image in images))
            os.close(descriptor)
            return batch_by(pixels_of, images)

        one_pass.batch_by = logged

    def start(self, cache: Path) -> int:
        """A child that brings the cache up to date."""
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            self.updating.bring_up_to_date(self.settings(cache))
            code = 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)

    def finish(self, cache: Path) -> None:
        """Lets a child come to its end."""
        _, status = os.waitpid(self.start(cache), 0)
        assert status == 0

    def kill(self, cache: Path, look) -> dict | None:
        """Starts a child and kills it after a random number of rows and milliseconds; None if it was faster."""
        self.log.unlink(missing_ok=True)
        rows = int(self.generator.integers(0, 24))
        seconds = self.generator.uniform(0, 0.04 if rows else 0.3)
        child, looks = self.start(cache), 0
        while self.logged() < rows:
            if os.waitpid(child, os.WNOHANG)[0]:
                return None
            look()
            looks += 1
            time.sleep(0.002)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            return None
        look()
        return {"looks": looks + 1, "computed": self.logged()}

    def logged(self) -> int:
        return self.log.stat().st_size // 8 if self.log.exists() else 0

    def computed_rows(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []


def read(path: Path) -> dict[str, np.ndarray]:
    """All datasets, as any program with h5py would read them; status first, as it is written last."""
    with h5py.File(path, "r", locking=False) as file:
        status = file["status"][...]
        return {name: values[...] for name, values in file.items()} | {"status": status}


def wrong_rows(path: Path, truth: dict[str, np.ndarray]) -> list[str]:
    """What is wrong with a cache, whoever is writing it; a cache that is not there yet is not wrong."""
    try:
        found = read(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"does not open: {error}"]
    wrong = []
    place = {digest.tobytes(): row for row, digest in enumerate(truth["digests"])}
    for row in np.flatnonzero(found["status"] != PENDING):
        undisturbed = place.get(found["digests"][row].tobytes())
        if found["status"][row] != DONE or undisturbed is None:
            wrong.append(f"row {row}: status {found['status'][row]} or digest")
        elif crc32(found["features"][row]) != found["checksums"][row]:
            wrong.append(f"row {row}: checksum")
        elif not np.array_equal(found["features"][row], truth["features"][undisturbed]):
            wrong.append(f"row {row}: features")
    return wrong


def done_rows(path: Path) -> set[int]:
    return set(np.flatnonzero(read(path)["status"] == DONE).tolist()) if path.exists() else set()


def differences(path: Path, truth: dict[str, np.ndarray], besides: frozenset[str] = frozenset()) -> list[str]:
    found = read(path)
    names = (found.keys() | truth.keys()) - {"seconds"} - besides
    return [name for name in sorted(names) if not np.array_equal(found.get(name), truth.get(name))]


def kill_a_pass(laboratory: Laboratory, truth: dict[str, np.ndarray]) -> dict:
    """Kills until there are enough; whenever a pass has come to its end, another begins from nothing."""
    cache = laboratory.folder / "killed.h5"
    kills, rounds, different = [], 0, []
    while len(kills) < KILLS:
        before, wrong = done_rows(cache), []
        kill = laboratory.kill(cache, lambda wrong=wrong: wrong.extend(wrong_rows(cache, truth)))
        if kill:
            computed = laboratory.computed_rows()
            twice = sorted({row for row in computed if row in before or computed.count(row) > 1})
            kills.append(kill | {"wrong": wrong, "twice": twice, "done": len(done_rows(cache))})
        if kill is None or len(kills) == KILLS:
            laboratory.finish(cache)
            different += differences(cache, truth)
            cache.unlink()
            rounds += 1
    return {"kills": kills, "rounds": rounds, "different": different}


def kill_growth(laboratory: Laboratory, truth: dict[str, np.ndarray], old: Path) -> dict:
    """The same for a finished cache of half the images, to which the other half has come."""
    cache = laboratory.folder / "grown.h5"
    growing = cache.with_name("grown.h5.growing")
    old_bytes = old.read_bytes()
    finished_before = {digest.tobytes() for digest in read(old)["digests"]}
    taken_over = {row for row, digest in enumerate(truth["digests"]) if digest.tobytes() in finished_before}
    kills, rounds, different = [], 0, []
    shutil.copy(old, cache)
    while len(kills) < KILLS_IN_GROWTH:
        before, wrong = done_rows(growing) | taken_over, []

        def look(wrong=wrong):
            wrong.extend(wrong_rows(cache, truth) + wrong_rows(growing, truth))

        kill = laboratory.kill(cache, look)
        whole = cache.read_bytes() == old_bytes
        if kill and whole:
            computed = laboratory.computed_rows()
            twice = sorted({row for row in computed if row in before or computed.count(row) > 1})
            done = len(done_rows(growing)) or OLD_IMAGES
            kills.append(kill | {"wrong": wrong, "twice": twice, "done": done, "name": "old"})
        elif kill and differences(cache, truth, KEPT):
            kills.append(kill | {"wrong": wrong, "twice": [], "done": 0, "name": "neither old nor complete"})
        if kill is None or not whole or len(kills) == KILLS_IN_GROWTH:
            laboratory.finish(cache)
            different += differences(cache, truth, KEPT) + (["growing is left"] if growing.exists() else [])
            shutil.copy(old, cache)
            rounds += 1
    return {"kills": kills, "rounds": rounds, "different": different}


def add_pictures(data: Path, numbers: range) -> None:
    for number in numbers:
        file = data / ("cat", "dog")[number % 2] / f"{number * 37 % IMAGES:03}.png"  # old and new mixed in the order
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(file)


def main(folder: Path) -> None:
    laboratory = Laboratory(folder)
    old, undisturbed = folder / "old.h5", folder / "undisturbed.h5"
    add_pictures(laboratory.data, range(OLD_IMAGES))
    laboratory.finish(old)
    add_pictures(laboratory.data, range(OLD_IMAGES, IMAGES))
    laboratory.finish(undisturbed)
    truth = read(undisturbed)
    record = {"pass": kill_a_pass(laboratory, truth), "growth": kill_growth(laboratory, truth, old)}
    (folder / "record.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
