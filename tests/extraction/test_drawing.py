"""Splits that the data does not name are drawn once, from bytes, and kept in the cache whatever happens to the data."""

import os
import shlex
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers.extraction import config, stop_after, watching
from helpers.pictures import picture

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.joined import JoinedCache
from headstart.cache.known_splits import drawn_so_far
from headstart.cache.layout import DONE
from headstart.cache.writing import write_splits
from headstart.datasets import naming
from headstart.datasets.description import describe_splits
from headstart.datasets.manifest import SPLITS, TEST, TRAIN, UNDRAWN, VAL, count_by_class
from headstart.errors import CacheError, DataError
from headstart.extraction import drawing, updating
from headstart.images import loading
from headstart.images.decoding import UnreadableImage
from headstart.settings import DataCheckConfig
from headstart.settings.command import by_flag

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


def top(net, *_):
    """The first bytes of a picture in place of a net's features: what it computes is no matter here."""
    width = net(torch.zeros(1, 3, 32, 32)).shape[1]
    return lambda pixels: pixels.flatten(1)[:, :width].float()


@pytest.fixture(scope="module", autouse=True)
def watch(one_net):
    with watching(top) as watch:
        yield watch


@pytest.fixture
def photos(make_photos, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_photos({"cat": 20, "dog": 11})


@pytest.fixture
def asked(photos):
    return config("photos")


def extract(settings) -> FeatureCache:
    return updating.bring_up_to_date(settings).cache


def splits(cache: FeatureCache) -> dict[bytes, int]:
    """From the bytes of each image to its split; all copies have one."""
    found = dict(zip(map(bytes, cache.digests), cache.manifest.splits.tolist(), strict=True))
    assert all(
        found[bytes(digest)] == split for digest, split in zip(cache.digests, cache.manifest.splits, strict=True)
    )
    return found


def kept(before: dict[bytes, int], after: dict[bytes, int]) -> bool:
    """Whether every image that is still there has the split that it had."""
    return all(before[image] == after[image] for image in before.keys() & after.keys())


def test_every_file_is_read_once_and_a_class_of_ten_images_has_val_and_test(asked, monkeypatch, capsys):
    opened, load = Counter(), loading.read
    monkeypatch.setattr(loading, "read", lambda place: opened.update([place]) or load(place))
    cache = extract(asked)
    assert set(opened.values()) == {1}
    assert len(opened) == 31
    assert (count_by_class(cache.manifest)[[VAL, TEST]] >= 1).all()
    said = capsys.readouterr().out
    assert "splits: 31 drawn when the images have been read\n" in said
    assert "val and test drawn from train by content, a tenth each, stratified" in said
    counts = np.bincount(cache.manifest.splits)
    assert f"splits: {counts[0]} train, {counts[1]} val, {counts[2]} test\n" in said


def _rename(photos):
    (photos / "cat/003.png").rename(photos / "cat/zebra.png")
    (photos / "dog").rename(photos / "hound")


def _relabel(photos):
    for number in range(0, 20, 2):
        (photos / f"cat/{number:03}.png").rename(photos / f"dog/from cat {number}.png")


def _copy(photos):
    for number in range(20):
        shutil.copy(photos / f"cat/{number:03}.png", photos / f"cat/copy {number}.png")
        shutil.copy(photos / f"cat/{number:03}.png", photos / f"dog/copy {number}.png")


def _add(photos):
    for number in range(25):
        picture(5000 + number).save(photos / "cat" / f"0{number:02}b.png")


def _touch(photos):
    for file in photos.rglob("*.png"):
        os.utime(file, (1, 1))


@pytest.mark.parametrize("change", [_rename, _relabel, _copy, _add, _touch], ids=lambda f: f.__name__)
def test_no_image_that_is_there_moves(photos, asked, change):
    before = splits(extract(asked))
    change(photos)
    cache = extract(asked)
    assert kept(before, splits(cache))
    assert (count_by_class(cache.manifest)[TRAIN] > 0).all()
    assert updating.bring_up_to_date(asked).pass_ is None


def test_new_images_fill_what_is_missing_to_a_tenth(photos, asked):
    extract(asked)
    for number in range(100):
        picture(5000 + number).save(photos / "cat" / f"new {number}.png")
    counts = count_by_class(extract(asked).manifest)
    assert np.abs(counts[[VAL, TEST]] - counts.sum(axis=0) / 10).max() <= 1


def test_an_image_that_was_edited_stays_in_its_split(photos, asked):
    before = extract(asked).manifest
    row = int(np.flatnonzero(before.splits == TEST)[0])
    picture(777).save(before.root / before.relative_path(row))
    assert np.array_equal(extract(asked).manifest.splits, before.splits)


def test_a_pass_that_was_stopped_draws_when_it_has_read_all_images(asked, monkeypatch):
    undisturbed = extract(replace(asked, cache=Path("undisturbed.h5")))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_up_to_date(asked)
    (path,) = Path("data/features").glob("*.h5")
    assert not FeatureCache(path).is_drawn
    cache = extract(asked)
    assert cache.is_drawn
    assert np.array_equal(cache.manifest.splits, undisturbed.manifest.splits)


def test_a_stop_between_the_pass_and_the_draw_costs_no_pass(asked, monkeypatch, watch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drawing, "write_splits", stopped)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_up_to_date(asked)
    watch.images = 0
    report = updating.bring_up_to_date(asked)
    assert (report.cache.is_drawn, report.pass_, watch.images) == (True, None, 0)


def test_views_of_training_images_are_computed_in_the_one_pass(asked):
    cache = extract(replace(asked, views=2))
    trained = cache.manifest.splits == TRAIN
    assert 0 < trained.sum() < len(cache)
    assert all(np.array_equal(view.status == DONE, trained) for view in cache.augmented)
    assert np.array_equal(cache.manifest.splits, extract(replace(asked, cache=Path("plain.h5"))).manifest.splits)


def as_before(path: Path) -> FeatureCache:
    """The cache as version 0.1 made it: splits drawn by path, in the column of those that the data names."""
    cache = FeatureCache(path)
    numbers = np.arange(len(cache))
    by_path = np.where(numbers % 10 == 1, VAL, np.where(numbers % 10 == 6, TEST, TRAIN)).astype(np.uint8)
    with h5py.File(path, "r+") as file:
        file["splits"][...] = by_path
        file.attrs["manifest_digest"] = replace(cache.listed, splits=by_path).digest()
        file.attrs["format_version"] = 1
        del file["drawn_splits"], file["drawn_checksum"], file.attrs["named_splits"], file.attrs["seed"]
    return FeatureCache(path)


@pytest.mark.parametrize("change", [_rename, _relabel, _copy, _add], ids=lambda f: f.__name__)
def test_a_cache_made_before_keeps_its_splits_also_when_it_grows(photos, asked, change):
    old = as_before(extract(asked).path)
    before, written = splits(old), old.path.read_bytes()
    assert updating.bring_up_to_date(replace(asked, seed=None)).cache.manifest_digest == old.manifest_digest
    assert old.path.read_bytes() == written
    change(photos)
    cache = extract(asked)
    assert kept(before, splits(cache))
    assert not (cache.manifest.splits == UNDRAWN).any()


def test_another_seed_draws_all_splits_anew_and_is_kept(asked, capsys):
    before = extract(asked)
    capsys.readouterr()
    after = extract(replace(asked, split_seed=5))
    assert "changed: splits drawn anew by seed 5" in capsys.readouterr().out
    assert not np.array_equal(before.manifest.splits, after.manifest.splits)
    assert updating.bring_up_to_date(asked).cache.manifest_digest == after.manifest_digest
    assert np.array_equal(extract(replace(asked, split_seed=0)).manifest.splits, before.manifest.splits)


def test_a_cache_that_is_overwritten_keeps_its_splits(photos, asked):
    extract(asked)
    _add(photos)
    before = extract(asked).manifest.splits
    after = extract(replace(asked, overwrite=True, image_px=48)).manifest.splits
    assert np.array_equal(after, before)


def test_caches_of_several_backbones_agree_whichever_grew_first(photos, asked):
    other = replace(asked, backbone="resnet18")
    extract(asked)
    _add(photos)
    first, second = extract(asked), extract(other)
    assert np.array_equal(first.manifest.splits, second.manifest.splits)
    _copy(photos)
    _relabel(photos)
    second, first = extract(other), extract(asked)
    assert len(JoinedCache([first, second])) == len(first)


def test_several_backbones_in_one_pass_agree(photos, asked):
    both = [replace(asked, backbone=name, views=1) for name in ("resnet50", "resnet18")]
    JoinedCache([report.cache for report in updating.bring_all_up_to_date(both)])
    _add(photos)
    JoinedCache([report.cache for report in updating.bring_all_up_to_date(both)])


def test_a_cache_with_splits_of_its_own_history_hands_them_on(photos, asked):
    """One that was made before, and a new one of another backbone."""
    old = as_before(extract(asked).path)
    new = extract(replace(asked, backbone="resnet18"))
    assert np.array_equal(new.manifest.splits, old.manifest.splits)


def test_a_cache_of_the_images_as_they_are_now_decides_for_one_that_lags_behind(photos, asked):
    """Which would draw the groups of other images anew, so that the two could never stand side by side."""
    other = replace(asked, backbone="resnet18")
    extract(other)
    extract(asked)
    _add(photos)
    extract(asked)
    for number in range(60):
        picture(7000 + number).save(photos / "dog" / f"{number % 10:03}x{number}.png")
    extract(asked)
    first = extract(replace(asked, group_by=r"/0?(\d\d)"))
    JoinedCache([first, extract(replace(other, group_by=r"/0?(\d\d)"))])


@pytest.mark.parametrize("changed", [{"split_seed": 4}, {"group_by": r"/0?(\d\d)"}], ids=str)
def test_what_is_said_of_caches_that_differ_brings_them_together(asked, monkeypatch, changed):
    both = [asked, replace(asked, backbone="resnet18")]
    first, second = map(extract, both)
    os.utime(second.path, (1, 1))
    with pytest.raises(CacheError, match="Bring both up to date with: ") as error:
        JoinedCache([second, extract(replace(asked, **changed))])
    said = by_flag(shlex.split(str(error.value).partition("with: ")[2]))
    flags = {flag.removeprefix("--").replace("-", "_"): values for flag, values in said}
    given = {name: type(value)(flags[name][0]) for name, value in changed.items()}
    updating.bring_all_up_to_date([replace(each, **given) for each in both])
    JoinedCache([FeatureCache(first.path), FeatureCache(second.path)])


def test_what_is_said_of_caches_whose_splits_were_drawn_apart_brings_them_together(asked):
    """As where one is a copy of an older file: both are up to date, and keep what they have."""
    both = [asked, replace(asked, backbone="resnet18")]
    first, second = map(extract, both)
    write_splits(second, np.roll(second.manifest.splits, 1))
    with pytest.raises(CacheError, match="Bring both up to date with: ") as error:
        JoinedCache([first, FeatureCache(second.path)])
    said = dict(by_flag(shlex.split(str(error.value).partition("with: ")[2])))
    updating.bring_all_up_to_date([replace(each, split_seed=int(said["--split-seed"][0])) for each in both])
    JoinedCache([FeatureCache(first.path), FeatureCache(second.path)])


def test_test_images_that_a_cache_made_before_had_are_drawn_again_where_all_are_gone(photos, asked):
    """It does not say that the data named them."""
    old = as_before(extract(asked).path)
    for row in np.flatnonzero(old.manifest.splits == TEST).tolist():
        (old.manifest.root / old.manifest.relative_path(row)).unlink()
    cache = extract(replace(asked, prune=True))
    before, after = splits(old), splits(cache)
    assert np.bincount(cache.manifest.splits)[TEST] == 3
    assert all(after[image] == VAL for image, split in before.items() if split == VAL)


def test_a_check_of_the_data_shows_the_splits_that_are_drawn(photos, asked):
    check = DataCheckConfig(data="photos")
    assert (drawn_so_far(naming.load_as_before(check)).splits == UNDRAWN).all()
    cache = extract(asked)
    assert np.array_equal(drawn_so_far(naming.load_as_before(check)).splits, cache.manifest.splits)
    other = drawn_so_far(naming.load_as_before(replace(check, split_seed=4)))
    assert np.array_equal(other.splits, extract(replace(asked, split_seed=4)).manifest.splits)
    _add(photos)
    now = drawn_so_far(naming.load_as_before(check))
    assert "; 25 not read, and in none of them" in describe_splits(now)
    regrouped = drawn_so_far(naming.load_as_before(replace(check, group_by=r"/0?(\d\d)")))
    assert (regrouped.splits == UNDRAWN).all()


def test_an_image_that_could_not_be_read_is_drawn_when_it_can(photos, asked, monkeypatch):
    def forbidden(place):
        if place.name == "004.png":
            raise UnreadableImage("no permission")
        return load(place)

    load = loading.read
    with monkeypatch.context() as patch:
        patch.setattr(loading, "read", forbidden)
        first = extract(asked)
    undrawn = first.manifest.splits == UNDRAWN
    assert [first.manifest.relative_path(row) for row in np.flatnonzero(undrawn)] == ["cat/004.png", "dog/004.png"]
    second = extract(asked)
    assert not second.lacks_splits()
    assert np.array_equal(second.manifest.splits[~undrawn], first.manifest.splits[~undrawn])
    assert not (second.manifest.splits == UNDRAWN).any()


def test_a_file_that_is_no_picture_has_a_split_as_its_bytes_say(photos, asked):
    (photos / "cat/000.png").write_bytes(b"no picture")
    cache = extract(asked)
    assert cache.manifest.splits[0] in range(len(SPLITS))
    assert cache.digests[0].any()


@pytest.fixture
def people(photos) -> Path:
    """A list of the pictures with 10 people, each in both classes."""
    names = sorted(file.relative_to(photos) for file in photos.rglob("*.png"))
    lines = [f"photos/{name},{name.parent},person {int(name.stem) % 10}" for name in names]
    Path("people.csv").write_text("\n".join(["path,label,group", *lines]))
    return Path("people.csv")


def test_no_group_crosses_splits_and_new_images_follow_theirs(photos, people):
    asked = config(people)
    cache = extract(asked)
    of_group = dict(zip(cache.manifest.groups.tolist(), cache.manifest.splits.tolist(), strict=True))
    assert sorted(of_group.values()) == [TRAIN] * 8 + [VAL, TEST]
    for number in range(10):
        picture(5000 + number).save(photos / "dog" / f"new {number}.png")
    with people.open("a") as file:
        file.writelines(f"\nphotos/dog/new {number}.png,dog,person {number}" for number in range(10))
    after = extract(asked).manifest
    assert len(after) == 41
    assert all(
        of_group[group] == split for group, split in zip(after.groups.tolist(), after.splits.tolist(), strict=True)
    )


def test_groups_that_drawn_splits_divide_are_drawn_anew(photos, people):
    people.write_text(people.read_text().replace("path,label,group", "path,label,person"))
    first = extract(config(people))
    assert first.manifest.groups is None
    cache = extract(config(people, columns="group=person"))
    assert len(set(zip(cache.manifest.groups.tolist(), cache.manifest.splits.tolist(), strict=True))) == 10


def test_too_few_groups_are_refused_before_the_pass(people):
    lines = ["path,label,group", *(f"photos/cat/{n:03}.png,cat,a" for n in range(5)), "photos/dog/000.png,dog,b"]
    people.write_text("\n".join(lines))
    with pytest.raises(DataError, match="2 groups are too few to draw splits from: none was drawn for val and test"):
        extract(config(people))
    assert not Path("data/features").exists()
