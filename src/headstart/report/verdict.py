"""The result of a comparison in one sentence: what fine-tuning gains, and at what price."""

from headstart.report.amounts import amount, few_are_wrong, span, unit
from headstart.report.paired import Difference
from headstart.runs.method import Method
from headstart.runs.run import Run
from headstart.runs.title import INPUTS, input_in_words, inputs, settings_of
from headstart.settings import DEFAULTS
from headstart.settings.selection import Select
from headstart.support.quantities import counted


def sentence(reference: Method | None, finetuned: Method | None, difference: Difference | None) -> str:
    """What fine-tuning gains, or why the runs cannot tell; `reference` is the best frozen method of the same backbone.

    Of one or two runs of a method that varies with its seed, it speaks of nets, and claims nothing of the method.
    """
    if finetuned is None:
        return "No fine-tuned run to compare with yet."
    if reference is None:
        of = "" if finetuned.best.backbone == DEFAULTS["backbone"] else f" of {finetuned.best.backbone}"
        return f"No run on frozen features{of} to compare with yet."
    pair = finetuned.best, reference.best
    untested = " and ".join(run.name for run in pair if not run.test_images)
    if untested:
        return f"No test images of {untested}, so that nothing says what fine-tuning gains."
    if difference is None:
        return (
            f"{pair[0].name} and {pair[1].name} were not tested on the same images with the same labels, so that "
            "nothing says what fine-tuning gains: train both on the data as they are now."
        )
    few = [method for method in (finetuned, reference) if method.needs_seeds]
    claim = _of_nets(difference, reference, finetuned) if few else _gain(difference, finetuned.select)
    evidence = f"{_runs_behind(finetuned, reference)}{'; another seed may differ' if few else ''}"
    parts = [f"{claim}{_price(reference, finetuned)}{_unequal(*pair[::-1])}{evidence}."]
    if finetuned.select == "log_loss" and few_are_wrong([*finetuned.runs, *reference.runs]):
        parts.append("Few of these images are wrong, and the log loss hangs on them: its interval may be too narrow.")
    if settings := _other_settings(reference.best, finetuned.best):
        parts.append(f"The fine-tuned run also differs in its settings: {'; '.join(settings)}.")
    return " ".join(parts)


def on_other_backbone(best: Method, finetuned: Method, difference: Difference | None) -> str:
    """Says that the best frozen run has another backbone than the fine-tuned one, and what that changes."""
    name, backbone = best.best.name, best.best.backbone
    about = f"The best run on frozen features by validation, {name}, has another backbone: {backbone}"
    if difference is None:
        return f"{about}."
    ends, select = (difference.points, *difference.points_ci95), finetuned.select
    by, low, high = (f"{end / 100:+.3f}" if select == "log_loss" else f"{end:+.1f}" for end in ends)
    to_it = f"{by} {unit(select)} ({low} to {high})"
    return f"{about}; the fine-tuned {finetuned.best.backbone} differs from it by {to_it}."


def _gain(difference: Difference, select: Select) -> str:
    low, high = difference.points_ci95
    if low <= 0 <= high:
        images = "This test image shows" if difference.images == 1 else f"These {difference.tested_in_words} show"
        return f"{images} no difference: fine-tuning is {span(select, -low, high)}"
    word = "gains" if low > 0 else "loses"
    if select == "log_loss":
        word = "is better by" if low > 0 else "is worse by"
    on = f" on {difference.tested_in_words}" if difference.groups else ""
    return f"Fine-tuning {word} {amount(difference, select)}{on}"


def _of_nets(difference: Difference, reference: Method, finetuned: Method) -> str:
    """Of two nets, or of one and the mean of several."""
    (low, high), select, images = difference.points_ci95, finetuned.select, difference.tested_in_words
    several = len(finetuned.runs) + len(reference.runs) > 2
    nets, tuned = "nets" if several else "two nets", f"the {'mean ' * (len(finetuned.runs) > 1)}fine-tuned one"
    if low <= 0 <= high:
        between = f"{tuned} is {span(select, -low, high)}"
        return f"Between these {nets} {images} show{'s' * (difference.images == 1)} no difference: {between}"
    if select == "log_loss":
        word = "better" if low > 0 else "worse"
        return f"Of these {nets} {tuned} is {word} by {amount(difference, select)} on {images}"
    word = " more" if low > 0 else " less"
    return f"Of these {nets} {tuned} has {amount(difference, select, word)} on {images}"


def _runs_behind(finetuned: Method, reference: Method) -> str:
    """`; means of 3 runs against 5`; empty for single runs."""
    ours, others = len(finetuned.runs), len(reference.runs)
    return f"; mean of {counted(ours, 'run')} against {others}" if max(ours, others) > 1 else ""


def _price(reference: Method, finetuned: Method) -> str:
    """` for 180 times the training time`; empty where a time is not known or 0."""
    if not reference.train_seconds or not finetuned.train_seconds:
        return ""
    ratio = float(f"{finetuned.train_seconds / reference.train_seconds:.1e}")
    times = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"
    return f" for {'the same' if times == '1' else f'{times} times the'} training time"


def _unequal(reference: Run, finetuned: Run) -> str:
    """A warning where one of the two was trained on more images: a subset, or the validation images, too."""
    images, others = finetuned.train_images, reference.train_images
    unequal = images is not None and others is not None and images != others
    return f", trained on {images:,} images against {others:,}" if unequal else ""


def _other_settings(reference: Run, finetuned: Run) -> list[str]:
    """Settings beside the method that may explain a difference: `224 px against 64 px`, the fine-tuned run first."""
    ours, others = inputs(finetuned), inputs(reference)
    names = [name for name in INPUTS if name in ours and name in others and ours[name] != others[name]]
    pairs = [(input_in_words(name, ours[name]), input_in_words(name, others[name])) for name in names]
    tuned, frozen = settings_of(finetuned), settings_of(reference)
    if "epochs" in tuned and "epochs" in frozen and tuned["epochs"] != frozen["epochs"]:
        pairs.append((counted(tuned["epochs"], "epoch"), counted(frozen["epochs"], "epoch")))
    augmented, views = tuned.get("augment"), reference.metrics.get("views") or 0
    if augmented and (augmented != "none" or views):
        crops = "no augmentation" if augmented == "none" else f"new random views ({augmented}) in each epoch"
        pairs.append((crops, counted(views, "stored view") if views else "plain images"))
    return [f"{one} against {other}" for one, other in pairs]
