"""In which arithmetic a whole net is trained: by measuring a step of each.

B images in a batch.
"""

import copy
import time
from typing import Literal

import torch
from torch import nn

from headstart.progress import say
from headstart.tuning import FASTER, bf16_is_native

Precision = Literal["fp32", "bf16"]
SAMPLE_IMAGES = 8
"""In a step that is timed."""


def resolve(asked: Literal["auto", "fp32", "bf16"], net: nn.Module, image_px: int, device: torch.device) -> Precision:
    """What was asked for, or the faster of fp32 and bf16; the weights stay fp32 either way.

    bf16 has the range of fp32, so that losses need no scaling as in fp16.
    Source: Kalamkar et al. 2019, arXiv:1905.12322.
    """
    if asked != "auto":
        return asked
    if not bf16_is_native(device):
        return "fp32"
    trial = copy.deepcopy(net).train().to(memory_format=torch.channels_last)
    seconds = {name: _step_seconds(trial, name, image_px, device) for name in ("fp32", "bf16")}
    gain = seconds["fp32"] / seconds["bf16"]
    chosen: Precision = "bf16" if gain > FASTER else "fp32"
    say(f"precision: {chosen}, since a step of training in bf16 runs at {gain:.2f} x the speed of fp32 here.")
    return chosen


def _step_seconds(net: nn.Module, precision: str, image_px: int, device: torch.device) -> float:
    """Of the faster of two steps, after one to warm up."""
    inputs = torch.zeros((SAMPLE_IMAGES, 3, image_px, image_px), device=device)
    inputs = inputs.to(memory_format=torch.channels_last)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = net(inputs).float().sum()
        loss.backward()
        float(loss.detach())  # waits for the device
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
