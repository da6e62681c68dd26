"""Settings of fine-tuning."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from headstart.settings.base import TrainingConfig, require
from headstart.settings.listing import ImagesConfig
from headstart.settings.ranges import Compile, Count, Fraction, ImagePx, Names, Range, Rate, Seed, Size
from headstart.settings.selection import SelectConfig

STRONG_ONLY = (
    *("init_head", "train_from", "freeze_batchnorm", "backbone_lr", "weight_decay", "label_smoothing", "augment"),
    *("precision", "compile"),
)
"""Settings that `--method seed` does not use."""
OF_RESNET50 = {"weights": "IMAGENET1K_V1", "image_px": 224, "resize": "crop", "lr": 1e-3, "backbone_lr": 3e-4}
"""What settings that are left out are for resnet50; any other net decides its own."""
OF_SEED = {**OF_RESNET50, "backbone_lr": 1e-4}
"""The same with the seed's method, which uses no rate of its own for pretrained layers: its runs keep their names."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(SelectConfig, TrainingConfig, ImagesConfig):
    """Train a whole net end to end, for comparison."""

    backbone: Names = "resnet50"
    """The net: resnet50, any other classification net of torchvision, timm:NAME (needs the extra timm), or
    package.module:function, which returns a headstart.Backbone; several names train one after the other."""
    weights: str | None = None
    """Where training starts: a name in torchvision, such as IMAGENET1K_V1 or IMAGENET1K_V2, random, or a .pth or
    .safetensors file; by default IMAGENET1K_V1, for timm its own."""
    init_head: Path | None = None
    """Folder of a run whose head replaces the new last layer at the start; give the --weights of its cache."""
    image_px: ImagePx | None = None
    """Side of the square that the net sees, in pixels, at least 8; by default that of the net, 224 for resnet50."""
    resize: Literal["crop", "squash"] | None = None
    """As in extract, for validation and test; the seed's method always squashes. By default that of the net, crop for
    resnet50."""
    method: Literal["strong", "seed"] = "strong"
    """strong: AdamW, warm-up and cosine, augmentation, the best epoch; seed: a copied script's, Adam and no more."""
    train_from: str = "all"
    """The first part of the net that is trained: all, head (the new layer alone), or a module of the net, such as
    layer4 of resnet50, or features.6; the parts before it are frozen, BatchNorm's statistics included."""
    freeze_batchnorm: bool = False
    """Keep BatchNorm's statistics as they are everywhere: for few images and pretrained weights."""
    epochs: Count = 10
    """Passes over the training split."""
    batch_size: Annotated[int, Range("at least 2 (BatchNorm needs two images)", lambda value: value >= 2)] = 32
    """Images in one step."""
    lr: Rate | None = None
    """Learning rate of the new layer, at its highest; of all layers with the seed's method, or from random weights. By
    default 1e-3; 5e-4 for nets without BatchNorm, such as transformers, but with the seed's method."""
    backbone_lr: Rate | None = None
    """Learning rate of pretrained layers, at its highest; by default 3e-4, for nets without BatchNorm 5e-5."""
    weight_decay: Size = 0.05
    """Of AdamW, decoupled; biases, norms, tokens and embeddings of positions have none."""
    label_smoothing: Fraction = 0.1
    """Share of the target, in [0, 1), that is spread over all classes."""
    augment: Literal["crop-flip", "crop", "none"] = "crop-flip"
    """Random resized crops of the training images, and mirrored ones; crop alone where left and right matter."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format in training; auto: bf16 where it is faster here. Validation and test are in fp32."""
    compile: Compile = "auto"
    """torch.compile, of steps with full batches; auto: on CUDA, in trainings of at least 5,000 such steps."""
    subset: Annotated[int | None, Range("at least 2", lambda value: value is None or value >= 2)] = None
    """Train on this many images only, every class in proportion."""
    seed: Seed = 0
    """Seed of the new layer, the order of the images and the augmentation."""
    split_seed: Seed | None = None
    """Seed of the splits, where the data has none; by default that of the data set's features, else that of
    its newest run, else --seed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method == "seed":
            for name in STRONG_ONLY:
                default = OF_SEED.get(name, getattr(FinetuneConfig, name))
                unchanged = getattr(self, name) in (getattr(FinetuneConfig, name), default)
                require(self, name, unchanged, f"{default} with --method seed, which does not use it")

    def completed(self, **of_net: Any) -> "FinetuneConfig":
        """The same with the settings that were left out: those that the net decides, else those of resnet50."""
        values = {**(OF_SEED if self.method == "seed" else OF_RESNET50), **of_net}
        left_out = {name: value for name, value in values.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **left_out)
