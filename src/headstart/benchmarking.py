"""What `make benchmark` measures: contestants run in turn, round by round, on the same images.

These machines drift by a factor of two within minutes, so what counts is the ratio within a round, and the median over
the rounds.
"""

import os
import statistics
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.models import ResNet50_Weights

from headstart import creation, datasets, recipe
from headstart.backbone import frozen, load_resnet50
from headstart.cache import FEATURES, FeatureCache
from headstart.datasets import IMAGE_SUFFIXES, Manifest
from headstart.errors import DataError
from headstart.extraction import Extractor
from headstart.loading import stream
from headstart.settings import ExtractConfig
from headstart.updating import same_data
from headstart.writing import CacheWriter

LONG_PASS = 1_000_000
"""Images of the pass that is measured in miniature: for the few of a round alone, auto would try nothing."""

Contestant = Callable[[], float]
"""Does its work once; returns images (or GB) per second."""


def gather(source: Path | None, folder: Path, count: int) -> Manifest:
    """A data set of `count` photos, each with other bytes, so that none is recognised as a copy.

    Args:
        source: a folder of images, used again and again; None makes pictures of 500 x 400 pixels.
        folder: where to put them.
        count: how many.

    Raises:
        DataError: the folder holds no images.
    """
    originals = list(_photos(source)) if source else [_made_up(seed) for seed in range(32)]
    if not originals:
        raise DataError(f"{source} holds no images to measure with.")
    for number in range(count):
        path = folder / ("even", "odd")[number % 2] / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Decoders stop at the end marker: what follows changes the digest, not the picture.
        path.write_bytes(originals[number % len(originals)] + number.to_bytes(8, "little"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", datasets.DataWarning)  # nobody trains on them
        return datasets.load(str(folder))


def _photos(source: Path) -> Iterator[bytes]:
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            yield path.read_bytes()


def _made_up(seed: int) -> bytes:
    """A JPEG of about 60 kB with the detail of a photo: noise of falling amplitude on finer and finer grids."""
    from io import BytesIO

    generator = np.random.default_rng(seed)
    picture = np.full((400, 500, 3), 128.0)
    for side in (4, 8, 16, 32, 64, 128):
        grid = generator.normal(0, 60 / side**0.4, (side, side, 3)).clip(-127, 127) + 128
        layer = Image.fromarray(grid.astype(np.uint8)).resize((500, 400), Image.Resampling.BICUBIC)
        picture += np.asarray(layer, dtype=np.float64) - 128
    buffer = BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@dataclass
class Extraction:
    """The contestants around one pass over some images."""

    manifest: Manifest
    config: ExtractConfig
    folder: Path

    def __post_init__(self) -> None:
        self.extractor = Extractor(self.config)
        self.recipe, self.notes = self.extractor.resolve(recipe.from_config(self.config), self.manifest, LONG_PASS)

    def describe(self) -> str:
        """The arithmetic of our backbone, and who chose it, in a line."""
        auto = "auto" in (self.config.precision, self.config.compile)
        chosen = f", as auto chooses for a pass over {LONG_PASS:,} images" if auto else ""
        return f"ours: {self.recipe.precision}, {'compiled' if self.recipe.compiled else 'eager'}{chosen}"

    def plain(self) -> float:
        """What a careful user writes: torchvision's net in fp32, its preset, a DataLoader with a worker a core.

        On CUDA "fp32" is what torch means by it: TF32 in convolutions, and pinned batches.
        """
        device, workers = self.extractor.device, self.extractor.workers
        net = frozen(load_resnet50("random", self.config.seed)[0]).to(device)
        files, pin = _Files(self.manifest), device.type == "cuda"
        loader: DataLoader[Any] = DataLoader(files, self.config.batch_size, num_workers=workers, pin_memory=pin)
        start = time.perf_counter()
        with torch.inference_mode(), _torchs_own_fp32():
            for images in loader:
                net(images.to(device, non_blocking=pin)).cpu()
        return len(self.manifest) / (time.perf_counter() - start)

    def ours(self) -> float:
        """From files to a finished, synced cache. Loading and compiling the net, once a process, is left out."""
        path = self.folder / "benchmark.h5"
        with suppress(FileNotFoundError):
            path.unlink()
        start = time.perf_counter()
        with creation.appearing(path) as temporary:
            creation.create(temporary, self.manifest, self.recipe)
        self.report = self.extractor.fill(path)
        return len(self.manifest) / (time.perf_counter() - start)

    def backbone_ceiling(self) -> float:
        """The backbone alone, on one batch in memory, again and again."""
        size = self.config.batch_size
        pixels = torch.zeros((size, self.recipe.image_px, self.recipe.image_px, 3), dtype=torch.uint8)
        forward, pixels = self.extractor.forward(self.recipe), pixels.to(self.extractor.device)
        forward(pixels).cpu()
        batches = max(1, len(self.manifest) // size)
        start = time.perf_counter()
        for _ in range(batches):
            features = forward(pixels)
        features.cpu()
        return batches * size / (time.perf_counter() - start)

    def decode_ceiling(self) -> float:
        """Reading, decoding and resizing alone, on all cores."""
        count, workers = len(self.manifest), self.extractor.workers
        start = time.perf_counter()
        for _ in stream(self.manifest, range(count), self.recipe.geometry, workers, 2 * self.config.batch_size):
            pass
        return count / (time.perf_counter() - start)


@contextmanager
def _torchs_own_fp32() -> Iterator[None]:
    """Convolutions on CUDA as torch has them by default; our own forms turn TF32 off for the whole process."""
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before, conv.fp32_precision = conv.fp32_precision, "tf32"
    try:
        yield
    finally:
        conv.fp32_precision = before


class _Files(Dataset[Any]):
    """The plain way to a batch: Pillow, then torchvision's preset."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.transform = ResNet50_Weights.IMAGENET1K_V1.transforms()

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, row: int) -> Any:
        with Image.open(self.manifest.file(row)) as image:
            return self.transform(image.convert("RGB"))


@dataclass
class Storage:
    """The contestants around writing and reading the bytes of a cache, in GB/s."""

    made: recipe.Recipe
    folder: Path
    rows: int

    def __post_init__(self) -> None:
        generator = np.random.default_rng(0)
        self.manifest = _imaginary(self.rows)
        self.features = generator.random((len(self.manifest), FEATURES), np.float32).astype(self.made.storage)
        self.path, self.raw = self.folder / "storage.h5", self.folder / "storage.raw"
        self.write()
        self.tofile()

    def write(self) -> float:
        """Into a cache: rows, digests, checksums, sync."""
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, self.manifest, self.made)
        rows, digests = np.arange(len(self.manifest)), np.ones((len(self.manifest), 16), np.uint8)
        start = time.perf_counter()
        with CacheWriter(self.path) as writer:
            for begin in range(0, len(rows), 256):
                some = slice(begin, begin + 256)
                writer.write(rows[some], self.features[some], digests[some])
            writer.commit(0.0)
        return self._rate(start)

    def tofile(self) -> float:
        """The same bytes by numpy.tofile, and a sync."""
        start = time.perf_counter()
        with self.raw.open("wb") as file:
            self.features.tofile(file)
            os.fsync(file.fileno())
        return self._rate(start)

    def load(self) -> float:
        """From a cache, without comparing checksums."""
        return self._second(lambda: FeatureCache(self.path).read(verify=False))

    def load_verified(self) -> float:
        """From a cache, every row compared with its checksum: what training does."""
        return self._second(lambda: FeatureCache(self.path).read())

    def fromfile(self) -> float:
        """The same bytes by numpy.fromfile."""
        return self._second(lambda: np.fromfile(self.raw, self.features.dtype))

    def _second(self, read: Callable[[], object]) -> float:
        """The rate of a second read: the first of whoever comes first also pays for memory and page cache."""
        read()
        start = time.perf_counter()
        read()
        return self._rate(start)

    def _rate(self, start: float) -> float:
        return self.features.nbytes / 1e9 / (time.perf_counter() - start)


@dataclass
class Checking:
    """The contestant around a cache that is up to date: how fast that is found out."""

    made: recipe.Recipe
    folder: Path
    count: int

    def __post_init__(self) -> None:
        self.data, self.path = self.folder / "many", self.folder / "many.h5"
        for name in ("even", "odd"):
            (self.data / name).mkdir(parents=True)
        for number in range(self.count):
            (self.data / ("even", "odd")[number % 2] / f"{number:06}.jpg").touch()
        with creation.appearing(self.path) as temporary:
            creation.create(temporary, datasets.load(str(self.data)), self.made)

    def check(self) -> float:
        """Lists the images, opens the cache, compares path, size, time, label and split of each."""
        start = time.perf_counter()
        if not same_data(datasets.load(str(self.data)), FeatureCache(self.path).manifest):
            raise RuntimeError("the data changed during the benchmark")
        return self.count / (time.perf_counter() - start)


def _imaginary(count: int) -> Manifest:
    """A data set of images that nobody will open."""
    return Manifest(
        name="imaginary",
        root=Path("/nowhere"),
        classes=("even", "odd"),
        paths=np.array([f"{number:09}.jpg" for number in range(count)], np.bytes_),
        labels=np.arange(count) % 2,
        splits=np.zeros(count, np.uint8),
        sizes=np.ones(count, np.int64),
        mtimes_ns=np.zeros(count, np.int64),
    )


def rounds(contestants: dict[str, Contestant], count: int) -> dict[str, list[float]]:
    """Runs all in turn, `count` times, each round beginning with another: their rates, by name and round."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(count):
        names = deque(contestants)
        names.rotate(-number)
        for name in names:
            rates[name].append(contestants[name]())
    return rates


def ratio(rates: dict[str, list[float]], name: str, baseline: str) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(one / other for one, other in zip(rates[name], rates[baseline], strict=True))


def table(rates: dict[str, list[float]]) -> list[str]:
    """Median rates and the ratios that matter, as lines.

    Decoding and the backbone share the cores of a CPU, so the rate to reach there is 1 / (1/backbone + 1/decode); on a
    GPU it is the smaller of the two.
    """
    pairs = {"ours": "plain", "cache write": "numpy.tofile", "cache load": "numpy.fromfile"}
    pairs["cache load, verified"] = "numpy.fromfile"
    lines = [f"{'':22}{'median':>10}{'':>10}{'slowest':>9} to {'fastest':<9}ratio"]
    for name, values in rates.items():
        unit = "GB/s" if name.startswith(("cache", "numpy")) else "images/s"
        compared = f"{ratio(rates, name, pairs[name]):.2f} x {pairs[name]}" if name in pairs else ""
        lines.append(
            f"{name:22}{statistics.median(values):>10.2f} {unit:9}{min(values):>9.2f} to {max(values):<9.2f}{compared}"
        )
    shared = [1 / (1 / b + 1 / d) for b, d in zip(rates["backbone ceiling"], rates["decode ceiling"], strict=True)]
    limits = {"both ceilings on the same cores": shared}
    limits["the lower ceiling"] = [
        min(pair) for pair in zip(rates["backbone ceiling"], rates["decode ceiling"], strict=True)
    ]
    for what, values in limits.items():
        lines.append(f"ours reaches {ratio({'o': rates['ours'], 'l': values}, 'o', 'l'):.2f} of {what}")
    return lines


def machine(device: torch.device) -> str:
    """What this was measured on, in a line."""
    import platform

    processor = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    accelerator = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{os.cpu_count()} cores of {processor}{accelerator}, torch {torch.__version__}"
