"""What is predicted for an image. C classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class _Prediction(NamedTuple):
    probabilities: NDArray[np.float32] | None
    reason: str  # one of `decoding.REASONS`; empty if the image is readable


class ImagePrediction(_Prediction):
    """What a classifier predicts for one image: probabilities (C,), or why it is unreadable.

    Attributes:
        distance: that of its plain view to the nearest training image, see distance.py; None where it is not measured.
    """

    distance: float | None = None


def mean_of(views: Sequence[ImagePrediction]) -> ImagePrediction:
    """The mean of an image's views, at least one, the plain one first; the distance is that of the plain one."""
    probabilities = [view.probabilities for view in views if view.probabilities is not None]
    mean = np.stack(probabilities).mean(axis=0, dtype=np.float32) if probabilities else None
    prediction = ImagePrediction(mean, views[0].reason)
    prediction.distance = views[0].distance
    return prediction
