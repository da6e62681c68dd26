"""What a cleaned list is worth: accuracy after and before, on the same test images, of which none is a copy."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.audit.finding import Finding
from headstart.audit.fixing import Fixes, fixed_labels
from headstart.cache.feature_cache import FeatureCache
from headstart.crossvalidation.folds import Fold
from headstart.crossvalidation.methods import tested
from headstart.heads.features import Features
from headstart.report.paired import Difference, of_methods
from headstart.runs.dependence import numbered
from headstart.settings.heads import AnyMethod


@dataclass(frozen=True)
class Worth:
    """The same method on the data as they are and as the list has them."""

    before: float  # accuracy, in [0, 1]
    after: float
    difference: Difference
    touched: int  # test images that are left out because a finding names them

    def in_words(self) -> str:
        """A sentence for a terminal and for the page."""
        points, (low, high) = self.difference.points, self.difference.points_ci95
        return (
            f"Learned from the cleaned list the accuracy is {self.after:.3f}, from the data as they are "
            f"{self.before:.3f}: {points:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}, on "
            f"{self.difference.tested_in_words}. {self.touched:,} test images are left out: "
            "findings name them that do not doubt a label."
        )


def worth(
    features: Features, cache: FeatureCache, findings: Iterable[Finding], fixes: Fixes, method: AnyMethod, seed: int
) -> Worth | None:
    """Learns from train and val, tests once each; None if nothing is fixed, or a split has no image to do it with.

    Test images whose labels are doubted stay in the test: they are the mistakes of a model that learned from the data
    as they are, which would look better without them.
    """
    manifest, rows = cache.manifest, {split: cache.rows(split) for split in ("train", "val", "test")}
    labels = fixed_labels(manifest, fixes)
    after = {split: rows[split][labels[rows[split]] >= 0] for split in ("train", "val")}
    named = {path for each in findings if each.kind != "wrong label" for path in (each.path, each.other)}
    test = np.array([row for row in rows["test"] if manifest.relative_path(row) not in named], np.int64)
    if not (fixes and len(test) and all(map(len, (rows["val"], *after.values())))):
        return None

    def right(train: NDArray[np.int64], val: NDArray[np.int64], learned: NDArray[np.int64]) -> NDArray[np.bool_]:
        relabelled = replace(features, labels=torch.from_numpy(learned).to(features.device))
        probabilities, _ = tested(relabelled, Fold(0, 0, train, val, test), method, seed, "accuracy")
        same: NDArray[np.bool_] = probabilities.argmax(axis=1) == manifest.labels[test]
        return same

    cleaned = right(after["train"], after["val"], np.where(labels >= 0, labels, manifest.labels))
    plain = right(rows["train"], rows["val"], manifest.labels)
    groups = None if manifest.groups is None else numbered([str(bytes(group)) for group in manifest.groups[test]])
    difference = of_methods(cleaned[None], plain[None], (False, False), groups)
    return Worth(float(plain.mean()), float(cleaned.mean()), difference, len(rows["test"]) - len(test))
