"""An audit from a cache to its folder: what is planted is found, the list is cleaned, and the page holds it all."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.caches import make_cache, some_digests
from helpers.features import TEST, TRAIN, VAL
from PIL import Image

from headstart.audit import run
from headstart.audit.run import audit
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.joined import JoinedCache
from headstart.cache.writing import CacheWriter
from headstart.datasets.labelled import load
from headstart.errors import CacheError, SettingsError
from headstart.heads import run as heads_run
from headstart.probes import ridge
from headstart.settings import AuditConfig

COUNT = 120
TRUTH = np.arange(COUNT) % 3
LABELS = TRUTH.copy()
WRONG = [7, 8, 110]
LABELS[WRONG] = (LABELS[WRONG] + 1) % 3
LABELS[5] = -1
SPLITS = np.array([TRAIN] * 80 + [VAL] * 16 + [TEST] * 24)
SAME_BYTES, RESIZED = (20, 101), (30, 33)
NASTY = ('<b onclick="x">cat</b>', "dog", "{{ 7 * 7 }}")


def photo(seed):
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (8, 10, 3), np.uint8)).resize(
        (200, 160), Image.Resampling.BICUBIC
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ridge, "PENALTIES", (10.0, 1.0))
    return tmp_path


@pytest.fixture
def cache(here):
    """120 photos of three classes: wrong labels, one without, a copy in test, a smaller one in train, one black."""
    (here / "photos").mkdir()
    for row in range(COUNT):
        photo(row).save(here / "photos" / f"{row:04}.png")
    photo(RESIZED[0]).resize((150, 120)).save(here / "photos" / f"{RESIZED[1]:04}.png")
    photo(40).point(lambda value: value // 8).save(here / "photos" / "0040.png")
    made = make_cache(here / "f.h5", LABELS, SPLITS, classes=NASTY, root=here / "photos")
    features, digests = np.random.default_rng(3).normal(0, 0.1, (COUNT, 2048)), some_digests(COUNT)
    features[np.arange(COUNT), TRUTH] += 10
    features[SAME_BYTES[1]], digests[SAME_BYTES[1]] = features[SAME_BYTES[0]], digests[SAME_BYTES[0]]
    with CacheWriter(made) as writer:
        writer.write(np.arange(COUNT), features, digests)
        writer.commit(1.0)
    return FeatureCache(made.path)


def config(**changes):
    return AuditConfig(cache="f.h5", device="cpu", **changes)


def rows_of(folder, kind=None):
    with (folder / "audit.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if kind in (None, row["kind"])]


def test_what_was_planted_is_found(cache, capsys):
    folder = audit(config())
    assert folder.parts[-3:] == ("runs", "made up", "audit")
    assert {row["path"] for row in rows_of(folder, "wrong label")} >= {"0007.png", "0008.png", "0110.png"}
    for row in rows_of(folder, "wrong label")[:3]:
        assert row["suggested"] == NASTY[TRUTH[int(row["path"][:4])]]
    (copy,) = rows_of(folder, "copy in another split")
    assert (copy["path"], copy["other"], copy["sure"], copy["fix"]) == ("0020.png", "0101.png", "1.0000", "drop")
    assert RESIZED[1] in {int(row["path"][:4]) for row in rows_of(folder) if row["kind"].startswith("copy")}
    assert [row["path"] for row in rows_of(folder, "dark")] == ["0040.png"]
    assert "labels" in capsys.readouterr().out
    summary = json.loads((folder / "audit.json").read_text())
    assert summary["images"] == COUNT
    assert summary["labels"] == COUNT - 1
    assert summary["findings"]["copy in another split"] == 1


def test_features_of_two_nets_side_by_side_are_audited(cache, here, monkeypatch):
    shutil.copy("f.h5", "g.h5")
    joined = JoinedCache([cache, FeatureCache(here / "g.h5")])
    monkeypatch.setattr(heads_run, "open_features", lambda _: joined)
    assert {row["path"] for row in rows_of(audit(config()), "wrong label")} >= {"0007.png", "0008.png", "0110.png"}


def test_the_same_audit_gives_the_same_files(cache):
    folder = audit(config())
    first = [(folder / name).read_bytes() for name in ("audit.csv", "audit.html", "audit.json")]
    audit(config())
    assert [(folder / name).read_bytes() for name in ("audit.csv", "audit.html", "audit.json")] == first


def test_a_cleaned_list_is_data_for_the_other_programs(cache, here):
    audit(config(fix=here / "lists" / "clean.csv"))
    cleaned = load(str(here / "lists" / "clean.csv"))
    paths = [cleaned.relative_path(row).rpartition("/")[2] for row in range(len(cleaned))]
    assert "0020.png" not in paths
    assert "0033.png" not in paths
    labels = dict(zip(paths, cleaned.labels.tolist(), strict=True))
    for row in (7, 8):
        assert cleaned.classes[labels[f"{row:04}.png"]] in (NASTY[TRUTH[row]], NASTY[LABELS[row]])
    splits = dict(zip(paths, cleaned.splits.tolist(), strict=True))
    assert all(splits[path] == SPLITS[int(path[:4])] for path in paths)
    for row in np.flatnonzero(SPLITS == TEST):
        assert cleaned.classes[labels[f"{row:04}.png"]] == NASTY[LABELS[row]]
    assert sorted((here / "photos").iterdir()) == [here / "photos" / f"{row:04}.png" for row in range(COUNT)]


def test_its_gain_is_measured_on_test_images_that_no_finding_names_and_with_those_whose_label_is_doubted(cache, capsys):
    folder = audit(config())
    gained = json.loads((folder / "audit.json").read_text())["gain"]
    found = rows_of(folder)
    of_test = {f"{row:04}.png" for row in np.flatnonzero(SPLITS == TEST)}
    others = [line for line in found if line["kind"] != "wrong label"]
    other = {path for line in others for path in (line["path"], line["other"])} & of_test
    doubted = {line["path"] for line in found if line["kind"] == "wrong label"} & of_test - other
    assert doubted, "so that both figures are there"
    assert gained["untouched"]["difference"]["images"] == len(of_test - other - doubted)
    assert gained["with_doubted"]["difference"]["images"] == len(of_test - other)
    assert gained["with_doubted"]["after"] >= gained["with_doubted"]["before"] - 0.05
    said = capsys.readouterr().out
    assert "that no finding names. With those whose label is doubted" in said
    assert f"Left out: {len(other)} test image" in said


def test_the_page_holds_pictures_and_no_names_as_markup(cache):
    page = (audit(config()) / "audit.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert "<b onclick" not in page
    assert "&lt;b onclick" in page
    assert "{{ 7 * 7 }}" in page
    assert "<script" not in page
    assert not {"http", "//"} & {word[5:] for word in page.split() if word.startswith(("src=", "href="))}
    assert 'id="wrong-label"' in page
    assert "Random weights" in page


def test_pictures_that_are_gone_leave_what_features_and_bytes_say(cache, here, capsys):
    for path in (here / "photos").iterdir():
        path.unlink()
    folder = audit(config())
    assert f"{COUNT} pictures could not be read now" in capsys.readouterr().out
    assert {row["kind"] for row in rows_of(folder)} >= {"wrong label", "copy in another split", "outlier"}
    assert not {row["kind"] for row in rows_of(folder)} & {"dark", "copy"}


def test_images_without_labels_can_be_audited(here, capsys):
    make_cache(here / "f.h5", [0, *[-1] * 29], [TRAIN] * 30)
    folder = audit(config())
    assert json.loads((folder / "audit.json").read_text())["expected_wrong_labels"] is None
    assert rows_of(folder, "wrong label") == []


def test_too_few_images_are_refused(here):
    make_cache(here / "f.h5", [0, 1], [TRAIN, TRAIN])
    with pytest.raises(CacheError, match="2 finished images: too few to compare"):
        audit(config())


def test_a_list_needs_the_name_of_a_csv(here):
    with pytest.raises(SettingsError, match=r"--fix is .*clean\.txt, but must be the name of a \.csv"):
        replace(config(), fix=here / "clean.txt")


def test_what_changes_the_list_was_not_learned_from_test_images(cache, monkeypatch):
    """Each fold of train and val learns from these alone; test images are asked last."""
    folds = []

    def remember(features, asked, method, seed):
        folds.extend((fold, asked) for fold in asked.folds(seed))
        return np.full((len(asked.rows), 3), np.nan, np.float32)

    monkeypatch.setattr(run, "out_of_fold", remember)
    audit(config())
    *others, (last, asked) = folds
    assert len(others) == 5
    for fold, _ in others:
        assert not asked.is_test[np.concatenate([fold.train, fold.val, fold.test])].any()
    assert asked.is_test[last.test].all()
    learned = asked.rows[np.concatenate([last.train, last.val])]
    assert SAME_BYTES[0] not in learned
    assert len(learned) == 80 + 16 - 1 - 1  # without the copy, and the one that has no label
