"""Classes that cannot be told apart. n images, C classes."""

import numpy as np
from numpy.typing import NDArray

from headstart.audit.finding import Finding
from headstart.audit.labels import Labels, Probabilities

LEAST_MISTAKEN = 0.15
"""Share of the images of two classes that seem more like the other one, above which they are named; 0.5 is a coin."""
FEWEST_MISTAKES = 3
"""Images, of both classes together."""


def mistaken(probabilities: Probabilities, labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(C, C) the share of the images of each class (row) that seem more like the other (column); and (C,) its images.

    Only the two classes are asked, whatever a third one's probability is. 0 for a class without images.
    """
    count = probabilities.shape[1]
    images, counts = np.bincount(labels, minlength=count), np.zeros((count, count))
    own = probabilities[np.arange(len(labels)), labels]
    for label in range(count):
        of_class = labels == label
        counts[label] = (probabilities[of_class] > own[of_class, None]).sum(axis=0)
    return counts / np.maximum(images, 1)[:, None], images


def findings(probabilities: Probabilities, labels: Labels, names: tuple[str, ...]) -> list[Finding]:
    """Each pair of classes that is hard to tell apart."""
    shares, images = mistaken(probabilities, labels)
    mean, mistakes = (shares + shares.T) / 2, shares * images[:, None] + (shares * images[:, None]).T
    pairs = np.argwhere(np.triu(mean >= LEAST_MISTAKEN, 1) & (mistakes >= FEWEST_MISTAKES))
    return [
        Finding(
            "",
            "classes alike",
            f"{names[one]} and {names[other]} are hard to tell apart: {shares[one, other]:.0%} of {names[one]} seem "
            f"more like {names[other]}, and {shares[other, one]:.0%} of {names[other]} more like {names[one]}",
            min(1.0, 2 * float(mean[one, other])),
        )
        for one, other in pairs.tolist()
    ]
