"""Maps say where the evidence lies: their mean is the score, running finds their method, other nets are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.pictures import picture
from torch import nn
from torch.nn import functional

from headstart.cache.recipe import from_config
from headstart.errors import SettingsError
from headstart.models.backbone import IMAGENET, ZERO_TO_ONE
from headstart.models.fast import fast_module, folded_copy
from headstart.models.loading import load_frozen
from headstart.prediction.classifier import Classifier
from headstart.prediction.evidence import Evidence
from headstart.prediction.loading import Parts
from headstart.settings import ExtractConfig

CPU = torch.device("cpu")
CLASSES = ("cat", "dog", "owl")
PIXELS = np.asarray(picture(1, (32, 32)))


class Net(nn.Module):
    """A convolution and batch normalisation, then what a test names."""

    def __init__(self, end):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.BatchNorm2d(6)
        self.layer_norm, self.attention = nn.LayerNorm(6), nn.MultiheadAttention(6, 2, batch_first=True)
        self.end = end

    def forward(self, pixels):
        return self.end(self, self.norm(self.conv(pixels)))


def in_place(net, maps):
    return functional.adaptive_avg_pool2d(functional.relu(maps, inplace=True), 1).flatten(1)


def by_functions(net, maps):
    return torch.sigmoid(maps).flatten(2).mean(2)


def channels_last(net, maps):
    return net.layer_norm(maps.permute(0, 2, 3, 1)).mean((1, 2))


def normalised_behind(net, maps):
    return net.layer_norm(maps.relu().mean((2, 3)))


def gated(net, maps):
    return functional.hardswish(maps.mean((2, 3))) + 0.1


def flat(net, maps):
    return maps[:, :2].relu().flatten(1)


def attended(net, maps):
    tokens = maps.flatten(2).transpose(1, 2)
    return net.attention(tokens, tokens, tokens)[0][:, 0]


def deviating(net, maps):
    return maps.flatten(2).std(2)


def linear(width):
    return nn.Sequential(nn.Linear(width, 3))


def mlp(width):
    return nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))


def classifier(net, head, scale=IMAGENET, image_px=32, **changes):
    recipe = from_config(
        ExtractConfig(weights="random", image_px=image_px, precision="fp32", compile="off", storage="float32")
    )
    folded = folded_copy(net.eval().requires_grad_(False), torch.randn(2, 3, image_px, image_px))
    form = fast_module(folded, scale, "fp32", False, CPU)
    return Classifier(replace(Parts(((form, recipe),), head, CLASSES, False, False), **changes))


def of(end, head, **changes):
    torch.manual_seed(0)
    return classifier(Net(end), head(128 if end is flat else 6), **changes)


def scores(model, pixels):
    """(C,) of the whole image, less their mean."""
    with torch.inference_mode():
        logs = model(torch.tensor(pixels)[None].permute(0, 3, 1, 2))[0].log().numpy()
    return logs - logs.mean()


@pytest.mark.parametrize("unit_length", [False, True])
@pytest.mark.parametrize("end", [in_place, by_functions, channels_last])
def test_the_mean_of_an_exact_map_is_the_score_however_the_mean_of_the_places_is_taken(end, unit_length):
    model = of(end, linear, unit_length=unit_length)
    evidence = Evidence(model)
    assert evidence.method == "exact"
    for label, score in enumerate(scores(model, PIXELS)):
        found = evidence.of(PIXELS, label)
        assert found.shape == (8, 8)
        assert found.std() > 0.01
        assert found.mean() == pytest.approx(score, abs=1e-5)


def test_an_exact_map_is_what_the_head_says_of_each_place():
    model = of(by_functions, linear)
    with torch.inference_mode():
        inputs = model.backbone.body.norm(
            model.backbone.body.conv(
                (torch.tensor(PIXELS)[None].permute(0, 3, 1, 2) - model.backbone.mean) / model.backbone.std
            )
        )
        places = model.head(torch.sigmoid(inputs)[0].movedim(0, 2))
    expected = (places - places.mean(2, keepdim=True)).numpy()
    for label in range(3):
        np.testing.assert_allclose(Evidence(model).of(PIXELS, label), expected[..., label], atol=1e-5)


@pytest.mark.parametrize("unit_length", [False, True])
@pytest.mark.parametrize(("end", "head"), [(in_place, mlp), (normalised_behind, linear), (gated, mlp)])
def test_behind_other_layers_it_is_grad_cam_whose_mean_is_the_score(end, head, unit_length):
    model = of(end, head, unit_length=unit_length)
    evidence = Evidence(model)
    assert evidence.method == "Grad-CAM"
    for label, score in enumerate(scores(model, PIXELS)):
        assert evidence.of(PIXELS, label).mean() == pytest.approx(score, abs=1e-5)


class Colours(nn.Module):
    """Three features: how much red, green and blue there is."""

    def forward(self, pixels):
        return functional.avg_pool2d(pixels, 4).mean((2, 3))


def test_grad_cam_speaks_for_a_class_where_its_colour_is_and_against_it_where_the_other_is():
    """The hidden units of the head are how much red there is above blue, and the other way round."""
    hidden, output = nn.Linear(3, 2), nn.Linear(2, 3)
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[1.0, 0, -1], [-1, 0, 1]]))
        output.weight.copy_(torch.tensor([[1.0, -1], [-1, 1], [0, 0]]))
        hidden.bias.zero_(), output.bias.zero_()
    evidence = Evidence(classifier(Colours(), nn.Sequential(hidden, nn.ReLU(), nn.Dropout(0.0), output), ZERO_TO_ONE))
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16, 0], pixels[:, 16:, 2] = 255, 200
    red, blue = evidence.of(pixels, 0), evidence.of(pixels, 1)
    assert red.shape == (8, 8)
    np.testing.assert_allclose(red, np.tile([1.0] * 4 + [-200 / 255] * 4, (8, 1)), atol=1e-5)
    np.testing.assert_allclose(blue, -red, atol=1e-5)


@pytest.mark.parametrize("end", [flat, attended, deviating])
def test_nets_without_a_mean_over_places_are_refused_in_words(end):
    with pytest.raises(SettingsError, match=r"^--maps: the features of this net are no mean over several places"):
        Evidence(of(end, linear))


def test_a_net_without_a_feature_map_or_with_one_place_is_refused():
    for net in (nn.Sequential(nn.Flatten(), nn.Linear(3072, 6)), nn.Sequential(nn.Conv2d(3, 6, 32), nn.Flatten())):
        with pytest.raises(SettingsError, match="or where images are so small that one place is left"):
            Evidence(classifier(net, linear(6)))


def test_features_of_several_nets_are_refused():
    model = of(in_place, linear)
    model.beside.append(model.backbone)
    with pytest.raises(SettingsError, match="of one net, not of several side by side"):
        Evidence(model)


@pytest.mark.parametrize(
    ("name", "width", "method"), [("shufflenet_v2_x0_5", 1024, "exact"), ("mobilenet_v3_small", 1024, "Grad-CAM")]
)
def test_of_a_real_net_the_method_is_found_and_the_mean_is_the_score(name, width, method):
    torch.manual_seed(0)
    net = load_frozen(name, "random", 0, 64)[0].net
    model = classifier(net, linear(width), image_px=64)
    evidence, pixels = Evidence(model), np.asarray(picture(2, (64, 64)))
    assert evidence.method == method
    found = evidence.of(pixels, 1)
    assert found.shape == (2, 2)
    assert found.mean() == pytest.approx(scores(model, pixels)[1], abs=1e-4)
