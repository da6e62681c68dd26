"""The recipe of a new cache: `auto` is decided, int8 is calibrated, and a net that is to be compiled is compiled."""

import inspect
from dataclasses import replace

import torch
from torch import Tensor, nn

from headstart.cache.recipe import Recipe
from headstart.datasets.manifest import Manifest
from headstart.errors import CannotCompile, HeadstartError
from headstart.extraction import precision
from headstart.extraction.calibration import Calibration, calibration_of, samples_of
from headstart.extraction.extractor import Extractor
from headstart.extraction.sampling import Sample, rate_of, samples
from headstart.models.fast import PLAIN_FORM, naming
from headstart.models.int8 import require_int8
from headstart.models.kept import KeptForm
from headstart.models.precision import compiler_fault
from headstart.models.torch_file import first_line
from headstart.support.progress import say


def resolve(
    extractor: Extractor, asked: Recipe, manifest: Manifest, images: int | None = None
) -> tuple[Recipe, dict[str, float]]:
    """The recipe with `auto` decided for a pass over `images` (all by default), and what was measured for that."""
    images = images or len(manifest)
    with naming(str(extractor.config.backbone), "" if asked.precision in ("auto", "fp32") else PLAIN_FORM):
        if asked.precision == "int8":
            made, calibration = _in_eight_bits(extractor, asked, manifest)
            say(f"precision: {calibration}")
            return made, calibration.notes
        sample = _sample(extractor, asked, manifest, images)
        net, scale, device = extractor.loaded.folded, extractor.scale, extractor.device
        resolved, notes = precision.resolve(asked, net, scale, sample, images, device)
        if precision.int8_pays(asked, resolved, notes, images, device):
            resolved, more = _eight_bits_if_faithful(extractor, asked, resolved, notes, manifest)
            notes |= more
        eager_seconds = images / notes.get(rate_of(resolved.precision), float("inf"))
        if asked.compiled is None and eager_seconds > precision.LOADING_PAYS_SECONDS and _is_kept(extractor, resolved):
            resolved = replace(resolved, compiled=True)
        return _that_runs(extractor, resolved, asked), notes


def _sample(extractor: Extractor, asked: Recipe, manifest: Manifest, images: int) -> Sample | None:
    """The images on which what is open is tried; None if nothing is."""
    if not (count := precision.trial_images(asked, images)):
        return None
    size = min(count, extractor.batch_size(_exact(asked)))
    return next(samples(manifest, asked.geometry, size, size, extractor.workers))


def _in_eight_bits(extractor: Extractor, asked: Recipe, manifest: Manifest) -> tuple[Recipe, Calibration]:
    """The recipe in int8 with its scales, and how close its features are to those of fp32."""
    require_int8(extractor.device, asked.compiled)
    size = extractor.batch_size(_exact(asked))
    loaded = samples_of(manifest, asked.geometry, size, extractor.workers)

    def made(scales: tuple[float, ...]) -> Recipe:
        return _that_runs(extractor, replace(asked, precision="int8", compiled=True, scales=scales), asked)

    net = _net_of(extractor.forward(_exact(asked)))
    calibration = calibration_of(net, loaded, lambda scales: extractor.forward(made(scales)))
    return made(calibration.scales), calibration


def _eight_bits_if_faithful(
    extractor: Extractor, asked: Recipe, resolved: Recipe, notes: dict[str, float], manifest: Manifest
) -> tuple[Recipe, dict[str, float]]:
    """The recipe in int8 where that is faster and near fp32, else as it is; and what was measured."""
    try:
        made, calibration = _in_eight_bits(extractor, asked, manifest)
    except HeadstartError as error:
        say(f"precision: {resolved.precision}, since int8 is not possible here: {error}")
        return resolved, {}
    except Exception as error:  # of any kind: a net may hold what has no form of eight bits
        reason = first_line(error)
        say(f"precision: {resolved.precision}, since the backbone does not run in int8 ({reason}).")
        return resolved, {}
    if fault := precision.fault_of_int8(calibration, notes[rate_of(resolved.precision)]):
        say(f"precision: {resolved.precision}, since {fault}")
        return resolved, calibration.notes
    say(f"precision: {calibration}")
    return made, calibration.notes


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
