"""Every byte of a cache is covered: a change is found when the file is opened, read or verified, or does no harm."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.caches import make_cache

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE, PENDING
from headstart.errors import CacheDamaged, CacheError
from headstart.extraction.verification import damaged_rows

POSITIONS = 500


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    labels = np.arange(40) % 2
    folder = tmp_path_factory.mktemp("bytes")
    return make_cache(folder / "a.h5", labels, labels, unreadable=[3], pending=[7], views=1, width=16).path


@pytest.fixture
def copy(made, tmp_path) -> Path:
    (tmp_path / "a.h5").write_bytes(made.read_bytes())
    return tmp_path / "a.h5"


def seen(cache: FeatureCache) -> dict[str, Any]:
    """All that a program learns of a file, and says whether it is sound."""
    views = [
        (view.status.tolist(), view.reasons.tolist(), view.digests[view.status != PENDING].tobytes(), view.seconds)
        for view in cache.views
    ]
    images = cache.manifest
    said = (images.name, images.root, images.classes, images.paths.tolist(), images.labels.tolist())
    features = [view.read()[view.status == DONE].tobytes() for view in cache.views]
    return {"views": views, "said": said, "recipe": cache.recipe, "notes": cache.notes, "features": features}


def is_found(path: Path, before: dict[str, Any]) -> bool:
    """Whether damage is found, or has changed nothing."""
    try:
        cache = FeatureCache(path)
        pending = sum(int(np.count_nonzero(view.status == PENDING)) for view in cache.views)
        is_computed_again = pending > sum(view[0].count(PENDING) for view in before["views"])
        return bool(damaged_rows(cache)) or seen(cache) == before or is_computed_again
    except CacheError as error:
        return "\n" not in str(error)


def test_a_flipped_bit_is_found_or_harmless_wherever_it_is(made, copy):
    """Half of the places lie in what is neither zero nor a feature: HDF5's own bytes, and small columns."""
    cache, data, random = FeatureCache(made), made.read_bytes(), np.random.default_rng(0)
    of_features = [view.columns["features"] for view in cache.views]
    others = np.flatnonzero(np.frombuffer(data, np.uint8))
    for column in of_features:
        others = others[(others < column.offset) | (others >= column.end)]
    columns = [column for view in cache.views for column in view.columns.values()]
    in_columns = [column.offset + random.integers(column.end - column.offset) for column in columns * 5]
    places = [*random.choice(others, POSITIONS // 2), *in_columns, *random.integers(len(data), size=POSITIONS // 4)]
    before = seen(cache)
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << random.integers(8)
        copy.write_bytes(changed)
        assert is_found(copy, before), f"byte {place}"


def overwrite(path: Path, name: str, row: int, data: bytes) -> None:
    column = FeatureCache(path).columns[name]
    with path.open("r+b") as file:
        file.seek(column.offset + row * column.row_bytes)
        file.write(data)


@pytest.mark.parametrize(("name", "data"), [("digests", bytes(16)), ("status", b"\2"), ("reasons", b"\1")])
def test_a_row_that_does_not_say_what_was_written_counts_as_pending_and_is_not_read(copy, name, data):
    """Zeros for a digest, say, would give its features to whatever else has none."""
    overwrite(copy, name, 5, data)
    cache = FeatureCache(copy)
    assert np.flatnonzero(cache.changed).tolist() == [5]
    assert cache.pending("all")[0, 5]
    assert damaged_rows(cache) == [(0, 5)]
    assert b"\0" * 16 not in cache.contents[0].tolist()
    with pytest.raises(CacheDamaged, match="row 5 "):
        cache.read()


def test_the_time_of_passes_survives_a_flipped_bit(copy):
    before = FeatureCache(copy).seconds
    for number in range(3):
        overwrite(copy, "seconds", number, np.array([-1e300]).tobytes())
        assert FeatureCache(copy).seconds == before
        overwrite(copy, "seconds", number, np.array([before]).tobytes())
