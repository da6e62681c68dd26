"""Settings of the search for images that are alike."""

from dataclasses import dataclass
from pathlib import Path

from headstart.settings.base import CachedConfig, require
from headstart.settings.ranges import Count, CountOrZero, Share


@dataclass(frozen=True, kw_only=True)
class SimilarConfig(CachedConfig):
    """Find the images of a data set that are most like others: exact nearest neighbours by features."""

    images: str | None = None
    """What to look for: a picture, a folder, a pattern in quotes ('new/**/*.jpg'), a .csv with a column path, a .txt
    with a path on each line, or archives."""
    nearest: Count = 10
    """How many images of the data set are named for each."""
    out: Path | None = None
    """The CSV that is written, with the page beside it; by default data/runs/<data set>/similar/<name of the
    images>.csv."""
    weights: str | None = None
    """The file of the backbone's weights, if the features were made with a file that is no longer where it was."""
    batch_size: Count | None = None
    """Images in one forward pass; by default 32, on CUDA 256, or fewer where its memory is small."""
    workers: CountOrZero = 0
    """Decoding threads; 0: one for each core."""
    max_unreadable: Share = 0.01
    """Fraction of unreadable images above which the exit code is 1. Up to 3 images, if they are at most a tenth, are no
    failure either; 0 allows none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "out", self.out is None or self.out.suffix.lower() == ".csv", "the name of a .csv")
