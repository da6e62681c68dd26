"""Settings that say which data set is read, and what its folders and columns mean."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from headstart.errors import DataError, SettingsError
from headstart.settings.base import LIST_SUFFIXES, ComputeConfig, Config, require
from headstart.settings.command import as_flag
from headstart.settings.ranges import CountOrZero, Seed, Share

ONLY_FOR = {
    "columns": ("list", "parquet"),
    "root": ("list",),
    "max_missing": ("list",),
    "layout": ("folder",),
    "suffixes": ("folder", "list"),
}
"""Kinds of data sets that a setting says something of; the other settings are for all."""
KINDS = {"folder": "folders of images", "list": "lists (.csv, .tsv, .txt)", "archive": "tar archives"}
KINDS["parquet"] = "parquet"


def kind_of(data: str) -> str:
    """Whether a data set is a folder, a list or an archive, by its name alone where it does not exist."""
    if os.path.isdir(data):
        return "folder"
    suffix = Path(data).suffix.lower()
    return "list" if suffix in LIST_SUFFIXES else "parquet" if suffix == ".parquet" else "archive"


@dataclass(frozen=True, kw_only=True)
class Listing(Config):
    """How to read a data set where its names alone do not say it."""

    columns: str | None = None
    """Columns of a list by name, or by number where it has no line of names: path=image,label=emotion,split=set;
    path=1,label=2."""
    root: Path | None = None
    """Folder that the paths in a list are relative to; by default the list's own."""
    layout: Literal["auto", "classes", "splits"] = "auto"
    """What the folders are, where their names can mean both (train, test_tube): each a class, or each a split, also
    where the splits lie in the class folders."""
    class_level: Literal["first", "leaf"] = "first"
    """Of folders in folders: the first is the class, or the last, which holds the images."""
    ignore_case: bool = False
    """Classes whose names differ only by case or spaces are one, under the name that sorts first."""
    suffixes: tuple[str, ...] = ()
    """Which files are the images, such as jpg, where masks or copies of another kind lie beside them; default: all."""
    max_missing: Share = 0.0
    """Fraction of a list's files that may be missing; such lines are left out."""
    group_by: str | None = None
    """Regular expression that finds in each path which images belong together, such as those of a person: splits that
    are drawn keep a group together, and intervals know the groups. The group is what the first parentheses match:
    ([^/]+)_[^_/]*\\. finds ann_lee in smile/ann_lee_0012.jpg."""

    def listing(self) -> dict[str, Any]:
        """What was said of the data: these settings where they differ from their defaults, to be kept as JSON."""
        names = [field.name for field in dataclasses.fields(Listing) if field.name != "config"]
        return {name: _plain(getattr(self, name)) for name in names if getattr(self, name) != getattr(Listing, name)}

    def with_listing(self, kept: Mapping[str, Any]) -> Self:
        """The same with what was said of the data before, where nothing else is said now.

        What was said of a list is left out where the data are a folder now, and so on.
        """
        kind = kind_of(getattr(self, "data", None) or "")
        unsaid = [name for name in kept.keys() - self.listing().keys() if kind in ONLY_FOR.get(name, KINDS)]
        if "group=" in (self.columns or ""):  # which now says the groups
            unsaid = [name for name in unsaid if name != "group_by"]
        types = {"root": Path, "suffixes": tuple}
        return dataclasses.replace(self, **{name: types.get(name, lambda value: value)(kept[name]) for name in unsaid})

    def refuse_unused(self, data: str) -> None:
        """Refuses settings that say nothing of this kind of data, rather than ignore them."""
        kind = kind_of(data)
        for name in self.listing():
            if kind not in (kinds := ONLY_FOR.get(name, tuple(KINDS))):
                right = " and ".join(KINDS[kind] for kind in kinds)
                what = f"is for {right}, but {data} is {'an' if kind == 'archive' else 'a'} {kind}. Leave it out"
                raise SettingsError(
                    f"--{name.replace('_', '-')} {what}, or name another data set.",
                    in_python=f"{name}= {what}, or name another data set.",
                )


@contextmanager
def naming_what_is_kept(given: Listing, kept: Mapping[str, Any], cache: Path) -> Iterator[None]:
    """Adds to a DataError what was said of the data before and is not given now, and which cache keeps it."""
    try:
        yield
    except DataError as error:
        adopted = {name: value for name, value in kept.items() if name not in given.listing()}
        if not adopted:
            raise
        kept_words = ", ".join(" ".join(as_flag(name, value)).removeprefix("--") for name, value in adopted.items())
        flags = ", ".join(as_flag(name, value)[0] for name, value in adopted.items())
        raise DataError(
            f"{error} {cache} keeps {kept_words} from an earlier command; if that changed, give {flags}."
        ) from None


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return os.path.abspath(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, kw_only=True)
class ImagesConfig(Listing, ComputeConfig):
    """Settings of the programs that read labelled images."""

    data: str | None = None
    """Folder <class>/*.jpg, folder {train,val,test}/<class>/*.jpg, a list (.csv, .tsv or .txt with the columns path and
    label, perhaps split and group), archives in WebDataset's layout (shards/train-{000..099}.tar), or parquet files in
    Hugging Face's; the last three may be URLs: s3://…, hf://…, https://…."""
    workers: CountOrZero = 0
    """Decoding threads; 0: one for each core."""


@dataclass(frozen=True, kw_only=True)
class DataCheckConfig(Listing):
    """Say what a data set is taken for, and draw some images of each class, before anything is computed."""

    data: str | None = None
    """As for extract."""
    out: Path | None = None
    """The picture, a PNG file; by default data/checks/<name of the data>.png."""
    split_seed: Seed | None = None
    """Seed of the splits, where the data has none; by default that of the data set's features, 0 without features."""
    seed: Seed | None = None
    """The same under its earlier name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split_seed is None:
            object.__setattr__(self, "split_seed", self.seed)
        require(self, "seed", self.seed in (None, self.split_seed), "left out: --split-seed says the same")
