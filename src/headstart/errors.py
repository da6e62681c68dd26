"""Errors that a user can cause. A program prints them as plain text, without a traceback, and exits with code 2."""

import warnings
from collections.abc import Iterable
from difflib import get_close_matches


class HeadstartError(ValueError):
    """An error that the user can correct; the message says what was found, where, and what to do.

    Attributes:
        on_command_line: the message as programs print it: `--lr`, `make extract`. What Python's functions raise says
            `lr=` and `headstart.extract` instead; see `settings/wording.py`.
    """

    def __init__(self, message: str, *, in_python: str | None = None) -> None:
        """Takes the message for the command line; `in_python` is that for Python, where it cannot be derived."""
        super().__init__(message)
        self.on_command_line, self.in_python = message, in_python


class SettingsError(HeadstartError):
    """A flag, an argument, or a key of a TOML file, that is unknown or out of range."""


class CannotCompile(SettingsError):
    """A net that is to be compiled, and cannot be on this machine.

    Attributes:
        reason: a line without a stop.
    """

    def __init__(self, reason: str) -> None:
        """Says what to do."""
        super().__init__(
            f"The net cannot be compiled here ({reason}): mend that, or use --compile off --precision fp32."
        )
        self.reason = reason


class DataError(HeadstartError):
    """Images, folders or a CSV that cannot be used as a data set."""


class WeightsError(HeadstartError):
    """Weights that are missing, or not those of the backbone."""


class BackboneError(HeadstartError):
    """A backbone that there is not, or whose features cannot be used."""


class CacheError(HeadstartError):
    """A feature cache that cannot be used as asked."""


class RecipeMismatch(CacheError):
    """The cache was made by another recipe than the one asked for."""


class CacheLocked(CacheError):
    """Another process is filling the cache."""


class CacheDamaged(CacheError):
    """Bytes in the cache are not those that were written."""


class RunError(HeadstartError):
    """A run folder that is missing, incomplete, or holds another run."""


class ExportFailed(HeadstartError):
    """The exported model does not predict what the run predicts."""


class TrainingFailed(HeadstartError):
    """Training failed: the loss became NaN or infinite."""


class ProcessLost(HeadstartError):
    """Another of the processes that work together has ended too early."""


class DataWarning(UserWarning):
    """A problem in the data that does not stop the program, but that a person should know."""


def warn(message: str) -> None:
    """Warns with a `DataWarning`; the same message is shown once for each line that calls this."""
    warnings.warn(message, DataWarning, stacklevel=2)


OTHER_NAMES = {
    "args": "head_args sweep_args probe_args curve_args cv_args finetune_args compare_args predict_args extract_args",
    "learning_rate": "lr",
    **dict.fromkeys(("wd", "l2"), "weight_decay"),
    **dict.fromkeys(("bs", "batch"), "batch_size"),
    **dict.fromkeys(("img_size", "image_size", "imgsz", "size", "resolution"), "image_px"),
    **dict.fromkeys(("num_workers", "threads"), "workers"),
    **dict.fromkeys(("num_epochs", "max_epochs", "iterations"), "epochs"),
    **dict.fromkeys(("hidden_size", "layers"), "hidden"),
    "drop": "dropout",
    "scheduler": "schedule",
    "smoothing": "label_smoothing",
    "random_state": "seed",
    **dict.fromkeys(("dtype", "amp"), "precision"),
    "pretrained": "weights IMAGENET1K_V1",
    **dict.fromkeys(("imagenet", "default"), "IMAGENET1K_V1"),
    "checkpoint": "weights run",
    "model": "backbone run",
    **dict.fromkeys(("arch", "net", "encoder"), "backbone"),
    "gpu": "cuda",
    "output": "out",
    "input": "images",
}
"""What other programs call these settings and words; of several the first that there is."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is meant, if one is: under another common name, or with a slip of the finger."""
    names = {name.lower(): name for name in known}
    others = OTHER_NAMES.get(word.lower().replace("-", "_"), "").lower().split()
    meant = [*(other for other in others if other in names), *get_close_matches(word.lower(), names, n=1)]
    return names[meant[0]] if meant else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean epochs?`, to end a message about an unknown word; empty if no known word is near."""
    meant = nearest(word, known)
    return f" Did you mean {meant}?" if meant else ""
