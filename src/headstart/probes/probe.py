"""Features measured as papers do: choose on validation, learn from train and validation, test once."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.datasets.manifest import SPLITS
from headstart.errors import TrainingFailed
from headstart.heads.features import Features, Normalization
from headstart.heads.stack import Head, HeadStack, evaluate
from headstart.probes import logistic, neighbours, ridge
from headstart.probes.ridge import Moments
from headstart.runs.calibration import best_temperature
from headstart.runs.selection import column, figure_of, merit
from headstart.settings.heads import Method, Normalize
from headstart.settings.selection import Select
from headstart.support.memory import kept_memory
from headstart.support.progress import bar

Model = tuple[Tensor, Tensor]
"""Weights (D, C) and biases (C,) of a linear model."""
MODELS_TOGETHER = 8
"""Linear models that are compared in one pass over the validation images."""


@dataclass(frozen=True)
class Probed:
    """What a method chose on validation, and its predictions."""

    chosen: dict[str, float]  # the penalty or the number of neighbours, by its name
    candidates: list[dict[str, float]]
    """All that were tried: penalty or neighbours, val_accuracy and, if it is another, the figure that chose."""
    val: NDArray[np.float32]  # (n, C) probabilities for the validation images, learned from train alone
    test: NDArray[np.float32]
    """(n, C) probabilities for the test images, learned from train and validation."""
    head: Head | None = None
    """What was learned from train and validation; None where there are no weights."""
    head_from_train: Head | None = None
    """What was learned from train alone, for a fine-tuning that starts from it and chooses by validation."""


@kept_memory()
def probe(
    features: Features, method: Method, normalize: Normalize, select: Select = "accuracy", shown: bool = True
) -> Probed:
    """Chooses a penalty or a number of neighbours on validation, then learns from train and validation together.

    `shown`: whether a bar shows the progress.
    """
    if not len(features.rows["val"]):
        raise TrainingFailed("A probe chooses by validation, and there is no validation image: add a val split.")
    methods = {"logistic": _logistic, "ridge": _ridge, "knn": _neighbours}
    with torch.inference_mode():
        return methods[method](features, Normalization.fit(features, normalize), select, shown)


def _logistic(features: Features, normalization: Normalization, select: Select, shown: bool) -> Probed:
    train = features.rows["train"]
    moments = Moments.from_features(features, normalization, train)
    path = logistic.Problem(features, normalization, moments, train).path(logistic.PENALTIES)
    penalty, model, candidates = _best(features, normalization, logistic.PENALTIES, path, select, shown)
    problem = logistic.Problem(features, normalization, moments, _train_and_val(features))
    problem.start_from(*model)
    return _probed(features, normalization, penalty, candidates, model, next(problem.path([penalty])))


def _ridge(features: Features, normalization: Normalization, select: Select, shown: bool) -> Probed:
    train, val = (Moments.from_features(features, normalization, features.rows[split]) for split in ("train", "val"))
    path = map(_centred, ridge.path(train, ridge.PENALTIES))

    def as_tested(model: Model) -> Model:
        return _scaled(model, _sharpness(features, normalization, model)) if select == "log_loss" else model

    penalty, model, candidates = _best(features, normalization, ridge.PENALTIES, path, select, shown, as_tested)
    sharpness, both = _sharpness(features, normalization, model), _centred(ridge.solve(train + val, penalty))
    return _probed(features, normalization, penalty, candidates, _scaled(model, sharpness), _scaled(both, sharpness))


def _centred(model: Model) -> Model:
    """The same without what all classes share: a softmax does not see it, and in float32 it hides small differences."""
    weight, bias = model
    return weight - weight.mean(1, keepdim=True), bias - bias.mean()


def _scaled(model: Model, factor: float) -> Model:
    return factor * model[0], factor * model[1]


def _best(
    features: Features,
    normalization: Normalization,
    penalties: Sequence[float],
    models: Iterable[Model],
    select: Select,
    shown: bool,
    as_tested: Callable[[Model], Model] = lambda model: model,
) -> tuple[float, Model, list[dict[str, float]]]:
    """The penalty that is best on validation, of equals the strongest; its model; and all that were tried.

    `as_tested` gives the model by whose probabilities a penalty is judged.
    """
    candidates: list[dict[str, float]] = []
    best, highest = None, -math.inf
    fits = zip(penalties, models, strict=True)
    with bar(len(penalties), "fitting", "penalties", shown) as progress:
        while part := list(islice(fits, MODELS_TOGETHER)):
            stack = HeadStack.linear([as_tested(model) for _, model in part])
            val = evaluate(stack, normalization, features, "val", select)
            for fit, accuracy, selected in zip(part, val.accuracies, val.selected, strict=True):
                candidates.append({"penalty": fit[0], "val_accuracy": accuracy, column(select): selected})
                if best is None or merit(select, selected) > highest:
                    best, highest = fit, merit(select, selected)
            progress.update(len(part))
    assert best is not None
    return *best, candidates


def _probed(
    features: Features,
    normalization: Normalization,
    penalty: float,
    candidates: list[dict[str, float]],
    *models: Model,
) -> Probed:
    """From the models before and after they learned from validation."""
    before, after = (Head(HeadStack.linear([model]), normalization) for model in models)
    val, test = before.probabilities(features, "val"), after.probabilities(features, "test")
    return Probed({"penalty": penalty}, candidates, val, test, after, before)


def _sharpness(features: Features, normalization: Normalization, model: Model) -> float:
    """What scores of least squares are multiplied by to serve as logits: they were fitted to 0 and 1, not to a softmax.

    It gives the validation images the least log loss; where they are too few to tell, the scores get a deviation of 1.
    """
    stack, blocks = HeadStack.linear([model]), features.blocks(features.rows["val"])
    scores = torch.cat([stack.logits(normalization(values))[0] for _, values in blocks])
    scale = 1 / max(float(scores.std(unbiased=False)), 1e-6)
    labels = features.labels[features.rows["val"]].cpu().numpy()
    return scale / (best_temperature((scale * scores).softmax(dim=1).cpu().numpy(), labels) or 1.0)


def _neighbours(features: Features, normalization: Normalization, select: Select, _: bool) -> Probed:
    train, val, test = (features.rows[split] for split in SPLITS)
    votes = neighbours.probabilities(features, normalization, train, val, neighbours.NEIGHBOURS)
    labels = features.labels[val].cpu().numpy()
    tried = [(votes_of.cpu().numpy(), count) for votes_of, count in zip(votes, neighbours.NEIGHBOURS, strict=True)]
    candidates: list[dict[str, float]] = [
        {"neighbours": count, **{column(each): figure_of(each, votes_of, labels) for each in ("accuracy", select)}}
        for votes_of, count in tried
    ]
    merits = [merit(select, candidate[column(select)]) for candidate in candidates]
    voted, count = tried[merits.index(max(merits))]
    (tested,) = neighbours.probabilities(features, normalization, _train_and_val(features), test, [count])
    return Probed({"neighbours": count}, candidates, voted, tested.cpu().numpy())


def _train_and_val(features: Features) -> Tensor:
    return torch.cat([features.rows["train"], features.rows["val"]])
