"""On a GPU the pass computes what the CPU computes, and mixes nothing up."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.extraction import begin, config, fill_one
from helpers.pictures import decoded
from helpers.processes import ran
from torch import nn

from headstart import api
from headstart.cache import recipe
from headstart.cache.feature_cache import FeatureCache
from headstart.cache.layout import DONE
from headstart.extraction import extractor
from headstart.extraction.fidelity import centred_cosines
from headstart.images import feeding
from headstart.models.fast import fast_form, folded_copy
from headstart.models.loading import load_frozen
from headstart.prediction.classifier import Classifier

pytestmark = pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")

BOUNDS = {"fp32": (1e-5, 0.9999), "fp16": (2e-3, 0.9), "bf16": (2e-2, 0.2)}
"""The largest relative error, and the smallest centred cosine. With TF32 the error of fp32 would be 3e-4; the features
of an untrained net differ so little that bf16 hardly tells them apart."""


GPU = pytest.param("cuda", marks=pytest.mark.gpu)


def form(device, precision, compiled=False):
    return pytest.param(device, precision, compiled, marks=[pytest.mark.gpu] if device == "cuda" else [])


FORMS = [
    form("cpu", "fp32"),
    *(form("cuda", precision) for precision in BOUNDS),
    *(form("cuda", precision, True) for precision in ("fp32", "fp16")),
]


@pytest.fixture(scope="module")
def net():
    """Untrained, with statistics of its own in every channel of BatchNorm: folded, and plain in float64."""
    loaded, generator = load_frozen("resnet50", "random", 3)[0], torch.Generator().manual_seed(1)
    for layer in loaded.net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            ranges = (layer.running_mean, -0.5, 0.5), (layer.running_var, 0.2, 3.0), (layer.weight, 0.2, 1.0)
            for values, low, high in ranges:
                values.data = low + (high - low) * torch.rand(values.shape, generator=generator)
    return folded_copy(loaded.net, loaded.sample), copy.deepcopy(loaded.net).double(), loaded.made.scale


def pictures(device):
    """(B, H, W, 3): coarse and fine noise of strengths that differ much."""
    count, px = (32, 224) if device.type == "cuda" else (4, 64)
    generator = torch.Generator().manual_seed(0)
    strengths = torch.rand((2, count, 1, 1, 1), generator=generator)
    coarse = 255 * torch.rand((count, 3, 7, 7), generator=generator) * (0.2 + 0.8 * strengths[0])
    fine = (120 * torch.rand((count, 3, px, px), generator=generator) - 60) * strengths[1]
    pixels = nn.functional.interpolate(coarse, (px, px), mode="bicubic") + fine
    return pixels.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize(("device", "precision", "compiled"), FORMS, indirect=["device"])
def test_features_are_those_of_float64(net, device, precision, compiled):
    (folded, exact, scale), pixels = net, pictures(device)
    with torch.no_grad():
        reference = exact(scale(pixels).double())
    features = fast_form(folded, scale, precision, compiled, device)(pixels.to(device)).cpu().double()
    error, cosine = BOUNDS[precision]
    assert (features - reference).norm() / reference.norm() < error
    assert centred_cosines(reference, features).min() > cosine


@pytest.mark.parametrize(("device", "precision", "compiled"), FORMS[:3], indirect=["device"])
def test_the_bits_of_a_row_do_not_depend_on_its_place_or_its_neighbours(net, device, precision, compiled):
    (folded, _, scale), pixels = net, pictures(device).to(device)
    forward, order = fast_form(folded, scale, precision, compiled, device), torch.arange(len(pixels)).flip(0).to(device)
    together = forward(pixels)
    assert torch.equal(forward(pixels), together)
    assert torch.equal(forward(pixels[order]), together[order])
    other = torch.zeros_like(pixels)
    other[-1] = pixels[1]
    assert torch.equal(forward(other)[-1], together[1])


@pytest.mark.usefixtures("one_net")
@pytest.mark.parametrize("processes", [0, 2])
def test_every_row_holds_the_features_of_its_own_image(device, tmp_path, make_photos, monkeypatch, processes):
    """The device is kept busy: a buffer that is filled again before its copy has ended would show."""
    monkeypatch.setattr(feeding, "MANY_IMAGES", 1 if processes else 1000)
    monkeypatch.setattr(feeding, "SHARED_IMAGES", 4)

    def first_pixels(pixels):
        if device.type == "cuda":
            torch.cuda._sleep(5_000_000)  # cycles, some milliseconds
        return pixels.flatten(1)[:, :2048].float()

    monkeypatch.setattr(extractor, "fast_form", lambda *_: first_pixels)
    settings = replace(config(make_photos({"cat": 60, "dog": 57})), device=device.type, workers=2 * processes)
    path = begin(tmp_path / "a.h5", settings)
    fill_one(extractor.Extractor(settings), path)
    cache = FeatureCache(path)
    geometry, features = cache.recipe.geometry, cache.read()
    for row in range(len(cache)):
        expected = decoded(cache.manifest.place(row).read_bytes(), geometry).reshape(-1)[:2048]
        assert np.array_equal(features[row], expected), row


@pytest.mark.gpu
def test_a_batch_too_large_for_the_memory_is_made_smaller():
    """A pass does not end because another program has the memory."""
    settings = replace(config("photos"), device="cuda", image_px=224, precision="fp16", batch_size=8192)
    made = extractor.Extractor(settings)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + 3e9) / total)
    try:
        size = made.batch_size(recipe.from_config(settings))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 1 <= size < 8192


def test_pass_head_and_prediction_agree_with_those_of_the_cpu(device, tmp_path, make_photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_photos({"cat": 20, "dog": 20})
    flags = {"backbone": "resnet18", "weights": "random", "image_px": 32, "precision": "fp32", "compile": "off"}
    places = (device.type, tmp_path / "here.h5"), ("cpu", tmp_path / "cpu.h5")
    here, there = (api.extract(data, cache=path, device=kind, **flags) for kind, path in places)
    ours, theirs = (torch.from_numpy(cache.read()).double() for cache in (here, there))
    assert (here.status == DONE).all()
    assert centred_cosines(theirs, ours).min() > 0.9999
    run = api.train_head(cache=places[0][1], epochs=2, device=device.type, run=tmp_path / "run")
    files = sorted(data.rglob("*.png"))
    found, expected = (Classifier.load(run, device=kind).predict(files) for kind, _ in places)
    np.testing.assert_allclose(found[1], expected[1], atol=2e-3)


@pytest.mark.parametrize("device", [GPU], indirect=True)
def test_several_processes_share_a_gpu_by_parts(device, tmp_path, make_photos):
    """There is no faster pass for a GPU whose one process waits for the lock. On the CPU: tests/test_processes.py."""
    data = make_photos({"cat": 20, "dog": 20})
    flags = ("--data", data, "--backbone", "resnet18", "--weights", "random", "--image-px", "32")
    flags = (*flags, "--precision", "fp32", "--compile", "off")
    read = []
    for more in ((), ("--parts", "4", "--processes", "2")):
        cache = tmp_path / f"{len(more)}.h5"
        ran("extract", *flags, "--device", device.type, "--cache", cache, *more, cwd=tmp_path)
        made = FeatureCache(cache)
        assert (made.status == DONE).all()
        read.append(torch.from_numpy(made.read()).double())
    assert centred_cosines(*read).min() > 0.9999
