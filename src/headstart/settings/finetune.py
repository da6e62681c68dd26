"""Settings of fine-tuning."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headstart.settings.base import Device, require, require_seed, require_words

STRONG_ONLY = frozenset(
    {"init_head", "train_from", "freeze_batchnorm", "backbone_lr", "weight_decay", "label_smoothing", "augment"}
    | {"precision", "compile"}
)
"""Settings of fine-tuning that the seed's method leaves alone."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Train the whole ResNet50 end to end, for comparison."""

    config: str | None = None
    """A name in pipelines/configs, or a .toml file; flags override what it says."""
    data: str | None = None
    """Folder <class>/*.jpg, folder {train,val,test}/<class>/*.jpg, a .csv with the columns path,label[,split],
    or tar archives in WebDataset's layout: shards/train-{000..099}.tar."""
    run: Path | None = None
    """Folder of the run; by default data/runs/<data set>/finetune-<8 hex digits of these settings>."""
    weights: str = "IMAGENET1K_V1"
    """Where training starts: IMAGENET1K_V1, IMAGENET1K_V2, random, or a .pth file."""
    init_head: Path | None = None
    """Folder of a run whose head the training starts with, instead of a new layer; --weights as its cache had them."""
    image_px: int = 224
    """Side of the square that the net sees, at least 32."""
    resize: Literal["crop", "squash"] = "crop"
    """As in extract, for validation and test; the seed's method always squashes."""
    method: Literal["strong", "seed"] = "strong"
    """strong: AdamW, warm-up and cosine, augmentation, the best epoch; seed: a copied script's, Adam and no more."""
    train_from: Literal["all", "layer3", "layer4", "fc"] = "all"
    """The first part of the net that is trained; what lies before it is frozen, BatchNorm's statistics included."""
    freeze_batchnorm: bool = False
    """Keep BatchNorm's statistics as they are everywhere: for few images and pretrained weights."""
    epochs: int = 10
    """Passes over the training split."""
    batch_size: int = 32
    """Images in one step."""
    lr: float = 1e-3
    """Learning rate of the new layer, at its highest; of all layers with the seed's method, or from random weights."""
    backbone_lr: float = 1e-4
    """Learning rate of pretrained layers, at its highest."""
    weight_decay: float = 0.05
    """Of AdamW, decoupled; biases and BatchNorm have none."""
    label_smoothing: float = 0.1
    """Share of the truth, in [0, 1), that is spread over all classes."""
    augment: Literal["crop-flip", "crop", "none"] = "crop-flip"
    """Random resized crops of the training images, and mirrored ones; crop alone where left and right matter."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of training; auto: bf16 where it is faster here. Validation and test are in fp32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: on CUDA, where it pays."""
    subset: int | None = None
    """Train on this many images only, every class in proportion."""
    workers: int = 0
    """Decoding threads; 0: one for each core."""
    seed: int = 0
    """Seed of the splits (where the data has none), the new layer, the order of the images and the augmentation."""
    device: Device = "auto"
    """auto: cuda, else mps, else cpu."""

    def __post_init__(self) -> None:
        require(self, "image_px", self.image_px >= 32, "at least 32")
        require(self, "epochs", self.epochs >= 1, "at least 1")
        require(self, "batch_size", self.batch_size >= 2, "at least 2 (BatchNorm needs two images)")
        require(self, "lr", self.lr > 0, "above 0")
        require(self, "backbone_lr", self.backbone_lr > 0, "above 0")
        require(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        require(self, "label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        require(self, "subset", self.subset is None or self.subset >= 2, "at least 2")
        require(self, "workers", self.workers >= 0, "0 or more")
        require_words(self)
        require_seed(self)
        if self.method == "seed":
            for field in dataclasses.fields(self):
                kept = field.name not in STRONG_ONLY or getattr(self, field.name) == field.default
                require(self, field.name, kept, f"{field.default} with --method seed, which knows nothing else")
