"""Whether a whole net is trained in fp32 or bf16: on the CPU measures a step of each."""

import copy
import time
from typing import Literal

import torch
from torch import nn

from headstart.models.precision import FASTER, bf16_is_native
from headstart.models.torch_file import first_line
from headstart.support.devices import is_out_of_memory
from headstart.support.progress import say

Precision = Literal["fp32", "bf16"]
SAMPLE_IMAGES, ROUNDS = 8, 3
"""Images in a step that is timed; steps that are timed in each precision, of which the fastest counts."""


def resolve(asked: Literal["auto", "fp32", "bf16"], net: nn.Module, image_px: int, device: torch.device) -> Precision:
    """What was asked for; else bf16 on a GPU that has it, on a CPU the faster of both. The weights stay fp32.

    bf16 has the range of fp32, so the loss needs no scaling. Source: Kalamkar et al. 2019, arXiv:1905.12322.
    """
    if asked != "auto" or not bf16_is_native(device):
        return "fp32" if asked == "auto" else asked
    trial = copy.deepcopy(net).train()
    try:
        if device.type == "cuda":  # there so small a step only waits for launches: it shows that the net runs
            _step_seconds(trial, "bf16", image_px, device)
            say("precision: bf16, since this GPU multiplies in it natively.")
            return "bf16"
        gain = _gain(trial, image_px, device)
    except Exception as error:  # of any kind; where fp32 fails too, its training will say so
        if is_out_of_memory(error):
            raise
        say(f"precision: fp32, since a step of training does not run in bf16 ({first_line(error)}).")
        return "fp32"
    chosen: Precision = "bf16" if gain > FASTER else "fp32"
    say(f"precision: {chosen}, since a step of training in bf16 runs at {gain:.2f} x the speed of fp32 here.")
    return chosen


def _gain(net: nn.Module, image_px: int, device: torch.device) -> float:
    """How many times faster than in fp32 a step in bf16 is."""
    seconds: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(1 + ROUNDS):  # alternating, since other programs may use the machine
        for precision, times in seconds.items():
            times.append(_step_seconds(net, precision, image_px, device))
    return min(seconds["fp32"][1:]) / min(seconds["bf16"][1:])  # the first step warms up


def _step_seconds(net: nn.Module, precision: Precision, image_px: int, device: torch.device) -> float:
    shape = (SAMPLE_IMAGES, 3, image_px, image_px)
    inputs = torch.zeros(shape, device=device).to(memory_format=torch.channels_last)
    start = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = net(inputs).float().sum()
    loss.backward()
    float(loss.detach())  # waits for the device
    return time.perf_counter() - start
