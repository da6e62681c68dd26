"""What reads each kind of file, as programs do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import headstart
from fuzz import sound
from fuzz.mutation import with_checksums
from headstart import cli
from headstart import settings as of_programs
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.inspection import contents, describe, describe_health
from headstart.datasets import labelled, lists
from headstart.errors import HeadstartError
from headstart.images import decoding, jpeg
from headstart.images.geometry import Geometry
from headstart.report import writing

SQUARE = Geometry(32, "crop", 36, False)


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Attributes:
        seeds: names and contents of sound ones, of which some may need others in the folder.
        read: what programs do with it, by its path.
        refusals: what it may raise.
    """

    seeds: Callable[[Path], sound.Seeds]
    read: Callable[[Path], object]
    refusals: tuple[type[BaseException], ...] = (HeadstartError,)


def _picture(path: Path) -> None:
    data = path.read_bytes()
    jpeg.plain_size(data)
    decoding.decode(data, [SQUARE])
    decoding.small(data, 64)


def _archive(path: Path) -> None:
    """Half of the tar archives with right checksums: else a changed header is refused for its checksum alone."""
    data = path.read_bytes()
    if path.suffix == ".tar" and crc32(data) % 2:
        path.write_bytes(with_checksums(data))
    labelled.load(str(path))


def _cache(path: Path) -> None:
    cache = FeatureCache(path)
    for said in (describe, contents, describe_health, headstart.load):
        said(cache)
    for view in cache.views:
        view.read()


def _settings(path: Path) -> None:
    for program in (of_programs.ExtractConfig, of_programs.SweepConfig):
        cli.parse(program, ["--config", str(path)])


def _list(path: Path) -> None:
    if path.suffix == ".txt":
        list(lists.list_paths(path))
    labelled.load(str(path))


def _runs(path: Path) -> None:
    writing.compare(of_programs.CompareConfig(runs=Path("runs/photos")))


TARGETS = {
    "pictures": Target(sound.pictures, _picture, (decoding.UnreadableImage,)),
    "archives": Target(sound.archives, _archive),
    "caches": Target(sound.caches, _cache),
    "settings": Target(sound.settings, _settings, (HeadstartError, SystemExit)),
    "lists": Target(sound.lists, _list),
    "runs": Target(sound.runs, _runs),
}
"""By their names. A flag that a settings file gives wrongly may end in the help of tyro, which exits."""
