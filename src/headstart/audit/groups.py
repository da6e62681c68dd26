"""Groups of images that are predicted far worse than others: a camera, a person, a place. n images, G groups."""

import os

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from headstart.audit.finding import Finding
from headstart.audit.labels import Labels, Probabilities

FEWEST_IMAGES, FEWEST_GROUPS = 5, 8
SURE = 0.95
TO_DEVIATION = 1.4826
"""From the median distance from the median to the standard deviation of normal numbers."""


def findings(probabilities: Probabilities, labels: Labels, groups: NDArray[np.bytes_]) -> list[Finding]:
    """Groups (n,) whose images are mistaken more often than those of other groups, given their classes.

    A group's excess is compared with what it varies by, among groups and by chance. `sure` is 1 minus the probability
    that the worst of so many groups is as bad by chance.
    """
    wrong = probabilities.argmax(axis=1) != labels
    names, group, images = np.unique(groups, return_inverse=True, return_counts=True)
    expected = (np.bincount(labels, wrong) / np.maximum(np.bincount(labels), 1))[labels]
    excess = np.bincount(group, wrong - expected) / images
    chance = np.bincount(group, expected * (1 - expected)) / images**2
    large = np.flatnonzero(images >= FEWEST_IMAGES)
    if len(large) < FEWEST_GROUPS:
        return []
    middle = np.median(excess[large])
    spread = TO_DEVIATION * np.median(np.abs(excess[large] - middle))
    scores = (excess[large] - middle) / np.sqrt(spread**2 + chance[large] + 1e-9)
    sure = 1 - np.minimum(1, len(large) * norm.sf(scores))
    shares = np.bincount(group, wrong) / images
    return [
        Finding(
            "",
            "group",
            f"{os.fsdecode(names[number])} stands out: {shares[number]:.0%} of its {images[number]:,} images are taken "
            f"for another class, where {shares[number] - excess[number]:.0%} are expected",
            float(each),
        )
        for number, each in zip(large, sure, strict=True)
        if each >= SURE
    ]
