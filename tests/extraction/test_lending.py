"""A list of images whose features the cache of other data has: they are taken over; the net sees only the others."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.extraction import config, eye, stop_after, watching
from helpers.pictures import picture

from headstart.cache.feature_cache import FeatureCache
from headstart.extraction import reports, updating
from headstart.extraction.extractor import CANARIES
from headstart.settings import FEATURES_FOLDER, ExtractConfig

pytestmark = pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")


@pytest.fixture(scope="module", autouse=True)
def watch(one_net):
    with watching(eye) as watch:
        yield watch


@pytest.fixture
def photos(make_photos, tmp_path, monkeypatch, forwarded) -> Path:
    """24 pictures, whose features are in the cache of their folder."""
    monkeypatch.chdir(tmp_path)
    folder = make_photos({"cat": 12, "dog": 12})
    updating.bring_up_to_date(config(folder))
    assert forwarded.images == 24
    forwarded.images = 0
    return folder


def listed(photos: Path, names: list[str], **changes) -> ExtractConfig:
    """A list in a folder of its own, with every label changed."""
    table = photos.parent / "lists" / "clean.csv"
    table.parent.mkdir(exist_ok=True)
    with table.open("w", newline="") as file:
        splits = (("test", "val", "train")[min(number % 12, 2)] for number in range(len(names)))
        images = zip(names, splits, strict=True)
        rows = [[f"../{photos.name}/{name}", f"my {name[:3]}", split] for name, split in images]
        csv.writer(file).writerows([["path", "label", "split"], *rows])
    return config(table, **changes)


def names_of(photos: Path, count: int) -> list[str]:
    return sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))[:count]


def test_a_list_gets_the_features_of_its_images(photos, forwarded, capsys):
    names = names_of(photos, 18)
    report = updating.bring_up_to_date(listed(photos, names))
    assert (report.taken_over, report.pass_, forwarded.images) == (18, None, 0)
    assert "photos.h5 has features of 18 of the 18 images" in capsys.readouterr().out
    assert "18 images were there already" in reports.summary([report])
    before, cache = FeatureCache(FEATURES_FOLDER / "photos.h5"), report.cache
    assert cache.manifest.classes == ("my cat", "my dog")
    rows = [before.manifest.paths.tolist().index(name.encode()) for name in names]
    order = [names.index(cache.manifest.relative_path(row).removeprefix("../photos/")) for row in range(len(names))]
    assert np.array_equal(cache.gather(np.arange(18)), before.gather(np.array(rows))[order])


def test_images_that_are_new_or_changed_go_through_the_net(photos, forwarded):
    names = names_of(photos, 16)
    picture(900).save(photos / names[3])
    picture(901).save(photos / "cat" / "new.png")
    report = updating.bring_up_to_date(listed(photos, [*names, "cat/new.png"]))
    assert (report.taken_over, report.pass_.forwarded, forwarded.images) == (15, 2, 2 + CANARIES)
    alone = updating.bring_up_to_date(listed(photos, [*names, "cat/new.png"], cache=Path("alone.h5")))
    assert np.array_equal(report.cache.gather(np.arange(17)), alone.cache.gather(np.arange(17)))


@pytest.mark.parametrize(
    "changes", [{"image_px": 40}, {"overwrite": True}, {"cache": Path("mine.h5")}], ids=["recipe", "overwrite", "file"]
)
def test_other_settings_make_features_of_their_own(photos, forwarded, changes):
    settings = replace(listed(photos, names_of(photos, 18)), **changes)
    assert updating.bring_up_to_date(settings).pass_.forwarded == forwarded.images == 18


def test_a_few_known_images_decide_nothing(photos, forwarded):
    """What `auto` decided for a small data set is not forced upon a large one that holds it."""
    for number in range(20):
        picture(700 + number).save(photos / "cat" / f"more {number:02}.png")
    names = [name for name in names_of(photos, 44) if "more" in name] + ["dog/000.png", "dog/001.png"]
    assert updating.bring_up_to_date(listed(photos, names)).pass_.forwarded == 22


def test_a_stopped_pass_goes_on(photos, forwarded, monkeypatch):
    """What was taken over is there again, and nothing else is computed than before."""
    for number in range(8):
        picture(800 + number).save(photos / "cat" / f"x{number}.png")
    settings = listed(photos, names_of(photos, 32))
    with monkeypatch.context() as interrupted:
        stop_after(interrupted, 1)
        with pytest.raises(KeyboardInterrupt):
            updating.bring_up_to_date(settings)
    report = updating.bring_up_to_date(settings)
    assert report.taken_over + report.pass_.forwarded == 32
    assert report.taken_over > 24
