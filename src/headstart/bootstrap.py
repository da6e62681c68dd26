"""How far a figure could be off, where no formula says it: by drawing the images again.

N images, F figures.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
"""Another seed then moves an end by about 2% of the width: the standard error of a normal's 2.5th percentile."""
SEED = 0
"""Fixed, so that the same predictions always have the same interval."""


def intervals(figures: Callable[[npt.NDArray[np.int64]], Sequence[float]], images: int) -> npt.NDArray[np.float64]:
    """The 95% percentile intervals of figures under the choice of the images.

    They know no more than the images at hand: a figure that is the same in every resample, such as the accuracy of a
    model without an error, has an interval without width.

    Args:
        figures: gives the F figures of some images, by their rows (N,), each in 0..N-1; a row may come several times.
        images: N, at least 1.

    Returns:
        (F, 2), low and high in the unit of the figure; NaN for a figure that is NaN in a resample.

    Source: Efron and Tibshirani 1993, doi:10.1201/9780429246593, chapter 13.
    """
    generator = np.random.default_rng(SEED)
    resampled = [figures(generator.integers(images, size=images)) for _ in range(RESAMPLES)]
    return np.quantile(resampled, (0.025, 0.975), axis=0).T
