"""All runs of a data set side by side, as values. Validation chooses which are compared; only then the test speaks."""

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.report import verdict
from headstart.report.paired import Difference, difference
from headstart.report.standing import Standing, pays_after, standing_of
from headstart.runs import kinds
from headstart.runs.folder import Run, ranked
from headstart.runs.predictions import Hits, read_hits


@dataclass(frozen=True)
class Comparison:
    """What the runs of a data set say together."""

    dataset: str
    standings: tuple[Standing, ...]
    """Of all runs, best validation accuracy first."""
    reference: str | None
    """Name of the first of them on frozen features: differences are to this one."""
    finetuned: str | None
    """Name of the first of them that is fine-tuned: the sentence is about this one."""
    sentence: str
    """What it comes to."""


def compare(found: Sequence[Run]) -> Comparison:
    """Ranks runs by validation and compares each with the best one on frozen features.

    The reference and the fine-tuned run of the sentence are chosen before a test image is looked at, so that their
    difference is unbiased. The other differences are not corrected for their number: of twenty runs that are as good as
    the reference, one will look different.

    Args:
        found: folders and figures of runs of one data set, at least one, in any order.

    Raises:
        RunError: a predictions.csv is missing or broken.
    """
    ordered = ranked(found)
    reference, finetuned = _first(ordered, frozen=True), _first(ordered, frozen=False)
    answers = read_hits(reference[0]) if reference else None
    standings = {run[0].name: _against(reference, answers, run) for run in ordered}
    names = [run[0].name if run else None for run in (reference, finetuned)]
    return Comparison(
        dataset=ordered[0][1]["dataset"],
        standings=tuple(standings.values()),
        reference=names[0],
        finetuned=names[1],
        sentence=verdict.sentence(*(standings[name] if name else None for name in names)),
    )


def _first(ordered: Sequence[Run], frozen: bool) -> Run | None:
    return next((run for run in ordered if kinds.is_frozen(run[1]) == frozen), None)


def _against(reference: Run | None, answers: Hits | None, run: Run) -> Standing:
    """A run beside the reference and its answers."""
    folder, metrics = run
    if reference is None or answers is None or run is reference:
        return standing_of(run, None, None)
    paired = _paired(read_hits(folder), answers) if metrics["test"]["images"] else None
    return standing_of(run, paired, None if kinds.is_frozen(metrics) else pays_after(reference[1], metrics))


def _paired(answers: Hits, reference: Hits) -> Difference | None:
    """None unless both were asked for the same images, and told the same truth about them."""
    if (answers.paths, answers.labels) != (reference.paths, reference.labels):
        return None
    return difference(answers.right, reference.right)
