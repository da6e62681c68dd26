"""The figure by which validation chooses: epochs, settings, penalties, and the best of several runs."""

from dataclasses import dataclass
from typing import Literal

from headstart.settings.base import Config

Select = Literal["accuracy", "balanced_accuracy", "macro_f1", "log_loss"]


@dataclass(frozen=True, kw_only=True)
class SelectConfig(Config):
    """Settings of the programs that choose by validation."""

    select: Select = "accuracy"
    """The figure on the validation images that chooses the epoch, setting or penalty, and by which compare ranks the
    runs: accuracy; balanced_accuracy or macro_f1, in which rare classes count as much as frequent ones; log_loss."""

    def decides(self, setting: str) -> bool:
        """Accuracy, by which earlier versions chose, is no part of the identity: their runs are found."""
        return super().decides(setting) and (setting != "select" or self.select != "accuracy")
