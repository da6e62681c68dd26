"""Features are the net's own, whatever net it is; a net that gives none is refused in a sentence."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision import models

from headstart.errors import BackboneError
from headstart.models.backbone import IMAGENET, Backbone
from headstart.models.fast import fast_form
from headstart.models.frozen import features_of
from headstart.models.loading import load_backbone

CPU = torch.device("cpu")
FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "maxvit_t": 224,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "vgg11_bn": 64,
    "vit_b_32": 224,
    "timm:resnet18": 64,
    "timm:convnextv2_atto": 64,
    "timm:mobilenetv4_conv_small": 64,
    "timm:vit_tiny_patch16_224": 224,
    "timm:deit_tiny_distilled_patch16_224": 224,
    "timm:xcit_nano_12_p16_224": 64,
}
"""One net of each family, and a small size that it takes."""
LARGE = ("convnext_tiny", "efficientnet_v2_s", "maxvit_t", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32")
NETS = [pytest.param(*item, id=item[0], marks=[pytest.mark.slow] * (item[0] in LARGE)) for item in FAMILIES.items()]


def shaken(net):
    """The net with BatchNorm as training leaves it, so that a mistake in folding shows."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
    return net


def own_features(name, net, inputs):
    """As the documentation of the package says to get them."""
    if name.startswith("timm:"):
        net.reset_classifier(0)
    else:
        parts = [*net.named_children()]
        last = parts[-1][1]
        while not isinstance(last, nn.Linear):  # such as classifier.6, heads.head
            parts += [(f"{parts[-1][0]}.{child}", module) for child, module in last.named_children()]
            last = parts[-1][1]
        net.set_submodule(parts[-1][0], nn.Identity())
    with torch.no_grad():
        return net.eval()(inputs)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "image_px"), NETS)
def test_features_equal_the_nets_own_in_any_batch(name, image_px):
    made, _ = load_backbone(name, "random", seed=3)
    plain = copy.deepcopy(shaken(made.net))
    pixels = torch.randint(0, 256, (3, image_px, image_px, 3), dtype=torch.uint8)
    loaded = features_of(made, name, image_px)
    forward = fast_form(loaded.folded, made.scale, "fp32", False, CPU)
    features, alone = forward(pixels), torch.cat([forward(pixels[row : row + 1]) for row in range(3)])
    reference = own_features(name, plain, made.scale(pixels))
    largest = reference.abs().max()
    assert features.shape == reference.shape == (3, loaded.features)
    assert (features - reference).abs().max() <= 1e-5 * largest
    assert (alone - features).abs().max() <= 1e-5 * largest


def test_every_batchnorm_behind_a_convolution_is_folded_and_no_other():
    """In MaxViT a convolution's output is used twice; in DenseNet half of the norms are before a convolution."""
    for name, image_px, left in (("resnet18", 64, 0), ("efficientnet_b0", 64, 0), ("densenet121", 64, 62)):
        made, _ = load_backbone(name, "random")
        folded = features_of(made, name, image_px).folded
        assert sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) == left, name


@pytest.mark.parametrize("name", [pytest.param("vit_b_32", marks=pytest.mark.slow), "timm:vit_tiny_patch16_224"])
def test_tokens_are_pooled_as_asked(name):
    made, _ = load_backbone(name, "random", seed=2)
    inputs = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        if name.startswith("timm:"):
            tokens = made.net.eval().forward_features(inputs)
        else:
            seen = []
            hook = made.net.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
            made.net.eval()(inputs)
            hook.remove()
            tokens = seen[0]
    wanted = {"cls": tokens[:, 0], "avg": tokens[:, 1:].mean(dim=1)}
    for pool in ("avg", "cls", "cls+avg"):
        loaded = features_of(replace(made, net=copy.deepcopy(made.net)), name, 224, pool)
        with torch.no_grad():
            features = loaded.net(inputs)
        expected = torch.cat([wanted[part] for part in pool.split("+")], dim=1)
        assert torch.allclose(features, expected, atol=1e-6), pool


@pytest.mark.parametrize(("name", "image_px"), [("resnet18", 64), ("timm:resnet18", 64)])
def test_a_net_without_tokens_has_none_to_pool(name, image_px):
    with pytest.raises(BackboneError, match="has no tokens to pool: leave --pool out"):
        features_of(load_backbone(name, "random")[0], name, image_px, "avg")


class Tokens(nn.Module):
    """As timm's transformers are."""

    def __init__(self, prefix, **parameters):
        super().__init__()
        self.num_prefix_tokens = prefix
        for name in parameters:
            self.register_parameter(name, nn.Parameter(torch.zeros(1, 1, 3)))

    def forward_features(self, inputs):
        return inputs.flatten(2).transpose(1, 2)

    def forward(self, inputs):
        return self.forward_features(inputs).mean(dim=1)


def test_a_register_is_never_taken_for_a_class_token_nor_a_class_token_for_a_patch():
    registers = Tokens(4, reg_token=4)
    assert features_of(Backbone(registers), "mine:net", 32, "avg").features == 3
    with pytest.raises(BackboneError, match="mine:net has no class token: use --pool avg"):
        features_of(Backbone(registers), "mine:net", 32, "cls")
    for pool in ("avg", "cls", "cls+avg"):
        with pytest.raises(BackboneError, match="does not say which of its tokens is the class token"):
            features_of(Backbone(Tokens(0, cls_token=1)), "mine:net", 32, pool)


class Counting(nn.Module):
    """Counts its calls, as BatchNorm in training mode counts batches."""

    def __init__(self):
        super().__init__()
        self.calls = nn.Buffer(torch.zeros(()))

    def forward(self, inputs):
        self.calls += 1
        return inputs.mean(dim=(2, 3))


class Odd(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


def _fails(inputs):
    raise KeyError("such a net")


def _changes_its_pixels(inputs):
    inputs *= 2
    return inputs.mean(dim=(2, 3))


ODD = {
    "4-d": (Odd(lambda inputs: inputs[:, :, :2, :2]), r"of shape \(2, 3, 2, 2\) for 2 images, not \(2, D\)"),
    "a number": (Odd(lambda inputs: inputs.mean()), r"of shape \(\) for 2 images"),
    "NaN": (Odd(lambda inputs: inputs.mean(dim=(2, 3)) / 0 * 0), "not finite"),
    "of the batch": (Odd(lambda inputs: inputs.mean(dim=(2, 3)) - inputs.mean()), "beside another image than alone"),
    "of the first image": (Odd(lambda inputs: inputs.mean(dim=(2, 3)) - inputs[:1].mean()), "beside another image"),
    "of the image before": (Odd(lambda inputs: inputs.cumsum(0).mean(dim=(2, 3))), "beside another image than alone"),
    "a dict": (Odd(lambda inputs: {"features": inputs}), "it returns a dict, not a tensor of real ones: wrap it"),
    "complex": (Odd(lambda inputs: inputs.mean(dim=(2, 3)).cfloat()), "returns a tensor of complex numbers, not"),
    "failing": (Odd(_fails), "does not run on images of 64 x 64 pixels"),
    "squeezed": (Odd(lambda inputs: inputs.mean(dim=(2, 3)).squeeze()), r"of shape \(3,\) for 1 image, not \(1, D\)"),
    "empty": (Odd(lambda inputs: inputs.mean(dim=(2, 3))[:, :0]), r"of shape \(2, 0\) for 2 images"),
    "random": (Odd(lambda inputs: nn.functional.dropout(inputs.mean(dim=(2, 3)))), "and not on chance"),
    "counting": (Counting(), "changes its own buffers"),
    "training": (Odd(lambda inputs: inputs.mean(dim=(2, 3))), None),
    "bool": (Odd(lambda inputs: inputs.mean(dim=(2, 3)) > 0), None),
    "double": (Odd(lambda inputs: inputs.mean(dim=(2, 3)).double()), None),
    "in place": (Odd(_changes_its_pixels), None),
}


@pytest.mark.parametrize(("net", "words"), ODD.values(), ids=ODD.keys())
def test_a_net_that_gives_no_features_is_refused_in_a_sentence_that_names_it(net, words):
    torch.manual_seed(0)  # of three features that dropout zeroes at random, now and then the same remain
    if words is None:  # a net in training mode is set to eval mode; these are sound
        assert features_of(Backbone(net.train()), "mine:net", 64).features == 3
        return
    with pytest.raises(BackboneError, match=words) as error:
        features_of(Backbone(net), "mine:net", 64)
    assert str(error.value).startswith("mine:net ")
    assert "\n" not in str(error.value)


def test_a_size_that_a_net_does_not_take_is_refused_with_its_own():
    name = "timm:vit_tiny_patch16_224"
    with pytest.raises(BackboneError, match=r"\(64\).*\(224\).* Its own size is 224: leave --image-px out"):
        features_of(load_backbone(name, "random")[0], name, 64)


def test_a_net_may_be_one_linear_layer_or_end_without_one():
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 5))
    assert features_of(Backbone(flat), "mine:flat", 32).features == 48
    assert features_of(Backbone(nn.Sequential(flat[0], flat[1])), "mine:open", 32).features == 48


def test_reduced_precision_pools_in_fp32():
    made, _ = load_backbone("resnet18", "random")
    loaded = features_of(made, "resnet18", 64)
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    features = fast_form(loaded.folded, IMAGENET, "bf16", False, CPU)(pixels)
    assert features.dtype == torch.float32
    assert not torch.equal(features, features.bfloat16().float())


def test_nothing_of_a_loaded_net_is_trained():
    made, _ = load_backbone("mobilenet_v3_small", "random")
    loaded = features_of(made, "mobilenet_v3_small", 64)
    assert not any(parameter.requires_grad for parameter in loaded.net.parameters())
    assert isinstance(made.net, models.MobileNetV3)


class Viewing(nn.Module):
    """Calls `view`, as people write it, which fails on channels last."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.Linear(8 * 8 * 8, 5)

    def forward(self, inputs):
        return self.last(self.norm(self.conv(inputs)).view(len(inputs), -1))


def test_a_net_that_does_not_run_on_channels_last_gives_its_own_features():
    torch.manual_seed(1)
    net = shaken(Viewing())
    pixels = torch.randint(0, 256, (7, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        reference = net.eval().norm(net.conv(IMAGENET(pixels).contiguous())).flatten(1)
    loaded = features_of(Backbone(net, image_px=32), "mine:viewing", 32)
    for precision, tolerance in (("fp32", 1e-5), ("bf16", 5e-2)):
        features = fast_form(loaded.folded, IMAGENET, precision, False, CPU)(pixels)
        assert (features - reference).abs().max() <= tolerance * reference.abs().max()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in loaded.folded.modules())


class WithKeywords(Viewing):
    """Calls its layers with keywords."""

    def forward(self, inputs):
        return self.last(input=self.norm(input=self.conv(input=inputs)).flatten(1))


def test_layers_may_be_called_with_keywords():
    assert features_of(Backbone(shaken(WithKeywords())), "mine:keywords", 32).folded is not None


def test_a_tensor_that_a_net_keeps_can_be_trained_with():
    """A table that a net makes when it is first run would be one of inference, which has no gradients."""

    class Keeping(nn.Module):
        table = None

        def forward(self, inputs):
            self.table = torch.ones(3) if self.table is None else self.table
            return inputs.mean(dim=(2, 3)) * self.table

    net = Keeping()
    features_of(Backbone(net), "mine:keeping", 32)
    net(torch.ones(2, 3, 32, 32, requires_grad=True)).sum().backward()
