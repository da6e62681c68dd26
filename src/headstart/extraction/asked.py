"""What a run of extract asks for: the settings that were given and, for the rest, those of the cache."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cache import recipe
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.finding import cache_path, data_set_of
from headstart.cache.views import Augmentation
from headstart.datasets.naming import name_of, owner_of_cache
from headstart.errors import RecipeMismatch
from headstart.models.weights import known_weights
from headstart.settings import DEFAULTS, FEATURES_FOLDER, ExtractConfig, data_of, dataset_name
from headstart.settings.command import as_flag, beside, command, given_flags

if TYPE_CHECKING:
    from headstart.extraction.extractor import Extractor


NO_FLAGS = ("config", "data", "cache", "views", "overwrite", "prune")
"""Settings that are no flags of the command in a message: they are in other variables, or left out."""


@dataclass
class Asked:
    """What was given, and what comes of it together with the cache that is there.

    Attributes:
        path: the cache.
        stored: the cache as it was at the start; None where there is none, or with --overwrite.
        config: the settings; those that were left out are those of the cache.
        recipe: that of the settings, in which `auto` is still open.
        augmentation: of new views.
    """

    given: ExtractConfig

    def __post_init__(self) -> None:
        self.path = cache_path(self.given)
        self.stored = None if self.given.overwrite or not self.path.exists() else FeatureCache(self.path)
        self.kept = self.stored.settings() if self.stored else {}
        self.listing = self.stored.manifest.listing if self.stored else {}
        self.config = self.given.completed(self.kept).with_listing(self.listing)
        made = self.stored.recipe if self.stored else None
        keeps_weights = self.given.weights is None and made and made.weights != "random"  # those are the seed's
        self.recipe = recipe.from_config(self.config, made if keeps_weights else None)
        views = self.stored.augmentation if self.stored else None
        seed = views.seed if views and self.given.seed is None else self.config.seed
        self.augmentation = Augmentation(self.config.view_kind, seed)

    @cached_property
    def name(self) -> str:
        """The name of the data set; of one that was moved, the name that its cache keeps."""
        data = data_of(self.given)
        keeps = self.stored and owner_of_cache(self.path, data) in ("same", "gone")
        return name_of(data, data_set_of(self.stored) if self.stored and keeps else None)

    @property
    def weights_file(self) -> str:
        """Where the file of weights lies, that was given or that the cache knows; empty if they are no file."""
        if self.given.weights is None:
            return self.stored.weights_file if self.stored else ""
        return "" if self.given.weights in known_weights() else os.path.abspath(self.given.weights)

    def say(self) -> None:
        """Says which settings are the cache's because none were given, and if the name is not the data set's own."""
        if adopted := self._adopted():
            flags = " ".join(word for name, value in adopted.items() for word in as_flag(name, value))
            print(f"{self.path} goes on with the settings that it was made with: {flags}")
        data = data_of(self.given)
        own, linked = dataset_name(data), dataset_name(os.path.realpath(data))
        owner = FEATURES_FOLDER / f"{own}.h5"
        if self.name not in (own, linked) and owner.exists() and not self.given.cache:
            print(f"The name {own} belongs to another data set ({owner}), so this one's features are in {self.path}.")

    def into_new_file(self, word: str = "new") -> str:
        """The command that extracts these images with these settings into another file, with a word in its name."""
        flags = given_flags(replace(self.given, **self._adopted()), leave_out=NO_FLAGS)
        return command("extract", data_of(self.given), beside(self.path, word), self.given.views, flags)

    def _adopted(self) -> dict[str, Any]:
        """Settings that are the cache's, because none were given, and not the defaults."""
        open_ = {name: value for name, value in self.kept.items() if getattr(self.given, name) is None}
        said = self.given.listing()
        listed = {name: value for name, value in self.listing.items() if name not in said}
        return {name: value for name, value in open_.items() if value != DEFAULTS[name]} | listed

    def refuse_differences(self, cache: FeatureCache) -> None:
        """Raises RecipeMismatch if settings that were given, or their defaults, are not those of the cache."""
        differences = self.recipe.differences(cache.recipe)
        if self.config.views and cache.augmentation:
            differences += self.augmentation.differences(cache.augmentation)
        if differences:
            raise RecipeMismatch(
                f"{cache.path} was made by another recipe:\n"
                + "".join(f"  {difference}\n" for difference in differences)
                + f"Leave these flags out to go on with it, or extract into another file: {self._elsewhere(cache)}"
            )

    def _elsewhere(self, cache: FeatureCache) -> str:
        """The command that was given, with another cache, which says in its name what is different."""
        kept = cache.settings()
        others = {name: value for name in kept if (value := getattr(self.config, name)) != kept[name]}
        adopted = self.recipe.adopting(cache.recipe)
        if adopted.precision != cache.recipe.precision:
            others["precision"] = adopted.precision
        return self.into_new_file("-".join(_word(*item) for item in others.items()) or adopted.digest()[:8])


def extractor_for(given: ExtractConfig, cache: FeatureCache | None) -> "Extractor":
    """The backbone for the settings that were given and, for the rest, those of the cache.

    A WeightsError where these are a file that is no longer where it was.
    """
    from headstart.extraction.extractor import Extractor

    config = given.completed(cache.settings() if cache else None)
    if cache and given.weights is None:
        config = replace(config, weights=recipe.weights_of(cache.recipe, None, cache.weights_file)[0])
    return Extractor(config)


def _word(name: str, value: object) -> str:
    """A setting as a part of a file's name."""
    if isinstance(value, bool):
        return name.replace("_", "-") if value else f"no-{name.replace('_', '-')}"
    return {"image_px": f"{value}px", "seed": f"seed{value}"}.get(name, Path(str(value)).stem)
