"""What a run of extract asks for: the settings that were given and, for the rest, those of the cache."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cache import recipe
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import cache_path, data_set_of
from headstart.cache.recipe import Recipe
from headstart.cache.views import Augmentation
from headstart.datasets.manifest import Manifest
from headstart.datasets.naming import kept_for, name_of, owner_of_cache
from headstart.errors import CacheError, DataError, RecipeMismatch
from headstart.models.weights import RESNET50
from headstart.settings import DEFAULTS, FEATURES_FOLDER, ExtractConfig, data_of, dataset_name
from headstart.settings.command import as_flag, beside, command, given_flags
from headstart.settings.extract import defaults_of

if TYPE_CHECKING:
    from headstart.extraction.extractor import Extractor


NO_FLAGS = ("config", "data", "backbone", "cache", "views", "overwrite", "prune")
"""Settings that are no flags of the command in a message: they are in other variables, or left out."""


@dataclass
class Asked:
    """What was given, and what comes of it together with the cache that is there.

    Attributes:
        stored: the cache as it was at the start, of one that is cut perhaps a part; None without one, or with
            --overwrite.
        path: the cache.
        config: the settings; those that were left out are those of the cache.
        recipe: that of the settings, in which `auto` is still open; None for a new cache of another backbone than
            resnet50, which must be loaded to know it.
        augmentation: of new views.
    """

    given: ExtractConfig
    stored: FeatureCache | None

    def __post_init__(self) -> None:
        self.path = cache_path(self.given)
        self.kept, self.listing = self._kept()
        self.config = self.given.completed(self.kept).with_listing(self.listing)
        self.recipe = self._recipe(self.stored.recipe if self.stored else None)
        views = self.stored.augmentation if self.stored else None
        seed = views.seed if views and self.given.seed is None else self.config.seed
        self.augmentation = Augmentation(self.config.view_kind, seed)

    def _kept(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings of the cache; of a new one the seed of the splits, and the listing, of another backbone's."""
        if self.stored:
            kept, listing = self.stored.settings(), dict(self.stored.manifest.listing)
            is_other = self.given.backbone not in (None, kept["backbone"])  # which is refused, whatever else was given
            return {"seed": kept["seed"]} if is_other else kept, listing
        if self.given.overwrite or self.given.cache or not self.given.data:
            return {}, {}
        listing, seed, _ = kept_for(self.given.data)
        return {} if seed is None else {"seed": seed}, listing

    def _recipe(self, made: Recipe | None) -> Recipe | None:
        if made and made.backbone != self.config.backbone:
            return replace(made, backbone=self.config.backbone)  # which is refused, whatever else differs
        if self.config.backbone != RESNET50:
            return made and recipe.from_stored(self.config, made)
        keeps_weights = self.given.weights is None and made and made.weights != "random"  # those are the seed's
        return recipe.from_config(self.config, made if keeps_weights else None)

    @cached_property
    def name(self) -> str:
        """The name of the data set; of one that was moved, the name that its cache keeps."""
        data = data_of(self.given)
        keeps = self.stored and owner_of_cache(self.path, data) in ("same", "gone")
        return name_of(data, data_set_of(self.stored) if self.stored and keeps else None)

    @property
    def split_seed(self) -> int:
        """The seed of the splits: as given, else that of the cache; of a new one that of other backbones' features."""
        kept = self.stored.manifest.seed if self.stored else self.kept.get("seed")
        is_unknown = self.stored and not self.stored.keeps_seed  # of version 0.1: what drew its splits, nobody knows
        seeds = self.given.split_seed, None if is_unknown else self.given.seed, kept
        return next((seed for seed in seeds if seed is not None), 0)

    @property
    def weights_file(self) -> str:
        """Where the file of weights lies, that was given or that the cache knows; empty if they are no file."""
        if self.given.weights is None:
            return self.stored.weights_file if self.stored else ""
        return os.path.abspath(self.given.weights) if Path(self.given.weights).is_file() else ""

    def say(self) -> None:
        """Says which settings are the cache's because none were given, and if the name is not the data set's own."""
        if adopted := self._adopted(DEFAULTS):
            flags = " ".join(word for name, value in adopted.items() for word in as_flag(name, value))
            of_another = "gets the images and splits of the other backbones' features"
            how = "goes on with the settings that it was made with" if self.stored else of_another
            print(f"{self.path} {how}: {flags}")
        data = data_of(self.given)
        own, linked = dataset_name(data), dataset_name(os.path.realpath(data))
        owner = FEATURES_FOLDER / f"{own}.h5"
        if self.name not in (own, linked) and owner.exists() and not self.given.cache:
            print(f"The name {own} belongs to another data set ({owner}), so this one's features are in {self.path}.")

    def into_new_file(self, word: str = "new") -> str:
        """The command that extracts these images with these settings into another file, with a word in its name."""
        adopted = self._adopted(defaults_of(self.config.backbone))
        flags = given_flags(replace(self.given, **adopted), leave_out=NO_FLAGS)
        return command(
            "extract",
            data_of(self.given),
            beside(self.path, word),
            self.given.views,
            flags,
            backbone=self.config.backbone,
        )

    def _adopted(self, usual: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that are the cache's, because none were given, and not the usual ones."""
        open_ = {name: value for name, value in _of_features(self.kept).items() if getattr(self.given, name) is None}
        said = self.given.listing()
        listed = {name: value for name, value in self.listing.items() if name not in said}
        return {name: value for name, value in open_.items() if value not in (None, usual.get(name))} | listed

    def refuse_differences(self, cache: FeatureCache) -> None:
        """Raises RecipeMismatch if settings that were given, or their defaults, are not those of the cache."""
        if self.recipe is None:  # with a cache at the start, it is known
            raise CacheError(f"{cache.path} was made by another process meanwhile. Give the same command again.")
        if self.recipe.source_digest != cache.recipe.source_digest and self.recipe.backbone == cache.recipe.backbone:
            raise RecipeMismatch(
                f"{self.config.backbone} has been changed since {cache.path} was made, so its features may be others. "
                f"Undo the change to go on, or extract into another file: {self._elsewhere(cache)}"
            )
        if self.recipe.backbone != cache.recipe.backbone:
            raise RecipeMismatch(
                f"{cache.path} holds features of the backbone {cache.recipe.backbone}, not of {self.recipe.backbone}. "
                f"Extract into another file: {self.into_new_file()}"
            )
        differences = self.recipe.differences(cache.recipe)
        if self.config.views and cache.augmentation:
            differences += self.augmentation.differences(cache.augmentation)
        if differences:
            raise RecipeMismatch(
                f"{cache.path} was made by another recipe:\n"
                + "".join(f"  {difference}\n" for difference in differences)
                + f"Leave them out to go on with it, or extract into another file: {self._elsewhere(cache)}"
            )

    def _elsewhere(self, cache: FeatureCache) -> str:
        """The command that was given, with another cache, which says in its name what is different."""
        kept = _of_features(cache.settings())
        others = {name: value for name in kept if (value := getattr(self.config, name)) != kept[name]}
        adopted = self.recipe.adopting(cache.recipe) if self.recipe else cache.recipe
        if adopted.precision != cache.recipe.precision:
            others["precision"] = adopted.precision
        return self.into_new_file("-".join(_word(*item) for item in others.items()) or adopted.digest()[:8])


def refuse_other_files(listed: Sequence[tuple[Asked, Manifest]]) -> None:
    """Raises DataError if caches that one pass is to fill are not of the same files."""
    if len({manifest.files_digest() for _, manifest in listed}) < 2:
        return
    kept = {asked.path: asked.config.listing() for asked, _ in listed}
    if len(set(map(str, kept.values()))) == 1:
        raise DataError("Images changed while they were listed. What is finished is kept: give the same command again.")
    ways = ", ".join(
        f"{path} by {', '.join(f'{name}={value}' for name, value in listing.items()) or 'no flag'}"
        for path, listing in kept.items()
    )
    raise DataError(
        f"The images of these caches were listed in different ways, so that one pass cannot fill them: {ways}. "
        "Give each backbone a command of its own."
    )


def extractor_for(given: ExtractConfig, cache: FeatureCache | None) -> "Extractor":
    """The backbone for the settings that were given and, for the rest, those of the cache.

    A WeightsError where these are a file that is no longer where it was.
    """
    from headstart.extraction.extractor import Extractor

    config = given.completed(cache.settings() if cache else None)
    if cache and given.weights is None:
        config = replace(config, weights=recipe.weights_of(cache.recipe, None, cache.weights_file)[0])
    return Extractor(config)


def _of_features(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that decide features."""
    return {name: value for name, value in settings.items() if name != "batch_size"}


def _word(name: str, value: object) -> str:
    """A setting as a part of a file's name."""
    if isinstance(value, bool):
        return name.replace("_", "-") if value else f"no-{name.replace('_', '-')}"
    return {"image_px": f"{value}px", "seed": f"seed{value}"}.get(name, Path(str(value)).stem)
