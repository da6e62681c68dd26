"""All runs of a data set side by side. Validation alone chooses which are compared; the test figures do not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from headstart.report import verdict
from headstart.report.backbones import Backbones, backbones_of
from headstart.report.paired import Difference, against
from headstart.runs.predictions import Predictions, read_predictions
from headstart.runs.run import Run, ranked
from headstart.runs.title import titles

FIGURES = (
    *("name", "kind", "method", "device", "train_images", "val_accuracy", "test_images", "test_digest"),
    *("test_accuracy", "test_accuracy_ci95", "balanced_accuracy", "macro_f1", "trainable_parameters"),
    *("images_per_second", "peak_memory_bytes", "extract_seconds", "train_seconds"),
)
"""Figures of a run in compare.json."""


@dataclass(frozen=True)
class ComparedRun:
    """A run and how it compares with the reference; difference and pays_after are None for the reference itself."""

    run: Run
    title: str  # see `titles`
    difference: Difference | None  # None where the test images differ
    pays_after: int | None  # of a fine-tuned run: after how many experiments the reference is cheaper

    def to_json(self) -> dict[str, Any]:
        """An entry of compare.json."""
        difference = asdict(self.difference) if self.difference else None
        figures = {name: getattr(self.run, name) for name in FIGURES}
        return {**figures, "title": self.title, "difference": difference, "pays_after": self.pays_after}


@dataclass(frozen=True)
class Comparison:
    """All runs of a data set, best validation accuracy first; of these, the first frozen and the first fine-tuned."""

    ranking: tuple[ComparedRun, ...]
    reference: Run | None
    finetuned: Run | None
    sentence: str
    backbones: Backbones | None
    """None where all frozen runs are on features of one backbone."""

    def to_json(self) -> dict[str, Any]:
        """The content of compare.json."""
        return {
            "dataset": self.ranking[0].run.dataset,
            "standings": [compared.to_json() for compared in self.ranking],
            "reference": self.reference.name if self.reference else None,
            "finetuned": self.finetuned.name if self.finetuned else None,
            "sentence": self.sentence,
            **({"backbones": self.backbones.to_json()} if self.backbones else {}),
        }


def compare(runs: Sequence[Run]) -> Comparison:
    """Ranks runs of one data set, at least one, by validation and compares each with the best on frozen features.

    The difference in the sentence is unbiased: its runs are chosen before any test image is read. The others are not
    corrected for their number: of twenty runs that are as good as the reference, one will look different.
    """
    ordered = ranked(runs)
    reference = next((run for run in ordered if run.is_frozen), None)
    finetuned = next((run for run in ordered if not run.is_frozen), None)
    predictions = read_predictions(reference.folder) if reference else None
    titled = zip(ordered, titles(ordered), strict=True)
    ranking = tuple(_against(reference, predictions, run, title) for run, title in titled)
    gains = {compared.run.name: compared.difference for compared in ranking}
    frozen = [(compared.run, compared.difference) for compared in ranking if compared.run.is_frozen]
    sentence = _verdict(ordered, reference, finetuned, gains)
    return Comparison(ranking, reference, finetuned, sentence, backbones_of(frozen))


def _verdict(
    ordered: Sequence[Run], reference: Run | None, finetuned: Run | None, gains: Mapping[str, Difference | None]
) -> str:
    """The sentence on fine-tuning, which compares runs of one backbone; `gains` are differences to the reference."""
    if finetuned is None:
        return verdict.sentence(reference, None, None)
    frozen = next((run for run in ordered if run.is_frozen and run.backbone == finetuned.backbone), None)
    gain = gains[finetuned.name]
    if frozen is reference:
        return verdict.sentence(frozen, finetuned, gain)
    assert reference is not None  # any frozen run makes one
    of_backbone = against(finetuned, read_predictions(frozen.folder)) if frozen and frozen.test_images else None
    return verdict.sentence(frozen, finetuned, of_backbone) + verdict.on_other_backbone(reference, finetuned, gain)


def _against(reference: Run | None, predictions: Predictions | None, run: Run, title: str) -> ComparedRun:
    """A run compared with the reference, on the test images if both have the same ones with the same labels."""
    if reference is None or predictions is None or run is reference:
        return ComparedRun(run, title, None, None)
    gain = against(run, predictions)
    return ComparedRun(run, title, gain, None if run.is_frozen else pays_after(reference, run))


def pays_after(frozen: Run, finetuned: Run) -> int | None:
    """The smallest n >= 1 for which the pass and n frozen trainings are faster than n fine-tunings, if one is known."""
    if frozen.extract_seconds is None or frozen.train_seconds is None or finetuned.train_seconds is None:
        return None
    # Fractions, since the quotient of floats may be off by a whole experiment, or infinite.
    once, each, other = map(Fraction, (frozen.extract_seconds, frozen.train_seconds, finetuned.train_seconds))
    return math.floor(once / (other - each)) + 1 if other > each else None
