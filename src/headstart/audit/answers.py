"""What models say of images that they did not learn from, each image once. n images, C classes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.audit.labels import Probabilities
from headstart.crossvalidation.folds import FEWEST, INNER_FOLDS, Fold, nested_folds, stratified_folds
from headstart.crossvalidation.methods import in_own_span, tested
from headstart.datasets.manifest import SPLITS
from headstart.heads.features import Features
from headstart.settings.heads import AnyMethod
from headstart.support.progress import bar

FOLDS = 5

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """The labelled images, and what must not be on both sides of a fold."""

    rows: Numbers  # (n,) in the cache
    labels: Numbers  # (n,)
    groups: Numbers  # (n,) the same for copies, and for images of a person, a video or a place
    copies: Numbers  # (n,) the same for copies alone
    is_test: NDArray[np.bool_]  # (n,) whether an image is of the test split

    def folds(self, seed: int) -> Iterator[Fold]:
        """Folds of all images but those of test, and one that tests these.

        So nothing that a cleaned list changes was learned from test images. No fold where there are too few images.
        """
        others, test = np.flatnonzero(~self.is_test), np.flatnonzero(self.is_test)
        number = len(np.unique(self.groups[others]))
        if number < FEWEST or len(np.unique(self.labels[others])) < 2:
            return
        for fold in nested_folds(self.labels[others], self.groups[others], min(FOLDS, number), 1, seed):
            yield Fold(0, fold.number, *(others[getattr(fold, split)] for split in SPLITS))
        others = self._apart_from(test, others)
        if len(test) and len(np.unique(self.groups[others])) >= FEWEST:
            generator = np.random.default_rng([seed, FOLDS])
            parts = min(INNER_FOLDS, len(np.unique(self.groups[others])))
            chooses = stratified_folds(self.labels[others], self.groups[others], parts, generator) == 0
            yield Fold(0, FOLDS, others[~chooses], others[chooses], test)

    def _apart_from(self, test: Numbers, others: Numbers) -> Numbers:
        """The others without groups of the test images; without their copies alone if too few would be left."""
        apart, no_copies = (others[~np.isin(same[others], same[test])] for same in (self.groups, self.copies))
        if len(np.unique(self.groups[apart])) >= FEWEST and set(self.labels[apart]) == set(self.labels[others]):
            return apart
        if len(apart) < len(no_copies):
            print("Groups are in test and elsewhere, too: labels of test are judged by models that saw their groups.")
        return no_copies


def out_of_fold(features: Features, asked: Asked, method: AnyMethod, seed: int) -> Probabilities:
    """Probabilities (n, C), each by a model of images of other groups; NaN where there are too few to learn from.

    So it is of images whose class is in their own group alone: a model that never saw a class cannot judge its label.
    Models are chosen by their log loss: how sure they are is what counts here.
    """
    answers = np.full((len(asked.rows), len(features.classes)), np.nan, np.float32)
    own_span, folds = in_own_span(features, asked.rows), list(asked.folds(seed))
    with bar(len(folds), "asking what the labels should be", "folds", shown=bool(folds)) as progress:
        for fold in folds:
            in_cache = replace(fold, **{split: asked.rows[getattr(fold, split)] for split in SPLITS})
            answers[fold.test] = tested(own_span, in_cache, method, seed + fold.number, "log_loss")[0]
            unseen = ~np.isin(asked.labels[fold.test], asked.labels[fold.train])
            answers[fold.test[unseen]] = np.nan
            progress.update()
    return answers
