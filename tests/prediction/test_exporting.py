"""An exported model is one file that any program runs: any number of images, the run's own probabilities, checked."""

import io
import json
import sys
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN
from torch import nn

from headstart.cache.recipe import from_config
from headstart.errors import ExportFailed, SettingsError
from headstart.heads.run import train
from headstart.models.backbone import IMAGENET
from headstart.models.fast import fast_module, with_layout
from headstart.prediction import exporting
from headstart.prediction.classifier import Classifier
from headstart.prediction.exporting import export, plain_classifier
from headstart.prediction.loading import Parts, open_run
from headstart.settings import ExtractConfig, HeadConfig

pytestmark = pytest.mark.slow

PX = 32
SMALL = ExtractConfig(weights="random", image_px=PX, precision="fp32", compile="off", storage="float32")
RECIPE = replace(from_config(SMALL), backbone="mine:small", features=32)


@pytest.fixture(scope="module")
def classifier():
    """With all that a head can have: hidden layers, dropout, and rows of length 1; a large net takes long to trace."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 16, 7, 4, 3), nn.Conv2d(16, 32, 3, 2, 1)
    net = nn.Sequential(first, nn.BatchNorm2d(16), nn.ReLU(), second, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    backbone = fast_module(net, IMAGENET, "fp32", False, torch.device("cpu"))
    head = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    parts = Parts(((backbone, RECIPE),), head, ("a", "b", "c"), True, False)
    return Classifier(parts).requires_grad_(False).to(memory_format=torch.contiguous_format)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 3, PX, PX)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(classifier, pixels):
    """A function that gives the exported model of a format, exported once."""
    return cache(lambda form: export(classifier, [pixels], form))


def probabilities(classifier, pixels):
    with torch.inference_mode():
        return classifier(torch.from_numpy(pixels)).numpy()


def test_a_pt2_file_needs_torch_alone_and_takes_any_number_of_images(classifier, pixels, exported):
    file = exported("pt2")
    model = torch.export.load(io.BytesIO(file.content)).module()
    for count in (1, 2, 7, 12):
        found = model(torch.from_numpy(pixels[:count])).numpy()
        np.testing.assert_allclose(found, probabilities(classifier, pixels[:count]), atol=1e-5)
    assert file.difference <= 1e-5
    np.testing.assert_allclose(file.probabilities, probabilities(classifier, pixels), atol=1e-5)


def test_an_onnx_file_needs_onnxruntime_alone_and_takes_any_number_of_images(classifier, pixels, exported):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported("onnx").content, providers=["CPUExecutionProvider"])
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:], found.name) == (
        "pixels",
        "tensor(uint8)",
        [3, PX, PX],
        "probabilities",
    )
    for count in (1, 5, 12):
        (own,) = session.run(None, {"pixels": pixels[:count]})
        np.testing.assert_allclose(own, probabilities(classifier, pixels[:count]), atol=1e-4)


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_an_exported_file_holds_no_path_of_this_machine(exported, form):
    pytest.importorskip("onnxruntime")
    content = exported(form).content
    if form == "pt2":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
    for folder in (Path(exporting.__file__).parent, Path(torch.__file__).parent, Path.home()):
        assert str(folder).encode() + b"/" not in content


def test_an_onnx_file_names_its_classes_in_its_own_metadata(exported):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported("onnx").content)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["a", "b", "c"]
    assert json.loads(about["image_px"]) == PX
    assert session.get_inputs()[0].shape[0] == "batch"


def test_a_file_that_says_something_else_is_not_written(classifier, pixels, monkeypatch):
    write = exporting._pt2

    def wrong(model):
        bias = model.head[-1].bias
        with torch.no_grad():
            bias[0] += 0.01
            content = write(model)
            bias[0] -= 0.01
        return content

    monkeypatch.setattr(exporting, "_pt2", wrong)
    with pytest.raises(ExportFailed, match=r"differs from the run by 0\.00\d+ on 12 images .* nothing was written"):
        export(classifier, [pixels], "pt2")


def test_probabilities_that_are_no_numbers_are_a_difference(classifier, pixels, monkeypatch):
    monkeypatch.setattr(exporting, "_serve_pt2", lambda content: lambda batch: np.full((len(batch), 3), np.nan))
    with pytest.raises(ExportFailed, match="differs from the run by nan"):
        export(classifier, [pixels], "pt2")


def test_the_check_asks_for_batches_of_several_sizes_and_for_every_image_once(pixels):
    sizes = []

    def serve(batch):
        sizes.append(len(batch))
        return batch[:, :, 0, 0].astype(np.float32)

    found = exporting._in_batches(serve, [pixels])
    assert sizes == [1, 2, 3, 4, 2]
    np.testing.assert_array_equal(found, pixels[:, :, 0, 0])
    sizes.clear()
    exporting._in_batches(serve, [pixels[:1]])
    assert sizes == [1]


def test_a_missing_package_is_named_with_the_command_that_installs_it(classifier, pixels, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SettingsError, match=r"needs the package onnxruntime: \.venv/bin/pip install onnx onnxscript"):
        export(classifier, [pixels], "onnx")


def test_what_is_exported_does_not_round_its_features(tmp_path):
    """A rounded feature may fall on the other side of a step where another program differs in the last digit."""
    cache = make_cache(tmp_path / "f.h5", [0, 1] * 6, [TRAIN] * 8 + [TEST] * 4)
    assert cache.recipe.storage == "float16"
    run = train(HeadConfig(cache=cache.path, run=tmp_path / "run", epochs=1, device="cpu"))
    assert Classifier.load(run).stored == torch.float16
    plain = plain_classifier(open_run(run), None)
    assert plain.stored == torch.float32
    assert not any(parameter.requires_grad for parameter in plain.parameters())


class Viewing(nn.Module):
    """Runs on pixels channel by channel only; `brightens` makes what it does depend on the pixels."""

    def __init__(self, brightens=False):
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.brightens = nn.Conv2d(3, 4, 3, stride=16), brightens

    def forward(self, inputs):
        features = self.conv(inputs).view(inputs.shape[0], -1)
        return features + 1 if self.brightens and inputs.mean() > 0 else features


def of(net):
    folded = with_layout(net.eval(), torch.randn(2, 3, PX, PX))
    recipe = replace(RECIPE, backbone="mine:viewing", features=16)
    backbone = fast_module(folded, IMAGENET, "fp32", False, torch.device("cpu"))
    parts = Parts(((backbone, recipe),), nn.Linear(16, 3), ("a", "b", "c"), False, False)
    return Classifier(parts).requires_grad_(False).to(memory_format=torch.contiguous_format)


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_a_net_that_calls_view_takes_pixels_in_any_layout(pixels, form):
    last = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    exported = export(of(Viewing()), [last], form)
    assert exported.difference <= 1e-5
    assert len(exported.probabilities) == len(pixels)


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_a_net_that_no_file_can_hold_is_told_in_a_sentence(pixels, form, capfd):
    with pytest.raises(ExportFailed, match=f"The net cannot be written as {form}: .*make predict runs the net as it"):
        export(of(Viewing(brightens=True)), [pixels], form)
