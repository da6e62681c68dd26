"""Accuracy on the surest images, by the probability of their prediction: risk against coverage. N images."""

from dataclasses import dataclass
from math import ceil

import numpy as np

from headstart.runs.dependence import numbered
from headstart.runs.intervals import Interval, accuracy_interval
from headstart.runs.predictions import Predictions

SHARES = (0.5, 0.8, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class Surest:
    """The surest images, and how many of them are right; an entry of compare.json."""

    share: float
    """Of the images, in (0, 1], that was asked for."""
    images: int
    """So many, and those with the same probability as the last of these."""
    least_probability: float
    """The lowest of theirs."""
    accuracy: float
    accuracy_ci95: Interval


def surest(predictions: Predictions) -> tuple[Surest, ...]:
    """For each of the `SHARES`; empty without images."""
    return tuple(_surest(predictions, share) for share in SHARES) if predictions.paths else ()


def _surest(predictions: Predictions, share: float) -> Surest:
    probabilities, groups = predictions.confidence, predictions.groups
    least = float(np.sort(probabilities)[-ceil(share * len(probabilities))])
    chosen = np.flatnonzero(probabilities >= least)
    right = predictions.right[chosen]
    of_groups = numbered([groups[place] for place in chosen.tolist()] if groups else None)
    return Surest(share, len(chosen), least, float(right.mean()), accuracy_interval(right, of_groups))
