"""The arithmetic of a pass: decided once, by measuring, and never at the cost of the features."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from headstart.cache import recipe
from headstart.errors import SettingsError
from headstart.extraction import precision as tuning
from headstart.extraction.calibration import Calibration
from headstart.extraction.fidelity import Fidelity
from headstart.extraction.sampling import Sample
from headstart.models.precision import fitting_batch_size
from headstart.settings import ExtractConfig

CPU = torch.device("cpu")
OPEN = recipe.from_config(ExtractConfig(weights="random", image_px=32))
SAMPLE = Sample(torch.zeros((20, 8, 8, 3), dtype=torch.uint8), np.full(20, -1))


def features(count=20, seed=0):
    """Features as a net gives them: all near one large mean, and each a little different."""
    generator = torch.Generator().manual_seed(seed)
    mean = 5 * torch.rand(2048, generator=generator)
    return mean + 0.05 * torch.randn(count, 2048, generator=generator)


def test_of_few_images_auto_tries_nothing_and_runs_in_plain_fp32():
    assert tuning.trial_images(OPEN, 499) == 0
    assert tuning.trial_images(replace(OPEN, precision="fp32"), 499) == 0
    resolved, notes = tuning.resolve(OPEN, None, None, None, 499, CPU)
    assert (resolved, notes) == (replace(OPEN, precision="fp32", compiled=False), {})


def test_what_is_tried_costs_a_fortieth_of_the_pass(monkeypatch):
    computed = []
    monkeypatch.setattr(tuning, "_candidate", lambda device: "bf16")
    monkeypatch.setattr(
        tuning, "fast_form", lambda *form: lambda pixels: computed.append(len(pixels)) or torch.ones(len(pixels), 8)
    )
    assert tuning.trial_images(OPEN, 800) == 20
    resolved, _ = tuning.resolve(OPEN, None, None, SAMPLE, 800, CPU)
    assert (resolved.precision, resolved.compiled, computed) == ("fp32", False, [20])


def test_what_the_user_decided_is_neither_changed_nor_measured(monkeypatch):
    monkeypatch.setattr(tuning, "timed", None)
    monkeypatch.setattr(tuning, "compiler_fault", lambda device: "")
    for precision in ("fp32", "bf16", "fp16"):
        for compiled in (True, False):
            asked = replace(OPEN, precision=precision, compiled=compiled)
            assert tuning.resolve(asked, None, None, None, 10**9, CPU) == (asked, {})


@pytest.fixture
def bench(monkeypatch):
    """Says what each precision would be measured as: images/s, and noise beside the features of fp32."""
    measured = {"fp32": (10.0, 0.0)}

    def timed(form, pixels):
        rate, noise = measured[form]
        return rate, features() + noise * torch.randn(20, 2048, generator=torch.Generator().manual_seed(9))

    monkeypatch.setattr(tuning, "fast_form", lambda net, scale, precision, compiled, device: precision)
    monkeypatch.setattr(tuning, "timed", timed)
    monkeypatch.setattr(tuning, "_candidate", lambda device: "bf16")
    monkeypatch.setattr(tuning, "compiler_fault", lambda device: "")
    return measured


@pytest.mark.parametrize(
    ("rate", "noise", "chosen"),
    [
        (30.0, 0.001, "bf16"),
        (30.0, 0.02, "fp32"),  # fast, but the features are others
        (30.0, float("nan"), "fp32"),
        (10.5, 0.001, "fp32"),  # hardly faster
    ],
)
def test_reduced_precision_is_chosen_only_if_it_is_faster_and_leaves_the_features(bench, capsys, rate, noise, chosen):
    bench["bf16"] = (rate, noise)
    resolved, notes = tuning.resolve(OPEN, None, None, SAMPLE, 100_000, CPU)
    assert resolved.precision == chosen
    assert notes["bf16_images_per_second"] == rate
    assert -1 <= notes["bf16_centred_cosine"] <= 1
    assert f"precision: {chosen}" in capsys.readouterr().out


def test_compilation_is_chosen_when_the_pass_is_long_enough_to_win_it_back(bench):
    asked = replace(OPEN, precision="fp32")
    assert tuning.resolve(asked, None, None, SAMPLE, 100, CPU)[0].compiled is False
    assert tuning.resolve(asked, None, None, SAMPLE, 100_000, CPU)[0].compiled is True


@pytest.mark.parametrize(("device", "chosen"), [("cpu", "fp32"), ("cuda", "bf16")])
def test_a_pass_of_ten_seconds_is_worth_a_trial_on_a_gpu_alone(bench, device, chosen):
    bench["fp32"] = (100.0, 0.0)
    bench["bf16"] = (300.0, 0.001)
    assert tuning._precision(None, None, SAMPLE, 1000, torch.device(device))[0] == chosen
    assert tuning._precision(None, None, SAMPLE, 400, torch.device(device))[0] == "fp32"


def test_without_a_compiler_auto_says_so_and_on_is_refused(bench, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setattr(tuning, "fast_form", lambda net, scale, precision, compiled, device: precision)
    monkeypatch.setattr(tuning, "timed", lambda form, pixels: (10.0, features()))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    asked = replace(OPEN, precision="fp32")
    assert tuning.resolve(asked, None, None, SAMPLE, 100_000, CPU)[0].compiled is False
    assert "compile: off, since torch.compile needs a C++ compiler" in capsys.readouterr().out
    for device in (CPU, torch.device("cuda")):  # Triton starts its kernels with a program that it compiles
        with pytest.raises(SettingsError, match="--compile off"):
            tuning.resolve(replace(asked, compiled=True), None, None, SAMPLE, 100, device)


NEAR, FAR = Fidelity(0.98, 0.9, 0.8, 1.0), Fidelity(0.98, 0.9, 0.8, 0.7)


@pytest.mark.parametrize(
    ("near", "rate", "words"),
    [
        (NEAR, 40.0, ""),
        (NEAR, 11.0, "int8 runs at 1.10 x its speed here"),
        (FAR, 40.0, r"int8 would change the features: .* 70\.0% of the answers .* \(bound: "),
        (Fidelity(0.3, 0.1, 0.2, None), 40.0, "int8 would change the features"),
        (None, None, "too few images"),
    ],
)
def test_auto_takes_int8_only_if_it_is_faster_and_leaves_the_features(near, rate, words):
    fault = tuning.fault_of_int8(Calibration((), 128, 64, near, rate), 10.0)
    assert bool(fault) == bool(words)
    assert re.search(words, fault)


def test_int8_is_tried_only_for_long_passes_on_processors_that_are_made_for_it(monkeypatch, capsys):
    resolved, rates = replace(OPEN, precision="fp32"), {"fp32_images_per_second": 10.0}
    monkeypatch.setattr(tuning, "compiler_fault", lambda device: "")
    monkeypatch.setattr(tuning.int8, "is_installed", lambda: True)
    assert not tuning.int8_pays(OPEN, resolved, rates, 20_000, torch.device("cuda"))
    for vnni in (True, False):
        monkeypatch.setattr(tuning.int8, "_has_vnni", lambda vnni=vnni: vnni)
        assert tuning.int8_pays(OPEN, resolved, rates, 20_000, CPU) == vnni
    monkeypatch.setattr(tuning.int8, "_has_vnni", lambda: True)
    assert not tuning.int8_pays(OPEN, resolved, rates, 500, CPU)  # calibrating takes 192 images
    assert not tuning.int8_pays(OPEN, resolved, {"fp32_images_per_second": 1000.0}, 20_000, CPU)
    assert not tuning.int8_pays(replace(OPEN, compiled=False), resolved, rates, 20_000, CPU)
    assert not tuning.int8_pays(replace(OPEN, precision="fp32"), resolved, rates, 20_000, CPU)
    monkeypatch.setattr(tuning.int8, "is_installed", lambda: False)
    assert not tuning.int8_pays(OPEN, resolved, rates, 20_000, CPU)
    assert "headstart[int8]" in capsys.readouterr().out


def forward_with_room_for(images):
    def forward(pixels):
        if len(pixels) > images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.zeros(len(pixels), 2048)

    return forward


@pytest.mark.parametrize(("room", "size"), [(64, 32), (32, 32), (31, 16), (5, 4), (1, 1)])
def test_a_batch_too_large_for_the_device_is_halved_before_the_pass(room, size, capsys):
    assert fitting_batch_size(forward_with_room_for(room), 32, 32, torch.device("cpu")) == size
    assert ("no memory" in capsys.readouterr().out) == (size < 32)


def test_a_device_without_room_for_one_image_is_named():
    with pytest.raises(SettingsError, match="Not even one image fits the memory of cpu"):
        fitting_batch_size(forward_with_room_for(0), 32, 32, torch.device("cpu"))
