"""What models say of images that they did not learn from, each image once. n images, C classes."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headstart.audit.labels import Probabilities
from headstart.crossvalidation.folds import FEWEST, nested_folds
from headstart.crossvalidation.methods import in_own_span, tested
from headstart.datasets.manifest import SPLITS
from headstart.heads.features import Features
from headstart.settings.heads import AnyMethod
from headstart.support.progress import bar

FOLDS = 5


def out_of_fold(
    features: Features,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    method: AnyMethod,
    seed: int,
) -> Probabilities | None:
    """Probabilities (n, C) of the rows (n,), each by a model of images of other groups; None where these are too few.

    `labels` (n,) are those of the rows; `groups` (n,) numbers of what belongs together: copies, a person, a video.
    """
    number = len(np.unique(groups))
    if number < FEWEST or len(np.unique(labels)) < 2:
        return None
    folds = nested_folds(labels, groups, min(FOLDS, number), 1, seed)
    own_span = in_own_span(features, rows)
    answers = np.zeros((len(rows), len(features.classes)), np.float32)
    with bar(len(folds), "asking what the labels should be", "folds") as progress:
        for fold in folds:
            in_cache = replace(fold, **{split: rows[getattr(fold, split)] for split in SPLITS})
            answers[fold.test] = tested(own_span, in_cache, method, seed + fold.number)[0]
            progress.update()
    return answers
