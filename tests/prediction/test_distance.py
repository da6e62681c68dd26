"""How far images lie from what a run learned from: the nearest training image, a limit by validation images alone."""

import csv
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL
from helpers.runs import make_run
from PIL import Image
from torch import nn

from headstart.cache.joined import JoinedCache
from headstart.cache.recipe import from_config
from headstart.errors import RunError, SettingsError
from headstart.heads import run as head_run
from headstart.prediction import distance, programs
from headstart.prediction.classifier import Classifier
from headstart.prediction.distance import Limit, TrainingFeatures, learned_from, measures
from headstart.prediction.image_prediction import ImagePrediction, mean_of
from headstart.prediction.loading import Parts, open_run, parts_on_features
from headstart.prediction.predict import Summary, predict_images
from headstart.settings import ExtractConfig, HeadConfig, PredictConfig

CPU, LABELS = torch.device("cpu"), [0, 1] * 30
SPLITS = [TRAIN] * 30 + [VAL] * 20 + [TEST] * 10


def cosine_distances(asked, learned):
    """(n, M), by the formula."""
    lengths = [np.linalg.norm(each, axis=1) for each in (asked, learned)]
    return 1 - asked @ learned.T / np.outer(*lengths)


def features_of(cache, split):
    return cache.gather(cache.rows(split)).astype(np.float64)


@pytest.fixture
def cache(tmp_path):
    return make_cache(tmp_path / "data/features/photos.h5", LABELS, SPLITS, width=12, name="photos")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/features").mkdir(parents=True)


def trained(cache, **settings):
    return open_run(head_run.train(HeadConfig(cache=cache.path, device="cpu", epochs=1, hidden=(), **settings)))


def predicted(run, **settings):
    """The lines of the CSV, by path."""
    out, _ = programs.predict(PredictConfig(run=run.folder, device="cpu", **settings))
    with out.open(newline="") as file:
        return {line["path"]: line for line in csv.DictReader(file)}


# --- the distance ---


def test_the_distance_is_that_to_the_nearest_training_image_whatever_the_blocks(cache, monkeypatch):
    monkeypatch.setattr(distance, "BLOCK_ROWS", 7)
    training, asked = TrainingFeatures.load(cache, CPU), features_of(cache, "test")
    expected = cosine_distances(asked, features_of(cache, "train")).min(axis=1)
    found = training.distances(torch.from_numpy(asked).half())
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(training.distances(1000 * torch.from_numpy(asked)), expected, atol=1e-6)


def test_a_training_image_has_distance_0_and_the_opposite_2():
    training = TrainingFeatures(torch.tensor([[0.6, 0.8]]), (2,))
    np.testing.assert_allclose(training.distances(torch.tensor([[3.0, 4.0], [-3.0, -4.0]])), [0, 2], atol=1e-6)


def test_each_net_counts_the_same_where_features_stand_side_by_side(tmp_path, cache):
    wide = make_cache(tmp_path / "wide.h5", LABELS, SPLITS, width=40, name="photos", root=cache.manifest.root)
    both = JoinedCache([cache, wide])
    asked = both.gather(both.rows("test"))
    parts = [cosine_distances(features_of(each, "test"), features_of(each, "train")) for each in (cache, wide)]
    found = TrainingFeatures.load(both, CPU).distances(torch.from_numpy(asked))
    np.testing.assert_allclose(found, np.mean(parts, axis=0).min(axis=1), atol=1e-6)


def test_features_that_do_not_fit_the_memory_are_not_loaded(cache, monkeypatch):
    monkeypatch.setattr(distance, "available_bytes", lambda _: 2 * 4 * 30 * 12 - 1)
    with pytest.raises(RunError, match=r"the features of 30 training images take 1\.44 kB, more than half"):
        TrainingFeatures.load(cache, CPU)


# --- the limit ---


@pytest.mark.parametrize(("share", "beyond"), [(0.0, 0), (0.04, 0), (0.05, 1), (0.5, 10), (0.99, 19)])
def test_at_most_the_share_lies_beyond_the_limit(share, beyond):
    distances = np.random.default_rng(0).permutation(np.arange(1, 21) / 20)
    limit = Limit.at(distances, share)
    assert (limit.beyond, limit.images) == (beyond, 20)
    assert limit.distance == np.sort(distances)[-beyond - 1]


def test_images_at_the_limit_are_known_also_with_another_last_digit():
    limit = Limit.at(np.array([0.1, 0.2134404999, 0.2134404999]), 0.5)
    assert limit == (0.213441, 0, 3)
    assert not limit.excludes(0.2134405001)
    assert limit.excludes(0.2134420001)
    assert limit.in_words(1) == (
        "1 image is unknown: farther from all training images than 0.213441, as 0 of 3 validation images are (0.0%)."
    )


def test_validation_images_alone_decide_and_copies_of_training_images_do_not_count(cache):
    training = TrainingFeatures.load(cache, CPU)
    val = cosine_distances(features_of(cache, "val"), features_of(cache, "train")).min(axis=1)
    limit = Limit.of(training, cache, 0.1)
    assert (limit.beyond, limit.images) == (2, 20)
    assert limit.distance == pytest.approx(np.sort(val)[-3], abs=2e-6)
    cache.digests[cache.rows("val")[np.argsort(val)[-3:]]] = cache.digests[0]
    assert Limit.of(training, cache, 0.0) == (pytest.approx(np.sort(val)[-4], abs=2e-6), 0, 17)


def test_without_validation_images_there_is_no_limit(tmp_path):
    cache = make_cache(tmp_path / "f.h5", [0, 1], [TRAIN, TEST], width=3)
    with pytest.raises(RunError, match=r"f\.h5 has no validation images"):
        Limit.of(TrainingFeatures.load(cache, CPU), cache, 0.1)


# --- images ---


class Colours(nn.Module):
    def forward(self, pixels):
        return pixels.float().mean(dim=(1, 2)) / 255


def of_colours():
    """A model that has learned from reddish pictures."""
    made = from_config(ExtractConfig(weights="random", image_px=32, resize="squash", precision="fp32", compile="off"))
    head = nn.Linear(3, 2).requires_grad_(False)
    model = Classifier(Parts(((Colours(), replace(made, features=3)),), head, ("cat", "dog"), False, False))
    model.learned_from = TrainingFeatures(torch.tensor([[1.0, 0, 0], [0.96, 0.28, 0]]), (3,))
    return model


def test_a_far_image_is_unknown_a_near_one_is_not_and_an_unreadable_one_has_no_distance(tmp_path):
    (tmp_path / "new").mkdir()
    for name, colour in (("blue", (0, 0, 255)), ("red", (250, 0, 0)), ("rose", (250, 60, 60))):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"new/{name}.png")
    (tmp_path / "new/cut.png").write_bytes(b"")
    model = of_colours()
    each = partial(model.predict_each, batch_size=2, workers=1)
    summary = predict_images(model, "new", tmp_path / "out.csv", "key", each, Limit(0.1, 5, 100))
    with (tmp_path / "out.csv").open(newline="") as file:
        lines = {Path(line["path"]).stem: line for line in csv.DictReader(file)}
    assert list(lines["red"])[-2:] == ["unreadable", "distance"]  # behind those that there were before
    blue, red, rose, cut = (lines[name] for name in ("blue", "red", "rose", "cut"))
    assert (blue["predicted"], blue["probability"], blue["distance"]) == ("unknown", "", "1.000000")
    assert blue["predicted_2"] in model.classes
    assert float(blue["probability_2"]) >= 0.5
    assert float(red["distance"]) == pytest.approx(0, abs=1e-6)
    assert float(rose["distance"]) == pytest.approx(1 - 256.8 / np.sqrt(250**2 + 2 * 60**2), abs=1e-3)
    assert {red["predicted"], rose["predicted"]} <= {*model.classes}
    assert (cut["distance"], cut["unreadable"]) == ("", "the file is empty")
    assert summary.by_class["unknown"] == 1


def test_of_one_unknown_image_the_nearest_classes_are_printed(tmp_path):
    Image.new("RGB", (40, 40), (0, 0, 255)).save(tmp_path / "blue.png")
    model = of_colours()
    summary = predict_images(
        model, "blue.png", tmp_path / "out.csv", "key", partial(model.predict_each, workers=1), Limit(0.1, 5, 100)
    )
    assert summary.of_one_image().startswith("blue.png: unknown, at a distance of 1.000000; else ")


def test_a_prediction_is_still_two_values_and_its_distance_travels_with_it():
    """Ray pickles it; of several views the plain one counts."""
    views = [ImagePrediction(np.array([0.2, 0.8], np.float32), "") for _ in range(2)]
    views[0].distance, views[1].distance = 0.25, 0.5
    prediction = pickle.loads(pickle.dumps(mean_of(views)))
    probabilities, reason = prediction
    assert (probabilities.tolist(), reason, prediction.distance) == (views[0].probabilities.tolist(), "", 0.25)
    assert mean_of([ImagePrediction(None, "truncated")]) == (None, "truncated")


# --- from a run ---


def test_rows_of_a_cache_get_distances_and_the_share_of_validation_images_is_unknown(cache, capsys):
    run = trained(cache)
    lines = predicted(run, cache=cache.path, unknown=0.1)
    names = {split: [cache.manifest.relative_path(row) for row in cache.rows(split)] for split in ("train", "val")}
    assert {lines[name]["distance"] for name in names["train"]} == {"0.000000"}
    assert sum(lines[name]["predicted"] == "unknown" for name in names["val"]) == 2
    *_, files, said = capsys.readouterr().out.splitlines()
    unknown = sum(line["predicted"] == "unknown" for line in lines.values())
    assert f"{unknown} unknown" in files
    assert said.startswith(f"{unknown} images are unknown: farther from all training images than 0.")
    assert said.endswith(", as 2 of 20 validation images are (10.0%).")
    plain = predicted(run, cache=cache.path)
    assert {name: line["distance"] for name, line in plain.items()} == {
        name: line["distance"] for name, line in lines.items()
    }
    assert "unknown" not in {line["predicted"] for line in plain.values()}


def test_the_features_are_found_where_the_run_says_or_beside_its_runs(cache, tmp_path):
    elsewhere = tmp_path / "elsewhere.h5"
    run = trained(cache)
    cache.path.rename(elsewhere)
    with pytest.raises(RunError, match="are gone"):
        learned_from(run)
    copy = make_cache(tmp_path / "g.h5", LABELS, SPLITS, width=12, name="photos", root=cache.manifest.root)
    assert learned_from(run, [copy]) is copy
    moved = replace(run, metrics={**run.metrics, "caches": [str(elsewhere)]})
    assert learned_from(moved).path == elsewhere
    elsewhere.rename(cache.path)
    before = replace(run, metrics={name: value for name, value in run.metrics.items() if name != "caches"})
    assert learned_from(before).path == cache.path


def test_without_the_cache_the_column_is_empty_and_unknown_is_refused(cache, tmp_path, capsys):
    run = trained(cache)
    other = make_cache(
        tmp_path / "other.h5", LABELS[:50], SPLITS[:50], width=12, name="photos", root=cache.manifest.root
    )
    cache.path.unlink()
    lines = predicted(run, cache=other.path)
    assert {line["distance"] for line in lines.values()} == {""}
    said = f"the features that {run.folder} learned from are gone."
    assert f"The column distance is empty: {said}" in capsys.readouterr().out.splitlines()[-1]
    with pytest.raises(RunError, match=r"so leave --unknown out: the features that .* learned from are gone"):
        predicted(run, cache=other.path, unknown=0.1)


def test_a_cache_that_has_changed_is_not_what_the_run_learned_from(cache):
    run = trained(cache)
    cache.path.unlink()
    make_cache(cache.path, LABELS[:-2], SPLITS[:-2], width=12, name="photos")
    _, _, said = measures(run, CPU, None)
    assert f"photos.h5 changed after {run.folder} had learned from it. Train again" in said


def test_a_fine_tuned_run_has_no_features(tmp_path):
    run = make_run(tmp_path / "runs/finetune-1", kind="finetune")
    said = "is a fine-tuned net, of which no features of its training images are kept."
    assert measures(run, CPU, None)[2].endswith(said)
    with pytest.raises(RunError, match="leave --unknown out"):
        measures(run, CPU, 0.05)


def test_a_class_that_is_called_unknown_is_not_mixed_with_unknown_images(tmp_path):
    made = make_cache(tmp_path / "u.h5", LABELS, SPLITS, width=6, classes=("cat", "unknown"))
    with pytest.raises(SettingsError, match=r"--unknown 0\.05: a class of .* has the name unknown itself"):
        predicted(trained(made), cache=made.path, unknown=0.05)


def test_a_stopped_file_goes_on_only_with_the_same_share(cache, monkeypatch):
    """Lines without `unknown` do not stand beside lines with it."""
    run, keys = trained(cache), []
    monkeypatch.setattr(programs.loading, "parts_of", lambda run, *_: parts_on_features(run, cache, CPU))
    monkeypatch.setattr(programs.predictions, "predict_images", lambda *given: keys.append(given[3]) or Summary())
    for share in (None, 0.05, 0.1, 0.1):
        programs.predict(PredictConfig(run=run.folder, images="new", device="cpu", unknown=share))
    assert keys[0] == f"{run.digest()} new auto auto cpu 0"  # as before there was --unknown
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]
