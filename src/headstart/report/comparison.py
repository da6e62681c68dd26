"""All runs of a data set side by side. Validation alone chooses which are compared; the test figures do not."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from headstart.errors import RunError
from headstart.report import advice, verdict
from headstart.report.backbones import Backbones, backbones_of
from headstart.report.paired import Difference, between
from headstart.report.worth import Worth, worth
from headstart.runs.coverage import Surest, surest
from headstart.runs.listing import ranked
from headstart.runs.method import Method, methods_of, selected_by, titles_of
from headstart.runs.predictions import read_predictions
from headstart.runs.run import Run
from headstart.settings.base import refuse
from headstart.settings.selection import Select

FIGURES = (
    *("name", "kind", "method", "device", "train_images", "val_accuracy", "test_images", "test_groups", "test_digest"),
    *("trainable_parameters", "images_per_second", "peak_memory_bytes", "extract_seconds", "train_seconds"),
)
"""Figures of a run in compare.json."""


@dataclass(frozen=True)
class Compared:
    """A method, or a run as a method of its own, and how it compares with the reference: None for this itself."""

    method: Method
    title: str  # see `titles_of`
    difference: Difference | None  # None where the test images differ, too
    pays_after: int | None  # of a fine-tuned one: after how many experiments the reference is cheaper

    @property
    def run(self) -> Run:
        """The best of its runs."""
        return self.method.best

    def to_json(self) -> dict[str, Any]:
        """How it compares, for compare.json."""
        difference = asdict(self.difference) if self.difference else None
        return {"title": self.title, "difference": difference, "pays_after": self.pays_after}

    def run_to_json(self) -> dict[str, Any]:
        """The entry of a run in compare.json, without what only that of its method has."""
        run, entry = self.run, self.to_json()
        if entry["difference"]:
            del entry["difference"]["points_ci90"]
        return {
            **{name: getattr(run, name) for name in FIGURES},
            "test_accuracy": run.figure("test", "accuracy"),
            "test_accuracy_ci95": run.test_ci95("accuracy"),
            "balanced_accuracy": run.figure("test", "balanced_accuracy"),
            "macro_f1": run.figure("test", "macro_f1"),
            **entry,
        }


@dataclass(frozen=True)
class Comparison:
    """All runs of a data set and their methods, the best on validation first.

    `reference` and `finetuned` are the best runs of the first method on frozen features and the first fine-tuned one.
    """

    ranking: tuple[Compared, ...]
    """Each run."""
    methods: tuple[Compared, ...]
    reference: Run | None
    finetuned: Run | None
    sentence: str
    worth: Worth | None
    """None where nothing was asked, or there is no difference."""
    backbones: Backbones | None
    """None where all frozen runs are on features of one backbone."""
    select: Select
    """The figure that ranks them, and that the differences are of."""
    surest: tuple[Surest, ...] = ()
    """The best run of the first method on its surest test images; empty where its predictions cannot be read."""
    more_runs: str = ""
    """What to train next; see `advice.more_runs`."""
    few_images: str = ""
    """Advice where test images are few; see `advice.few_images`."""

    @property
    def advice(self) -> list[str]:
        """What to do next, each with its commands."""
        return [said for said in (self.more_runs, self.few_images) if said]

    def to_json(self) -> dict[str, Any]:
        """The content of compare.json."""
        return {
            "dataset": self.ranking[0].run.dataset,
            "select": self.select,
            "standings": [compared.run_to_json() for compared in self.ranking],
            "methods": [{**each.method.to_json(), **each.to_json()} for each in self.methods],
            "reference": self.reference.name if self.reference else None,
            "finetuned": self.finetuned.name if self.finetuned else None,
            "sentence": self.sentence,
            **({"advice": self.advice} if self.advice else {}),
            **({"few_images": self.few_images} if self.few_images else {}),
            **({"surest": [asdict(each) for each in self.surest]} if self.surest else {}),
            **({"worth": asdict(self.worth)} if self.worth else {}),
            **({"backbones": self.backbones.to_json()} if self.backbones else {}),
        }


def compare(runs: Sequence[Run], wanted: float | None = None, select: Select | None = None) -> Comparison:
    """Ranks the methods of one data set's runs, at least one, by validation; compares each with the best frozen one.

    Both by the figure `select`, by default that by which the runs were selected, see `selected_by`.

    The difference in the sentence is unbiased: its methods are chosen before any test image is read. The others are not
    corrected for their number: of twenty methods that are as good as the reference, one will look different. `wanted`
    are the points that fine-tuning must gain, see `worth`.
    """
    select = select or selected_by(runs)
    if select == "log_loss" and wanted is not None:
        refuse("worth", wanted, "left out where runs are compared by log loss, which has no percentage points")
    ordered, methods = ranked(runs, select), methods_of(runs, select)
    current = [each for each in methods if not each.is_stale]
    frozen = next((each for each in current if each.best.is_frozen), None)
    finetuned = next((each for each in current if not each.best.is_on_features), None)
    reference = frozen.best if frozen else None
    compared = _compared(methods, frozen)
    single = Method((reference,), select) if reference else None
    ranking = _compared([Method((run,), select) for run in ordered], single)
    sentence, more_runs, answer = _verdict(compared, frozen, finetuned, wanted)
    on_frozen = [each for each in compared if each.run.is_frozen and not each.method.is_stale]
    backbones = backbones_of([(each.method, each.difference) for each in on_frozen])
    best, few = finetuned.best if finetuned else None, advice.few_images(reference)
    sure = _surest(methods[0].best)
    return Comparison(ranking, compared, reference, best, sentence, answer, backbones, select, sure, more_runs, few)


def _surest(run: Run) -> tuple[Surest, ...]:
    try:
        return surest(read_predictions(run.folder)) if run.test_images else ()
    except RunError:  # the page says so
        return ()


def _verdict(
    compared: Sequence[Compared], reference: Method | None, finetuned: Method | None, wanted: float | None
) -> tuple[str, str, Worth | None]:
    """On fine-tuning the sentence, which compares methods of one backbone, and what to train next.

    And whether it gains what is wanted.
    """
    if finetuned is None:
        return verdict.sentence(reference, None, None), advice.more_runs(reference, None, None), None
    to_reference = next(each.difference for each in compared if each.method is finetuned)
    of_backbone = (each for each in compared if each.run.backbone == finetuned.best.backbone and each.run.is_frozen)
    frozen = next((each.method for each in of_backbone if not each.method.is_stale), None)
    gain = to_reference if frozen is reference else between(finetuned, frozen) if frozen else None
    of_methods = bool(frozen) and not any(each and each.needs_seeds for each in (finetuned, frozen))
    answer = worth(gain, wanted, of_methods) if gain and wanted is not None else None
    parts = [verdict.sentence(frozen, finetuned, gain), answer.sentence() if answer else ""]
    if reference and frozen is not reference:
        parts.append(verdict.on_other_backbone(reference, finetuned, to_reference))
    return " ".join(filter(None, parts)), advice.more_runs(frozen, finetuned, gain), answer


def _compared(methods: Sequence[Method], reference: Method | None) -> tuple[Compared, ...]:
    """Each compared with the reference, on the test images if all runs have the same ones with the same labels."""
    result = []
    for method, title in zip(methods, titles_of(methods), strict=True):
        gain, after = None, None
        if reference and method.best is not reference.best:
            gain = between(method, reference)
            after = None if method.best.is_on_features else pays_after(reference, method)
        result.append(Compared(method, title, gain, after))
    return tuple(result)


def pays_after(frozen: Method, finetuned: Method) -> int | None:
    """The smallest n >= 1 for which the pass and n frozen trainings are faster than n fine-tunings, if one is known."""
    if frozen.extract_seconds is None or frozen.train_seconds is None or finetuned.train_seconds is None:
        return None
    # Fractions, since the quotient of floats may be off by a whole experiment, or infinite.
    once, each, other = map(Fraction, (frozen.extract_seconds, frozen.train_seconds, finetuned.train_seconds))
    return math.floor(once / (other - each)) + 1 if other > each else None
