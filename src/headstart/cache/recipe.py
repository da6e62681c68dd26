"""The recipe: everything beside an image's bytes that decides its features."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headstart.cache.parameters import Parameters, differences
from headstart.errors import WeightsError
from headstart.images.decoding import Geometry
from headstart.models.weights import known_weights, shorter_px, weights_digest
from headstart.settings import ExtractConfig

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Recipe(Parameters):
    """What makes a feature: with one recipe the same bytes give the same numbers."""

    backbone: str = "resnet50"
    weights: str
    """IMAGENET1K_V1, IMAGENET1K_V2, random, or the name of a file."""
    weights_digest: str
    """Of the file's content; for torchvision's weights their published hash, for random ones the seed."""
    image_px: int
    resize: Literal["crop", "squash"]
    shorter_px: int
    reduced_decode: bool
    pixels: str = "Pillow, bilinear, antialiased, 8-bit; alpha on white; EXIF applied; ICC ignored"
    """How bytes become pixels; changes when images/decoding.py does."""
    precision: Precision
    """Arithmetic of the pass; auto only until the first pass decides."""
    compiled: bool | None
    """By torch.compile; None only until the first pass decides."""
    storage: Literal["float16", "float32"]

    @property
    def geometry(self) -> Geometry:
        """How a picture becomes a square."""
        return Geometry(self.image_px, self.resize, self.shorter_px, self.reduced_decode)

    def adopting(self, stored: "Recipe") -> "Recipe":
        """This recipe, with what it leaves open (`auto`) taken from one that has been carried out."""
        return replace(
            self,
            precision=stored.precision if self.precision == "auto" else self.precision,
            compiled=stored.compiled if self.compiled is None else self.compiled,
        )

    def differences(self, stored: "Recipe") -> list[str]:
        """Each field in which a cache's recipe differs from this one, in words; `auto` differs from nothing."""
        return differences(self.adopting(stored), stored, "the cache has")


def from_config(config: ExtractConfig) -> Recipe:
    """The recipe that a run of extract asks for; `auto` settings are still open.

    Raises:
        WeightsError: `--weights` names neither known weights nor a file.
    """
    return Recipe(
        weights=config.weights if config.weights in known_weights() else Path(config.weights).name,
        weights_digest=weights_digest(config.weights, config.seed),
        image_px=config.image_px,
        resize=config.resize,
        reduced_decode=config.reduced_decode,
        shorter_px=shorter_px(config.image_px, config.weights),
        precision=config.precision,
        compiled={"auto": None, "on": True, "off": False}[config.compile],
        storage=config.storage,
    )


def weights_of(recipe: Recipe, given: str | None) -> tuple[str, int]:
    """What loads a recipe's weights again: the value of `--weights`, and the seed.

    Args:
        recipe: of a cache.
        given: a file; needed if the recipe's weights came from one.

    Raises:
        WeightsError: no file is given, or it holds other weights than the recipe's.
    """
    seed = int(recipe.weights_digest.removeprefix("seed ")) if recipe.weights == "random" else 0
    weights = given or recipe.weights
    if weights not in known_weights() and given is None:
        raise WeightsError(f"The features were made with {recipe.weights}: say where it lies with --weights.")
    digest = weights_digest(weights, seed)
    if digest != recipe.weights_digest:
        raise WeightsError(f"--weights {weights} is {digest}, but the features were made with {recipe.weights_digest}.")
    return weights, seed
