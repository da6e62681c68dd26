"""A cache that is cut into parts holds what a single one holds, whoever fills it, also when the data changes."""

import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.extraction import config, eye, stop_after, watching
from helpers.pictures import picture

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.cache.locking import lock
from headstart.cache.parts import count_of_parts, part_files
from headstart.errors import CacheError, CacheLocked, SettingsError
from headstart.extraction import updating
from headstart.extraction.asked import Asked
from headstart.images import reading

pytestmark = pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")
PARTS = 3


@pytest.fixture(scope="module", autouse=True)
def watch(one_net):
    with watching(eye) as watch:
        yield watch


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """30 images without splits."""
    monkeypatch.chdir(tmp_path)
    for number in range(30):
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)
    return tmp_path / "photos"


@pytest.fixture
def settings(photos):
    return config(photos, parts=PARTS)


def assert_same(one, other):
    assert one.manifest_digest == other.manifest_digest
    assert np.array_equal(one.manifest.paths, other.manifest.paths)
    assert np.array_equal(one.manifest.splits, other.manifest.splits)
    assert one.read().tobytes() == other.read().tobytes()


def single(settings):
    return updating.bring_up_to_date(replace(settings, parts=None, cache="one.h5")).cache


def test_it_holds_what_a_single_cache_holds(settings, forwarded):
    report = updating.bring_up_to_date(settings)
    assert (report.pass_.forwarded, forwarded.images) == (30, 30)
    assert count_of_parts(report.cache.path) == PARTS
    assert_same(report.cache, single(settings))


def test_the_number_is_kept_and_nothing_is_done_twice(settings, forwarded):
    updating.bring_up_to_date(settings)
    assert updating.bring_up_to_date(replace(settings, parts=None)).pass_ is None
    assert forwarded.images == 30


def test_images_come_go_and_change_their_names_and_only_new_bytes_go_through_the_net(photos, settings, forwarded):
    before = updating.bring_up_to_date(settings).cache
    splits = dict(zip(before.manifest.paths.tolist(), before.manifest.splits.tolist(), strict=True))
    (photos / "cat/00.png").rename(photos / "cat/renamed.png")
    (photos / "dog/01.png").unlink()
    picture(99).save(photos / "cat/new.png")
    forwarded.images = 0
    after = updating.bring_up_to_date(replace(settings, parts=None))
    assert after.pass_.forwarded == 1
    now = dict(zip(after.cache.manifest.paths.tolist(), after.cache.manifest.splits.tolist(), strict=True))
    assert now.pop(b"cat/renamed.png") == splits.pop(b"cat/00.png")
    assert {path: split for path, split in splits.items() if path in now}.items() <= now.items()
    assert len(after.cache) == 30
    assert after.cache.read().tobytes() == single(settings).read().tobytes()


def test_it_is_cut_anew_without_the_net(settings, forwarded):
    first = single(replace(settings, cache=None)).read()
    whole = updating.bring_up_to_date(replace(settings, parts=None)).cache
    splits = whole.manifest.splits
    forwarded.images = 0
    for parts in (4, 2, 1):
        cache = updating.bring_up_to_date(replace(settings, parts=parts)).cache
        assert forwarded.images == 0
        assert count_of_parts(cache.path) == parts
        assert np.array_equal(cache.manifest.splits, splits)
        assert cache.read().tobytes() == first.tobytes()
    assert not list(cache.path.with_suffix(".parts").glob("*"))


def test_a_pass_that_was_stopped_goes_on_in_the_part_where_it_was(settings, monkeypatch, forwarded):
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, 4)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_up_to_date(settings)
    files = part_files(cache_of(settings), PARTS)
    done = sum(int((FeatureCache(file).status == DONE).sum()) for file in files)
    assert 0 < done < 30
    report = updating.bring_up_to_date(replace(settings, parts=None))
    assert report.pass_.forwarded == 30 - done
    assert_same(report.cache, single(settings))


def cache_of(settings):
    from headstart.cache.finding import cache_path

    return cache_path(settings)


def test_parts_are_filled_by_jobs_of_their_own_and_the_last_makes_them_one(settings):
    jobs = [replace(settings, parts=None, part=f"{number}/{PARTS}") for number in (2, 0, 1)]
    for job in jobs:
        assert not cache_of(settings).exists()
        report = updating.bring_up_to_date(job)
        assert report.pass_.forwarded == len(report.cache)
    assert_same(FeatureCache(cache_of(settings)), single(settings))
    assert updating.bring_up_to_date(jobs[0]).pass_ is None


def test_jobs_that_are_given_again_take_what_is_new_and_splits_stay(photos, settings):
    jobs = [replace(settings, parts=None, part=f"{number}/{PARTS}") for number in range(PARTS)]
    for job in jobs:
        updating.bring_up_to_date(job)
    before = FeatureCache(cache_of(settings)).manifest
    for number in range(100, 112):
        picture(number).save(photos / "cat" / f"{number}.png")
    passes = [updating.bring_up_to_date(job).pass_ for job in jobs]
    after = FeatureCache(cache_of(settings))
    assert (len(after), sum(each.forwarded for each in passes if each)) == (42, 12)
    assert after.is_drawn
    assert np.array_equal(after.manifest.splits[np.isin(after.manifest.paths, before.paths)], before.splits)
    assert after.read().tobytes() == single(settings).read().tobytes()


def test_a_job_says_which_images_are_its_own_and_what_it_goes_on_with_once(settings, capsys):
    jobs = [replace(settings, parts=None, image_px=64, part=f"{number}/{PARTS}") for number in range(PARTS)]
    sizes = [len(updating.bring_up_to_date(job).cache) for job in jobs[:2]]
    out = capsys.readouterr().out
    assert f"part 0/3, data: {sizes[0]} images" in out
    updating.bring_up_to_date(replace(jobs[2], image_px=None))  # the last, which makes the parts one
    assert capsys.readouterr().out.count("goes on with the settings that it was made with: --image-px 64") == 1
    parts = FeatureCache(cache_of(settings)).part_caches
    assert {part.notes["batch_size"] for part in parts} == {settings.batch_size}
    assert Asked(replace(jobs[0], batch_size=None), parts[0]).config.batch_size == settings.batch_size


def test_new_images_of_all_parts_are_read_once_to_be_compared_and_once_for_the_net(photos, settings, monkeypatch):
    updating.bring_up_to_date(settings)
    for number in range(100, 112):
        picture(number).save(photos / "cat" / f"{number}.png")
    opened, read = Counter(), reading._read_file
    monkeypatch.setattr(reading, "_read_file", lambda path: opened.update([path.name]) or read(path))
    updating.bring_up_to_date(settings)
    assert {name: count for name, count in opened.items() if len(name) == 7} == {f"{n}.png": 2 for n in range(100, 112)}


def test_of_jobs_for_a_part_each_the_first_decides_and_the_others_wait(settings):
    job = replace(settings, parts=None, part=f"0/{PARTS}")
    with ThreadPoolExecutor() as pool:
        with lock(cache_of(settings)):
            waiting = pool.submit(updating.bring_up_to_date, job)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1)
        assert waiting.result(timeout=60).pass_


def test_the_only_part_can_be_given_as_a_part(settings):
    report = updating.bring_up_to_date(replace(settings, parts=None, part="0/1"))
    assert (len(report.cache), report.pass_.forwarded) == (30, 30)
    assert FeatureCache(cache_of(settings)).is_drawn


def test_jobs_that_start_anew_leave_the_parts_of_the_others(settings):
    jobs = [replace(settings, parts=None, part=f"{number}/{PARTS}") for number in range(PARTS)]
    for job in jobs:
        updating.bring_up_to_date(job)
    passes = [updating.bring_up_to_date(replace(job, overwrite=True)).pass_ for job in jobs]
    assert sum(each.forwarded for each in passes) == 30
    assert_same(FeatureCache(cache_of(settings)), single(settings))


def test_a_cache_leaves_the_parts_of_one_with_a_like_name_alone(settings):
    first = updating.bring_up_to_date(replace(settings, cache=Path("a.h5"))).cache.read()
    for name in ("a.hdf5", "a.v1", "a.parts.h5"):
        updating.bring_up_to_date(replace(settings, parts=1, cache=Path(name)))
    assert FeatureCache("a.h5").read().tobytes() == first.tobytes()
    updating.bring_up_to_date(replace(settings, parts=2, cache=Path("b.hdf5")))
    assert FeatureCache("b.hdf5").read().tobytes() == first.tobytes()
    assert FeatureCache("b.hdf5").part_caches[0].extract_command().split("--cache=")[1].startswith("b.hdf5")


def test_a_cache_that_was_renamed_keeps_its_features(settings, forwarded):
    before = updating.bring_up_to_date(replace(settings, cache=Path("a.h5"))).cache.read()
    Path("a.h5").rename("b.h5")
    forwarded.images = 0
    after = updating.bring_up_to_date(replace(settings, parts=None, cache=Path("b.h5"))).cache
    assert forwarded.images == 0
    assert after.read().tobytes() == before.tobytes()


def test_a_part_is_not_taken_for_a_cache_and_the_command_in_its_errors_names_the_whole(settings):
    whole = updating.bring_up_to_date(settings).cache
    part = whole.part_caches[1]
    assert "-of-" not in part.extract_command()
    with pytest.raises(CacheError, match=r"is a part of .*photos\.h5: name that file"):
        updating.bring_up_to_date(replace(settings, parts=None, cache=part.path))


def test_a_front_that_is_older_than_its_parts_is_written_anew(settings):
    plain = updating.bring_up_to_date(settings).cache.path
    older = plain.read_bytes()
    updating.bring_up_to_date(replace(settings, views=1))
    plain.write_bytes(older)  # as if it had been killed before the last step
    updating.bring_up_to_date(settings)
    with h5py.File(plain) as file:
        assert file["view_1/features"].shape[0] == 30


def test_an_open_cache_can_be_copied(settings):
    cache = updating.bring_up_to_date(settings).cache
    for each in (cache, cache.part_caches[0]):
        assert pickle.loads(pickle.dumps(each)).read().tobytes() == copy(each).read().tobytes() == each.read().tobytes()


def test_features_of_a_cache_that_was_cut_anew_meanwhile_are_refused_in_words(settings):
    cache = updating.bring_up_to_date(settings).cache
    updating.bring_up_to_date(replace(settings, parts=2))
    with pytest.raises(CacheError, match="was replaced by another process meanwhile"):
        cache.read()


def test_a_part_that_another_process_fills_is_named(settings):
    updating.bring_up_to_date(settings)
    picture(77).save(f"{settings.data}/cat/more.png")
    with lock(part_files(cache_of(settings), PARTS)[1]), pytest.raises(CacheLocked, match="01-of-3"):
        updating.bring_up_to_date(settings)


def test_a_part_that_was_lost_is_made_again(settings, forwarded):
    whole = updating.bring_up_to_date(settings).cache
    lost = part_files(whole.path, PARTS)[1]
    count = len(FeatureCache(lost))
    lost.unlink()
    report = updating.bring_up_to_date(replace(settings, parts=None))
    assert report.pass_.forwarded == count
    assert_same(report.cache, single(settings))


def test_views_of_all_parts_are_those_of_a_single_cache(settings):
    parted = updating.bring_up_to_date(replace(settings, views=2, view_kind="crop")).cache
    alone = updating.bring_up_to_date(replace(settings, parts=None, cache="one.h5", views=2, view_kind="crop")).cache
    assert_same(parted, alone)
    for ours, theirs in zip(parted.augmented, alone.augmented, strict=True):
        rows = np.flatnonzero(theirs.status == DONE)
        assert np.array_equal(ours.status, theirs.status)
        assert ours.gather(rows).tobytes() == theirs.gather(rows).tobytes()


def test_more_parts_than_images_leave_some_without_a_file(settings):
    report = updating.bring_up_to_date(replace(settings, parts=100))
    assert len(report.cache.part_caches) < 30
    assert_same(report.cache, single(settings))


@pytest.mark.parametrize("part", ["3/3", "x/3", "1", "-1/3"])
def test_a_part_that_there_is_not_is_refused(settings, part):
    with pytest.raises(SettingsError, match="like 3/16"):
        replace(settings, part=part)
