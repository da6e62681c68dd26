"""The recipe: everything beside an image's bytes that decides its features."""

import json
from dataclasses import asdict, dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self

from headstart.errors import WeightsError
from headstart.images.decoding import Geometry
from headstart.models.weights import known_weights, shorter_px, weights_digest
from headstart.settings import ExtractConfig

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Parameters:
    """Values that decide features: written into a cache as JSON, compared by a digest."""

    def digest(self) -> str:
        """32 hex digits over every field."""
        return blake2b(self.to_json().encode(), digest_size=16).hexdigest()

    def to_json(self) -> str:
        """Every field, in alphabetical order."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote; TypeError if a field is missing or unknown."""
        values: dict[str, Any] = json.loads(text)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    def differences_from(self, stored: Self, owner: str) -> list[str]:
        """Each field in which this run asks for another value than `owner` has, in words."""
        pairs = [(field.name, getattr(stored, field.name), getattr(self, field.name)) for field in fields(self)]
        return [
            f"{name}: {owner} {_words(before)}, this run asks for {_words(now)}"
            for name, before, now in pairs
            if before != now
        ]


def _words(value: object) -> str:
    return {"None": "auto", "True": "yes", "False": "no"}.get(str(value), str(value))


@dataclass(frozen=True, kw_only=True)
class Recipe(Parameters):
    """With one recipe, the same bytes give the same features."""

    backbone: str = "resnet50"
    weights: str  # IMAGENET1K_V1, IMAGENET1K_V2, random, or the name of a file
    weights_digest: str
    """Of the file; for torchvision's weights their published hash, for random ones the seed."""
    image_px: int
    resize: Literal["crop", "squash"]
    shorter_px: int
    reduced_decode: bool
    pixels: str = "Pillow, bilinear, antialiased, 8-bit; alpha on white; EXIF applied; ICC ignored"
    """How bytes become pixels; changes when images/decoding.py does."""
    precision: Precision  # arithmetic of the pass; auto only until the first pass decides
    compiled: bool | None  # by torch.compile; None only until the first pass decides
    storage: Literal["float16", "float32"]

    @property
    def geometry(self) -> Geometry:
        """How an image becomes a square."""
        return Geometry(self.image_px, self.resize, self.shorter_px, self.reduced_decode)

    def adopting(self, stored: "Recipe") -> "Recipe":
        """This recipe, with what it leaves open (`auto`) taken from the recipe of a cache.

        A file of weights of the same bytes has the name that it has there: it may have been renamed.
        """
        same_file = self.weights_digest == stored.weights_digest and not {self.weights, stored.weights} & {
            *known_weights()
        }
        return replace(
            self,
            weights=stored.weights if same_file else self.weights,
            precision=stored.precision if self.precision == "auto" else self.precision,
            compiled=stored.compiled if self.compiled is None else self.compiled,
        )

    def differences(self, stored: "Recipe") -> list[str]:
        """Each field in which a cache's recipe differs from this one, in words; `auto` differs from nothing."""
        return self.adopting(stored).differences_from(stored, "the cache has")


def from_config(config: ExtractConfig, with_weights_of: Recipe | None = None) -> Recipe:
    """The recipe that a run of extract asks for, `auto` still open; `with_weights_of` names weights to go on with."""
    full = config.completed()
    if with_weights_of:
        weights, digest = with_weights_of.weights, with_weights_of.weights_digest
    else:
        weights = full.weights if full.weights in known_weights() else Path(full.weights).name
        digest = weights_digest(full.weights, full.seed)
    return Recipe(
        weights=weights,
        weights_digest=digest,
        image_px=full.image_px,
        resize=full.resize,
        reduced_decode=full.reduced_decode,
        shorter_px=shorter_px(full.image_px, weights),
        precision=config.precision,
        compiled={"auto": None, "on": True, "off": False}[config.compile],
        storage=full.storage,
    )


def weights_of(recipe: Recipe, given: str | None, kept: str = "") -> tuple[str, int]:
    """What loads a recipe's weights again: the value of `--weights`, and the seed.

    A file of weights must be given, or still be where it was `kept`.
    """
    seed = int(recipe.weights_digest.removeprefix("seed ")) if recipe.weights == "random" else 0
    is_kept = given is None and recipe.weights not in known_weights()
    weights = given or (kept if is_kept else recipe.weights)
    digest = "" if is_kept and not Path(kept).is_file() else weights_digest(weights, seed)
    if is_kept and digest != recipe.weights_digest:
        why = f", but {kept} {'has other bytes now' if digest else 'is no longer there'}" if kept else ""
        raise WeightsError(f"The features were made with {recipe.weights}{why}: say where it lies with --weights.")
    if digest != recipe.weights_digest:
        raise WeightsError(f"--weights {weights} is {digest}, but the features were made with {recipe.weights_digest}.")
    return weights, seed
