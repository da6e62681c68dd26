"""The contestant around fine-tuning."""

from contextlib import redirect_stdout
from io import StringIO

import torch

from headstart.datasets.manifest import Manifest
from headstart.finetuning.training import finetune
from headstart.settings import FinetuneConfig


def fine_tuning(manifest: Manifest, config: FinetuneConfig, device: torch.device) -> float:
    """Images per second of training, augmentation included, without validation and the checkpoint."""
    with redirect_stdout(StringIO()):  # its lines would interrupt the table
        return finetune(manifest, config, device).images_per_second
