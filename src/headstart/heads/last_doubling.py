"""What a learning curve says about more images: how accuracy changed with the last doubling of the training images."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import t as student

SHORTEST_STEP = 1.5
"""Factor between two numbers of training images; a smaller one says little about a doubling."""

MOST_IMAGES = 10**12
"""A file may say anything."""
CANNOT_TELL = (
    "Would more images help? This curve cannot tell: it needs parts of different sizes, and images to test on."
)


def sentence(points: Sequence[Mapping[str, Any]]) -> str:
    """Whether more images would probably help, from the points of a curve: see `learning_curve`.

    The change is that of each seed between the most images and about half of them, in points for a doubling. Its 95%
    interval is Student's over the seeds: it holds their luck in images and weights, but not that of the split that all
    of them were measured on. Test accuracy is taken where there are test images, else that of validation.
    """
    points = [each for each in points if 0 < each["fraction"] <= 1 <= each["train_images"] < MOST_IMAGES]
    known = {name: np.array([point[f"{name}_accuracy"] for point in points], float) for name in ("test", "val")}
    split = next((name for name, accuracies in known.items() if np.isfinite(accuracies).all()), "")
    fractions = dict.fromkeys(point["fraction"] for point in points)
    sizes = {part: fmean(point["train_images"] for point in points if point["fraction"] == part) for part in fractions}
    fewer = [fraction for fraction, images in sizes.items() if max(sizes.values()) >= SHORTEST_STEP * images]
    if not split or not fewer:
        return CANNOT_TELL
    half = min(fewer, key=lambda fraction: abs(math.log(2 * sizes[fraction] / max(sizes.values()))))
    whole, key = max(sizes, key=lambda fraction: sizes[fraction]), f"{split}_accuracy"
    few, many = ({point["seed"]: point for point in points if point["fraction"] == part} for part in (half, whole))
    gains = [
        100 * (many[seed][key] - few[seed][key]) / math.log2(many[seed]["train_images"] / few[seed]["train_images"])
        for seed in few.keys() & many.keys()
        if few[seed]["train_images"] < many[seed]["train_images"]
    ]
    if not gains:
        return CANNOT_TELL
    name = {"test": "test", "val": "validation"}[split]
    step = f"from {sizes[half]:,.0f} to {max(sizes.values()):,.0f} training images,"
    return _in_words(np.array(gains), f"{name} accuracy", step)


def _in_words(gains: Any, name: str, step: str) -> str:
    seeds, change = len(gains), f"{step} {name} changed by {gains.mean():+.1f} points for a doubling"
    if seeds < 2:
        more_seeds = '--seeds 3 (with make: CURVE_ARGS="--seeds 3")'
        return f"Would more images help? One seed cannot tell: {change}; {more_seeds} shows how much of it is luck."
    reach = float(student.ppf(0.975, seeds - 1) * gains.std(ddof=1) / math.sqrt(seeds))
    low, high = gains.mean() - reach, gains.mean() + reach
    measured = f"{change} (95% {low:+.1f} to {high:+.1f} over {seeds} seeds)"
    if low > 0:
        return f"More images would probably help: {measured}. Expect no more than that from the next doubling."
    if high <= 0:
        return f"More images like these would probably not help: {measured}."
    return f"It is open whether more images would help: {measured}, so that the seeds show no clear change."
