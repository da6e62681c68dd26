"""What a run of extract did, and its summary for a terminal. Loads without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.inspection import describe
from headstart.cache.layout import UNREADABLE
from headstart.images.decoding import REASONS
from headstart.images.unreadable import Unreadable
from headstart.support.quantities import counted

if TYPE_CHECKING:
    from headstart.extraction.one_pass import PassReport


@dataclass(frozen=True)
class Report:
    """What a run of extract did."""

    cache: FeatureCache
    taken_over: int
    """Finished rows whose features were there before."""
    pass_: "PassReport | None"
    """None when there was nothing to compute."""
    copied: int = 0
    """Rows of new images whose bytes a finished row had, when the cache grew."""
    is_new: bool = False
    """Whether the file was made from features that the cache of other data has."""

    def unreadable(self) -> Unreadable:
        """The images without features in at least one view."""
        reasons = {
            row: REASONS[view.reasons[row]]
            for view in self.cache.views
            for row in np.flatnonzero(view.status == UNREADABLE).tolist()
        }
        return Unreadable((self.cache.manifest.relative_path(row), reasons[row]) for row in sorted(reasons))


def summary(reports: Sequence[Report], described: bool = True) -> str:
    """What this run did and, if `described`, what the caches hold now, for a terminal."""
    passes = [report.pass_ for report in reports if report.pass_]
    bottleneck = [each.bottleneck() for each in passes[:1] if each.forwarded]
    return "\n".join([*(_summary(report, described) for report in reports), *bottleneck])


def _summary(report: Report, described: bool) -> str:
    if report.pass_ is None and not report.copied and not report.is_new:
        return f"{report.cache.path} is up to date: nothing to do."
    return "\n".join([*([describe(report.cache)] if described else []), _done_by(report)])


def _done_by(report: Report) -> str:
    before = f"{report.taken_over:,} images were there already"
    if report.pass_ is None:
        return f"{before}, {report.copied:,} got the features of an identical image"
    several = report.pass_.backbones > 1
    seconds = report.pass_.own_seconds if several else report.pass_.wall_seconds
    rate = report.pass_.forwarded / max(seconds, 1e-9)
    net = report.cache.recipe.backbone if several else "the backbone"
    images, views = counted(report.pass_.decoded, "image"), counted(report.pass_.forwarded, "view")
    what = f"{views} of {images}" if report.cache.augmented else counted(report.pass_.forwarded, "image")
    copied = f"{report.pass_.copied + report.copied:,} got the features of an identical image"
    through = f"{what} through {net} in {seconds:.1f} s ({rate:.1f} a second)"
    return f"{through}; {before}, {copied}"
