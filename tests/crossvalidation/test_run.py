"""Cross-validation from a cache to its folder: who takes part, what is said and saved, and what is not done twice."""

import csv
import json
from contextlib import suppress

import numpy as np
import pytest
from helpers.caches import fill, make, make_cache, manifest
from helpers.features import TEST, TRAIN, VAL
from helpers.processes import full_disk

from headstart import cross_validate
from headstart.cache.writing import CacheWriter
from headstart.crossvalidation import methods, run
from headstart.crossvalidation.images import Images
from headstart.errors import RunError, SettingsError
from headstart.heads import run as heads_run
from headstart.probes import logistic
from headstart.runs.listing import list_runs

QUICK = {"folds": 2, "repeats": 2, "device": "cpu"}
SPLITS = [TRAIN] * 20 + [VAL] * 4 + [TEST] * 6


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logistic, "PENALTIES", (10.0, 1.0))


@pytest.fixture
def cache(tmp_path):
    """30 images, of which one is unreadable and one has no label."""
    return make_cache(tmp_path / "f.h5", [-1, *[0, 1] * 14, 0], SPLITS, unreadable=[1], width=64)


@pytest.fixture
def learned(monkeypatch):
    """Each test that is really done: the fold and the method."""
    seen = []

    def remember(features, fold, method, seed, select):
        seen.append((fold, method, seed))
        return methods.tested(features, fold, method, seed, select)

    monkeypatch.setattr(run, "tested", remember)
    return seen


def folder(tmp_path):
    (found,) = tmp_path.glob("data/runs/*/cv-*")
    return found


def table(tmp_path):
    with (folder(tmp_path) / "folds.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_labelled_readable_images_are_tested_in_turn_by_each_method(cache, tmp_path, learned, capsys):
    rows = cross_validate(cache, **QUICK)
    assert [row["method"] for row in rows] == ["head", "logistic", "ridge", "knn"]
    assert all(row["accuracy"] > (0.6 if row["method"] == "knn" else 0.9) for row in rows)
    for method in ("head", "logistic", "ridge", "knn"):
        tested = np.concatenate([fold.test for fold, name, _ in learned if name == method])
        assert sorted(tested) == sorted([*range(2, 30)] * 2)
    said = capsys.readouterr().out
    assert "All 28 images with a label are divided into 2 folds, 2 times" in said
    assert "4 of val and 6 of test are among them: the test split is no longer untouched" in said
    assert "nearest neighbours" in said


def test_its_figures_are_those_of_every_fold(cache, tmp_path):
    (row,) = cross_validate(cache, methods="ridge", **QUICK)
    lines = table(tmp_path)
    assert [(line["repeat"], line["fold"]) for line in lines] == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
    assert {line["train_images"] for line in lines} == {line["test_images"] for line in lines} == {"14"}
    assert all(line["chosen"].startswith("penalty ") for line in lines)
    assert row["accuracy"] == pytest.approx(np.mean([float(line["accuracy"]) for line in lines]))
    predicted, labels = np.load(folder(tmp_path) / "predicted.npy"), Images(cache).labels
    assert predicted.shape == (1, 2, 28)
    assert row["accuracy"] == pytest.approx((predicted == labels).mean())
    saved = json.loads((folder(tmp_path) / "cv.json").read_text())
    assert saved.items() >= {"dataset": "made up", "images": 28, "groups": 28, "methods": [row]}.items()
    assert {file.name for file in folder(tmp_path).iterdir()} == {
        "config.json",
        "predicted.npy",
        "folds.csv",
        "cv.json",
        "checksums.json",
    }


def test_every_head_has_a_seed_of_its_own(cache, learned):
    cross_validate(cache, methods="head", seed=5, **QUICK)
    assert [seed for _, _, seed in learned] == [5, 6, 7, 8]


def test_one_that_is_there_is_reported_and_not_computed_again(cache, tmp_path, learned, capsys):
    first = cross_validate(cache, methods=["ridge", "knn"], **QUICK)
    before = {file.name: file.stat().st_mtime_ns for file in folder(tmp_path).iterdir()}
    (table_then, done) = capsys.readouterr().out.split("\n\n")[1], len(learned)
    assert cross_validate(cache, methods=["ridge", "knn"], **QUICK) == first
    said = capsys.readouterr().out
    assert "is there already" in said
    assert said.split("\n\n")[1] == table_then
    assert len(learned) == done
    assert {file.name: file.stat().st_mtime_ns for file in folder(tmp_path).iterdir()} == before


def test_a_stopped_one_goes_on_after_its_last_whole_repeat(cache, tmp_path, monkeypatch, learned, capsys):
    """With the figures of one that was not stopped."""
    whole = cross_validate(cache, methods=["ridge", "knn"], seed=1, **QUICK)
    (tmp_path / "data").rename(tmp_path / "other")
    learned.clear()

    def stop(*arguments):
        if len(learned) == 6:
            raise KeyboardInterrupt
        return real(*arguments)

    real = run.tested
    with monkeypatch.context() as patched:
        patched.setattr(run, "tested", stop)
        with pytest.raises(KeyboardInterrupt):
            cross_validate(cache, methods=["ridge", "knn"], seed=1, **QUICK)
    assert len(table(tmp_path)) == 4
    learned.clear()
    capsys.readouterr()
    again = cross_validate(cache, methods=["ridge", "knn"], seed=1, **QUICK)
    assert "Goes on after 4 tests that " in capsys.readouterr().out
    assert len(learned) == 4
    lines = {tuple(line[name] for name in line if name != "seconds") for line in table(tmp_path)}
    assert len(lines) == 8
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in whole]


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def of_another_shape(path):
    np.save(path, np.zeros((1, 1, 1), np.int32))


def emptied(path):
    path.write_bytes(b"")


def other_header(path):
    path.write_bytes(path.read_bytes().replace(b"{'descr'", b"(((((((("))


def an_archive(path):
    path.write_bytes(b"PK\3\4")


def without_a_column(path):
    path.write_text(path.read_text().replace("method,", "other,"))


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)


DAMAGE = [
    ("predicted.npy", cut),
    *(("predicted.npy", damage) for damage in (of_another_shape, emptied, other_header, an_archive)),
    ("folds.csv", cut),
    ("folds.csv", without_a_column),
]


@pytest.mark.parametrize(("name", "damage"), [*DAMAGE, ("predicted.npy", flipped), ("folds.csv", flipped)])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_damaged_part_of_one_is_a_sentence(cache, tmp_path, name, damage, sealed):
    """Without checksums, as earlier versions and a kill leave it, what is flipped cannot be told."""
    cross_validate(cache, methods="ridge", **QUICK)
    (folder(tmp_path) / "cv.json").unlink()
    if not sealed:
        (folder(tmp_path) / "checksums.json").unlink()
    damage(folder(tmp_path) / name)
    if damage is flipped and not sealed:
        with suppress(RunError):
            cross_validate(cache, methods="ridge", **QUICK)
        return
    with pytest.raises(
        RunError, match=r"is damaged, or another file|cannot be read \(.+\): move it away and run again"
    ):
        cross_validate(cache, methods="ridge", **QUICK)


@pytest.mark.parametrize("most_bytes", [0, 300, 575, 650])
def test_a_full_disk_is_a_sentence_and_leaves_nothing_that_is_cut(cache, tmp_path, most_bytes, capsys):
    with full_disk(most_bytes), pytest.raises(RunError, match="The figures cannot be written to"):
        cross_validate(cache, methods=["ridge", "knn"], **QUICK)
    assert not list(tmp_path.rglob("*.tmp"))
    cross_validate(cache, methods=["ridge", "knn"], **QUICK)
    assert np.load(folder(tmp_path) / "predicted.npy").shape == (2, 2, 28)


def test_what_is_not_whole_is_no_run(cache, tmp_path):
    cross_validate(cache, methods="knn", **QUICK)
    assert list_runs(folder(tmp_path).parent) == []


def test_images_of_one_group_are_never_divided(tmp_path, learned, capsys):
    people = np.array([f"person {number // 3}".encode() for number in range(24)])
    make(tmp_path / "g.h5", manifest(24, groups=people))
    fill(tmp_path / "g.h5")
    cross_validate(tmp_path / "g.h5", methods="knn", **QUICK)
    assert len(learned) == 4
    for fold, _, _ in learned:
        parts = [set(people[part]) for part in (fold.train, fold.val, fold.test)]
        assert sum(map(len, parts)) == 8
    assert "and copies, are in one fold: 8 groups in all." in capsys.readouterr().out


def test_other_groups_are_another_cross_validation(tmp_path):
    for name, size in (("a", 3), ("b", 4)):
        people = np.array([f"{number // size}".encode() for number in range(24)])
        make(tmp_path / f"{name}.h5", manifest(24, groups=people))
        fill(tmp_path / f"{name}.h5")
        cross_validate(tmp_path / f"{name}.h5", methods="knn", **QUICK)
    assert len(list(tmp_path.glob("data/runs/*/cv-*"))) == 2


def test_copies_of_an_image_are_in_one_fold(cache):
    cache.digests[5] = cache.digests[9]
    images = Images(cache)
    places = {row: place for place, row in enumerate(images.rows)}
    assert images.groups[places[5]] == images.groups[places[9]]
    assert images.group_count == len(images) - 1


def test_copies_are_tested_too(tmp_path, capsys):
    """Each in the fold of the others, whatever their splits were: none is left out."""
    made = make_cache(tmp_path / "c.h5", [0, 1] * 12, [TRAIN] * 18 + [TEST] * 6, width=64)
    with CacheWriter(made) as writer:
        digests = made.digests.copy()
        digests[20] = digests[4]
        writer.write(np.arange(24), made.read(), digests)
        writer.commit(1.0)
    cross_validate(tmp_path / "c.h5", methods="knn", **QUICK)
    said = capsys.readouterr().out
    assert "All 24 images" in said
    assert "copies, are in one fold: 23 groups in all" in said
    assert "Left out" not in said


def test_classes_with_fewer_images_than_folds_are_named(tmp_path, capsys):
    make_cache(tmp_path / "r.h5", [0] * 10 + [1] * 2, [TRAIN] * 12)
    cross_validate(tmp_path / "r.h5", methods="knn", folds=3, repeats=1)
    assert "Not every fold tests dog: fewer images or groups than folds." in capsys.readouterr().out


def test_more_folds_than_images_are_refused_before_anything_is_computed(tmp_path):
    make_cache(tmp_path / "few.h5", [0, 1, 0], [TRAIN] * 3)
    with pytest.raises(SettingsError, match=r"^3 images are too few for 5 folds: give fewer with folds="):
        cross_validate(tmp_path / "few.h5")
    assert not (tmp_path / "data").exists()


def test_where_nothing_can_be_written_no_flag_is_named_that_the_program_lacks(cache, tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot be made: Not a directory.*\. Start in a folder where you may write\.$"):
        cross_validate(cache, **QUICK)


def test_images_that_a_fine_tuned_net_learned_from_are_said_whatever_their_split(cache, monkeypatch):
    asked = []
    monkeypatch.setattr(heads_run, "warn_of_seen", lambda files, manifest, rows: asked.append(rows))
    cross_validate(cache, **QUICK, methods=("ridge",))
    assert np.array_equal(asked[0], Images(cache).rows)
