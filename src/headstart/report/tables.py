"""A comparison as text: one table of accuracies and one of costs, each narrow enough for a terminal."""

from collections.abc import Callable, Collection, Sequence

from headstart.report.amounts import few_are_wrong, unit_in_table
from headstart.report.backbones import BackboneRow, Backbones
from headstart.report.comparison import Compared, Comparison
from headstart.report.paired import Difference
from headstart.runs.intervals import MIN_WRONG
from headstart.runs.method import Method
from headstart.runs.run import PROBES, Run
from headstart.runs.selection import NAMES, chosen
from headstart.runs.title import has_random_weights
from headstart.settings.selection import Select
from headstart.support.quantities import counted, duration, human_bytes, human_count, of_groups, some

ACCURACY = ("run", "kind", "val", "test accuracy (95%)", "images", "balanced", "difference (95%)", "p")
BACKBONE = (
    *("backbone", "best run", "val", "test accuracy (95%)", "difference (95%)", "features", "on disk"),
    *("pass/1,000", "images/s"),
)
COST = (
    *("run", "device", "train images", "parameters", "images/s", "peak memory"),
    *("extraction", "training", "cheaper from"),
)


def names(comparison: Comparison) -> str:
    """What each run is, beside the name of its folder; above it a warning where nets started untrained.

    Of runs that differ by their seed alone, the best stands for all.
    """
    table = _aligned([("run", "what it is"), *((compared.run.name, compared.title) for compared in comparison.methods)])
    untrained = [has_random_weights(compared.run) for compared in comparison.ranking]
    if not any(untrained):
        return table
    which = "all runs" if all(untrained) else f"{sum(untrained)} of {len(untrained)} runs"
    note = "nets that started untrained test the pipeline; their figures are no results."
    return f"RANDOM WEIGHTS in {which}: {note}\n{table}"


def accuracies(comparison: Comparison) -> str:
    """The figure of each method and its difference to the reference, with a warning where the test images differ."""
    select, header = comparison.select, _header(ACCURACY, comparison.select)
    lines = [_aligned([header, *(_accuracy_row(each, comparison.reference) for each in comparison.methods)])]
    if any(chosen(each.run.kind, each.run.method) and each.method.val is not None for each in comparison.methods):
        lines.append("Val: of the epoch, setting or penalty that the validation images chose, so a little too good.")
    if comparison.reference and any(compared.difference for compared in comparison.methods):
        lines.append(
            f"Difference: {unit_in_table(select)}, image by image, to {comparison.reference.name}, the best frozen run "
            f"by validation;\n{_of_p(comparison)}."
        )
    if select == "log_loss" and few_are_wrong([each.run for each in comparison.ranking]):
        lines.append(
            f"Where fewer than {MIN_WRONG} images are wrong the log loss hangs on them: intervals may be too narrow."
        )
    if select == "macro_f1" and any(each.run.in_groups for each in comparison.methods):
        lines.append(
            "Macro-F1 depends on how frequent the classes are: its intervals are for classes as frequent as here."
        )
    if any(len(compared.method.runs) > 1 for compared in comparison.methods):
        lines.append(
            "0.900 ± 0.010 of 3: mean and standard deviation of three runs that differ by their seed alone; their "
            "difference and p\nknow images and seeds (Student's t)."
        )
    return "\n".join([*lines, *_warnings(comparison)])


def _of_p(comparison: Comparison) -> str:
    groups = next((each.difference.groups for each in comparison.methods if each.difference), None)
    if groups:
        return f"intervals and p{of_groups(groups)} of images: they say how new groups would differ"
    if comparison.select == "accuracy":
        return "p: McNemar's test of no difference, mid-p"
    return "p: of no difference, by its interval"


def costs(comparison: Comparison) -> str:
    """Time, memory and parameters of each run."""
    probes = any(compared.run.kind in PROBES for compared in comparison.ranking)
    with_val = "With val: probes learn from the validation images, too, once these have chosen the setting.\n"
    note = (
        "Extraction is paid once, training by every experiment. Cheaper from: the number of trainings from which on\n"
        "extraction and heads take less time than fine-tuning as often."
    )
    return f"{_aligned([COST, *map(_cost_row, comparison.methods)])}\n{with_val * probes}{note}"


def backbones(compared: Backbones) -> str:
    """The best run on the features of each backbone, its difference to the first, and what its features take."""
    note = (
        "Difference: to the first backbone, as above. Pass/1,000: time of the pass for 1,000 images, on its machine. "
        "Images/s: of the net\nalone as measured before the pass, or else of the pass; side by side, of all nets."
    )
    first = compared.rows[0]
    header = _header(BACKBONE, first.method.select)
    return f"{_aligned([header, *(_backbone_row(row, row is first) for row in compared.rows)])}\n{note}"


def _header(columns: Sequence[str], select: Select) -> list[str]:
    """The columns, where another figure ranks the runs: it takes the place of accuracy, and this that of balanced."""
    others = {"test accuracy (95%)": f"test {NAMES[select]} (95%)", "balanced": "accuracy"}
    return [column if select == "accuracy" else others.get(column, column) for column in columns]


def _backbone_row(row: BackboneRow, is_best: bool) -> tuple[str, ...]:
    run, cost = row.run, row.cost
    return (
        row.name,
        run.name,
        _share(row.method.val),
        _test_accuracy(row.method),
        _difference(row.difference, "best" if is_best else "-"),
        _or_dash("{:,}".format, cost.features),
        _or_dash(human_bytes, cost.bytes),
        _or_dash(duration, cost.pass_seconds_per_1000),
        _or_dash(human_count, cost.images_per_second),
    )


def _test_accuracy(method: Method) -> str:
    """`0.889 (0.834 to 0.928)` of a run, `0.889 ± 0.012 of 3` of several."""
    if not method.best.test_images:
        return "-"
    if method.spread is not None:
        return f"{_share(method.test)} ± {_share(method.spread)} of {len(method.runs)}"
    if method.test_ci95 is None:
        return _share(method.test)
    return "{} ({} to {})".format(*map(_share, (method.test, *method.test_ci95)))


def _difference(difference: Difference | None, otherwise: str) -> str:
    """`+5.6 (+1.9 to +9.1)`."""
    if not difference:
        return otherwise
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(difference.points, *difference.points_ci95)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells in columns; a rule below the first, the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _accuracy_row(compared: Compared, reference: Run | None) -> tuple[str, ...]:
    run, method, difference = compared.run, compared.method, compared.difference
    other: Select = "balanced_accuracy" if method.select == "accuracy" else "accuracy"
    p = "-"
    if difference:
        p = f"{difference.p:.3f}" if difference.p >= 0.0005 else "<0.001"
    return (
        run.name,
        run.kind_in_words,
        _share(method.val),
        _test_accuracy(method),
        f"{run.test_images:,}",
        _share(method.figure("test", other)),
        _difference(difference, "reference" if run is reference else "-"),
        p,
    )


def _cost_row(compared: Compared) -> tuple[str, ...]:
    run = compared.run
    return (
        run.name,
        run.device or "-",
        _or_dash(f"{{:,}}{' with val' * (run.kind in PROBES)}".format, run.train_images),
        _or_dash(human_count, run.trainable_parameters),
        _or_dash(human_count, run.images_per_second),
        _or_dash(human_bytes, run.peak_memory_bytes),
        _or_dash(duration, run.extract_seconds),
        _or_dash(duration, compared.method.train_seconds),
        "-" if compared.pays_after is None else counted(compared.pays_after, "training"),
    )


def _share(value: float | None) -> str:
    return _or_dash("{:.3f}".format, value)


def _or_dash(words: Callable[[float], str], value: float | None) -> str:
    return "-" if value is None else words(value)


def _warnings(comparison: Comparison) -> list[str]:
    stale = [run.name for compared in comparison.methods if compared.method.is_stale for run in compared.method.runs]
    note = "Images, labels or splits have changed since, so that nothing is chosen from there: train again to compare."
    of_stale = [f"On earlier data: {some(stale)}. {note}"] if stale else []
    return [*of_stale, *_of_other_images(comparison, stale)]


def _of_other_images(comparison: Comparison, stale: Collection[str]) -> list[str]:
    current = [compared for compared in comparison.ranking if compared.run.name not in stale]
    runs = [compared.run for compared in current]
    others = [compared for compared in current if compared.run is not comparison.reference]
    counts, digests = sorted({run.test_images for run in runs}), {run.test_digest for run in runs if run.test_digest}
    if len(counts) > 1:
        counted = f"{', '.join(map(str, counts[:-1]))} and {counts[-1]} images"
    elif len(digests) > 1:
        counted = f"{len(digests)} different sets of {counts[0]}"
    elif comparison.reference and counts[0] and any(compared.difference is None for compared in others):
        counted = "or not with the same labels"
    else:
        return []
    return [f"Warning: these runs were not tested on the same images ({counted}); do not compare their accuracies."]
