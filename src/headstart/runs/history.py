"""The epochs of a training: their columns, a line for the terminal, what makes one the best, and TensorBoard's file."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from headstart.errors import SettingsError
from headstart.runs.selection import NAMES, column, merit
from headstart.settings.selection import Select
from headstart.support.checksums import checked_csv

HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy", "seconds")
"""The columns of a history; before the seconds also the figure that chooses the epoch, if it is none of these."""

AfterEpoch = Callable[[dict[str, float]], None]
"""What is called with each new row of a history."""

TAGS = {"train_loss": "loss/train", "val_loss": "loss/validation", "val_accuracy": "accuracy/validation"} | {
    f"val_{select}": f"{NAMES[select]}/validation" for select in ("balanced_accuracy", "macro_f1")
}
"""What TensorBoard calls the columns of a history; one chart for each word before the slash."""


def epoch_line(row: dict[str, float], epochs: int, select: Select = "accuracy") -> str:
    """One row of a history, for the terminal."""
    chooses = "" if column(select) in HISTORY else f", val {NAMES[select]} {row[column(select)]:.4f}"
    return (
        f"epoch {row['epoch']:.0f}/{epochs}: train loss {row['train_loss']:.4f}, "
        f"val loss {row['val_loss']:.4f}, val accuracy {row['val_accuracy']:.4f}{chooses}"
    )


def row_of(
    epoch: int, losses: tuple[float, float], accuracy: float, select: Select, selected: float, seconds: float
) -> dict[str, float]:
    """A row of a history: of its losses the first is that of training; `selected` is the figure that chooses."""
    train_loss, val_loss = losses
    row = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "val_accuracy": accuracy}
    return {**row, column(select): selected, "seconds": seconds}


def score(row: Mapping[str, float], select: Select = "accuracy") -> tuple[float, float]:
    """What the best epoch and head have most of: the figure on validation, then the lowest validation loss."""
    return (0.0, 0.0) if math.isnan(row["val_accuracy"]) else (merit(select, row[column(select)]), -row["val_loss"])


def require_tensorboard() -> None:
    """Raises a SettingsError where the package is missing: before a training, not after."""
    if find_spec("tensorboard") is None:
        raise SettingsError(
            "--tensorboard needs the package tensorboard, which is not installed: "
            ".venv/bin/python -m pip install tensorboard"
        )


def write_events(folder: Path) -> None:
    """Writes the epochs in a run's history.csv; nothing where it has none, or its event file is there already."""
    header, *rows = checked_csv(folder / "history.csv")
    if not rows or any(folder.glob("events.out.tfevents.*")):
        return
    with event_writer(folder) as add:
        for row in rows:
            values = dict(zip(header, row, strict=True))
            add({name: float(value or "nan") for name, value in values.items()})


@contextmanager
def event_writer(folder: Path, wanted: bool = True) -> Iterator[AfterEpoch]:
    """What adds one epoch after the other to a new event file; or does nothing, where none is wanted.

    The file and its folder are made with the first epoch: a training that fails before it leaves nothing.
    """
    if not wanted:
        yield lambda row: None
        return
    from torch.utils.tensorboard import SummaryWriter  # loads torch

    with ExitStack() as opened:
        writers: list[SummaryWriter] = []

        def add(row: Mapping[str, float]) -> None:
            if not writers:
                writers.append(opened.enter_context(SummaryWriter(str(folder))))
            for name, tag in TAGS.items():
                if math.isfinite(row.get(name, math.nan)):
                    writers[0].add_scalar(tag, row[name], int(row["epoch"]))
            writers[0].flush()

        yield add
