"""What a cleaned list gains: accuracy after and before, on the same test images, of which none is a copy."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

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
from headstart.support.quantities import counted

FEWEST = 20
"""Test images that are compared; on fewer, even one of them is five points."""
Right = NDArray[np.bool_]
"""(T,) whether each test image is predicted as it is labelled."""


@dataclass(frozen=True)
class Compared:
    """The same method on the data as they are and as the cleaned list has them."""

    before: float  # accuracy, in [0, 1]
    after: float
    difference: Difference

    @classmethod
    def of(cls, cleaned: Right, plain: Right, groups: NDArray[np.int64] | None) -> "Compared":
        """On T test images, at least one, which may be in groups (T,)."""
        difference = of_methods(cleaned[None], plain[None], (False, False), groups)
        return cls(float(plain.mean()), float(cleaned.mean()), difference)

    def in_words(self) -> str:
        """`0.912 after and 0.905 before: +0.7 points, 95% interval -0.4 to +1.8, on 380 test images`."""
        points, (low, high) = self.difference.points, self.difference.points_ci95
        return (
            f"{self.after:.3f} after and {self.before:.3f} before: {points:+.1f} points, 95% interval "
            f"{low:+.1f} to {high:+.1f}, on {self.difference.tested_in_words}"
        )


@dataclass(frozen=True)
class Gain:
    """What cleaning gains."""

    untouched: Compared | None  # on test images that no finding names
    with_doubted: Compared | None  # and on those whose label is doubted; None if there are none
    left_out: int  # test images that other findings name

    def in_words(self) -> str:
        """For a terminal and for the page."""
        words = "Accuracy with the cleaned list: "
        if self.untouched:
            words += f"{self.untouched.in_words()} that no finding names. "
        if self.with_doubted:
            words += (
                f"{'With those' if self.untouched else 'With images'} whose label is doubted, which are mistakes of "
                f"the data as they are and speak for these where they are missing: {self.with_doubted.in_words()}. "
            )
        return f"{words}Left out: {counted(self.left_out, 'test image')} with copies or other findings."

    def figures(self) -> dict[str, Any]:
        """For audit.json."""
        return {name: compared and asdict(compared) for name, compared in vars(self).items() if name != "left_out"}


def gain(
    features: Features, cache: FeatureCache, findings: Iterable[Finding], fixes: Fixes, method: AnyMethod, seed: int
) -> Gain | None:
    """Learns from train and val, tests once each; None if nothing is fixed, or a split has too few images for it."""
    manifest, rows = cache.manifest, {split: cache.rows(split) for split in ("train", "val", "test")}
    labels, findings = fixed_labels(manifest, fixes), list(findings)
    after = {split: rows[split][labels[rows[split]] >= 0] for split in ("train", "val")}
    paths = np.array([manifest.relative_path(row) for row in rows["test"]], object)
    test = rows["test"][~_named(paths, [each for each in findings if each.kind != "wrong label"])]
    if not (fixes and len(test) >= FEWEST and all(map(len, (rows["val"], *after.values())))):
        return None

    def right(train: NDArray[np.int64], val: NDArray[np.int64], learned: NDArray[np.int64]) -> Right:
        relabelled = replace(features, labels=torch.from_numpy(learned).to(features.device))
        probabilities, _ = tested(relabelled, Fold(0, 0, train, val, test), method, seed, "accuracy")
        same: Right = probabilities.argmax(axis=1) == manifest.labels[test]
        return same

    cleaned = right(after["train"], after["val"], np.where(labels >= 0, labels, manifest.labels))
    plain = right(rows["train"], rows["val"], manifest.labels)
    groups = None if manifest.groups is None else numbered([str(bytes(group)) for group in manifest.groups[test]])
    doubted = _named(np.array([manifest.relative_path(row) for row in test], object), findings)

    def compared(some: Right) -> Compared | None:
        if np.count_nonzero(some) < FEWEST:
            return None
        return Compared.of(cleaned[some], plain[some], None if groups is None else groups[some])

    everyone = compared(np.ones(len(test), np.bool_)) if doubted.any() else None
    return Gain(compared(~doubted), everyone, len(rows["test"]) - len(test))


def _named(paths: "NDArray[np.object_]", findings: Iterable[Finding]) -> Right:
    named = {path for each in findings for path in (each.path, each.other)}
    return np.array([path in named for path in paths], np.bool_)
