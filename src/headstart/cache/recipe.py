"""The recipe: everything beside an image's bytes that decides its features."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self

from headstart.errors import WeightsError
from headstart.images.geometry import Geometry
from headstart.models.weights import (
    OWN,
    RESNET50,
    is_file_or_random,
    is_of_file,
    known_weights,
    shorter_px,
    source_digest,
    weights_digest,
)
from headstart.settings import ExtractConfig
from headstart.settings.ranges import Interpolation, Pool
from headstart.settings.ranges import Precision as Precision
from headstart.support.strangers import misfit

PIXELS = "Pillow, bilinear, antialiased, 8-bit; alpha on white; EXIF applied; ICC ignored"


@dataclass(frozen=True)
class Parameters:
    """Values that decide features: written into a cache as JSON, compared by a digest."""

    def digest(self) -> str:
        """32 hex digits over every field."""
        return blake2b(self.to_json().encode(), digest_size=16).hexdigest()

    def to_json(self) -> str:
        """The fields in alphabetical order; those that a later version added only where they are not the default."""
        usual = {field.name: field.default for field in fields(self) if field.metadata == ADDED}
        said = {name: value for name, value in asdict(self).items() if name not in usual or value != usual[name]}
        return json.dumps(said, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote; TypeError if a field is missing or unknown, or has another type."""
        values = json.loads(text)
        if (wrong := misfit(values, cls)) is not None:
            raise TypeError(f"its {cls.__name__.lower()} has another type than ours: {wrong}")
        return cls.from_values(values)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The same from the fields by name, as JSON has them."""
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


ADDED = {"added": "format version 3"}
"""Marks a field that is not in the JSON while it has its default, so that digests of older caches stay as they are."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Parameters):
    """With one recipe, the same bytes give the same features. For resnet50 the added fields have their defaults."""

    backbone: str = RESNET50
    """resnet50, another net of torchvision, timm:NAME, or package.module:function."""
    weights: str
    """A name of torchvision's or timm's, random, the name of a file, or "its own": what one's own function loads."""
    weights_digest: str
    """Of the file; for ResNet50's published weights their hash, for random ones the seed; empty for others."""
    state_digest: str = field(default="", metadata=ADDED)
    """Of the loaded weights and buffers without the classifier."""
    source_digest: str = field(default="", metadata=ADDED)
    """Of the text of one's own function."""
    package: str = field(default="", metadata=ADDED)
    """The package that the net is from, and its version; of one's own function the module and its version."""
    pool: Pool = field(default="head", metadata=ADDED)
    features: int = field(default=2048, metadata=ADDED)
    """D."""
    interpolation: Interpolation = field(default="bilinear", metadata=ADDED)
    mean: tuple[float, float, float] | None = field(default=None, metadata=ADDED)
    """Of the net's pixels in [0, 1], for each of R, G, B; None: as ResNet50's weights say."""
    std: tuple[float, float, float] | None = field(default=None, metadata=ADDED)
    image_px: int
    resize: Literal["crop", "squash"]
    shorter_px: int
    reduced_decode: bool
    pixels: str = PIXELS
    """How bytes become pixels; changes when images/decoding.py does."""
    precision: Precision  # arithmetic of the pass; auto only until the first pass decides
    compiled: bool | None  # None only until the first pass decides
    storage: Literal["float16", "float32"]
    scales: tuple[float, ...] = field(default=(), metadata=ADDED)
    """Of the activations in int8, as `models.int8.calibrated` measured them on images of the data."""

    @property
    def geometry(self) -> Geometry:
        """How an image becomes a square."""
        return Geometry(self.image_px, self.resize, self.shorter_px, self.reduced_decode, self.interpolation)

    def adopting(self, stored: "Recipe") -> "Recipe":
        """This recipe, with what it leaves open (`auto`) taken from the recipe of a cache.

        A file of weights of the same bytes has the name that it has there: it may have been renamed.
        """
        same_file = is_of_file(self.weights_digest) and self.weights_digest == stored.weights_digest
        return replace(
            self,
            weights=stored.weights if same_file else self.weights,
            precision=stored.precision if self.precision == "auto" else self.precision,
            compiled=stored.compiled if self.compiled is None else self.compiled,
            scales=self.scales or stored.scales,
        )

    def differences(self, stored: "Recipe") -> list[str]:
        """Each field in which a cache's recipe differs from this one, in words; `auto` differs from nothing."""
        differences = self.adopting(stored).differences_from(stored, "the cache has")
        return differences if self.backbone == stored.backbone else differences[:1]  # the rest follows from it

    @property
    def weights_setting(self) -> str | None:
        """The value of `--weights`, of a file only its name; None where the name of the backbone says it."""
        return None if ":" in self.backbone and self.weights_digest == "" else self.weights

    def refuse_other_net(self, facts: Mapping[str, Any]) -> None:
        """Raises WeightsError if a net that was loaded is not the one of this recipe; see `models.loading.facts`."""
        for name, now in facts.items():
            is_compared = name != "package" or self.weights == OWN  # another version of torchvision may be the same net
            if is_compared and (made := getattr(self, name)) != now:
                is_own = self.weights == OWN and name == "state_digest"
                seeds = " If the function draws weights, let it seed them with torch.manual_seed." if is_own else ""
                raise WeightsError(
                    f"The backbone {self.backbone} is not the one that made the features: its {name} is {now}, theirs "
                    f"{made}. Use {self.package or 'the package'} and the weights of that time.{seeds}"
                )


def from_config(config: ExtractConfig, with_weights_of: Recipe | None = None) -> Recipe:
    """The recipe that a run of extract with resnet50 asks for, `auto` still open; `with_weights_of` names weights."""
    full = config.completed()
    if with_weights_of:
        weights, digest = with_weights_of.weights, with_weights_of.weights_digest
    else:
        weights = full.weights if full.weights in known_weights() else Path(full.weights).name
        digest = weights_digest(full.weights, full.seed)
    return Recipe(
        weights=weights,
        weights_digest=digest,
        shorter_px=shorter_px(full.image_px, weights),
        **_settings(full),
    )


def from_stored(config: Any, stored: Recipe) -> Recipe:
    """What a run asks for that goes on with a cache of another backbone than resnet50, without loading the net.

    `config` is completed with the settings of the cache.
    """
    source = source_digest(config.backbone) or stored.source_digest  # a module that is gone is told when it is needed
    asked = replace(stored, **_settings(config), source_digest=source)
    if config.image_px != stored.image_px:
        asked = replace(asked, shorter_px=round(config.image_px * stored.shorter_px / stored.image_px))
    if config.weights != stored.weights_setting or stored.weights == "random":
        digest = weights_digest(config.weights, config.seed) if is_file_or_random(config.weights) else ""
        asked = replace(asked, weights=Path(config.weights).name, weights_digest=digest)
    return asked


def of_net(config: Any, weights: str, facts: Mapping[str, Any]) -> Recipe:
    """The recipe for a new cache of another backbone than resnet50; `weights` and `facts` are those of the loaded net.

    `config` has the pixels of the net where none were given.
    """
    digest = weights_digest(config.weights, config.seed) if is_file_or_random(config.weights) else ""
    pixels = PIXELS.replace("bilinear", facts["interpolation"])
    return Recipe(
        backbone=config.backbone,
        weights=weights,
        weights_digest=digest,
        pixels=pixels,
        source_digest=source_digest(config.backbone),
        **_settings(config),
        **facts,
    )


def _settings(config: Any) -> dict[str, Any]:
    return {
        **{name: getattr(config, name) for name in ("image_px", "resize", "reduced_decode", "storage", "pool")},
        "precision": config.precision,
        "compiled": {"auto": None, "on": True, "off": False}[config.compile],
    }


def weights_of(recipe: Recipe, given: str | None, kept: str = "") -> tuple[str | None, int]:
    """What loads a recipe's weights again: the value of `--weights`, and the seed.

    A file of weights must be given, or still be where it was `kept`.
    """
    drawn = recipe.weights_digest.removeprefix("seed ") if recipe.weights == "random" else "0"
    if not drawn.isdecimal():
        raise WeightsError(f"The recipe has random weights of the seed {drawn!r}, which is no number.")
    seed = int(drawn)
    if given is None:
        return _weights_as_made(recipe, kept), seed
    if recipe.weights != OWN and (given != recipe.weights_setting or is_of_file(recipe.weights_digest)):
        _refuse_other_weights(recipe, given)
    return given, seed


def _weights_as_made(recipe: Recipe, kept: str) -> str | None:
    if not is_of_file(recipe.weights_digest):
        return recipe.weights_setting
    digest = weights_digest(kept, 0) if Path(kept).is_file() else ""
    if digest != recipe.weights_digest:
        why = f", but {kept} {'has other bytes now' if digest else 'is no longer there'}" if kept else ""
        raise WeightsError(f"The features were made with {recipe.weights}{why}: say where it lies with --weights.")
    return kept


def _refuse_other_weights(recipe: Recipe, given: str) -> None:
    """Raises WeightsError if `--weights` gives others; a file instead of published ones is told once loaded."""
    digest = weights_digest(given, 0) if Path(given).is_file() else ""
    if digest and recipe.weights_digest in ("", digest):
        return
    what, is_file = f" ({digest}, not {recipe.weights_digest})" if digest else "", is_of_file(recipe.weights_digest)
    raise WeightsError(
        f"--weights {given} is {'no file, and ' if is_file and not digest else ''}not {recipe.weights}, with which the "
        f"features of {recipe.backbone} were made{what}: {'give that file' if is_file else 'leave it out'}."
    )
