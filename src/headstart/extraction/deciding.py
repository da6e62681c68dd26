"""The recipe of a new cache: `auto` is decided, int8 is calibrated, and a net that is to be compiled is compiled."""

import inspect
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.cache.recipe import Recipe
from headstart.datasets.manifest import Manifest
from headstart.errors import CannotCompile
from headstart.extraction import precision
from headstart.extraction.calibration import Sample, compare
from headstart.extraction.extractor import Extractor
from headstart.extraction.sampling import readable_batches
from headstart.models.fast import PLAIN_FORM, naming
from headstart.models.int8 import require_int8, scales_on
from headstart.models.kept import KeptForm
from headstart.models.precision import compiler_fault
from headstart.support.progress import say


def resolve(
    extractor: Extractor, asked: Recipe, manifest: Manifest, images: int | None = None
) -> tuple[Recipe, dict[str, float]]:
    """The recipe with `auto` decided for a pass over `images` (all by default), and what was measured for that."""
    images = images or len(manifest)
    with naming(str(extractor.config.backbone), "" if asked.precision in ("auto", "fp32") else PLAIN_FORM):
        if asked.precision == "int8":
            return _calibrated(extractor, asked, manifest)
        sample = _sample(extractor, asked, manifest, images)
        net, scale, device = extractor.loaded.folded, extractor.scale, extractor.device
        resolved, notes = precision.resolve(asked, net, scale, sample, images, device)
        eager_seconds = images / notes.get(precision.rate_of(resolved.precision), float("inf"))
        if asked.compiled is None and eager_seconds > precision.LOADING_PAYS_SECONDS and _is_kept(extractor, resolved):
            resolved = replace(resolved, compiled=True)
        return _that_runs(extractor, resolved, asked), notes


def _sample(extractor: Extractor, asked: Recipe, manifest: Manifest, images: int) -> NDArray[np.uint8]:
    """The first images, on which what is open is tried; none if nothing is."""
    if not (count := precision.trial_images(asked, images)):
        return np.empty(0, np.uint8)
    size = min(count, extractor.batch_size(_exact(asked)))
    return next(readable_batches(manifest, range(len(manifest)), asked.geometry, size, extractor.workers))


def _calibrated(extractor: Extractor, asked: Recipe, manifest: Manifest) -> tuple[Recipe, dict[str, float]]:
    """The recipe with the scales of int8, and how close its features are to those of fp32."""
    require_int8(extractor.device, asked.compiled)
    sample = Sample(manifest, asked.geometry, extractor.batch_size(_exact(asked)), extractor.workers)
    exact = extractor.forward(_exact(asked))
    scales = scales_on(_net_of(exact), sample.calibrating)
    made = _that_runs(extractor, replace(asked, compiled=True, scales=scales), asked)
    return made, compare(sample, exact, extractor.forward(made))


def _exact(asked: Recipe) -> Recipe:
    """What other forms are compared with."""
    return replace(asked, precision="fp32", compiled=False)


def _is_kept(extractor: Extractor, resolved: Recipe) -> bool:
    """Whether the net was compiled on this machine before, and can be again if its package is damaged."""
    if resolved.compiled or extractor.device.type != "cpu" or compiler_fault(extractor.device):
        return bool(resolved.compiled)
    form = _net_of(extractor.forward(replace(resolved, compiled=True)))
    return isinstance(form, KeptForm) and form.is_kept(_black(extractor, resolved))


def _that_runs(extractor: Extractor, resolved: Recipe, asked: Recipe) -> Recipe:
    """The recipe, compiled once on this machine; not compiled where nobody asked for it and that is impossible."""
    form = _net_of(extractor.forward(resolved)) if resolved.compiled else None
    if not isinstance(form, KeptForm):
        return resolved
    try:
        form.prepare(_black(extractor, resolved))
        return resolved
    except CannotCompile as error:
        if asked.compiled or resolved.precision == "int8":
            raise
        say(f"compile: off, since the net cannot be compiled here ({error.reason}); compiled, it would be faster.")
        return replace(resolved, compiled=False)


def _net_of(forward: object) -> nn.Module:
    """The net behind a function that names it in errors, and keeps no gradients."""
    net: nn.Module = inspect.unwrap(forward)  # type: ignore[arg-type]
    return net


def _black(extractor: Extractor, made: Recipe) -> Tensor:
    """A batch of black pictures."""
    return torch.zeros((extractor.batch_size(made), made.image_px, made.image_px, 3), dtype=torch.uint8)
