"""The epochs of a run as an event file in its folder, for `tensorboard --logdir data/runs`."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headstart.errors import SettingsError
from headstart.runs.history import HISTORY, AfterEpoch
from headstart.support.files import read_csv

TAGS = {"train_loss": "loss/train", "val_loss": "loss/validation", "val_accuracy": "accuracy/validation"}
"""What TensorBoard calls the columns of a history; one chart for each word before the slash."""


def require_tensorboard() -> None:
    """Raises a SettingsError where the package is missing: before a training, not after."""
    if find_spec("tensorboard") is None:
        raise SettingsError(
            "--tensorboard needs the package tensorboard, which is not installed: "
            ".venv/bin/python -m pip install tensorboard"
        )


def write(folder: Path) -> None:
    """Writes the epochs in a run's history.csv; nothing where it has none, or its event file is there already."""
    header, *rows = read_csv(folder / "history.csv")
    if not rows or any(folder.glob("events.out.tfevents.*")):
        return
    with writer(folder) as add:
        for row in rows:
            values = dict(zip(header, row, strict=True))
            add({name: float(values[name] or "nan") for name in HISTORY})


@contextmanager
def writer(folder: Path, wanted: bool = True) -> Iterator[AfterEpoch]:
    """What adds one epoch after the other to a new event file; or does nothing, where none is wanted."""
    if not wanted:
        yield lambda row: None
        return
    from torch.utils.tensorboard import SummaryWriter  # loads torch

    with SummaryWriter(str(folder)) as events:
        yield lambda row: _add(events, row)


def _add(events: Any, row: Mapping[str, float]) -> None:
    for name, tag in TAGS.items():
        if math.isfinite(row[name]):
            events.add_scalar(tag, row[name], int(row["epoch"]))
    events.flush()
