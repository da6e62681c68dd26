"""Model cards and the code in them."""

import re

from headstart.prediction.model_card import card
from helpers.runs import make_run

SETTINGS = {"hidden": "256", "lr": 0.001, "subset": None}


def facts(**changes):
    return {
        "file": "model.pt2",
        "format": "pt2",
        "run": "head-1234",
        "classes": ("cat", "dog"),
        "backbone": "resnet50",
        "interpolation": "bilinear",
        "image_px": 224,
        "resize": "crop",
        "shorter_px": 256,
        "reduced_decode": False,
        "temperature": 1.25,
        "checked_images": 64,
        "largest_difference": 2e-6,
        "to_stored_predictions": {"same_class": 63, "largest_difference": 0.0123, "precision": "bf16"},
    } | changes


def metrics(**changes):
    interval = [0.91, 0.97]
    test = {"images": 200, "accuracy": 0.945, "top5_accuracy": None, "calibration_error": 0.03}
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"):
        test |= {name: 0.945, f"{name}_ci95": interval}
    recipe = {"backbone": "resnet50", "weights_digest": "sha256 0676", "precision": "bf16", "storage": "float16"}
    return {
        "kind": "head",
        "dataset": "photos",
        "weights": "IMAGENET1K_V1",
        "train_images": 1600,
        "test": test,
        "recipe": recipe,
        "train_seconds": 3.2,
        "device": "cpu",
    } | changes


def card_of(facts, metrics, settings=SETTINGS):
    return card(facts, make_run(facts["run"], **metrics, best_setting=settings))


def code(text):
    """The only block of Python in a card."""
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return block
