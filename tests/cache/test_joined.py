"""Caches of several backbones as one: row i of each is image i, whatever state it is in, and never another image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.caches import RECIPE, manifest, some_digests
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.cache import creation, rows
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import cache_path, open_features
from headstart.cache.joined import JoinedCache
from headstart.cache.layout import DONE, PENDING, UNREADABLE
from headstart.cache.views import Augmentation
from headstart.cache.writing import CacheWriter
from headstart.errors import CacheDamaged, CacheError, SettingsError
from headstart.settings import HeadConfig

COUNT = 12


def small_cache(path, width, states, digests=None, images=None, storage="float16", views=0, kind="crop", net=None):
    """A cache of `width` features: (row + 100 * width) in each column, plus the view's number; NaN where not done."""
    recipe = replace(RECIPE, backbone=net or f"net{width}", features=width, storage=storage)
    images = images or manifest(len(states))
    augmented = creation.AugmentedViews(Augmentation(kind, 0), views, len(states)) if views else None
    with creation.appearing(path) as temporary:
        creation.create(temporary, images, recipe, views=augmented)
    digests = some_digests(len(states)) if digests is None else digests
    done = np.flatnonzero(np.array(states) == DONE)
    for view in FeatureCache(path).views:
        with CacheWriter(view) as writer:
            writer.write(done, values_of(width, len(states), view.view)[done], digests[done])
            for row in np.flatnonzero(np.array(states) == UNREADABLE).tolist():
                writer.write_unreadable(row, "truncated")
            writer.commit(float(width))
    return FeatureCache(path)


def values_of(width, count, view=0):
    return np.repeat(np.arange(count)[:, None] + 100 * width + view, width, axis=1).astype(np.float32)


STATES = st.lists(st.sampled_from([PENDING, DONE, DONE, DONE, UNREADABLE]), min_size=COUNT, max_size=COUNT)


@settings(deadline=None, max_examples=40)
@given(st.lists(STATES, min_size=2, max_size=3), st.integers(1, COUNT))
def test_a_row_is_done_where_it_is_done_in_all_and_holds_the_features_of_its_image(tmp_path_factory, states, block):
    folder = tmp_path_factory.mktemp("caches")
    parts = [small_cache(folder / f"{width}.h5", width, each) for width, each in enumerate(states, 3)]
    joined = JoinedCache(parts)
    table = np.array(states)
    assert np.array_equal(joined.status == DONE, (table == DONE).all(axis=0))
    assert np.array_equal(joined.status == UNREADABLE, (table == UNREADABLE).any(axis=0))
    expected = np.concatenate([values_of(part.feature_count, COUNT) for part in parts], axis=1)
    done = np.flatnonzero(joined.status == DONE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "READ_ROWS", block)
        assert np.array_equal(joined.read()[done], expected[done])
        read = [(numbers, values) for numbers, values in joined.blocks()]
    assert np.array_equal(np.concatenate([numbers for numbers, _ in read]), np.arange(COUNT))
    assert np.array_equal(np.concatenate([values for _, values in read])[done], expected[done])
    assert np.array_equal(joined.gather(done[::-1]), expected[done[::-1]])
    assert joined.feature_count == expected.shape[1]
    assert joined.columns["features"].row_bytes == 2 * expected.shape[1]
    assert joined.seconds == sum(part.feature_count for part in parts)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=COUNT, max_size=COUNT), STATES, STATES)
def test_rows_of_images_with_other_bytes_never_stand_side_by_side(tmp_path_factory, changed, one, other):
    folder = tmp_path_factory.mktemp("caches")
    digests = some_digests(COUNT)
    first = small_cache(folder / "a.h5", 3, one, digests)
    digests = np.where(np.array(changed)[:, None], digests ^ 1, digests)
    second = small_cache(folder / "b.h5", 4, other, digests)
    differ = [row for row in range(COUNT) if changed[row] and one[row] == other[row] == DONE]
    if not differ:
        assert len(JoinedCache([first, second])) == COUNT
        return
    with pytest.raises(CacheError, match=rf"{len(differ)} images had other bytes .*{differ[0]:05}\.jpg.*--check-bytes"):
        JoinedCache([first, second])


DONE_ALL = [DONE] * COUNT


@pytest.mark.parametrize(
    "changes",
    [
        {"paths": np.array([f"{number:05}.png" for number in range(COUNT)], np.bytes_)},
        {"labels": np.zeros(COUNT, np.int64)},
        {"splits": np.zeros(COUNT, np.uint8)},
        {"classes": ("cat", "cow")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_caches_of_other_images_labels_or_splits_are_refused_with_the_command_that_helps(tmp_path, changes):
    first = small_cache(tmp_path / "a.h5", 3, DONE_ALL)
    second = small_cache(tmp_path / "b.h5", 4, DONE_ALL, images=manifest(COUNT, **changes))
    with pytest.raises(CacheError, match=r"cannot stand side by side\. Bring both up to date with: .*net3 net4"):
        JoinedCache([first, second])


def test_features_of_two_types_become_the_wider_type(tmp_path):
    first = small_cache(tmp_path / "a.h5", 3, DONE_ALL)
    second = small_cache(tmp_path / "b.h5", 4, DONE_ALL, storage="float32")
    joined = JoinedCache([first, second])
    assert joined.read().dtype == joined.columns["features"].dtype == np.float32
    assert np.array_equal(joined.features[:, :3], first.read())


def test_damage_in_either_cache_is_noticed(tmp_path):
    first, second = (small_cache(tmp_path / f"{width}.h5", width, DONE_ALL) for width in (3, 4))
    column = second.columns["features"]
    with second.path.open("r+b") as file:
        file.seek(column.offset + 5 * column.row_bytes)
        file.write(b"\xff")
    with pytest.raises(CacheDamaged, match=r"4\.h5: .*row 5"):
        JoinedCache([first, second]).read()


def test_augmented_views_are_those_that_all_have_if_they_were_made_in_one_way(tmp_path):
    two, one = (
        small_cache(tmp_path / "a.h5", 3, DONE_ALL, views=2),
        small_cache(tmp_path / "b.h5", 4, DONE_ALL, views=1),
    )
    joined = JoinedCache([two, one])
    assert len(joined.views) == 2
    assert joined.augmentation == one.augmentation
    expected = np.concatenate([values_of(3, COUNT, 1), values_of(4, COUNT, 1)], axis=1)
    assert np.array_equal(joined.augmented[0].read(), expected)
    flipped = small_cache(tmp_path / "c.h5", 5, DONE_ALL, views=1, kind="crop-flip")
    assert JoinedCache([two, flipped]).augmented == ()


# --- by the names of backbones ---


@pytest.fixture
def named(tmp_path, monkeypatch):
    """The caches of a data set by two backbones."""
    monkeypatch.chdir(tmp_path)
    Path("data/features").mkdir(parents=True)
    for width, name, net in ((3, "pets", "resnet50"), (4, "pets@timm-b", "timm:b")):
        small_cache(Path(f"data/features/{name}.h5"), width, DONE_ALL, net=net)


def config(backbone, **changes):
    return HeadConfig(data="/photos/pets", backbone=backbone, **changes)


@pytest.mark.usefixtures("named")
def test_names_joined_by_a_plus_open_the_caches_of_each():
    joined = open_features(config("resnet50+timm:b"))
    assert [str(part.path) for part in joined.parts] == ["data/features/pets.h5", "data/features/pets@timm-b.h5"]
    assert open_features(config("timm:b")).parts[0].path == Path("data/features/pets@timm-b.h5")


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("name", ["resnet50+", "+resnet50", "resnet50+resnet50", "resnet50++timm:b"])
def test_the_same_backbone_twice_or_none_is_refused(name):
    with pytest.raises(SettingsError, match="give different backbones"):
        open_features(config(name))


@pytest.mark.usefixtures("named")
def test_one_file_cannot_be_the_cache_of_two_backbones():
    with pytest.raises(SettingsError, match="--cache is one file"):
        open_features(config("resnet50+timm:b", cache=Path("data/features/pets.h5")))
    with pytest.raises(SettingsError, match="each with a cache of its own"):
        cache_path(config("resnet50+timm:b"))


@pytest.mark.usefixtures("named")
def test_a_cache_that_is_missing_is_named_with_the_command_that_makes_it():
    with pytest.raises(CacheError, match=r"no feature cache data/features/pets@resnet18\.h5"):
        open_features(config("resnet50+resnet18"))
