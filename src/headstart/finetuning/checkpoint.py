"""The state of a training after an epoch, so that a stopped one can go on: one file, written whole or not at all."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from headstart.errors import RunError, warn
from headstart.models.torch_file import first_line, loaded
from headstart.support.checksums import add_checksum, refuse_other_end
from headstart.support.files import FULL_DISK, in_words, plain, remove_left, whole_file


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
            warn(f"{self.path} cannot be read ({first_line(error)}): the training starts again.")
            return None

    def _words(self) -> str:
        return json.dumps(plain(self.identity), sort_keys=True)
