"""Decides once for each cache in which arithmetic the backbone runs, by measuring on the user's images.

B images, D features.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from headstart.cache.recipe import Precision, Recipe
from headstart.extraction.calibration import CALIBRATION_IMAGES, COMPARED_IMAGES, Calibration
from headstart.extraction.fidelity import fidelity
from headstart.extraction.sampling import Sample, rate_of, timed
from headstart.models import int8
from headstart.models.backbone import PixelScale
from headstart.models.fast import fast_form
from headstart.models.precision import FASTER, bf16_is_native, compiler_fault, require_compiler
from headstart.models.torch_file import first_line
from headstart.support.progress import say

FEWEST_IMAGES = 500
"""Of fewer images `auto` tries nothing: what a faster form saves is little more than the trial costs."""
TRIAL_SHARE = 1 / 40
"""Of the images of a pass, how many are computed in each form that is tried, at most a batch."""
SHORT_PASS_SECONDS = {"cpu": 60.0, "cuda": 5.0, "mps": 60.0}
"""For a pass that fp32 finishes in this time, other precisions are not tried: on a GPU trying takes a second."""
LOADING_PAYS_SECONDS = 20.0
"""Loading a net that was compiled before takes two seconds or less, and gains a sixth or more."""
COMPILE_PAYS_SECONDS = {"cpu": 240.0, "cuda": 120.0, "mps": float("inf")}
"""Compiling takes 15 to 30 s on 2 cores and gains a fifth there."""


def resolve(
    asked: Recipe, net: nn.Module, scale: PixelScale, sample: Sample | None, images: int, device: torch.device
) -> tuple[Recipe, dict[str, float]]:
    """The recipe with `auto` decided for a pass over `images`, and what was measured (images/s, fidelity).

    `net` is folded. There is no sample if nothing is open. int8 is decided later: see `int8_pays`.
    """
    if asked.compiled:  # never silently uncompiled, which differs in the last bits
        require_compiler(device)
    precision: Precision = asked.precision
    compiled, notes = asked.compiled, dict[str, float]()
    sample = sample and replace(sample, pixels=sample.pixels.to(device))
    if precision == "auto":
        precision, notes = _precision(net, scale, sample, images, device) if sample else ("fp32", {})
    if compiled is None:
        if rate_of(precision) not in notes and sample:
            form = fast_form(net, scale, precision, False, device)
            notes[rate_of(precision)], _ = timed(form, sample.pixels)
        compiled = images >= FEWEST_IMAGES and _compile_pays(images / notes[rate_of(precision)], device)
    return replace(asked, precision=precision, compiled=compiled), notes


def trial_images(asked: Recipe, images: int) -> int:
    """How many images of a pass are computed to decide what is open; 0 if that is known, or nothing is."""
    is_open = asked.precision == "auto" or asked.compiled is None
    may_fail = asked.precision not in ("auto", "fp32")  # a net may not run in the precision that was asked for
    return max(1, int(images * TRIAL_SHARE)) if is_open and (may_fail or images >= FEWEST_IMAGES) else 0


def _precision(
    net: nn.Module, scale: PixelScale, sample: Sample, images: int, device: torch.device
) -> tuple[Precision, dict[str, float]]:
    pixels = sample.pixels
    rate, reference = timed(fast_form(net, scale, "fp32", False, device), pixels)
    notes, candidate = {rate_of("fp32"): rate}, _candidate(device)
    if candidate is None or images / rate < SHORT_PASS_SECONDS[device.type]:
        return "fp32", notes
    try:
        fast_rate, features = timed(fast_form(net, scale, candidate, False, device), pixels)
    except Exception as error:  # of any kind: a net may hold tensors that stay in fp32
        say(f"precision: fp32, since the backbone does not run in {candidate} ({first_line(error)}).")
        return "fp32", notes
    near = fidelity(reference, features, sample.labels)
    notes |= {rate_of(candidate): fast_rate, **near.notes(candidate)}
    chosen: Precision = candidate if fast_rate > FASTER * rate and not near.fault(candidate) else "fp32"
    say(
        f"precision: {chosen}, since {candidate} runs at {fast_rate / rate:.2f} x the speed of fp32 here "
        f"(bound: {FASTER} x): {near}{near.fault(candidate)}."
    )
    return chosen, notes


def int8_pays(asked: Recipe, resolved: Recipe, notes: Mapping[str, float], images: int, device: torch.device) -> bool:
    """Whether int8 is worth a trial where `auto` would take `resolved`: it is fast, and the pass is long."""
    is_open = asked.precision == "auto" and asked.compiled is not False and int8.is_fast(device)
    if not is_open or images * TRIAL_SHARE < CALIBRATION_IMAGES + COMPARED_IMAGES:
        return False
    if images / notes[rate_of(resolved.precision)] < COMPILE_PAYS_SECONDS[device.type] or compiler_fault(device):
        return False
    if not int8.is_installed():
        say(f"precision: {resolved.precision}; this processor would be several times faster in int8. {int8.EXTRA}")
        return False
    return True


def fault_of_int8(calibration: Calibration, other_rate: float) -> str:
    """Why `auto` does not take int8, as a clause and a stop; empty where it does."""
    near, rate = calibration.fidelity, calibration.images_per_second
    if not near or not rate:
        return "too few images are readable to calibrate int8."
    if rate < FASTER * other_rate:
        return f"int8 runs at {rate / other_rate:.2f} x its speed here (bound: {FASTER} x)."
    return f"int8 would change the features: {near}{near.fault('int8')}." if near.fault("int8") else ""


def _candidate(device: torch.device) -> Precision | None:
    """The reduced precision to try: fp16, eight times finer, where it is as fast as bf16."""
    if device.type == "cuda":
        return "fp16"
    return "bf16" if device.type == "cpu" and bf16_is_native(device) else None


def _compile_pays(eager_seconds: float, device: torch.device) -> bool:
    if eager_seconds < COMPILE_PAYS_SECONDS[device.type]:
        return False
    if fault := compiler_fault(device):
        say(f"compile: off, since {fault}; with that mended, extraction would be faster.")
        return False
    return True
