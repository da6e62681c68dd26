"""Features measured as papers do: choose on validation, learn from train and validation, test once."""

from collections.abc import Iterable, Sequence
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
from headstart.settings.heads import Method, Normalize
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
    candidates: list[dict[str, float]]  # all that were tried: penalty or neighbours, and val_accuracy
    val: NDArray[np.float32]  # (n, C) probabilities for the validation images, learned from train alone
    test: NDArray[np.float32]
    """(n, C) probabilities for the test images, learned from train and validation."""
    head: Head | None = None
    """What was learned from train and validation; None where there are no weights."""
    head_from_train: Head | None = None
    """What was learned from train alone, for a fine-tuning that starts from it and chooses by validation."""


@kept_memory()
def probe(features: Features, method: Method, normalize: Normalize, shown: bool = True) -> Probed:
    """Chooses a penalty or a number of neighbours on validation, then learns from train and validation together.

    `shown`: whether a bar shows the progress.
    """
    if not len(features.rows["val"]):
        raise TrainingFailed("A probe chooses by validation, and there is no validation image: add a val split.")
    methods = {"logistic": _logistic, "ridge": _ridge, "knn": _neighbours}
    with torch.inference_mode():
        return methods[method](features, Normalization.fit(features, normalize), shown)


def _logistic(features: Features, normalization: Normalization, shown: bool) -> Probed:
    train = features.rows["train"]
    moments = Moments.from_features(features, normalization, train)
    path = logistic.Problem(features, normalization, moments, train).path(logistic.PENALTIES)
    penalty, model, candidates = _best(features, normalization, logistic.PENALTIES, path, shown)
    problem = logistic.Problem(features, normalization, moments, _train_and_val(features))
    problem.start_from(*model)
    return _probed(features, normalization, penalty, candidates, model, next(problem.path([penalty])))


def _ridge(features: Features, normalization: Normalization, shown: bool) -> Probed:
    train, val = (Moments.from_features(features, normalization, features.rows[split]) for split in ("train", "val"))
    path = ridge.path(train, ridge.PENALTIES)
    penalty, model, candidates = _best(features, normalization, ridge.PENALTIES, path, shown)
    sharpness, models = _sharpness(features, normalization, model), (model, ridge.solve(train + val, penalty))
    before, after = ((sharpness * weight, sharpness * bias) for weight, bias in models)
    return _probed(features, normalization, penalty, candidates, before, after)


def _best(
    features: Features, normalization: Normalization, penalties: Sequence[float], models: Iterable[Model], shown: bool
) -> tuple[float, Model, list[dict[str, float]]]:
    """The penalty with the highest validation accuracy, of equals the strongest; its model; and all that were tried."""
    candidates: list[dict[str, float]] = []
    best, highest = None, -1.0
    fits = zip(penalties, models, strict=True)
    with bar(len(penalties), "fitting", "penalties", shown) as progress:
        while part := list(islice(fits, MODELS_TOGETHER)):
            stack = HeadStack.linear([model for _, model in part])
            for fit, accuracy in zip(part, evaluate(stack, normalization, features, "val")[1], strict=True):
                candidates.append({"penalty": fit[0], "val_accuracy": accuracy})
                if accuracy > highest:
                    best, highest = fit, accuracy
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


def _neighbours(features: Features, normalization: Normalization, _: bool) -> Probed:
    train, val, test = (features.rows[split] for split in SPLITS)
    votes = neighbours.probabilities(features, normalization, train, val, neighbours.NEIGHBOURS)
    accuracies = [float((votes_of.argmax(1) == features.labels[val]).float().mean()) for votes_of in votes]
    best = accuracies.index(max(accuracies))
    count = neighbours.NEIGHBOURS[best]
    (tested,) = neighbours.probabilities(features, normalization, _train_and_val(features), test, [count])
    tried = zip(neighbours.NEIGHBOURS, accuracies, strict=True)
    candidates: list[dict[str, float]] = [{"neighbours": count, "val_accuracy": accuracy} for count, accuracy in tried]
    return Probed({"neighbours": count}, candidates, votes[best].cpu().numpy(), tested.cpu().numpy())


def _train_and_val(features: Features) -> Tensor:
    return torch.cat([features.rows["train"], features.rows["val"]])
