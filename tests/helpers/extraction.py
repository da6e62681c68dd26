"""Passes over small pictures, watched and stopped."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headstart.cache import creation, recipe
from headstart.cache.feature_cache import FeatureCache
from headstart.datasets import labelled
from headstart.extraction import extractor, filling
from headstart.models.loading import load_frozen
from headstart.settings import ExtractConfig
from helpers.caches import FEATURES


@functools.lru_cache(maxsize=4)  # a net and its folded copy take 190 MB
def shared_net(*asked):
    """A net is built once for several tests: nothing changes it, as the tests of the backbone prove."""
    return load_frozen(*asked)


class Watch:
    """Stands where the backbone is made ready, and counts the pictures that reach it; black ones fill up a batch."""

    def __init__(self, fast_form=extractor.fast_form) -> None:
        self.images = 0
        self.fast_form = functools.cache(fast_form)

    def __call__(self, *form):
        forward = self.fast_form(*form)

        def counted(pixels):
            self.images += int(pixels.flatten(1).any(dim=1).sum())
            return forward(pixels)

        return counted


def eye(*_):
    """A backbone that sees the upper part of a picture as it is: what changes in the data is no matter of the net."""
    return lambda pixels: pixels.flatten(1)[:, :FEATURES].float()


@contextmanager
def watching(*fast_form) -> Iterator[Watch]:
    """Counts the pictures that reach the backbone, in whose place another may stand."""
    watch = Watch(*fast_form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "fast_form", watch)
        yield watch


def config(data: Path | str, **changes) -> ExtractConfig:
    settings = {"weights": "random", "image_px": 32, "batch_size": 4, "precision": "fp32", "compile": "off"}
    return ExtractConfig(data=str(data), **{**settings, "device": "cpu", "workers": 2, **changes})


def begin(path: Path, settings: ExtractConfig) -> Path:
    """A cache of a data set in which every row is pending."""
    with creation.appearing(path) as temporary:
        creation.create(
            temporary, labelled.load(settings.data, settings.completed().seed), recipe.from_config(settings)
        )
    return path


def fill_one(made, path: Path):
    """Fills one cache by one backbone."""
    return filling.fill({0: made}, [{0: path}])[0]


def stop_after(monkeypatch, batches: int) -> None:
    """Ctrl-C when so many batches are on their way to the file."""
    bar, seen = filling.bar, []

    def make(total, what, unit, shown=True):
        progress = bar(total, what, unit)
        update = progress.update

        def count(number=1):
            seen.append(number)
            if len(seen) == batches:
                raise KeyboardInterrupt
            return update(number)

        progress.update = count
        return progress

    monkeypatch.setattr(filling, "bar", make)


def flip(path: Path, row: int) -> None:
    """Changes one bit of a row's features on the disk."""
    column = FeatureCache(path).columns["features"]
    with path.open("rb+") as file:
        file.seek(column.offset + row * column.row_bytes + 11)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))
