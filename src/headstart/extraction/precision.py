"""Decides once for each cache in which arithmetic the backbone runs, by measuring on the user's images.

B images in the sample, D features.
"""

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.cache.recipe import Precision, Recipe
from headstart.models.backbone import Forward, PixelScale
from headstart.models.fast import fast_form
from headstart.models.precision import FASTER, bf16_is_native, compiler_fault, require_compiler
from headstart.models.weight_file import first_line
from headstart.support.progress import say

FEWEST_IMAGES = 500
"""Of fewer images nothing is tried: what a faster form saves is little more than the trial costs."""
TRIAL_SHARE = 1 / 40
"""Of the images of a pass, how many are computed in each form that is tried, at most a batch."""
SHORT_PASS_SECONDS = {"cpu": 60.0, "cuda": 5.0, "mps": 60.0}
"""For a pass that fp32 finishes in this time, other precisions are not tried: on a GPU trying takes a second."""
LOADING_PAYS_SECONDS = 20.0
"""Loading a net that was compiled before takes two seconds or less, and gains a sixth or more."""
COMPILE_PAYS_SECONDS = {"cpu": 240.0, "cuda": 120.0, "mps": float("inf")}
"""Compiling takes 15 to 30 s on 2 cores and gains a fifth there."""
CLOSE_ENOUGH = 0.99
"""Smallest centred cosine at which a reduced precision does not count as a change of the features.

Heads on 5,400 CIFAR-10 images of 64 px, tested on 2,000, five seeds (mean and deviation): on an untrained net fp32 gave
0.343 ± 0.010 and bf16, of cosine 0.994 on the sample (0.993 over all 8,000), 0.343 ± 0.020; on one fine-tuned for five
epochs 0.453 ± 0.009 and, at 0.9994, 0.453 ± 0.012, although 31 of the 8,000, those near the mean, had less than 0.99
(least 0.84). White noise of cosine 0.95 cost 4 and 8 points (2,500 images, tested on 1,000).
"""


def resolve(
    asked: Recipe, net: nn.Module, scale: PixelScale, sample: NDArray[np.uint8], images: int, device: torch.device
) -> tuple[Recipe, dict[str, float]]:
    """The recipe with `auto` decided for a pass over `images`, and what was measured (images/s, centred cosine).

    `net` is folded. The sample is (B, H, W, 3) uint8, the first images of the data; empty if nothing is open.
    """
    if asked.compiled:  # never silently uncompiled, which differs in the last bits
        require_compiler(device)
    count = trial_images(asked, images)
    pixels = torch.from_numpy(sample[:count]).to(device)
    precision: Precision = asked.precision
    compiled, notes = asked.compiled, dict[str, float]()
    if precision == "auto":
        precision, notes = _precision(net, scale, pixels, images, device)
    if compiled is None:
        if rate_of(precision) not in notes and count:
            notes[rate_of(precision)], _ = _timed(fast_form(net, scale, precision, False, device), pixels)
        compiled = images >= FEWEST_IMAGES and _compile_pays(images / notes[rate_of(precision)], device)
    return replace(asked, precision=precision, compiled=compiled), notes


def trial_images(asked: Recipe, images: int) -> int:
    """How many images of a pass are computed to decide what is open; 0 if that is known, or nothing is."""
    is_open = asked.precision == "auto" or asked.compiled is None
    may_fail = asked.precision != "fp32"  # a net may not run in the precision that was asked for
    return max(1, int(images * TRIAL_SHARE)) if is_open and (may_fail or images >= FEWEST_IMAGES) else 0


def rate_of(precision: str) -> str:
    """The name of a note: how many images per second the net computes, not compiled."""
    return f"{precision}_images_per_second"


def _precision(
    net: nn.Module, scale: PixelScale, pixels: Tensor, images: int, device: torch.device
) -> tuple[Precision, dict[str, float]]:
    rate, reference = _timed(fast_form(net, scale, "fp32", False, device), pixels)
    notes, candidate = {rate_of("fp32"): rate}, _candidate(device)
    is_short = images < FEWEST_IMAGES or images / rate < SHORT_PASS_SECONDS[device.type]
    if is_short or candidate is None:
        return "fp32", notes
    try:
        fast_rate, features = _timed(fast_form(net, scale, candidate, False, device), pixels)
    except Exception as error:  # of any kind: a net may hold tensors that stay in fp32
        say(f"precision: fp32, since the backbone does not run in {candidate} ({first_line(error)}).")
        return "fp32", notes
    similarity = smallest_centred_cosine(reference, features)
    notes |= {rate_of(candidate): fast_rate, f"{candidate}_centred_cosine": similarity}
    chosen: Precision = candidate if fast_rate > FASTER * rate and similarity >= CLOSE_ENOUGH else "fp32"
    say(
        f"precision: {chosen}, since {candidate} runs at {fast_rate / rate:.2f} x the speed of fp32 here "
        f"and its smallest centred cosine to fp32 is {similarity:.5f} (bounds: {FASTER} x, {CLOSE_ENOUGH})."
    )
    return chosen, notes


def _candidate(device: torch.device) -> Precision | None:
    """The reduced precision to try: fp16, eight times finer, where it is as fast as bf16."""
    if device.type == "cuda":
        return "fp16"
    return "bf16" if device.type == "cpu" and bf16_is_native(device) else None


def _timed(forward: Forward, pixels: Tensor) -> tuple[float, Tensor]:
    """Images/s, and the features: on CPUs of one run, if the machine did nothing else.

    On other devices of the fastest of three runs after a warm-up.
    """
    if pixels.device.type == "cpu":
        start = time.process_time()  # so that other programs on the machine change no decision
        features = forward(pixels)
        return len(pixels) * torch.get_num_threads() / max(time.process_time() - start, 1e-9), features
    features, seconds = forward(pixels), []
    for _ in range(3):
        start = time.perf_counter()
        features = forward(pixels).cpu()  # the copy waits for the device
        seconds.append(time.perf_counter() - start)
    return len(pixels) / min(seconds), features


def _compile_pays(eager_seconds: float, device: torch.device) -> bool:
    if eager_seconds < COMPILE_PAYS_SECONDS[device.type]:
        return False
    if fault := compiler_fault(device):
        say(f"compile: off, since {fault}; with that mended, extraction would be faster.")
        return False
    return True


def smallest_centred_cosine(reference: Tensor, features: Tensor) -> float:
    """The smallest of `centred_cosines`."""
    return float(centred_cosines(reference, features).min())


def centred_cosines(reference: Tensor, features: Tensor) -> Tensor:
    """(B,) cosines of features to reference features, (B, D) each, in [-1, 1]; -1 for NaN or infinity.

    All features of a net share a large mean, so that plain cosines are near 1: the reference's mean is subtracted.
    """
    mean = reference.double().mean(dim=0)
    cosines = torch.nn.functional.cosine_similarity(reference.double() - mean, features.double() - mean, dim=1)
    return torch.nan_to_num(cosines, nan=-1.0)
