"""A run folder is taken for what it is, or refused in a sentence: weights, classes, recipe, the best of several."""

import json
import shutil

import pytest
import torch
from helpers.caches import make_cache
from helpers.extraction import shared_net
from helpers.features import TEST, TRAIN, VAL
from torchvision.models import resnet50

from headstart.cache.feature_cache import FeatureCache
from headstart.errors import DataWarning, RecipeMismatch, RunError, SettingsError, WeightsError
from headstart.heads.run import train
from headstart.models.backbone import IMAGENET
from headstart.models.tuned import save_tuned
from headstart.models.weights import weights_digest
from headstart.prediction import loading
from headstart.prediction.loading import open_run, parts_of, parts_on_features, recipes_of
from headstart.settings import HeadConfig

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A cache without images and a head that learned from it."""
    folder = tmp_path_factory.mktemp("trained")
    make_cache(folder / "f.h5", [0, 1] * 10, [TRAIN] * 12 + [VAL] * 4 + [TEST] * 4)
    train(HeadConfig(cache=folder / "f.h5", run=folder / "runs/head", hidden=(4,), epochs=1, device="cpu"))
    return folder


@pytest.fixture(autouse=True)
def untrained_net_once(monkeypatch):
    """Nothing changes it, as the tests of the backbone prove."""
    made = loading.load_frozen
    monkeypatch.setattr(loading, "load_frozen", lambda *asked: (shared_net if "random" in asked else made)(*asked))


@pytest.fixture
def run(trained, tmp_path):
    """The head's folder, to do something to."""
    return shutil.copytree(trained / "runs/head", tmp_path / "runs/head")


def change_metrics(run, **changes):
    """As of a version that wrote no checksums."""
    metrics = json.loads((run / "metrics.json").read_text()) | {"checksum": "gone", "checksums": "gone"} | changes
    (run / "metrics.json").write_text(json.dumps({key: value for key, value in metrics.items() if value != "gone"}))


def parts(run, weights=None, precision="auto", compile="off"):
    return parts_of(open_run(run), weights, CPU, precision, compile)


def first_weight(run, **asked):
    return next(parts(run, **asked).nets[0][0].parameters())


def test_a_run_says_its_classes_its_recipe_and_where_its_weights_lie(run, trained):
    opened = open_run(run)
    assert opened.classes == ("cat", "dog")
    assert recipes_of(opened) == (FeatureCache(trained / "f.h5").recipe,)
    assert opened.weights_file == run / "head.pth"
    assert opened.is_frozen
    assert not parts(run).unit_length


@pytest.mark.parametrize("cache", ["photos.h5", "photos@resnet18.h5"])
def test_the_best_run_knows_the_classes_that_the_features_have_now(run, trained, tmp_path, cache):
    """Also where a later run knows a class that was renamed, and renamed back; whatever the backbone."""
    folder = tmp_path / "data/runs/photos"
    for name, classes in (("head-1", ["cat", "dog"]), ("head-2", ["cat", "wolf"])):
        change_metrics(shutil.copytree(run, folder / name), classes=classes)
    (tmp_path / "data/features").mkdir()
    make_cache(tmp_path / "data/features" / cache, [0, 1] * 10, [TRAIN] * 20, root=trained)
    with pytest.warns(DataWarning, match=r"1 of 2 runs is left out: 1 with other classes than the features now"):
        assert open_run(folder / "best").name == "head-1"


def test_best_means_the_best_by_validation_of_those_with_weights(run):
    for name, accuracy, weights in (("worse", 0.1, True), ("better", 0.9, True), ("knn", 1.0, False)):
        other = shutil.copytree(run, run.with_name(name))
        change_metrics(other, val={"images": 4, "accuracy": accuracy})
        if not weights:
            (other / "head.pth").unlink()
    change_metrics(run, val={"images": 4, "accuracy": 0.5})
    assert open_run(run.with_name("best")).folder == run.with_name("better")
    assert open_run(run).folder == run
    shutil.copytree(run, run.with_name("best"))
    assert open_run(run.with_name("best")).folder == run.with_name("best")


def test_best_is_by_the_figure_that_the_runs_were_selected_by(run):
    first = {"images": 4, "accuracy": 0.9, "macro_f1": 0.5}
    for name, val in (("first", first), ("other", {"images": 4, "accuracy": 0.8, "macro_f1": 0.6})):
        change_metrics(shutil.copytree(run, run.with_name(name)), val=val, select="macro_f1")
    change_metrics(run, val={**first, "macro_f1": 0.1}, select="macro_f1")
    assert open_run(run.with_name("best")).name == "other"
    change_metrics(run, select="accuracy")
    with pytest.warns(DataWarning, match=r"selected by different figures .* here they are ranked by accuracy"):
        assert open_run(run.with_name("best")).name == "first"


def test_a_misspelt_run_is_answered_with_the_nearest_name(run, tmp_path):
    with pytest.raises(RunError, match=r"Did you mean best\?"):
        open_run(run.with_name("bset"))
    with pytest.raises(RunError, match=r"Did you mean runs\?"):
        open_run(tmp_path / "rnus/best")


def test_best_of_nothing_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no finished run with weights\. Train one"):
        open_run(tmp_path / "best")


def test_a_folder_without_a_finished_run_and_a_run_without_weights_are_refused(run, tmp_path):
    with pytest.raises(RunError, match="holds no finished run"):
        open_run(tmp_path)
    (run / "head.pth").unlink()
    with pytest.raises(RunError, match="holds no weights to predict with"):
        open_run(run)


def test_a_run_that_does_not_know_its_recipe_is_refused(run):
    change_metrics(run, recipe="gone")
    with pytest.raises(RunError, match="does not say which pixels it takes"):
        parts(run)
    change_metrics(run, recipe={"weights": "random"})
    with pytest.raises(RunError, match="does not say which pixels it takes"):
        parts(run)


def test_a_list_of_classes_that_does_not_fit_the_head_is_refused(run):
    text = (run / "predictions.csv").read_text().splitlines()
    (run / "predictions.csv").write_text(text[0] + ",p_horse\n")
    with pytest.raises(RunError, match=r"predictions\.csv names other classes than metrics\.json"):
        parts(run)
    change_metrics(run, classes=["cat", "dog", "horse"])
    (run / "predictions.csv").write_text("path,label,predicted,p_cat,p_dog,p_horse\n")
    with pytest.raises(RunError, match=r"head\.pth knows 2 classes, the run 3: these are files of two runs"):
        parts(run)


def test_classes_in_another_order_are_other_classes(run):
    text = (run / "predictions.csv").read_text()
    (run / "predictions.csv").write_text(text.replace("p_cat,p_dog", "p_dog,p_cat"))
    with pytest.raises(RunError, match="names other classes"):
        open_run(run)


def test_a_damaged_head_is_refused(run):
    (run / "head.pth").write_bytes(b"nothing")
    with pytest.raises(RunError, match="is damaged, or another file"):
        parts(run)
    change_metrics(run)
    with pytest.raises(RunError, match="does not hold a head"):
        parts(run)


def test_weights_that_came_from_a_file_must_be_named_and_must_be_the_same(run, tmp_path):
    recipe = json.loads((run / "metrics.json").read_text())["recipe"]
    change_metrics(run, recipe={**recipe, "weights": "mine.pth", "weights_digest": "blake2b 00"})
    with pytest.raises(WeightsError, match=r"were made with mine\.pth: say where it lies with --weights"):
        parts(run)
    save_tuned(resnet50(), IMAGENET, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth is not mine\.pth, .*\(blake2b .*, not blake2b 00\)"):
        parts(run, weights=str(tmp_path / "other.pth"))


@pytest.mark.slow
def test_weights_that_came_from_a_file_are_found_where_they_lay(run, tmp_path):
    """Of each backbone: the run knows the places and the digests."""
    file, recipe = tmp_path / "mine.pth", json.loads((run / "metrics.json").read_text())["recipe"]
    save_tuned(resnet50(), IMAGENET, file)
    made = {**recipe, "weights": file.name, "weights_digest": weights_digest(str(file), 0)}
    change_metrics(run, recipe=made, weights_files=[str(file)])
    assert torch.equal(first_weight(run), first_weight(run, weights=str(file)))
    file.rename(tmp_path / "moved.pth")
    with pytest.raises(
        WeightsError, match=r"made with mine\.pth, but .*mine\.pth is no longer there: say where it lies"
    ):
        parts(run)
    assert parts(run, weights=str(tmp_path / "moved.pth"))
    file.write_bytes(b"other weights")
    with pytest.raises(WeightsError, match=r"mine\.pth has other bytes now: say where it lies with --weights"):
        parts(run)


def test_a_fine_tuned_net_has_weights_of_its_own(run):
    save_tuned(resnet50(num_classes=2), IMAGENET, run / "finetuned_resnet50.pth")
    geometry = {"image_px": 32, "resize": "crop", "shorter_px": 37, "reduced_decode": False}
    change_metrics(run, kind="finetune", geometry=geometry, recipe="gone", features=2048)
    assert parts(run).nets[0][1].geometry.shorter_px == 37
    with pytest.raises(SettingsError, match=r"mine\.pth: .* has its own weights; leave it out"):
        parts(run, weights="mine.pth")
    with pytest.raises(RunError, match="takes images, not cached features"):
        parts_on_features(open_run(run), None, CPU)


def test_a_net_without_a_classifier_is_refused(run):
    net = resnet50()
    net.fc = torch.nn.Identity()
    torch.save(net.state_dict(), run / "finetuned_resnet50.pth")
    geometry = {"image_px": 32, "resize": "crop", "shorter_px": 37, "reduced_decode": False}
    change_metrics(run, kind="finetune", geometry=geometry, recipe="gone", features=2048)
    with pytest.raises(
        RunError, match=r"finetuned_resnet50\.pth does not hold the fine-tuned resnet50 .*train it again"
    ):
        parts(run)


def test_a_head_of_rows_of_length_1_is_known_by_its_setting(run):
    change_metrics(run, best_setting={"normalize": "l2"})
    assert parts(run).unit_length


def test_what_was_set_for_a_training_is_what_was_chosen_or_what_its_config_says(run):
    assert open_run(run).settings()["hidden"] == "4"
    change_metrics(run, best_setting=None)
    settings = open_run(run).settings()
    assert settings["epochs"] == 1
    assert not [name for name in settings if name.endswith("digest")]
    (run / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json cannot be read"):
        open_run(run).settings()


def test_the_arithmetic_is_the_recipes_unless_another_is_asked_for(run):
    recipe = json.loads((run / "metrics.json").read_text())["recipe"]
    change_metrics(run, recipe={**recipe, "precision": "bf16"})
    assert first_weight(run).dtype == torch.bfloat16
    assert first_weight(run, precision="fp32").dtype == torch.float32


def test_int8_needs_the_scales_of_the_features_and_is_fp32_where_it_cannot_run(run, monkeypatch):
    with pytest.raises(SettingsError, match="features were not made in int8"):
        parts(run, precision="int8", compile="on")
    recipe = json.loads((run / "metrics.json").read_text())["recipe"]
    change_metrics(run, recipe={**recipe, "precision": "int8", "compiled": True, "scales": [0.5, 3.0]})
    asked = []
    fast = loading.fast_module
    monkeypatch.setattr(
        loading, "fast_module", lambda net, scale, *how: asked.append(how) or fast(net, scale, "fp32", False, CPU)
    )
    assert parts(run, compile="auto").one_shape
    assert not parts(run, compile="off").one_shape
    assert asked == [("int8", True, CPU, (0.5, 3.0)), ("fp32", False, CPU, (0.5, 3.0))]


def test_a_recipe_that_was_compiled_needs_a_compiler_unless_it_is_left_out(run, monkeypatch):
    recipe = json.loads((run / "metrics.json").read_text())["recipe"]
    change_metrics(run, recipe={**recipe, "compiled": True})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match=r"needs a C\+\+ compiler .*or use --compile off"):
        parts(run, compile="auto")
    assert not parts(run, compile="off").one_shape


def test_features_by_another_recipe_are_refused_with_what_differs(run, trained):
    recipe = json.loads((run / "metrics.json").read_text())["recipe"]
    cache = FeatureCache(trained / "f.h5")
    assert parts_on_features(open_run(run), cache, CPU).classes == ("cat", "dog")
    change_metrics(run, recipe={**recipe, "image_px": 64})
    with pytest.raises(RecipeMismatch, match=r"learned from:\n  image_px: the cache has 32.*\nGive the cache that it"):
        parts_on_features(open_run(run), cache, CPU)


def test_the_digest_of_a_run_changes_when_it_is_trained_again(run):
    before = open_run(run).digest()
    assert open_run(run).digest() == before
    change_metrics(run, train_seconds=123.0)
    assert open_run(run).digest() != before
