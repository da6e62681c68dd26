"""Whether a net was fine-tuned before on images that are tested now."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import Manifest
from headstart.errors import RunError, warn
from headstart.runs.listing import run_of_net
from headstart.runs.predictions import read_predictions


def warn_of_seen(weights: Iterable[str | Path], manifest: Manifest, rows: NDArray[np.int64]) -> None:
    """Warns where tested images, rows (n,), were no test images of the runs that fine-tuned nets in files."""
    for run in filter(None, (run_of_net(Path(file), manifest.source) for file in weights)):
        try:
            unseen = set(read_predictions(run.folder).paths)
        except RunError:
            continue
        seen = sum(manifest.relative_path(row) not in unseen for row in rows.tolist())
        if seen:
            warn(
                f"{seen:,} of {len(rows):,} test images were no test images of {run.folder}, whose net is used here: "
                "where it learned from them, the accuracy is too high. Fine-tune again on the images as they are now, "
                "with the same --split-seed."
            )
