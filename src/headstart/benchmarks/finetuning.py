"""The contestant around fine-tuning."""

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO

import torch

from headstart.datasets.manifest import Manifest
from headstart.finetuning.training import finetune
from headstart.settings import FinetuneConfig


@dataclass
class EndToEnd:
    """An epoch over some photos, all layers trained."""

    manifest: Manifest
    config: FinetuneConfig
    device: torch.device

    def ours(self) -> float:
        """Images per second of the strong method, augmentation included, without validation and the checkpoint."""
        with redirect_stdout(StringIO()):  # it says more than a table should
            return finetune(self.manifest, self.config, self.device).images_per_second
