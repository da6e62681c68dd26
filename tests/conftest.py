"""What several tests need: small pictures, tar archives, features that differ by class, caches, and drawn figures."""

import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import settings
from PIL import Image

from headstart.cache import creation
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.recipe import from_config
from headstart.cache.views import Augmentation
from headstart.cache.writing import CacheWriter
from headstart.datasets.manifest import Manifest
from headstart.heads.features import Features
from headstart.images.decoding import Squares, decode
from headstart.settings import ExtractConfig

settings.register_profile("any machine", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("any machine")

Make = Callable[..., Path]

D, C = 48, 4
TRAIN, VAL, TEST = range(3)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small matrices: threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def picture(seed: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    """A coloured gradient with noise, another for each seed; (width, height) pixels."""
    generator = np.random.default_rng(seed)
    width, height = size
    ramp = np.linspace(0, 1, width)[None, :, None] * generator.integers(0, 200, 3)
    noise = generator.integers(0, 55, (height, width, 3))
    return Image.fromarray((ramp + noise).astype(np.uint8))


def decoded(data: bytes, squares: Squares) -> npt.NDArray[np.uint8]:
    """The one square of a picture."""
    (pixels,) = decode(data, [squares])
    return pixels


def encoded(seed: int, form: str = "PNG") -> bytes:
    """The picture as a file's content."""
    buffer = BytesIO()
    picture(seed).save(buffer, form)
    return buffer.getvalue()


def archive(path: Path, members: Iterable[tuple[str, bytes | str]], form: int = tarfile.GNU_FORMAT) -> Path:
    """A tar of names and contents, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            content = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return path


def sample(number: int, label: object, folder: str = "") -> list[tuple[str, bytes | str]]:
    """Names and contents of an image and its class."""
    return [(f"{folder}{number:06}.png", encoded(number)), (f"{folder}{number:06}.cls", str(label))]


@pytest.fixture
def make_photos(tmp_path: Path) -> Make:
    """Makes `<folder>/<class>/000.png`, …: `make_photos({"cat": 5, "dog": 5})`; every picture is another."""

    def make(classes: dict[str, int], folder: str = "photos", suffix: str = ".png") -> Path:
        root = tmp_path / folder
        for place, (name, count) in enumerate(classes.items()):
            (root / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture(1000 * place + number).save(root / name / f"{number:03}{suffix}")
        return root

    return make


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every matplotlib figure that is written."""
    from matplotlib.figure import Figure

    drawn, write = [], Figure.savefig

    def remember(figure: Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(figure)
        write(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    return drawn


def some_features(
    train: int = 100,
    val: int = 40,
    test: int = 40,
    classes: int = C,
    seed: int = 0,
    width: int = D,
    spread: float = 1.5,
) -> Features:
    """Clouds, one for each class; the rows of the splits lie mixed."""
    generator = np.random.default_rng(seed)
    splits = generator.permutation(np.repeat([TRAIN, VAL, TEST], [train, val, test]))
    labels = generator.integers(0, classes, len(splits))
    values = spread * generator.normal(size=(classes, width))[labels] + generator.normal(size=(len(splits), width))
    rows = {
        name: torch.from_numpy(np.flatnonzero(splits == number)) for number, name in enumerate(("train", "val", "test"))
    }
    names = tuple(f"class {number}" for number in range(classes))
    return Features(torch.from_numpy(values.astype(np.float32)), torch.from_numpy(labels), rows, names)


def make_cache(
    path: Path,
    labels: npt.ArrayLike,
    splits: npt.ArrayLike,
    unreadable: Sequence[int] = (),
    pending: Sequence[int] = (),
    classes: tuple[str, ...] = ("cat", "dog"),
    views: int = 0,
) -> FeatureCache:
    """A cache without images. Rows that are not done hold NaN: whoever touches them, shows it.

    Views of training rows are the plain row plus the view's number, in its first 1,024 features alone.
    """
    count = len(np.asarray(labels))
    manifest = Manifest(
        name="made up",
        root=path.parent,
        classes=classes,
        paths=np.array([f"{row:04}.png".encode() for row in range(count)]),
        labels=np.asarray(labels, np.int64),
        splits=np.asarray(splits, np.uint8),
        sizes=np.ones(count, np.int64),
        mtimes_ns=np.ones(count, np.int64),
    )
    settings = ExtractConfig(weights="random", image_px=32, resize="squash", precision="fp32", compile="off")
    recipe = from_config(settings)
    augmented = creation.Views(Augmentation("crop", 0), views, count) if views else None
    creation.create(path, manifest, recipe, views=augmented)
    for view in FeatureCache(path).looks:
        column = view.columns["features"]
        np.memmap(path, column.dtype, "r+", column.offset, column.shape)[:] = np.nan
    features = np.random.default_rng(0).normal(size=(count, 2048)) + 3 * manifest.labels[:, None]
    done = np.array([row for row in range(count) if row not in (*unreadable, *pending)])
    with CacheWriter(FeatureCache(path)) as writer:
        writer.write(done, features[done], np.zeros((len(done), 16), np.uint8))
        for row in unreadable:
            writer.write_unreadable(row, "truncated")
        writer.commit(1.0)
    for view in FeatureCache(path).views:
        trained = done[manifest.splits[done] == TRAIN]
        with CacheWriter(view) as writer:
            writer.write(trained, view_of(features[trained], view.view), np.zeros((len(trained), 16), np.uint8))
            writer.commit(0.5)
    return FeatureCache(path)


def view_of(features: npt.NDArray[Any], number: int) -> npt.NDArray[Any]:
    """What `make_cache` writes of a view."""
    return features + number * (np.arange(2048) < 1024)


def children(pid: int) -> list[int]:
    """Process numbers of what torchrun has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def until(happened: Callable[[], bool], seconds: float = 120.0) -> None:
    """Waits until something has happened."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happened():
            return
        time.sleep(0.02)
    raise TimeoutError
