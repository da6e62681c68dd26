"""Whether the net that made the features of a cache was fine-tuned on images that heads are now tested on."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.cache.feature_cache import FeatureCache
from headstart.datasets.naming import owner_of_run
from headstart.errors import DataWarning, RunError
from headstart.runs.predictions import read_predictions
from headstart.runs.run import FINETUNED, load_run


def warn_of_seen(cache: FeatureCache, rows: NDArray[np.int64]) -> None:
    """Warns where test images, rows (n,), were no test images of the run that fine-tuned a net of these features."""
    files = (Path(part.weights_file) for part in cache.parts)
    for folder in (file.parent for file in files if file.name.startswith(FINETUNED)):
        try:
            run = load_run(folder)
            if owner_of_run(run.metrics, cache.manifest.source) != "same":
                continue
            unseen = set(read_predictions(run.folder).paths)
        except RunError:  # the file was moved
            continue
        seen = sum(cache.manifest.relative_path(row) not in unseen for row in rows.tolist())
        if seen:
            warnings.warn(
                f"{seen:,} of {len(rows):,} test images were no test images of {run.folder}, whose net made these "
                "features: where it learned from them, the accuracy is too high. Fine-tune again on the images as they "
                "are now, with the same --split-seed.",
                DataWarning,
                stacklevel=2,
            )
