"""What `make info` says about a cache is true, and what is wrong with one does not stay hidden."""

from pathlib import Path

import numpy as np
import pytest
from helpers.caches import FEATURES, fill, make, manifest, some_digests

from headstart.cache import inspection
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.nearest import suspects
from headstart.cache.writing import CacheWriter
from headstart.errors import CacheDamaged


def filled(path: Path, features: np.ndarray, digests: np.ndarray | None = None, **columns) -> FeatureCache:
    count = len(features)
    make(path, manifest(count, **columns))
    with CacheWriter(FeatureCache(path)) as writer:
        writer.write(np.arange(count), features, some_digests(count) if digests is None else digests)
        writer.commit(1.0)
    return FeatureCache(path)


def test_the_description_names_recipe_counts_and_every_reason(tmp_path):
    path = make(tmp_path / "pets.h5")
    fill(path, np.arange(9))
    with CacheWriter(FeatureCache(path)) as writer:
        writer.write_unreadable(9, "truncated")
        writer.write_unreadable(10, "not an image")
        writer.commit(0.0)
    text = "\n".join(inspection.contents(FeatureCache(path)))
    assert "images: 12; 9 done, 1 pending, 2 unreadable" in text
    assert "weights: random" in text
    assert "image_px: 32" in text
    assert "unreadable, truncated: 1" in text
    assert "00010.jpg: not an image" in text
    assert "all        4        4        4" in text.replace("  all", "all")
    assert "None" not in text
    assert ": \n" not in text


def test_a_thousand_classes_are_summed_up_and_the_smallest_is_named(tmp_path):
    labels = np.concatenate([np.arange(1000), np.arange(999)])
    classes = tuple(f"class {number:04}" for number in range(1000))
    splits = np.zeros(1999, np.uint8)
    path = make(tmp_path / "many.h5", manifest(1999, labels=labels, classes=classes, splits=splits))
    lines = inspection.contents(FeatureCache(path))
    assert len(lines) < 50
    assert any("1000 classes; the smallest is class 0999: 1" in line for line in lines)


def test_groups_are_counted_and_whether_splits_divide_them(tmp_path):
    """Rows are in train, val and test in turn."""
    whole = np.array([f"p{number % 3}".encode() for number in range(12)])
    text = inspection.contents(FeatureCache(make(tmp_path / "whole.h5", manifest(groups=whole))))
    assert "groups: 3, of 4 images each; none is in two splits" in text
    divided = np.array([b"ann", b"ann", *(f"p{number % 3}".encode() for number in range(2, 12))])
    text = inspection.contents(FeatureCache(make(tmp_path / "divided.h5", manifest(groups=divided))))
    assert "groups: 4, of 2 to 4 images each; ann is in more than one split" in text
    lines = inspection.contents(FeatureCache(make(tmp_path / "none.h5")))
    assert not any(line.startswith("groups") for line in lines)


def test_the_same_bytes_in_train_and_test_are_shouted(tmp_path):
    digests = some_digests(12)
    digests[5] = digests[3]  # rows 3 and 5 are in train and test
    cache = filled(tmp_path / "pets.h5", np.ones((12, FEATURES)), digests)
    assert inspection.leaks(cache) == [(5, 3)]
    shout = "\n".join(inspection.describe_leaks(cache))
    assert shout.startswith("LEAK: 1 ")
    assert "00005.jpg is 00003.jpg" in shout


def test_copies_within_one_split_are_no_leak(tmp_path):
    digests = some_digests(12)
    digests[3] = digests[0]
    cache = filled(tmp_path / "pets.h5", np.ones((12, FEATURES)), digests)
    assert inspection.leaks(cache) == []
    assert "none" in inspection.describe_leaks(cache)[0]


def test_dead_and_constant_features_and_lengths_are_counted(tmp_path):
    features = np.random.default_rng(0).random((12, FEATURES)).astype(np.float32) + 1
    features[:, :3] = 0
    features[:, 3:5] = 2
    counts, norms = inspection.describe_health(filled(tmp_path / "pets.h5", features))
    assert counts == "features: 0 values not finite, 3 of 2048 dead (always 0), 2 constant"
    lengths = np.linalg.norm(features, axis=1)
    numbers = [float(word.strip(",")) for word in norms.split()[4:9:2]]
    assert numbers == pytest.approx([lengths.min(), lengths.max(), lengths.mean()], rel=1e-3)


def test_an_empty_cache_has_no_health_and_no_crash(tmp_path):
    cache = FeatureCache(make(tmp_path / "pets.h5"))
    assert inspection.describe_health(cache) == [
        "features: 0 values not finite, 0 of 2048 dead (always 0), 0 constant",
        "  length of a row: 0 to 0, mean 0",
    ]
    assert suspects(cache) == (0, [])


def test_health_is_not_told_of_damaged_rows(tmp_path):
    path = make(tmp_path / "pets.h5")
    fill(path)
    with path.open("rb+") as file:
        file.seek(FeatureCache(path).columns["features"].offset + 5 * 2 * FEATURES + 7)
        file.write(b"\xff")
    with pytest.raises(CacheDamaged, match="row 5"):
        inspection.describe_health(FeatureCache(path))


def test_an_image_among_images_of_another_class_is_suspected(tmp_path):
    """Two clouds, one for each class; row 4 lies in the cloud of the other class."""
    generator = np.random.default_rng(0)
    centres = generator.random((2, FEATURES)) * 10
    labels = np.arange(40) % 2
    features = centres[labels] + generator.random((40, FEATURES)) * 0.1
    labels[4] = 1
    cache = filled(tmp_path / "pets.h5", features, labels=labels, splits=np.zeros(40, np.uint8))
    assert suspects(cache) == (40, [(4, "cat")])
    assert "00004.jpg: labelled dog, neighbours are cat" in "\n".join(inspection.describe_suspects(cache))
