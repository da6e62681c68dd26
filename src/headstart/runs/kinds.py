"""What kinds of runs there are: heads on frozen features, and nets trained end to end."""

from collections.abc import Mapping
from typing import Any


def is_frozen(metrics: Mapping[str, Any]) -> bool:
    """Whether a run learned from cached features, by its metrics.json."""
    return bool(metrics["kind"] != "finetune")


def method(metrics: Mapping[str, Any]) -> str | None:
    """How a net was fine-tuned: seed, strong or lp-ft; None for a run on frozen features.

    Runs from before there was a choice do not say it: seed was the only one.
    """
    return None if is_frozen(metrics) else metrics.get("method") or "seed"


def of_run(metrics: Mapping[str, Any]) -> str:
    """What kind of run this is, in words; see `in_words`."""
    return in_words(metrics["kind"], method(metrics))


def in_words(kind: str, method: str | None) -> str:
    """A kind for tables and pictures: `head`, `finetune strong`."""
    return f"{kind} {method}" if method else kind
