"""How near the features of a faster form of a net are to those of fp32. B images, D features."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.cache.recipe import Precision
from headstart.datasets.manifest import UNLABELLED

NEIGHBOURS = 10
BOUNDS: dict[Precision, dict[str, float]] = {
    "bf16": {"least_cosine": 0.99},
    "fp16": {"least_cosine": 0.99},
    "int8": {"mean_cosine": 0.9, "agreement": 0.85},
}
"""Below one of them features count as changed, by what was seen of the accuracy of heads (pipelines/MEASUREMENTS.md).

bf16: with a least cosine of 0.994 and more on the images that are tried, heads on 5,400 images of CIFAR-10 were as good
as on fp32 over five seeds, though 31 of all 8,000 images had less than 0.99; white noise of cosine 0.95 cost 4 and 8
points. With the real weights of EfficientNet-Lite0, whose least cosine of 2,200 photos was 0.991, ridge regression lost
0.14 +- 0.25 points. fp16 is eight times finer: 0.02 +- 0.05. int8: EfficientNet-Lite0, -Lite1 and -Lite2 with their
real weights, cross-validated on four data sets each, of 1,000 to 2,527 images: 0.81 to 0.97 of a ridge head's answers
on 64 images stayed, mean cosines were 0.90 to 0.99, and over all images ridge regression lost 0.4 and the head 0.1
points at most.
"""
PENALTIES = np.logspace(0, 6, 13)
"""Of the ridge regression, which takes the best of them by leaving one image out."""


@dataclass(frozen=True)
class Fidelity:
    """What was measured on images of the data.

    Attributes:
        mean_cosine: of `centred_cosines`, in [-1, 1].
        least_cosine: the least of them.
        neighbours_kept: of the nearest images by the features of fp32, the share that is nearest by the others, too.
        agreement: share of images that a ridge regression on features of fp32 puts into the same class by both; None
            where labels of two classes are not known.
    """

    mean_cosine: float
    least_cosine: float
    neighbours_kept: float
    agreement: float | None

    def __str__(self) -> str:
        same = (
            "" if self.agreement is None else f", and {self.agreement:.1%} of the answers of a ridge head are the same"
        )
        return (
            f"centred cosine to fp32 {self.mean_cosine:.4f} in the mean and {self.least_cosine:.4f} at the least, "
            f"{self.neighbours_kept:.0%} of the nearest neighbours kept{same}"
        )

    def fault(self, precision: Precision) -> str:
        """Which bound it is below, in brackets; empty where features count as unchanged."""
        values = ((getattr(self, name), bound) for name, bound in BOUNDS[precision].items())
        return next((f" (bound: {bound})" for value, bound in values if value is not None and value < bound), "")

    def notes(self, precision: Precision) -> dict[str, float]:
        """As they are kept in a cache."""
        values = {
            "centred_cosine": self.least_cosine,
            "mean_centred_cosine": self.mean_cosine,
            "neighbours_kept": self.neighbours_kept,
            "ridge_agreement": self.agreement,
        }
        return {f"{precision}_{name}": value for name, value in values.items() if value is not None}


def fidelity(reference: Tensor, features: Tensor, labels: NDArray[np.int64]) -> Fidelity:
    """Compares features (B, D) with those of fp32.

    Args:
        reference: (B', D) features of fp32, B' ≥ B, of which the last B are of the same images.
        features: (B, D).
        labels: (B',) of all these images, -1 where there is none.
    """
    same = reference[-len(features) :]
    cosines = centred_cosines(same, features)
    # A ridge regression learns from images that it is not asked about: the first ones, or of few the first half.
    begin = len(reference) - len(features) or len(reference) // 2
    asked = same[begin - len(reference) :], features[begin - len(reference) :]
    return Fidelity(
        float(cosines.mean()),
        float(cosines.min()),
        neighbours_kept(same, features),
        agreement(reference[:begin], labels[:begin], *asked),
    )


def centred_cosines(reference: Tensor, features: Tensor) -> Tensor:
    """(B,) cosines of features to reference features, (B, D) each, in [-1, 1]; -1 for NaN or infinity.

    All features of a net share a large mean, so that plain cosines are near 1: the reference's mean is subtracted.
    """
    mean = reference.double().mean(dim=0)
    cosines = torch.nn.functional.cosine_similarity(reference.double() - mean, features.double() - mean, dim=1)
    return torch.nan_to_num(cosines, nan=-1.0)


def neighbours_kept(reference: Tensor, features: Tensor) -> float:
    """Share of the nearest images of each, by reference features (B, D), that are nearest by features (B, D), too."""
    count = min(NEIGHBOURS, max(1, (len(reference) - 1) // 2))
    before, after = (_nearest(values, count) for values in (reference, features))
    return float((before[:, :, None] == after[:, None, :]).any(dim=2).double().mean())


def _nearest(features: Tensor, count: int) -> Tensor:
    """(B, count) places of the other images that are nearest, by Euclidean distance."""
    values = torch.nan_to_num(features.double())
    distances = torch.cdist(values, values).fill_diagonal_(float("inf"))
    return distances.argsort(dim=1)[:, :count]


def agreement(learned: Tensor, labels: NDArray[np.int64], reference: Tensor, features: Tensor) -> float | None:
    """Share of images (B, D) that get the same class by both features, by a ridge regression on others (n, D)."""
    from sklearn.linear_model import RidgeClassifierCV  # takes half a second
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = labels != UNLABELLED
    if len(np.unique(labels[known])) < 2:
        return None
    values, one, other = (torch.nan_to_num(each).double().cpu().numpy() for each in (learned, reference, features))
    ridge = make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES)).fit(values[known], labels[known])
    return float(np.mean(ridge.predict(one) == ridge.predict(other)))
