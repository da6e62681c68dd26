"""Augmented views: a function of seed, content and number, computed once, kept and checked as the plain one is."""

import os
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from helpers.forked import team_of
from helpers.pictures import picture
from hypothesis import given
from hypothesis import strategies as st

from headstart import extract
from headstart.cache import creation
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.inspection import describe
from headstart.cache.layout import DONE, PENDING, UNREADABLE
from headstart.cache.views import Augmentation
from headstart.datasets.manifest import TRAIN
from headstart.errors import CacheDamaged, CacheError, RecipeMismatch
from headstart.extraction import extractor, one_file, one_pass, updating, verification
from headstart.heads.provenance import views_identity
from headstart.images import loading
from headstart.images.augmentation import SCALE
from headstart.images.decoding import UnreadableImage
from headstart.images.geometry import Geometry
from headstart.settings import ExtractConfig, InspectConfig
from headstart.support.hdf5 import put, text

SETTINGS = {"weights": "random", "image_px": 32, "batch_size": 4, "precision": "fp32", "compile": "off", "workers": 2}
SETTINGS |= {"view_kind": "crop-flip-jitter", "backbone": "resnet18"}
SPLITS = {"train": 7, "val": 2, "test": 1}
GEOMETRY = Geometry(32, "crop", 37, reduced_decode=False)
MADE = Augmentation("crop-flip-jitter", 0)


pytestmark = pytest.mark.usefixtures("one_net")


@pytest.fixture
def photos(make_photos):
    """15 training images, of which two are the same, and 6 others."""
    root = make_photos({f"{split}/{name}": n for split, n in SPLITS.items() for name in ("cat", "dog")})
    (root / "train" / "dog" / "copy.png").write_bytes(next((root / "train" / "cat").iterdir()).read_bytes())
    return root


@pytest.fixture
def settings(photos, tmp_path):
    return ExtractConfig(data=str(photos), cache=tmp_path / "pets.h5", device="cpu", views=2, **SETTINGS)


def by_path(cache):
    """Features of every view of every image that has them."""
    return {
        (view.view, cache.manifest.relative_path(row)): features[row]
        for view in cache.views
        for features in [view.read()]
        for row in np.flatnonzero(view.status == DONE).tolist()
    }


def assert_same_all(one, other):
    assert one.keys() == other.keys()
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key], err_msg=str(key))


def assert_same(one, other, tolerance=0.0):
    """In all views that both have."""
    shared = one.keys() & other.keys()
    assert max(view for view, _ in shared) > 0
    for key in shared:
        np.testing.assert_allclose(one[key], other[key], rtol=0, atol=tolerance, err_msg=str(key))


# --- what a view is ---


@given(st.integers(1, 50), st.binary(min_size=16, max_size=16), st.integers(0, 2**63 - 1))
def test_a_view_is_a_function_of_seed_content_and_number_alone(number, digest, seed):
    image, made = picture(1, (50, 60)), Augmentation("crop-flip-jitter", seed)
    pixels = [np.asarray(made.transform_of(GEOMETRY, number, digest).square(image)) for _ in range(2)]
    assert np.array_equal(*pixels)
    for other in (
        made.transform_of(GEOMETRY, number + 1, digest),
        made.transform_of(GEOMETRY, number, bytes([digest[0] ^ 1]) + digest[1:]),
        replace(made, seed=seed ^ 1).transform_of(GEOMETRY, number, digest),
    ):
        assert not np.array_equal(pixels[0], np.asarray(other.square(image)))


def test_kinds_add_mirror_images_and_colours():
    image = picture(2, (64, 64))
    crop, flip, jitter = (
        [Augmentation(kind, 3).transform_of(GEOMETRY, n, b"x" * 16).square(image) for n in range(1, 41)]
        for kind in ("crop", "crop-flip", "crop-flip-jitter")
    )
    mirrored = [not np.array_equal(np.asarray(one), np.asarray(other)) for one, other in zip(crop, flip, strict=True)]
    assert 8 < sum(mirrored) < 32
    for one, other, turned in zip(crop, flip, mirrored, strict=True):
        assert np.array_equal(np.asarray(one)[:, ::-1] if turned else np.asarray(one), np.asarray(other))
    means = np.array([[np.asarray(image).mean((0, 1)) for image in images] for images in (flip, jitter)])
    assert np.abs(means[0] - means[1]).max(axis=1).min() > 0.5


def test_a_view_is_cut_from_the_picture_as_it_is_decoded_for_the_plain_one():
    reduced = replace(GEOMETRY, reduced_decode=True)
    assert MADE.transform_of(reduced, 1, b"x" * 16).draft_px(900, 600) == reduced.draft_px(900, 600)
    assert MADE.transform_of(GEOMETRY, 1, b"x" * 16).draft_px(900, 600) is None


def test_what_makes_views_is_read_as_it_was_written_and_told_apart_in_words():
    assert Augmentation.from_json(MADE.to_json()) == MADE
    words = MADE.differences(replace(MADE, kind="crop", scale=(0.08, 1.0)))
    assert words == [
        "kind: the views have crop, this run asks for crop-flip-jitter",
        f"scale: the views have (0.08, 1.0), this run asks for {SCALE}",
    ]


# --- the pass ---


def test_an_image_is_read_and_decoded_once_and_each_view_goes_through_the_backbone_once(settings, monkeypatch):
    read, opened, launched = loading.read, [], []
    monkeypatch.setattr(loading, "read", lambda place: opened.append(place) or read(place))
    launch = one_pass.Launched
    monkeypatch.setattr(
        one_pass,
        "Launched",
        lambda forward, pixels: launched.append(len(pixels)) or launch(forward, pixels),
    )
    report = updating.bring_up_to_date(settings)
    images = [place for place in opened if place]
    sample = 4 + settings.workers + 1  # images that are looked at to choose the arithmetic; here there is no choice
    assert 21 <= len(images) <= 21 + sample
    assert report.pass_.decoded == 21
    assert report.pass_.forwarded == 20 + 2 * 14, "plain views, and two of each training image, but for the copy"
    assert sum(launched) - report.pass_.forwarded < settings.batch_size, "only the last batch is filled up"
    assert report.pass_.copied == 3


def test_training_images_have_views_and_others_only_when_asked(settings, capsys):
    cache = updating.bring_up_to_date(settings).cache
    trained = cache.manifest.splits == TRAIN
    for view in cache.augmented:
        assert np.array_equal(view.status == DONE, trained)
        assert (view.status[~trained] == PENDING).all()
    assert "2 augmented views (crop-flip-jitter) of 15 images" in describe(cache)
    before = by_path(cache)
    report = updating.bring_up_to_date(replace(settings, view_splits="all"))
    assert report.pass_.forwarded == 2 * 6
    assert all((view.status == DONE).all() for view in report.cache.augmented)
    assert all(np.array_equal(by_path(report.cache)[key], values) for key, values in before.items())


def test_views_differ_from_the_plain_one_and_from_each_other_but_copies_share_theirs(settings):
    cache = updating.bring_up_to_date(settings).cache
    plain, one, two = (view.read()[cache.manifest.splits == TRAIN] for view in cache.views)
    for first, second in ((plain, one), (plain, two), (one, two)):
        assert (np.abs(first - second).max(axis=1) > 0.1).all()
    copy = next(row for row in range(len(cache)) if cache.manifest.relative_path(row).endswith("copy.png"))
    twins = [row for row in range(len(cache)) if cache.digest(row) == cache.digest(copy)]
    assert len(twins) == 2
    for view in cache.views:
        assert np.array_equal(*view.read()[twins])


def test_views_do_not_depend_on_which_other_images_there_are_nor_on_their_order(settings, photos, tmp_path):
    whole = by_path(updating.bring_up_to_date(settings).cache)
    for path in sorted((photos / "train").rglob("*.png"))[::3]:
        path.unlink()
    picture(99).save(photos / "train" / "cat" / "0000.png")
    part = updating.bring_up_to_date(replace(settings, cache=tmp_path / "part.h5")).cache
    assert len(part) == 21 - 5 + 1
    assert_same(whole, by_path(part))


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 64])
def test_views_do_not_depend_on_the_size_of_a_batch(settings, tmp_path, batch_size):
    """But for the rounding that another shape of a product brings."""
    one = by_path(updating.bring_up_to_date(settings).cache)
    other = by_path(updating.bring_up_to_date(replace(settings, cache=tmp_path / "b.h5", batch_size=batch_size)).cache)
    assert one.keys() == other.keys()
    assert_same(one, other, tolerance=2e-3 * max(float(np.abs(values).max()) for values in one.values()))


def flags(settings):
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.mark.slow
def test_several_processes_make_the_same_views_to_the_bit(settings, tmp_path):
    whole = by_path(updating.bring_up_to_date(settings).cache)
    data = ("--data", settings.data, "--cache", tmp_path / "team.h5", "--views", "2", "--device", "cpu")
    done = team_of(2, "extract", *data, *flags(SETTINGS), cwd=tmp_path)
    assert [each.code for each in done] == [0, 0], done
    assert "views of 21 images through the backbone" in done[0].out
    found = by_path(FeatureCache(tmp_path / "team.h5"))
    assert found.keys() == whole.keys()
    assert_same(whole, found)


# --- further views, growth, damage ---


def test_further_views_leave_the_others_as_they_are_and_fewer_are_no_change(settings):
    two = by_path(updating.bring_up_to_date(settings).cache)
    report = updating.bring_up_to_date(replace(settings, views=5))
    assert report.pass_.forwarded == 3 * 14
    assert len(report.cache.augmented) == 5
    assert_same(two, by_path(report.cache))
    for views in (0, 1, 5):
        assert updating.bring_up_to_date(replace(settings, views=views)).pass_ is None


def test_a_cache_without_views_gets_them_without_its_images_being_computed_again(settings):
    plain = updating.bring_up_to_date(replace(settings, views=0)).cache.read()
    report = updating.bring_up_to_date(settings)
    assert report.pass_.forwarded == 2 * 14
    assert np.array_equal(plain, report.cache.read())


def test_views_follow_a_data_set_that_changes(settings, photos):
    old = by_path(updating.bring_up_to_date(settings).cache)
    picture(50).save(photos / "train" / "cat" / "new.png")
    changed = sorted((photos / "train" / "dog").glob("0*.png"))[0]
    picture(51).save(changed)
    sorted((photos / "train" / "cat").glob("0*.png"))[-1].unlink()
    report = updating.bring_up_to_date(replace(settings, views=0, prune=True))  # the views are kept without a word
    assert report.pass_.forwarded == 2 * 3
    trained = report.cache.manifest.splits == TRAIN
    assert all(np.array_equal(view.status == DONE, trained) for view in report.cache.augmented)
    new = by_path(report.cache)
    name = str(changed.relative_to(photos))
    for view in (0, 1, 2):
        assert not np.array_equal(old[view, name], new[view, name])
    assert all(np.array_equal(old[key], new[key]) for key in old.keys() & new.keys() if key[1] != name)


def test_an_unreadable_image_is_unreadable_in_every_view(settings, photos):
    sorted((photos / "train" / "cat").iterdir())[2].write_bytes(b"no picture")
    report = updating.bring_up_to_date(settings)
    assert report.pass_.unreadable == 1
    bad = np.flatnonzero(report.cache.status == UNREADABLE)
    assert len(bad) == 1
    for view in report.cache.augmented:
        assert np.flatnonzero(view.status == UNREADABLE).tolist() == bad.tolist()
    assert updating.bring_up_to_date(settings).pass_ is None


def test_a_changed_bit_in_a_view_is_found_named_and_mended(settings):
    cache = updating.bring_up_to_date(settings).cache
    row = int(np.flatnonzero(cache.augmented[1].status == DONE)[3])
    column = cache.augmented[1].columns["features"]
    with settings.cache.open("rb+") as file:
        file.seek(column.offset + row * column.row_bytes + 5)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 8]))
    damaged = FeatureCache(settings.cache)
    assert verification.damaged_rows(damaged) == [(2, row)]
    with pytest.raises(CacheDamaged, match=f"of 1 images in view 2 are not what was written: row {row} "):
        damaged.augmented[1].read()
    report = updating.bring_up_to_date(replace(settings, check_bytes=True))
    assert report.pass_.forwarded == 1
    assert verification.damaged_rows(report.cache) == []
    mended = by_path(report.cache)
    assert_same(mended, by_path(updating.bring_up_to_date(replace(settings, overwrite=True)).cache))


def test_views_made_otherwise_are_refused_in_words(settings):
    updating.bring_up_to_date(settings)
    with pytest.raises(RecipeMismatch, match="kind: the views have crop-flip-jitter, this run asks for crop\n"):
        updating.bring_up_to_date(replace(settings, view_kind="crop"))
    assert updating.bring_up_to_date(replace(settings, view_kind="crop", views=0)).pass_ is None


@pytest.fixture
def stopped(settings, monkeypatch):
    """Further views that are stopped when they are computed, but before the file takes its name."""

    def stop(**changes):
        with monkeypatch.context() as patch:
            patch.setattr(one_file, "put_in_place", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                updating.bring_up_to_date(replace(settings, **changes))

    plain = by_path(updating.bring_up_to_date(replace(settings, views=0)).cache)
    return stop, plain


def test_views_that_were_stopped_wait_while_heads_train_on_the_plain_ones(settings, stopped):
    stop, plain = stopped
    stop(views=2)
    for _ in range(2):
        report = updating.bring_up_to_date(replace(settings, views=0))
        assert report.pass_ is None
        assert_same_all(plain, by_path(report.cache))
    report = updating.bring_up_to_date(settings)
    assert report.pass_ is None, "all of them were computed before"
    assert len(report.cache.augmented) == 2


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"view_kind": "crop"}, {"seed": 1, "weights": "random"}])
def test_views_that_were_stopped_are_not_taken_for_others(settings, stopped, tmp_path, changes):
    stop, _ = stopped
    stop(views=2)
    if "seed" in changes:
        with pytest.raises(RecipeMismatch, match="seed 0, this run asks for seed 1"):
            updating.bring_up_to_date(replace(settings, **changes))
        return
    found = updating.bring_up_to_date(replace(settings, **changes)).cache
    assert found.augmentation.kind == "crop"
    fresh = updating.bring_up_to_date(replace(settings, **changes, cache=tmp_path / "fresh.h5")).cache
    assert_same_all(by_path(fresh), by_path(found))


def test_a_view_of_a_file_that_could_not_be_read_for_a_while_is_reported_and_computed_later(settings, monkeypatch):
    updating.bring_up_to_date(replace(settings, views=0))
    read = loading.read

    def refuse(place):
        if place.name == "003.png" and place.parent.name == "cat" and "train" in place.parts:
            raise UnreadableImage("cannot be read")
        return read(place)

    with monkeypatch.context() as patch:
        patch.setattr(loading, "read", refuse)
        report = updating.bring_up_to_date(settings)
        assert len(report.unreadable()) == 1
        assert all((view.status == UNREADABLE).sum() == 1 for view in report.cache.augmented)
    again = updating.bring_up_to_date(settings)
    assert again.pass_.forwarded == 2
    assert len(again.unreadable()) == 0


def test_how_views_were_made_cannot_change_unnoticed(settings):
    updating.bring_up_to_date(settings)
    with h5py.File(settings.cache, "r+") as file:
        put(file.attrs, "augmentation", text(file.attrs, "augmentation").replace('"seed": 0', '"seed": 4'))
    with pytest.raises(CacheDamaged, match="are not what was written"):
        FeatureCache(settings.cache)


def test_further_views_do_not_make_other_runs_of_those_that_learn_from_the_first(settings):
    before = views_identity(updating.bring_up_to_date(settings).cache, 2, 0)
    assert views_identity(updating.bring_up_to_date(replace(settings, views=3)).cache, 2, 0) == before


def test_rows_of_views_are_extracted_again_and_compared(settings):
    cache = updating.bring_up_to_date(settings).cache
    again = verification.extract_again(cache, 1000, InspectConfig(device="cpu"))
    assert again.agrees
    assert again.compared == 21 + 2 * 15


def test_what_views_need_of_the_disk_is_said_and_a_full_disk_is_an_error_before_any_work(settings, capsys, monkeypatch):
    updating.bring_up_to_date(replace(settings, views=0))
    capsys.readouterr()
    updating.bring_up_to_date(settings)
    said = capsys.readouterr().out
    assert said.startswith(
        "2 augmented views of 15 images need 30.7 kB of the disk, and the cache is written anew beside the old one.\n"
        "30 augmented views are to be computed, 30.7 kB of the disk.\n"
    )

    def full(descriptor, size_bytes, offset=0):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(creation, "reserve", full)
    monkeypatch.setattr(extractor.Extractor, "filling", lambda *_: pytest.fail("it began to work"))
    with pytest.raises(CacheError, match="No space left on device"):
        updating.bring_up_to_date(replace(settings, views=3))
    with pytest.raises(CacheError, match="No space left on device"):
        updating.bring_up_to_date(replace(settings, view_splits="all"))
    assert updating.bring_up_to_date(settings).pass_ is None


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the blocks of a file with holes")
def test_rows_without_views_take_no_room(make_photos, tmp_path):
    root = make_photos({"train/cat": 3, "train/dog": 3, "val/cat": 20, "val/dog": 20, "test/cat": 1, "test/dog": 1})
    settings = {**SETTINGS, "backbone": "resnet50"}
    plain, views = (extract(root, cache=tmp_path / f"{n}.h5", device="cpu", views=n, **settings) for n in (0, 2))
    taken = [512 * os.stat(cache.path).st_blocks for cache in (plain, views)]
    assert taken[1] - taken[0] < 2 * (6 + 30) * 4096


def test_any_hdf5_reader_finds_the_views(settings):
    cache = updating.bring_up_to_date(replace(settings, backbone="resnet50")).cache
    with h5py.File(settings.cache) as file:
        for view in cache.augmented:
            group = file[f"view_{view.view}"]
            done = group["status"][...] == DONE
            assert np.array_equal(group["features"][...][done], view.read()[done])
