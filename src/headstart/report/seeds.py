"""The command that trains a method with more seeds, from what its run says."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.errors import SettingsError
from headstart.runs.method import FEWEST_RUNS, Method
from headstart.runs.run import Run, read_config
from headstart.settings import DEFAULTS, PLACES, FinetuneConfig, HeadConfig, SweepConfig
from headstart.settings.base import is_missing
from headstart.settings.command import command, given_flags
from headstart.settings.finetune import OF_RESNET50, OF_SEED

PROGRAMS: Mapping[str, tuple[str, type]] = {
    "head": ("train-head", HeadConfig),
    "sweep": ("sweep", SweepConfig),
    "finetune": ("finetune", FinetuneConfig),
}
"""The target and the settings of each kind of run."""


def ways_on(methods: Sequence[Method]) -> str:
    """The commands that train each of the methods with `FEWEST_RUNS` seeds; without them the variable that does it."""
    commands = [_command(method.best) for method in methods]
    return " && ".join(commands) if all(commands) else f"train with SEEDS={FEWEST_RUNS}."


def _command(run: Run) -> str:
    """Empty where a run does not say enough, or its data are gone."""
    config = read_config(run.folder)
    if config is None or not run.data or is_missing(run.data) or run.kind not in PROGRAMS:
        return ""
    target, config_type = PROGRAMS[run.kind]
    try:
        flags = given_flags(_settings(run, config, config_type), leave_out=[*PLACES - {"split_seed"}])
    except (SettingsError, ValueError, TypeError):  # settings of another version
        return ""
    return command(target, run.data, flags=flags, backbone=run.backbone, listing=run.listing, seeds=FEWEST_RUNS)


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
