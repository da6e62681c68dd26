"""Features that differ by class."""

import numpy as np
import torch

from headstart.heads.features import Features

D, C = 48, 4

TRAIN, VAL, TEST = range(3)


def some_features(
    train: int = 100,
    val: int = 40,
    test: int = 40,
    classes: int = C,
    seed: int = 0,
    width: int = D,
    spread: float = 1.5,
) -> Features:
    """Clouds, one for each class; the rows of the splits lie mixed."""
    generator = np.random.default_rng(seed)
    splits = generator.permutation(np.repeat([TRAIN, VAL, TEST], [train, val, test]))
    labels = generator.integers(0, classes, len(splits))
    values = spread * generator.normal(size=(classes, width))[labels] + generator.normal(size=(len(splits), width))
    rows = {
        name: torch.from_numpy(np.flatnonzero(splits == number)) for number, name in enumerate(("train", "val", "test"))
    }
    names = tuple(f"class {number}" for number in range(classes))
    return Features(torch.from_numpy(values.astype(np.float32)), torch.from_numpy(labels), rows, names)
