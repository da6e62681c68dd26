"""What a run is, in a few words, beside the digest in the name of its folder: `head 256, lr 1e-3, 8 views`."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypedDict

from headstart.errors import RunError
from headstart.runs.run import PROBES, Run
from headstart.settings import PLACES, FinetuneConfig, HeadConfig, ProbeConfig
from headstart.settings.base import in_file_names
from headstart.support.quantities import counted
from headstart.support.strangers import misfit

FINETUNED = {"all": "fine-tuned", "fc": "fine-tuned in the last layer", "head": "fine-tuned in the last layer"}
"""By `train_from`; other parts of the net are named."""
RESIZED = {"crop": "cropped images", "squash": "squashed images"}
METHODS = {"seed": "the seed's method", "lp-ft": "starting from a head"}
INPUTS = ("backbone", "weights", "image_px", "resize")
"""What a net starts from and sees: in titles where runs differ in it."""
LONGEST = 120
"""Characters of the words in a folder's name, which file systems limit to 255 bytes."""
ALREADY_SAID = PLACES | frozenset(
    {"hidden", "lr", "backbone_lr", "train_from", "method", "init_head", "views", "tta", *INPUTS}
    | {"methods", "seed", "precision", "compile"}
)
"""Settings that a title says in other words, and those that change next to nothing."""


class Shown(TypedDict, total=False):
    """Settings whose values are looked into."""

    hidden: str | list[int]
    lr: float
    backbone_lr: float
    train_from: str
    views: int | str | list[int | str]
    seed: int | list[int]


def title_of(kind: str, settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Kind, hidden widths, learning rate, size of the sweep and views; then each setting that is not the default."""
    rate, heads, views = _rate(kind, settings), metrics.get("heads"), metrics.get("views") or 0
    parts = [
        _kind(kind, settings),
        f"lr {_number(rate)}" if rate else "",
        f"sweep of {heads}" if heads else "",
        counted(views, "view") if views else "",
        METHODS.get(metrics.get("method") or "", ""),
        *_unusual(kind, settings),
    ]
    return ", ".join(filter(None, parts))


def folder_words(kind: str, settings: Mapping[str, Any], inputs: Mapping[str, Any], views: int = 0) -> str:
    """What the name of a run's folder says: `256-lr1e-3-resnet50-IMAGENET1K_V1-224px-8views`; `inputs` are `INPUTS`."""
    rate = _rate(kind, settings) if kind in ("head", "finetune") else None
    parts = [
        _kind(kind, settings).removeprefix("head ") if kind == "head" else "",
        settings.get("train_from", "") if kind == "finetune" else "",
        f"lr{_number(rate)}" if rate else "",
        inputs["backbone"],
        Path(inputs["weights"]).stem,
        f"{inputs['image_px']}px",
        f"{views}views" if views else "",
        f"seed{seed}" if isinstance(seed := settings.get("seed"), int) and seed else "",
    ]
    return in_file_names("-".join(filter(None, parts)))[:LONGEST]


def titles(runs: Sequence[Run]) -> list[str]:
    """The title of each run; with its weights, pixels and way of resizing where these are not the same for all.

    Runs with one title are told apart by their numbers of images, as before and after some were added or removed.
    """
    seen = [inputs(run) for run in runs]
    differ = [name for name in INPUTS if len({each[name] for each in seen if name in each}) > 1]
    own = [title_of(run.kind, settings_of(run), run.metrics) for run in runs]
    more = [[input_in_words(name, each[name]) for name in differ if name in each] for each in seen]
    return _told_apart(runs, [", ".join([title, *words]) for title, words in zip(own, more, strict=True)])


def _told_apart(runs: Sequence[Run], named: Sequence[str]) -> list[str]:
    """The titles, with numbers of images where these alone differ."""
    result = []
    for run, title in zip(runs, named, strict=True):
        same = [other for other, its_title in zip(runs, named, strict=True) if its_title == title]
        if len({other.train_images for other in same}) > 1:
            title += f", {run.train_images or 0:,} training images"
        elif len({other.test_images for other in same}) > 1:
            title += f", {run.test_images:,} test images"
        result.append(title)
    return result


def inputs(run: Run) -> dict[str, Any]:
    """Those of `INPUTS` that metrics.json knows; where features stand side by side, `224+240` of what differs."""
    known = {**run.metrics, **(run.metrics.get("geometry") or {})}
    recipes = [{**known, **recipe} for recipe in run.metrics.get("recipes") or [run.metrics.get("recipe") or {}]]
    values = {name: list(dict.fromkeys(recipe.get(name) for recipe in recipes)) for name in INPUTS}
    said = {name: each[0] if len(each) == 1 else "+".join(map(str, each)) for name, each in values.items()}
    return {name: value for name, value in {**said, "backbone": run.backbone}.items() if value is not None}


def input_in_words(name: str, value: Any) -> str:
    """One of `INPUTS`: `random weights`, `224 px`, `squashed images`."""
    if name == "weights":
        return f"{Path(str(value)).name} weights"
    return f"{value} px" if name == "image_px" else RESIZED.get(value, str(value))


def has_random_weights(run: Run) -> bool:
    """Whether its net started untrained: its figures say nothing about a pretrained one."""
    return "random" in str(inputs(run).get("weights")).split("+")


def settings_of(run: Run) -> dict[str, Any]:
    """What was set for its training, or chosen by a sweep or a probe; nothing where config.json cannot be read.

    Settings of another type than ours, as a file of a stranger may have, are left out.
    """
    try:
        said = run.settings()
    except RunError:
        return {}
    return {name: value for name, value in said.items() if misfit({name: value}, Shown) is None}


def _kind(kind: str, settings: Mapping[str, Any]) -> str:
    if kind == "finetune":
        part = settings.get("train_from", "all")
        return FINETUNED.get(part, f"fine-tuned from {part}")
    if kind in PROBES or "hidden" not in settings:
        return PROBES.get(kind, kind)
    hidden = settings["hidden"]  # a word where a head or a sweep notes it, widths in a config.json
    widths = hidden.split(",") if isinstance(hidden, str) else [str(width) for width in hidden]
    return "linear" if widths in ([], ["none"]) else f"head {'-'.join(widths)}"


def _rate(kind: str, settings: Mapping[str, Any]) -> float | None:
    """The learning rate of most weights: fine-tuning has another one for pretrained layers."""
    pretrained = settings.get("weights") != "random" and settings.get("method") == "strong"
    whole = kind == "finetune" and settings.get("train_from") not in ("fc", "head")
    return settings.get("backbone_lr" if pretrained and whole else "lr")


def _unusual(kind: str, settings: Mapping[str, Any]) -> list[str]:
    """Settings that are not the default of the program: `dropout 0`, `optimizer adamw`, `freeze batchnorm`."""
    config = FinetuneConfig if kind == "finetune" else ProbeConfig if kind in PROBES else HeadConfig
    changed = {
        field.name: settings[field.name]
        for field in fields(config)
        if field.name in settings and field.name not in ALREADY_SAID and settings[field.name] != field.default
    }
    if _kind(kind, settings) == "linear":
        changed.pop("dropout", None)  # there is no hidden unit to drop
    names = ((name.replace("_", " "), value) for name, value in changed.items())
    return [name if value is True else f"{name} {_number(value)}" for name, value in names]


def _number(value: Any) -> str:
    """`1e-3`, `0.05`, `64`; words as they are."""
    if not isinstance(value, float) or value == 0 or value >= 0.01:
        return f"{value:g}" if isinstance(value, float) else str(value)
    digits, exponent = f"{value:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"
