"""Cached features as numpy arrays."""

from pathlib import Path

import numpy as np
import pytest
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL

from headstart import extract, load
from headstart.errors import CacheDamaged, CacheError, SettingsError


def test_every_split_has_its_features_and_the_names_of_its_classes(tmp_path):
    labels, splits = [0, 1, 1, 0, 1, 0, 1], [TRAIN, VAL, TEST, TRAIN, TRAIN, TEST, VAL]
    cache = make_cache(tmp_path / "f.h5", labels, splits)
    loaded = load(cache.path)
    assert list(loaded) == ["train", "val", "test"]
    for number, (features, classes) in enumerate(loaded.values()):
        own = np.flatnonzero(np.array(splits) == number)
        np.testing.assert_array_equal(features, cache.features[own])
        assert classes.tolist() == [("cat", "dog")[labels[row]] for row in own]
        assert features.dtype == np.float32
        assert features.shape == (len(own), 2048)


def test_images_without_a_label_or_without_features_are_left_out(tmp_path):
    """Unlabelled, unreadable, not yet extracted."""
    labels, splits = [0, 1, -1, 0, 1, 0, 1, 0, -1], [TRAIN] * 5 + [VAL] * 2 + [TEST] * 2
    cache = make_cache(tmp_path / "f.h5", labels, splits, unreadable=(1,), pending=(4, 5))
    loaded = load(str(cache.path))
    for split, rows in {"train": [0, 3], "val": [6], "test": [7]}.items():
        features, classes = loaded[split]
        np.testing.assert_array_equal(features, cache.features[rows])
        assert np.isfinite(features).all()
        assert classes.tolist() == [("cat", "dog")[labels[row]] for row in rows]


def test_a_split_without_images_is_empty_and_as_wide_as_the_others(tmp_path):
    loaded = load(make_cache(tmp_path / "f.h5", [0, 1], [TRAIN, TRAIN]).path)
    for split in ("val", "test"):
        features, classes = loaded[split]
        assert features.shape == (0, 2048)
        assert classes.shape == (0,)


def test_the_arrays_are_the_callers_own(tmp_path):
    """Whoever scales them in place changes neither the cache nor what is loaded next."""
    path = make_cache(tmp_path / "f.h5", [0, 1], [TRAIN, TRAIN]).path
    before = path.read_bytes()
    features, classes = load(path)["train"]
    features *= 0
    classes[:] = "?"
    again, names = load(path)["train"]
    assert again.any()
    assert names.tolist() == ["cat", "dog"]
    assert path.read_bytes() == before


def test_scikit_learn_takes_them_as_they_are(tmp_path):
    from sklearn.linear_model import LogisticRegression

    loaded = load(make_cache(tmp_path / "f.h5", [0, 1] * 10, [TRAIN] * 14 + [TEST] * 6).path)
    assert LogisticRegression().fit(*loaded["train"]).score(*loaded["test"]) == 1


def test_a_cache_that_is_missing_or_damaged_is_an_error_in_words(tmp_path):
    with pytest.raises(CacheError, match=r"no feature cache .*nowhere\.h5"):
        load(tmp_path / "nowhere.h5")
    cache = make_cache(tmp_path / "f.h5", [0, 1], [TRAIN, TRAIN])
    column = cache.columns["features"]
    np.memmap(cache.path, column.dtype, "r+", column.offset, column.shape)[1, 5] += 1
    with pytest.raises(CacheDamaged):
        load(cache.path)


def test_names_and_rows_of_the_images_come_with_them_when_asked_for(tmp_path):
    labels, splits = [0, 1, -1, 0, 1, 0, 1], [TRAIN] * 4 + [VAL, TEST, TEST]
    cache = make_cache(tmp_path / "f.h5", labels, splits, pending=(1,))
    X, _, paths, rows = load(cache, also=["paths", "rows"])["train"]  # noqa: N806
    assert rows.tolist() == [0, 3]
    assert paths.tolist() == ["0000.png", "0003.png"]
    np.testing.assert_array_equal(X, cache.features[rows])
    assert [array.tolist() for array in load(cache, also=["rows", "paths"])["val"][2:]] == [[4], ["0004.png"]]
    assert load(cache, also="rows")["test"][2].tolist() == [5, 6]
    assert len(load(cache)["train"]) == 2


def test_an_array_that_does_not_exist_is_answered_with_the_nearest(tmp_path):
    cache = make_cache(tmp_path / "f.h5", [0, 1], [TRAIN, TRAIN])
    with pytest.raises(SettingsError, match=r"no array path\. Did you mean paths\? also= takes paths, rows"):
        load(cache, also=["path"])


def test_an_open_cache_is_taken_wherever_its_file_is(tmp_path):
    cache = make_cache(tmp_path / "f.h5", [0, 1], [TRAIN, TRAIN])
    np.testing.assert_array_equal(load(cache)["train"][0], load(tmp_path / "f.h5")["train"][0])
    assert Path(cache).read_bytes()[:4] == b"\x89HDF"


def test_groups_come_with_the_features_where_the_data_named_them(make_photos, tmp_path):
    photos = make_photos({"cat": 20, "dog": 20})
    names = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
    lines = "".join(
        f"{name},{name[:3]},p{number // 2},{('train', 'train', 'train', 'val', 'test')[number // 2 % 5]}\n"
        for number, name in enumerate(names)
    )
    (photos / "l.csv").write_text(f"path,label,group,split\n{lines}")
    cache = tmp_path / "f.h5"
    extract(photos / "l.csv", cache=cache, weights="random", image_px=32, precision="fp32", compile="off")
    features, _, paths, groups = load(cache, also=["paths", "groups"])["train"]
    expected = {name: f"p{number // 2}" for number, name in enumerate(names)}
    assert groups.tolist() == [expected[path] for path in paths.tolist()]
    assert len(features) == len(groups) > 10
    make_cache(tmp_path / "none.h5", [0, 1], [0, 0])
    with pytest.raises(SettingsError, match="has no groups"):
        load(tmp_path / "none.h5", also=["groups"])
