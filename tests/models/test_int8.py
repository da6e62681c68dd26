"""Eight bits: features near those of fp32, and the same whoever makes the net again."""

import json
from importlib import util

import pytest
import torch
from torch import nn

from headstart.errors import SettingsError
from headstart.models import int8
from headstart.models.backbone import IMAGENET
from headstart.models.fast import FastBackbone

needs_torchao = pytest.mark.skipif(util.find_spec("torchao") is None, reason="torchao, of the extra int8, is missing")


def noise(seed: int, count: int = 8) -> torch.Tensor:
    """Pictures of different brightness and contrast."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand((count, 24, 24, 3), generator=generator) * torch.rand((count, 1, 1, 3), generator=generator)
    return (255 * pixels).to(torch.uint8)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU()]
    return FastBackbone(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), IMAGENET, torch.float32).eval()


@needs_torchao
def test_features_are_near_those_of_fp32_and_the_same_from_kept_scales(net):
    pixels = noise(9)
    scales, seen = int8.calibrated(net, [noise(1), noise(2)])
    assert torch.equal(seen, net(torch.cat([noise(1), noise(2)])))
    features = int8.in_eight_bits(net, pixels, scales)(pixels)
    exact = net(pixels)
    assert 0 < (features - exact).abs().max() < 0.02 * exact.abs().max()
    read = tuple(json.loads(json.dumps(scales)))
    assert torch.equal(int8.in_eight_bits(net, pixels, read)(pixels), features)


@needs_torchao
def test_scales_are_those_of_the_images_that_calibrate(net):
    scales, _ = int8.calibrated(net, [noise(1), noise(2)])
    assert int8.calibrated(net, [noise(1), noise(2)])[0] == scales
    assert int8.calibrated(net, [noise(1)])[0] != int8.calibrated(net, [noise(1) // 2])[0]


@needs_torchao
def test_scales_of_another_net_are_refused(net):
    with pytest.raises(SettingsError, match="another way"):
        int8.in_eight_bits(net, noise(1), (0.1, 0.0))


def test_what_cannot_run_in_eight_bits_is_refused_in_words(monkeypatch):
    with pytest.raises(SettingsError, match="--device cpu"):
        int8.require_int8(torch.device("cuda"), None)
    with pytest.raises(SettingsError, match="leave out --compile off"):
        int8.require_int8(torch.device("cpu"), False)
    monkeypatch.setattr(int8, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'headstart\[int8\]'"):
        int8.require_int8(torch.device("cpu"), None)
