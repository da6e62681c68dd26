"""int8 is calibrated on images of the data and compared with fp32 on others, once for all passes over these images."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.datasets.manifest import Manifest
from headstart.errors import CannotCompile
from headstart.extraction.fidelity import Fidelity, fidelity
from headstart.extraction.sampling import Sample, rate_of, samples, timed
from headstart.images.geometry import Geometry
from headstart.models.backbone import Forward
from headstart.models.int8 import Scales, calibrated
from headstart.models.kept import folder, identity
from headstart.support.files import write_json

CALIBRATION_IMAGES, COMPARED_IMAGES = 128, 64


@dataclass(frozen=True)
class Calibration:
    """How the net becomes one of eight bits, and what that changes.

    Attributes:
        scales: of the activations.
        images: that they were measured on.
        compared: others.
        fidelity: of the features of these; None if there are none, as of very few images.
        images_per_second: of the net in eight bits, compiled, on all cores; None likewise.
    """

    scales: Scales
    images: int
    compared: int = 0
    fidelity: Fidelity | None = None
    images_per_second: float | None = None

    def __str__(self) -> str:
        found = f"; on {self.compared} others: {self.fidelity}" if self.fidelity else ""
        return f"int8, calibrated on {self.images} images{found}."

    @property
    def notes(self) -> dict[str, float]:
        """As they are kept in a cache."""
        if not self.fidelity or not self.images_per_second:
            return {}
        return {rate_of("int8"): self.images_per_second, **self.fidelity.notes("int8")}


def samples_of(manifest: Manifest, geometry: Geometry, batch_size: int, workers: int) -> list[Sample]:
    """Whole batches of readable images that are spread over the data; of few images one smaller batch."""
    wanted = CALIBRATION_IMAGES + COMPARED_IMAGES
    loaded = list(samples(manifest, geometry, wanted, batch_size, workers))
    return [sample for sample in loaded if len(sample.labels) == len(loaded[0].labels)]


def calibration_of(net: nn.Module, loaded: Sequence[Sample], fast: Callable[[Scales], Forward]) -> Calibration:
    """Of a net in fp32, (B, H, W, 3) uint8 → (B, D) float32, on these images; `fast` makes its form of eight bits."""
    path = _path(net, loaded)
    with suppress(Exception):  # not there, damaged, or of another version
        return _read(path)  # type: ignore[arg-type]
    made = _measured(net, loaded, fast)
    if path:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_json(path, asdict(made))
    return made


def _measured(net: nn.Module, loaded: Sequence[Sample], fast: Callable[[Scales], Forward]) -> Calibration:
    first = -(-len(loaded) * CALIBRATION_IMAGES // (CALIBRATION_IMAGES + COMPARED_IMAGES))
    calibrating, compared = loaded[:first], loaded[first:]
    scales, learned = calibrated(net, [sample.pixels for sample in calibrating])
    forward = fast(scales)
    if not compared:
        return Calibration(scales, len(learned))
    with torch.inference_mode():
        reference = torch.cat([learned, *(net(sample.pixels) for sample in compared)])
    rates, parts = zip(*(timed(forward, sample.pixels) for sample in compared), strict=True)
    labels = np.concatenate([sample.labels for sample in loaded])
    features = torch.cat(parts)
    return Calibration(scales, len(learned), len(features), fidelity(reference, features, labels), max(rates))


def _path(net: nn.Module, loaded: Sequence[Sample]) -> Path | None:
    """Where what was measured of this net on these images is kept; None if there is no place."""
    digest = blake2b(digest_size=16)
    for sample in loaded:
        digest.update(sample.pixels.numpy().data)
        digest.update(sample.labels.tobytes())
    form = f"calibration {version('torchao')} {digest.hexdigest()}"
    with suppress(CannotCompile):
        return folder() / f"{identity(net, form, loaded[0].pixels)}.json"
    return None


def _read(path: Path) -> Calibration:
    """What `write_json` wrote; raises anything."""
    values: dict[str, Any] = json.loads(path.read_text())
    measured = values.pop("fidelity")
    values["scales"] = tuple(map(float, values["scales"]))
    return Calibration(**values, fidelity=measured and Fidelity(**measured))
