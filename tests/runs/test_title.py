"""What a run is, said in a few words from its config.json and metrics.json, also of runs of 0.1."""

from pathlib import Path

import pytest
from helpers.runs import make_run

from headstart.runs.listing import list_runs
from headstart.runs.title import folder_words, has_random_weights, titles

MADE_BY_0_1 = Path(__file__).parent.parent / "made_by_0_1/runs/photos"
HEAD = {"hidden": "256", "dropout": 0.4, "lr": 1e-3, "epochs": 10, "batch_size": 32, "normalize": "standardize"}


def test_runs_of_0_1_have_titles():
    assert {run.name.split("-")[0]: titles([run])[0] for run in list_runs(MADE_BY_0_1)} == {
        "finetune": "fine-tuned, lr 1e-3, epochs 1, batch size 4",
        "head": "linear, lr 1e-3, 1 view, epochs 3",
        "ridge": "ridge regression",
        "sweep": "linear, lr 0.01, sweep of 4, epochs 2",
    }
    assert all(map(has_random_weights, list_runs(MADE_BY_0_1)))


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"best_setting": HEAD}, "head 256, lr 1e-3"),
        ({"best_setting": HEAD, "views": 8}, "head 256, lr 1e-3, 8 views"),
        ({"best_setting": {**HEAD, "hidden": "512,256", "lr": 2.5e-4}}, "head 512-256, lr 2.5e-4"),
        ({"best_setting": {**HEAD, "hidden": "none", "dropout": 0.0}, "heads": 24}, "linear, lr 1e-3, sweep of 24"),
        (
            {"best_setting": {**HEAD, "dropout": 0.0, "optimizer": "adamw"}},
            "head 256, lr 1e-3, dropout 0, optimizer adamw",
        ),
        ({"kind": "logistic", "best_setting": {"penalty": 1.0, "normalize": "none"}}, "logistic regression"),
        ({"kind": "knn", "best_setting": {"neighbours": 5, "normalize": "l2"}}, "nearest neighbours, normalize l2"),
        ({}, "head"),
        ({"kind": "finetune"}, "fine-tuned"),
        ({"kind": "something new"}, "something new"),
    ],
)
def test_a_title_says_the_kind_and_what_is_not_the_default(metrics, words):
    assert titles([make_run("nowhere", **metrics)]) == [words]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"train_from": "layer4"}, "fine-tuned from layer4, lr 1e-4"),
        ({"train_from": "all", "freeze_batchnorm": True}, "fine-tuned, lr 1e-4, freeze batchnorm"),
        ({"train_from": "fc"}, "fine-tuned in the last layer, lr 1e-3"),
        ({"weights": "random"}, "fine-tuned, lr 1e-3"),
        ({"method": "seed"}, "fine-tuned, lr 1e-3, the seed's method"),
    ],
)
def test_a_fine_tuned_run_says_its_part_and_the_rate_of_most_weights(tmp_path, config, words):
    from headstart.support.files import write_json

    method = config.get("method", "strong")
    write_json(tmp_path / "config.json", {"lr": 1e-3, "backbone_lr": 1e-4, "method": method, **config})
    assert titles([make_run(tmp_path, kind="finetune", method=method)]) == [words]


def test_weights_and_pixels_are_said_where_runs_differ_in_them():
    recipes = [{"weights": "IMAGENET1K_V2", "image_px": 224}, {"weights": "nets/mine.pth", "image_px": 224}]
    runs = [make_run("a", recipe=recipe) for recipe in recipes]
    assert titles(runs) == ["head, IMAGENET1K_V2 weights", "head, mine.pth weights"]
    assert titles(runs[:1]) == ["head"]
    assert titles([runs[0], make_run("b", recipe={**recipes[0], "image_px": 64})]) == ["head, 224 px", "head, 64 px"]


def test_the_backbone_is_said_where_runs_have_different_ones():
    runs = [make_run("a", recipe={"backbone": name}) for name in ("resnet50", "convnext_tiny")]
    assert titles(runs) == ["head, resnet50", "head, convnext_tiny"]
    assert titles([runs[0], make_run("b", kind="finetune")]) == ["head", "fine-tuned"]


def test_runs_of_one_title_are_told_apart_by_their_numbers_of_images():
    """As before and after some were removed."""
    runs = [make_run(str(count), train_images=count) for count in (157, 1500)]
    assert titles(runs) == ["head, 157 training images", "head, 1,500 training images"]
    tested = {"accuracy": 0.9, "accuracy_ci95": [0.85, 0.95]}
    runs = [make_run(str(count), train_images=1, test={"images": count, **tested}) for count in (20, 19)]
    assert titles(runs) == ["head, 20 test images", "head, 19 test images"]
    assert titles(runs[:1] * 2) == ["head", "head"]


V2 = {"backbone": "resnet50", "weights": "IMAGENET1K_V2", "image_px": 224}
TWO = {**V2, "backbone": "resnet50+timm:a/b", "image_px": "224+240"}
FILE = {**V2, "weights": "/my nets/of mine.pth"}
LAYER4 = {"train_from": "layer4", "method": "strong", "backbone_lr": 1e-4, "lr": 1e-3}


@pytest.mark.parametrize(
    ("kind", "settings", "inputs", "views", "words"),
    [
        ("head", {"hidden": (512, 256), "lr": 1e-3}, V2, 8, "512-256-lr1e-3-resnet50-IMAGENET1K_V2-224px-8views"),
        ("head", {"hidden": (), "lr": 0.05}, V2, 0, "linear-lr0.05-resnet50-IMAGENET1K_V2-224px"),
        ("head", {"hidden": (), "lr": 1, "seed": 2}, V2, 0, "linear-lr1-resnet50-IMAGENET1K_V2-224px-seed2"),
        ("head", {"hidden": (), "lr": 0.05}, FILE, 0, "linear-lr0.05-resnet50-of-mine-224px"),
        ("ridge", {"lr": 1e-3}, V2, 0, "resnet50-IMAGENET1K_V2-224px"),
        ("sweep", {"hidden": ("none", "256")}, TWO, 0, "resnet50-timm-a-b-IMAGENET1K_V2-224-240px"),
        ("finetune", LAYER4, V2, 0, "layer4-lr1e-4-resnet50-IMAGENET1K_V2-224px"),
    ],
)
def test_the_name_of_a_folder_says_what_the_run_is(kind, settings, inputs, views, words):
    assert folder_words(kind, settings, inputs, views) == words
