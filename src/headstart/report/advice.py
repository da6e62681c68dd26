"""The commands that answer what a comparison leaves open: a run that is missing, more seeds, more test images."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.errors import SettingsError
from headstart.report.paired import Difference
from headstart.runs.method import FEWEST_RUNS, Method
from headstart.runs.run import Run, read_config
from headstart.runs.title import settings_of
from headstart.settings import DEFAULTS, PLACES, FinetuneConfig, HeadConfig, SweepConfig
from headstart.settings.base import is_missing
from headstart.settings.command import command, given_flags
from headstart.settings.finetune import OF_RESNET50, OF_SEED
from headstart.settings.selection import SelectConfig
from headstart.support.quantities import counted

FEW = 100
"""Test images below which an accuracy is known to no better than 5 to 10 points either way."""
PROGRAMS: Mapping[str, type] = {"head": HeadConfig, "sweep": SweepConfig, "finetune": FinetuneConfig}
"""The settings of each kind of run."""


def more_runs(reference: Method | None, finetuned: Method | None, difference: Difference | None) -> str:
    """How to train the run that is missing, or more seeds, where `verdict.sentence` needs them; else empty."""
    if finetuned is None:
        return _missing("finetune", reference.best) if reference else ""
    if reference is None:
        return _missing("train-head", finetuned.best)
    few = [method for method in (finetuned, reference) if method.needs_seeds]
    if not few or not difference:
        return ""
    commands = [_more_seeds(method.best) for method in few]
    ways = " && ".join(commands) if all(commands) else f"train with SEEDS={FEWEST_RUNS}."
    return f"More seeds tell what the method gains: {ways}"


def few_images(run: Run | None) -> str:
    """`Only 42 test images. Cross-validation tests on all images in turn: make cv DATA=photos`.

    `run` is the best on frozen features; empty if there is none, it has enough test images, or its data are gone.
    """
    if run is None or run.test_images >= FEW:
        return ""
    few = f"Only {counted(run.test_images, 'test image')}" if run.test_images else "No test images"
    cv = on_data_of(run, "cv", backbone=run.backbone, listing=run.listing)
    return f"{few}. Cross-validation tests on all images in turn: {cv}" if cv else ""


def on_data_of(run: Run, target: str, **more: Any) -> str:
    """A command on the data that a run learned from; empty where they are gone."""
    return command(target, run.data, **more) if run.data and not is_missing(run.data) else ""


def _missing(target: str, run: Run) -> str:
    """How to train what is missing beside a run."""
    on_images, same = target == "finetune", _same_net(run)
    flags = (given_flags(FinetuneConfig(**same)) if on_images else []) + given_flags(SelectConfig(select=run.select))
    listing = run.listing if on_images else {**run.listing, **same}
    train = on_data_of(run, target, flags=flags, backbone=run.backbone.partition("+")[0], listing=listing)
    return f"Train one with: {train}" if train else ""


def _same_net(run: Run) -> dict[str, Any]:
    """Weights and pixels of the net that a run started from, of several the first, where they are unusual."""
    recipes, backbone = run.metrics.get("recipes") or [run.metrics.get("recipe", {})], run.backbone.partition("+")[0]
    made = recipes[0] if run.is_on_features else settings_of(run)
    usual = OF_RESNET50 if backbone == DEFAULTS["backbone"] else {}
    names = [name for name in ("weights", "image_px", "resize") if made.get(name) not in (None, usual.get(name))]
    same = {name: made[name] for name in names}
    weights = same.pop("weights", "")
    if Path(weights).suffix:
        file = (run.metrics.get("weights_files") or [weights])[0]
        return same | ({"weights": file} if Path(file).is_file() else {})
    by_name = ":" in backbone and weights != "random"  # which says the weights, too
    return same if by_name or not weights else same | {"weights": weights}


def _more_seeds(run: Run) -> str:
    """Empty where a run does not say enough, or its data are gone."""
    config = read_config(run.folder)
    if config is None or run.kind not in PROGRAMS:
        return ""
    target = "train-head" if run.kind == "head" else run.kind
    try:
        flags = given_flags(_settings(run, config, PROGRAMS[run.kind]), leave_out=[*PLACES - {"split_seed"}])
    except (SettingsError, ValueError, TypeError):  # settings of another version
        return ""
    return on_data_of(run, target, flags=flags, backbone=run.backbone, listing=run.listing, seeds=FEWEST_RUNS)


def _settings(run: Run, config: Mapping[str, Any], config_type: type) -> Any:
    """The settings of a run where they are not the defaults."""
    of_resnet50 = OF_SEED if config.get("method") == "seed" else OF_RESNET50
    usual: Mapping[str, Any] = of_resnet50 if run.backbone == DEFAULTS["backbone"] else {}
    settings = {}
    for field in dataclasses.fields(config_type):
        value = config.get(field.name, field.default)
        value = tuple(value) if isinstance(value, list) else value
        if isinstance(value, tuple) and not isinstance(field.default, tuple):
            (value,) = value  # of a head the number of its views
        is_net = field.name == "weights" and ":" in run.backbone and value != "random"  # whose name says the weights
        if value not in (field.default, usual.get(field.name)) and not is_net:
            settings[field.name] = value
    if run.kind == "finetune" and run.metrics.get("split_seed") != config.get("seed"):
        settings["split_seed"] = run.metrics.get("split_seed")  # the splits of the run, whatever seed comes first
    return config_type(**settings)
