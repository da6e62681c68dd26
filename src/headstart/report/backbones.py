"""Which backbone is best on this data, by how much, at what cost: the best run on the features of each.

D features of an image.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from headstart.report.amounts import amount, span
from headstart.report.paired import Difference, between
from headstart.runs.method import Method
from headstart.runs.run import PROBES, Run
from headstart.support.quantities import duration


@dataclass(frozen=True)
class Cost:
    """What the features of a backbone take; None where a run does not say it."""

    features: int | None
    """D."""
    bytes: int | None
    """Of the features of all images on the disk, without augmented views."""
    pass_seconds_per_1000: float | None
    """Of the pass over the images: reading, decoding and the net."""
    images_per_second: float | None
    """Of the net alone, as measured before the pass; where it was not, of the whole pass."""
    net_is_measured: bool


@dataclass(frozen=True)
class BackboneRow:
    """A backbone, or several side by side (`a+b`), with the best method on its features by validation."""

    name: str
    method: Method
    difference: Difference | None
    """To the best backbone; None for this one, and where the test images differ."""
    cost: Cost

    @property
    def run(self) -> Run:
        """The best run of the method."""
        return self.method.best

    @property
    def parts(self) -> list[str]:
        """The backbones whose features stand side by side; of a single one only its name."""
        return self.name.split("+")


@dataclass(frozen=True)
class Backbones:
    """At least two backbones, the best by validation first, and what follows from them."""

    rows: tuple[BackboneRow, ...]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """The entry of compare.json."""
        rows = [
            {
                "backbone": row.name,
                "run": row.run.name,
                "runs": len(row.method.runs),
                "val_accuracy": row.method.figure("val", "accuracy"),
                "test_accuracy": row.method.figure("test", "accuracy"),
                "test_accuracy_ci95": row.run.test_ci95("accuracy")
                if row.method.spread_of("accuracy") is None
                else None,
                "test_accuracy_spread": row.method.spread_of("accuracy"),
                "difference": asdict(row.difference) if row.difference else None,
                **asdict(row.cost),
            }
            for row in self.rows
        ]
        return {"sentence": self.sentence, "rows": rows}


def backbones_of(ranking: Sequence[tuple[Method, Difference | None]]) -> Backbones | None:
    """Compares the backbones of methods on frozen features, best first, each with its difference to the first.

    None for fewer than two backbones. Validation alone chooses the method of each.
    """
    best: dict[str, BackboneRow] = {}
    for method, difference in ranking:
        name = method.best.backbone
        best.setdefault(name, BackboneRow(name, method, difference, cost_of(method.best)))
    rows = tuple(best.values())
    if len(rows) < 2:
        return None
    return Backbones(rows, " ".join(filter(None, [_best_of(rows), _side_by_side(rows)])))


def cost_of(run: Run) -> Cost:
    """The cost of a run's features, for runs before 0.2 from their other figures."""
    known = run.metrics.get("features") or _of_early_run(run)
    images, seconds, rate = (known.get(name) for name in ("images", "seconds", "net_images_per_second"))
    return Cost(
        known.get("per_image"),
        known.get("bytes"),
        1000 * seconds / images if images and seconds else None,
        rate or (images / seconds if images and seconds else None),
        rate is not None,
    )


def _of_early_run(run: Run) -> dict[str, Any]:
    recipe = run.metrics.get("recipe")
    if not recipe or run.train_images is None:
        return {}
    val_images = 0 if run.kind in PROBES else run.metrics["val"].get("images", 0)  # probes learn from them, too
    images, per_image = run.train_images + val_images + run.test_images, recipe.get("features", 2048)
    return {
        "per_image": per_image,
        "images": images,
        "bytes": images * per_image * np.dtype(recipe.get("storage", "float16")).itemsize,
        "seconds": None if run.metrics.get("views") else run.extract_seconds,
    }


def _best_of(rows: Sequence[BackboneRow]) -> str:
    """How much better the best is than the next, or why nothing says it."""
    best, *others = rows
    if best.method.val is None:
        return "Which backbone? There are no validation images to choose by."
    is_near = [row for row in others if (row.name in best.parts if len(best.parts) > 1 else len(row.parts) == 1)]
    other = next((row for row in [*is_near, *others] if row.difference), None)
    if other is None:
        return (
            f"Which backbone? {best.name} is the best by validation, but no run on another one was tested on the same "
            "images with the same labels: train on the images as they are now."
        )
    tie = f"By validation {best.name} and {other.name} are equal. " if best.method.val == other.method.val else ""
    return f"Which backbone? {tie}{_claim(best, other)}"


def _side_by_side(rows: Sequence[BackboneRow]) -> str:
    """Whether features side by side are better than those of the better backbone alone, if the rest does not say it."""
    joined = next((row for row in rows[1:] if len(row.parts) > 1), None)
    part = joined and next((row for row in rows if row.name in joined.parts), None)
    claim = _claim(joined, part) if joined and part else ""
    return f"Side by side: {claim}" if claim else ""


def _claim(row: BackboneRow, reference: BackboneRow) -> str:
    """What the images show, and the seeds where there are several; else that another seed may differ; and the cost."""
    name, other, select = row.name, reference.name, row.method.select
    methods = row.method, reference.method
    difference = between(*methods)
    if difference is None:
        return ""
    by = "by one head each, and " * all(len(method.runs) == 1 for method in methods)
    seeds = f"; {by}another seed may differ" if any(method.needs_seeds for method in methods) else ""
    (low, high), images = difference.points_ci95, difference.tested_in_words
    cost = _cost(row, reference)
    if low <= 0 <= high:
        range_ = f"{name} is {span(select, -low, high)} than {other}"
        return f"On the same {images} {range_}, which is no clear difference{seeds}.{cost}"
    word = "better" if low > 0 else "worse"
    return f"{name} is {amount(difference, select)} {word} than {other} on the same {images}{seeds}.{cost}"


def _cost(row: BackboneRow, other: BackboneRow) -> str:
    """` 1,000 images take 3.1 s in the pass against 12 s.`; empty where the costs are not known."""
    ours, theirs = row.cost, other.cost
    parts = []
    if ours.pass_seconds_per_1000 and theirs.pass_seconds_per_1000:
        seconds = (duration(cost.pass_seconds_per_1000 or 0) for cost in (ours, theirs))
        parts.append("1,000 images take {} in the pass against {}".format(*seconds))
    if ours.net_is_measured and theirs.net_is_measured:
        rates = (f"{cost.images_per_second:,.3g}" for cost in (ours, theirs))
        parts.append("{} images/s go through the net against {}".format(*rates))
    return f" {', and '.join(parts)}." if parts else ""
