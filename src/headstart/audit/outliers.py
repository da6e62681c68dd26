"""Images that are unlike all others. n images, k neighbours."""

import numpy as np
from numpy.typing import NDArray

from headstart.audit.finding import Finding
from headstart.datasets.manifest import Manifest
from headstart.search.neighbours import Neighbours

SHARE = 0.01
"""Of the images that are named: no distance separates outliers from others, in any of four data sets, so that a person
must judge. The farthest hundredth of flower photos has a bridge, a boot, a house, and unusual flowers."""
MOST = 200
"""More than a person looks through."""


def findings(near: Neighbours, manifest: Manifest, rows: NDArray[np.int64]) -> list[Finding]:
    """The images (n,) that are farthest from their neighbours; how sure is 1 minus the mean cosine to these."""
    distances = 1 - near.cosines.mean(axis=1)
    count = min(MOST, round(SHARE * len(rows)))
    farthest = np.argsort(-distances, kind="stable")[:count]
    what = f"is among the {count:,} of {len(rows):,} images that are least like any other"
    return [
        Finding(manifest.relative_path(rows[place]), "outlier", what, float(np.clip(distances[place], 0, 1)))
        for place in farthest
    ]
