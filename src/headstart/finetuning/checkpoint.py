"""The state of a training after an epoch, so that a stopped one can go on: one file, written whole or not at all."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from headstart.errors import RunError, warn
from headstart.models.torch_file import first_line, has_own_numbers, loaded
from headstart.settings.ranges import CountOrZero
from headstart.support.checksums import add_checksum, refuse_other_end
from headstart.support.devices import is_out_of_memory
from headstart.support.files import FULL_DISK, in_words, plain, remove_left, whole_file
from headstart.support.passing import refuse_passing
from headstart.support.strangers import misfit


class Progress(TypedDict):
    """The types of what a state holds beside the net itself, the optimizer and random numbers."""

    best: dict[str, Any]
    history: list[dict[str, float]]
    best_epoch: CountOrZero
    precision: Literal["fp32", "bf16"]
    unreadable: list[CountOrZero]
    numbers: tuple[int, float, float]


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of a run; `identity` decides the result, and a checkpoint with another one is not loaded."""

    folder: Path
    identity: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The file, to be deleted once the run is complete."""
        return self.folder / "checkpoint.pth"

    def save(self, state: Mapping[str, Any]) -> None:
        """Replaces the last checkpoint; the state is made of tensors, numbers, texts, dictionaries and lists."""
        failure = f"The checkpoint {self.path} cannot be written"
        with in_words(RunError, failure, "The last one is kept.", FULL_DISK):
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as path:
                torch.save({"identity": self._words(), "state": dict(state)}, path)
                add_checksum(path)

    def remove(self) -> None:
        """Removes it when the run is complete, and what stopped processes have left of it."""
        self.path.unlink(missing_ok=True)
        remove_left(self.path)

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last; None if this run has none, or it cannot be read."""
        if not os.path.lexists(self.path):
            return None
        try:
            refuse_other_end(self.path)
            content = loaded(self.path)
            return dict(content["state"]) if content["identity"] == self._words() else None
        except Exception as error:  # of the disk, or of torch's parsers on a damaged file
            refuse_passing(RunError, self.path, error)
            warn(f"{self.path} cannot be read ({first_line(error)}): the training starts again.")
            return None

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raises RunError where the state in the file is not of this training, as a stranger's may be."""
        try:
            yield
        except Exception as error:
            if is_out_of_memory(error):  # of the device
                raise
            refuse_passing(RunError, self.path, error)
            raise RunError(
                f"{self.path} does not hold the state of this training ({first_line(error)}). Move it away, and give "
                "the same command again: the training starts with its first epoch."
            ) from None

    def _words(self) -> str:
        return json.dumps(plain(self.identity), sort_keys=True)


def refuse_misfit(state: Mapping[str, Any], net: nn.Module, images: int, columns: Iterable[str]) -> None:
    """Raises ValueError unless a state is one of a training of this net with so many images, by types and shapes.

    `columns` are those of its history. What `load_state_dict` compares is left to that.
    """
    if (place := misfit(state, Progress)) is not None:
        raise ValueError(f"{place or 'a part'} is missing, or of another type")
    history = state["history"]
    if any(row.keys() != set(columns) for row in history) or not 1 <= state["best_epoch"] <= len(history):
        raise ValueError("its history is another")
    if max(state["unreadable"], default=0) >= images:
        raise ValueError("it is of other images")
    best, own = state["best"], net.state_dict()
    if best.keys() != own.keys() or not all(_is_alike(best[name], value) for name, value in own.items()):
        raise ValueError("the net of its best epoch is another")


def refuse_other_moments(optimizer: Optimizer) -> None:
    """Raises ValueError where what an optimizer keeps of a parameter has another shape, which it does not compare."""
    for parameter, kept in optimizer.state.items():
        for tensor in kept.values():
            if not has_own_numbers(tensor) or tensor.shape not in (parameter.shape, ()):
                raise ValueError("its optimizer is of another net")


def _is_alike(value: Any, own: Any) -> bool:
    """Whether a value in the state of a net can be in the place of its own: nets may keep more than tensors there."""
    if not isinstance(own, Tensor) or not isinstance(value, Tensor):
        return isinstance(own, Tensor) == isinstance(value, Tensor)
    return value.shape == own.shape and (has_own_numbers(value) or not has_own_numbers(own))
