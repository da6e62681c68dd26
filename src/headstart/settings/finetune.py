"""Settings of fine-tuning."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from headstart.settings.base import TrainingConfig, require
from headstart.settings.listing import ImagesConfig
from headstart.settings.ranges import Compile, Count, Fraction, ImagePx, Range, Rate, Seed, Size

STRONG_ONLY = frozenset(
    {"init_head", "train_from", "freeze_batchnorm", "backbone_lr", "weight_decay", "label_smoothing", "augment"}
    | {"precision", "compile"}
)
"""Settings that `--method seed` does not use."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainingConfig, ImagesConfig):
    """Train the whole ResNet50 end to end, for comparison."""

    weights: str = "IMAGENET1K_V1"
    """Where training starts: IMAGENET1K_V1, IMAGENET1K_V2, random, or a .pth or .safetensors file."""
    init_head: Path | None = None
    """Folder of a run whose head replaces the new last layer at the start; give the --weights of its cache."""
    image_px: ImagePx = 224
    """Side of the square that the net sees, in pixels, at least 32."""
    resize: Literal["crop", "squash"] = "crop"
    """As in extract, for validation and test; the seed's method always squashes."""
    method: Literal["strong", "seed"] = "strong"
    """strong: AdamW, warm-up and cosine, augmentation, the best epoch; seed: a copied script's, Adam and no more."""
    train_from: Literal["all", "layer3", "layer4", "fc"] = "all"
    """The first part of the net that is trained; the parts before it are frozen, BatchNorm's statistics included."""
    freeze_batchnorm: bool = False
    """Keep BatchNorm's statistics as they are everywhere: for few images and pretrained weights."""
    epochs: Count = 10
    """Passes over the training split."""
    batch_size: Annotated[int, Range("at least 2 (BatchNorm needs two images)", lambda value: value >= 2)] = 32
    """Images in one step."""
    lr: Rate = 1e-3
    """Learning rate of the new layer, at its highest; of all layers with the seed's method, or from random weights."""
    backbone_lr: Rate = 1e-4
    """Learning rate of pretrained layers, at its highest."""
    weight_decay: Size = 0.05
    """Of AdamW, decoupled; biases and BatchNorm have none."""
    label_smoothing: Fraction = 0.1
    """Share of the target, in [0, 1), that is spread over all classes."""
    augment: Literal["crop-flip", "crop", "none"] = "crop-flip"
    """Random resized crops of the training images, and mirrored ones; crop alone where left and right matter."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format in training; auto: bf16 where it is faster here. Validation and test are in fp32."""
    compile: Compile = "auto"
    """torch.compile; auto: on CUDA, where it saves time."""
    subset: Annotated[int | None, Range("at least 2", lambda value: value is None or value >= 2)] = None
    """Train on this many images only, every class in proportion."""
    seed: Seed = 0
    """Seed of the splits (where the data has none), the new layer, the order of the images and the augmentation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method == "seed":
            for field in dataclasses.fields(self):
                unchanged = field.name not in STRONG_ONLY or getattr(self, field.name) == field.default
                require(self, field.name, unchanged, f"{field.default} with --method seed, which does not use it")
