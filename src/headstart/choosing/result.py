"""The images that were chosen, and how many there were to choose from. n chosen images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.support.files import write_csv
from headstart.support.quantities import counted

COLUMNS = ("rank", "path", "predicted", "probability", "margin")


@dataclass(frozen=True)
class Image:
    """An image that was chosen."""

    path: str
    """As the pool gives it: it works in the folder where the program ran."""
    predicted: str
    """The class that it looks like."""
    probability: float
    margin: float
    """By how much that class is more probable than the next."""


@dataclass(frozen=True)
class Result:
    """The choice, the least sure first."""

    images: Sequence[Image]
    wanted: int
    pool: int  # images, of which:
    labelled: int  # have the bytes of a labelled image
    copies: int  # have the bytes of another one of the pool
    unreadable: int

    @property
    def remaining(self) -> int:
        """How many images there were to choose from."""
        return self.pool - self.labelled - self.copies - self.unreadable

    def write(self, path: Path) -> None:
        """Writes chosen.csv."""
        rows = (
            (rank, each.path, each.predicted, f"{each.probability:.4f}", f"{each.margin:.4f}")
            for rank, each in enumerate(self.images, 1)
        )
        write_csv(path, [COLUMNS, *rows])

    def lines(self) -> Iterator[str]:
        """What was chosen from what, in sentences."""
        yield f"{counted(len(self.images), 'image')} to label next, of {self.remaining:,} that could be chosen."
        if self.remaining < self.wanted:
            yield f"{self.wanted:,} were wanted: these are all."
        if self.remaining < self.pool:
            yield f"Left out of the {counted(self.pool, 'image')} of the pool: {self.left_out()}."

    def left_out(self) -> str:
        """How many images could not be chosen, and why."""
        reasons = [
            (self.labelled, "with the bytes of labelled images"),
            (self.copies, "with the bytes of others of the pool"),
            (self.unreadable, "unreadable"),
        ]
        return ", ".join(f"{count:,} {why}" for count, why in reasons if count)
