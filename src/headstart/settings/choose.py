"""Settings of the program that chooses which images to label next."""

from dataclasses import dataclass
from typing import Literal

from headstart.errors import SettingsError
from headstart.settings.base import is_missing
from headstart.settings.heads import FeaturesConfig
from headstart.settings.ranges import Count, CountOrZero, Seed


@dataclass(frozen=True, kw_only=True)
class ChooseConfig(FeaturesConfig):
    """Choose which images to label next: those that a head is unsure of, unlike each other."""

    pool: str | None = None
    """The images to choose from, which need no labels: a folder, a pattern such as new/**/*.jpg, a .csv with the column
    path, a .txt with a path on each line, or archives."""
    n: Count = 100
    """How many to choose; all, if there are fewer."""
    method: Literal["logistic", "ridge"] = "ridge"
    """What learns from the labelled images which class an image looks like."""
    seed: Seed = 0
    """Seed of the groups of images that are alike, and of the images by which the head is chosen."""
    workers: CountOrZero = 0
    """Threads that decode images of the pool; 0: one for each core."""
    weights: str | None = None
    """The file of the backbone's weights, if the features were made with a file that is no longer where it was."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool is not None and is_missing(self.pool):
            raise SettingsError(f"--pool {self.pool} does not exist. Give a folder of images, or a list of them.")
