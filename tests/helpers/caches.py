"""Caches without images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headstart.cache import creation, recipe
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.recipe import from_config
from headstart.cache.views import Augmentation
from headstart.cache.writing import CacheWriter
from headstart.datasets.manifest import Manifest
from headstart.settings import ExtractConfig
from helpers.features import TRAIN

RECIPE = recipe.from_config(ExtractConfig(weights="random", image_px=32, precision="fp32", compile="off"))
FEATURES = RECIPE.features


def make_cache(
    path: Path,
    labels: npt.ArrayLike,
    splits: npt.ArrayLike,
    unreadable: Sequence[int] = (),
    pending: Sequence[int] = (),
    classes: tuple[str, ...] = ("cat", "dog"),
    views: int = 0,
    root: Path | None = None,
    name: str = "made up",
    width: int = FEATURES,
) -> FeatureCache:
    """A cache without images. Rows that are not done hold NaN: whoever touches them, shows it.

    Views of training rows are the plain row plus the view's number, in the first half of its features alone.
    """
    count = len(np.asarray(labels))
    manifest = Manifest(
        name=name,
        root=root or path.parent,
        classes=classes,
        paths=np.array([f"{row:04}.png".encode() for row in range(count)]),
        labels=np.asarray(labels, np.int64),
        splits=np.asarray(splits, np.uint8),
        sizes=np.ones(count, np.int64),
        mtimes_ns=np.ones(count, np.int64),
    )
    settings = ExtractConfig(weights="random", image_px=32, resize="squash", precision="fp32", compile="off")
    recipe = replace(from_config(settings), features=width)
    augmented = creation.AugmentedViews(Augmentation("crop", 0), views, count) if views else None
    creation.create(path, manifest, recipe, views=augmented)
    for view in FeatureCache(path).views:
        column = view.columns["features"]
        np.memmap(path, column.dtype, "r+", column.offset, column.shape)[:] = np.nan
    features = np.random.default_rng(0).normal(size=(count, width)) + 3 * manifest.labels[:, None]
    done = np.array([row for row in range(count) if row not in (*unreadable, *pending)], np.int64)
    with CacheWriter(FeatureCache(path)) as writer:
        writer.write(done, features[done], some_digests(count)[done])
        for row in unreadable:
            writer.write_unreadable(row, "truncated")
        writer.commit(1.0)
    for view in FeatureCache(path).augmented:
        trained = done[manifest.splits[done] == TRAIN]
        with CacheWriter(view) as writer:
            writer.write(trained, view_of(features[trained], view.view), some_digests(count)[trained])
            writer.commit(0.5)
    return FeatureCache(path)


def view_of(features: npt.NDArray[Any], number: int) -> npt.NDArray[Any]:
    """What `make_cache` writes of a view."""
    return features + number * (np.arange(features.shape[-1]) < features.shape[-1] // 2)


def manifest(count: int = 12, **changes) -> Manifest:
    """`count` images of two classes, of which no file exists."""
    columns = {
        "name": "pets",
        "root": Path("/photos/pets"),
        "classes": ("cat", "dog"),
        "paths": np.array([f"{number:05}.jpg" for number in range(count)], dtype=np.bytes_),
        "labels": np.arange(count, dtype=np.int64) % 2,
        "splits": (np.arange(count) % 3).astype(np.uint8),
        "sizes": np.arange(count, dtype=np.int64) + 100,
        "mtimes_ns": np.arange(count, dtype=np.int64) + 10**18,
    }
    return Manifest(**{**columns, **changes})


def random_features(count: int, seed: int = 0) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).standard_normal((count, FEATURES))).astype(np.float32)


def some_digests(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 16), dtype=np.uint8)


def make(path: Path, images: Manifest | None = None, **changes) -> Path:
    """A cache in which every row is pending."""
    with creation.appearing(path) as temporary:
        creation.create(temporary, images or manifest(), replace(RECIPE, **changes))
    return path


def fill(path: Path, rows: np.ndarray | None = None) -> np.ndarray:
    """Finishes some rows, or all; returns the features of all."""
    count = len(FeatureCache(path))
    rows = np.arange(count) if rows is None else np.asarray(rows)
    features = random_features(count)
    with CacheWriter(FeatureCache(path)) as writer:
        writer.write(rows, features[rows], some_digests(count)[rows])
        writer.commit(1.0)
    return features
