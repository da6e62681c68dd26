"""Nets by name, with the pixels of their own presets and weights as people have them."""

import sys

import pytest
import torch
from helpers.pictures import picture
from PIL import Image
from torchvision import models
from torchvision.transforms.v2 import InterpolationMode, functional

from headstart.errors import BackboneError, WeightsError
from headstart.images.geometry import Geometry
from headstart.models import loading, timm_nets
from headstart.models.backbone import IMAGENET
from headstart.models.loading import load_backbone, load_frozen
from headstart.models.weights import source_digest

PRESETS = sorted(
    {
        (preset.crop_size[0], preset.resize_size[0], preset.interpolation.value): name
        for name in models.list_models(models)
        if (entries := list(models.get_model_weights(name))) and (preset := entries[0].transforms())
    }.items()
)


@pytest.mark.parametrize(("preset", "name"), PRESETS, ids=[name for _, name in PRESETS])
@pytest.mark.parametrize("size", [(333, 500), (640, 200)])
def test_pixels_of_every_preset_of_torchvision_are_made_bit_for_bit(preset, name, size):
    crop_px, resize_px, interpolation = preset
    image = picture(5).resize(size)
    own = functional.center_crop(functional.resize(image, [resize_px], InterpolationMode(interpolation)), [crop_px] * 2)
    ours = Geometry(crop_px, "crop", resize_px, False, interpolation).square(image)
    assert ours.tobytes() == own.tobytes()


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "efficientnet_b0", "mobilenet_v3_small"])
def test_a_net_brings_the_pixels_of_its_preset(name):
    made, weights = load_backbone(name, "random")
    preset = next(iter(models.get_model_weights(name))).transforms()
    assert weights == "random"
    assert (made.image_px, made.shorter_px) == (preset.crop_size[0], preset.resize_size[0])
    assert made.interpolation == preset.interpolation.value
    assert (list(made.mean), list(made.std)) == (preset.mean, preset.std)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv4_conv_small", "vit_tiny_patch16_224", "tf_efficientnetv2_b0"])
def test_timms_own_data_configuration_decides_the_pixels(name):
    import timm

    made, _ = load_backbone(f"timm:{name}", "random")
    net = timm.create_model(name)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net))
    image = Image.effect_noise((300, 400), 50).convert("RGB")
    square = Geometry(made.image_px, made.resize, made.shorter_px, False, made.interpolation).square(image)
    ours = made.scale(functional.pil_to_tensor(square).permute(1, 2, 0)[None])[0]
    assert (ours - transform(image)).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_pixels_of_a_net_that_scales_them_itself_are_the_same_whoever_makes_it_again(name, monkeypatch, tmp_path):
    """With weights, torchvision has it turn ImageNet's scale into 0.5; a net made again for a saved file would not."""

    def published(name, weights, progress):
        torch.manual_seed(0)
        return models.get_model(name, aux_logits=False, init_weights=False, transform_input=True)

    with monkeypatch.context() as patch:
        patch.setattr(loading, "published_state", lambda *_: None)
        patch.setattr(loading, "get_model", published)
        made, _ = load_backbone(name, None)
    own = published(name, None, False).eval()
    torch.save(own.state_dict(), tmp_path / "net.pth")
    again, _ = load_backbone(name, str(tmp_path / "net.pth"))
    pixels = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    for net in (own, made.net, again.net):
        net.fc = torch.nn.Identity()  # whose bias would hide what the pixels do
    with torch.no_grad():
        expected = own(IMAGENET(pixels))
        found = [loaded.net.eval()(loaded.scale(pixels)) for loaded in (made, again)]
        wrong = again.net(IMAGENET(pixels))
    differences = [float((each - expected).abs().max() / expected.abs().max()) for each in (*found, wrong)]
    assert max(differences[:2]) < 1e-4
    assert differences[2] > 1e-2


def test_a_vit_is_made_for_the_size_that_is_asked_for(monkeypatch):
    def small(name, image_size=224):
        return models.VisionTransformer(image_size, 32, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16)

    monkeypatch.setattr(loading, "get_model", small)
    made, _ = load_backbone("vit_b_32", "random", image_px=64)
    assert (made.image_px, made.shorter_px) == (64, 73)
    assert load_frozen("vit_b_32", "random", image_px=64)[0].features == 16
    with pytest.raises(BackboneError, match=r"does not run on images of 65 x 65 pixels .* Its own size is 224"):
        load_frozen("vit_b_32", "random", image_px=65)


def test_a_net_whose_logits_come_from_two_layers_loses_both_also_where_they_give_the_same_zeros_for_black():
    loaded, _ = load_frozen("timm:levit_128s", "random")
    assert (loaded.features, loaded.classifier) == (384, None)


def behind(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": behind("module.", state), "epoch": 3},
        lambda state: behind("backbone.", {k: t for k, t in state.items() if not k.startswith("classifier.3")}),
        lambda state: {k: t.half() if t.is_floating_point() else t for k, t in state.items()},
        lambda state: state | {"classifier.3.weight": torch.ones(7, 1024), "classifier.3.bias": torch.ones(7)},
    ],
    ids=["plain", "of a trainer", "without a classifier", "fp16", "of 7 classes"],
)
def test_weights_of_any_net_load_as_people_have_them(tmp_path, wrap):
    state = models.mobilenet_v3_small().state_dict()
    torch.save(wrap(state), tmp_path / "mine.pth")
    made, weights = load_backbone("mobilenet_v3_small", str(tmp_path / "mine.pth"))
    loaded = made.net.state_dict()
    assert weights == "mine.pth"
    body = [name for name in state if not name.startswith("classifier.3")]
    assert all(torch.allclose(loaded[name], state[name], atol=1e-3) for name in body)


def test_weights_of_another_net_are_refused_with_the_first_missing_tensor(tmp_path):
    torch.save(models.mobilenet_v2().state_dict(), tmp_path / "v2.pth")
    with pytest.raises(WeightsError, match=r"of the backbone mobilenet_v3_small .*missing: classifier.0.bias"):
        load_backbone("mobilenet_v3_small", str(tmp_path / "v2.pth"))


def test_unknown_weights_are_answered_with_the_nearest():
    with pytest.raises(WeightsError, match=r"one of IMAGENET1K_V1, random\. Did you mean IMAGENET1K_V1\?"):
        load_backbone("efficientnet_b0", "imagenet1k")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("efficientnet_b9", r"no backbone efficientnet_b9\. Did you mean efficientnet_b[0-9]\?"),
        ("fasterrcnn_resnet50_fpn", r"does not classify whole images.*use a net such as resnet50\."),
        ("lraspp_mobilenet_v3_large", r"does not classify whole images.*use a net such as mobilenet_v3_large\."),
        ("raft_large", r"does not classify whole images.*use a net such as resnet50\."),
        ("quantized_resnet18", r"is quantized, and its features are rounded: use a net such as resnet18\."),
        ("squeezenet1_1", "has no linear layer at its end.*such as mobilenet_v3_small"),
        ("timm:resnt18", r"has no net resnt18\. Did you mean resnet18\?"),
        ("no_module:net", "the module no_module cannot be imported"),
        ("my_nets.py:net", "names no function of a module: write it as Python imports it, such as my_nets:lite0"),
        ("./my_nets:net", "names no function of a module"),
        (":net", "names no function of a module"),
        ("my_nets:", "names no function of a module"),
        ("resnet50,resnet18", "is not one backbone: give one name, or several with spaces between them"),
        ("resnet50+resnet18", "is not one backbone"),
        ("vit_tiny_patch16_224", r"no backbone vit_tiny_patch16_224\. Did you mean timm:vit_tiny_patch16_224\?"),
        ("timm/vit_tiny_patch16_224", r"Did you mean timm:vit_tiny_patch16_224\?"),
    ],
)
def test_a_net_that_cannot_be_had_is_refused_in_a_sentence_that_says_what_can(name, words):
    with pytest.raises(BackboneError, match=words) as error:
        load_backbone(name, None if ":" in name and "timm" not in name else "random")
    assert "\n" not in str(error.value)


def test_without_timm_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackboneError, match=r"needs the package timm: .*headstart\[timm\]"):
        load_backbone("timm:resnet18", "random")


def test_without_a_network_timm_answers_at_once(monkeypatch, tmp_path):
    from huggingface_hub import constants

    def unreachable(*_):
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm_nets.socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for word in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(word, raising=False)
    with pytest.raises(WeightsError, match=r"weights of timm:resnet18 could not be loaded.*--weights random"):
        load_backbone("timm:resnet18", None)


OWN = """
import sys
import torch
import headstart

def net():
    torch.manual_seed(4)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return headstart.Backbone(body, image_px=48, interpolation="bicubic", version="7")

def failing():
    raise FileNotFoundError("weights.pth")

def exits():
    sys.exit("no weights here")

def forgetful():
    pass

def leaving():
    raise SystemExit("usage: my_nets FILE")

def with_a_mistake():
    return headstart.Backbone(torch.nn.Flatten(), interpolation="cubic")

KEPT = torch.nn.Sequential(
    torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.Linear(8, 5)
)

def kept():
    return headstart.Backbone(KEPT, image_px=32)

def half():
    return headstart.Backbone(kept().net.half(), image_px=32)

def meta():
    return headstart.Backbone(torch.nn.Linear(3, 3, device="meta"), image_px=32)
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_nets_for_a_test.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "my_nets_for_a_test"
    sys.modules.pop("my_nets_for_a_test", None)


def test_a_function_of_ones_own_is_a_backbone(own_module):
    loaded, weights = load_frozen(f"{own_module}:net", None)
    assert (loaded.features, weights) == (8, "its own")
    facts = loading.facts(loaded, 48)
    assert facts["package"] == f"{own_module} 7"
    assert facts["interpolation"] == "bicubic"
    assert facts["state_digest"] == loaded.state_digest


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("failing", "failed: FileNotFoundError: weights.pth"),
        ("exits", "failed: SystemExit: no weights here"),
        ("forgetful", "returned a NoneType: it must return a headstart.Backbone"),
        ("leaving", "failed: SystemExit: usage: my_nets FILE"),
        ("nett", r"has no function 'nett'\. Did you mean net\?"),
        ("with_a_mistake", r":with_a_mistake: interpolation is cubic, but must be one of the words nearest"),
        ("meta", ":meta: its net cannot be copied to the CPU .Cannot copy out of meta tensor"),
    ],
)
def test_a_function_that_fails_is_told_with_its_own_words(own_module, function, words):
    with pytest.raises(BackboneError, match=words):
        load_backbone(f"{own_module}:{function}", None)


def test_a_function_of_ones_own_takes_no_weights(own_module):
    with pytest.raises(WeightsError, match="loads its weights itself; leave it out"):
        load_backbone(f"{own_module}:net", "random")


def test_a_module_that_cannot_be_read_is_told_in_a_sentence(own_module, tmp_path):
    for content, words in (
        (b"def net(:", "failed: SyntaxError"),
        (b"import sys; sys.exit(3)", "failed: SystemExit: 3"),
    ):
        (tmp_path / "broken_for_a_test.py").write_bytes(content)
        with pytest.raises(BackboneError, match=f"importing broken_for_a_test {words}"):
            load_backbone("broken_for_a_test:net", None)


def test_the_digest_of_a_function_changes_with_its_text_also_where_it_is_no_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = (b"def net():\n    return 1\n", b"def net():\n    return 2\n", b"def net(:", b"\xff")
    digests = []
    for text in texts:
        (tmp_path / "text_for_a_test.py").write_bytes(text)
        digests.append(source_digest("text_for_a_test:net"))
    (tmp_path / "text_for_a_test.py").write_bytes(b"other = 3\n" + texts[0])
    assert source_digest("text_for_a_test:net") == digests[0]
    assert len({*digests, ""}) == 5
    assert source_digest("missing_for_a_test:net") == source_digest("resnet18") == ""


def test_the_net_of_a_function_is_never_changed_and_may_be_returned_again_and_again(own_module):
    """One that is kept in the module would lose a layer each time, or be trained by a fine-tuning."""
    first, second = (load_frozen(f"{own_module}:kept", None)[0] for _ in range(2))
    assert first.features == second.features == 8
    assert first.state_digest == second.state_digest
    net = sys.modules[own_module].KEPT
    assert net.training
    assert isinstance(net[3], torch.nn.Linear)
    assert all(weight.requires_grad for weight in net.parameters())


def test_a_net_in_half_precision_is_computed_in_fp32(own_module):
    loaded, _ = load_frozen(f"{own_module}:half", None)
    assert {weight.dtype for weight in loaded.net.parameters()} == {torch.float32}


def test_a_module_that_was_changed_is_imported_again(own_module, tmp_path):
    """In a notebook, features of the old code would otherwise be kept with the digest of the new text."""
    name, path = f"{own_module}:net", tmp_path / f"{own_module}.py"
    assert load_frozen(name, None)[0].features == 8
    path.write_text(OWN.replace("Conv2d(3, 8, 3)", "Conv2d(3, 16, 3)"))
    assert load_frozen(name, None)[0].features == 16


@pytest.mark.parametrize("content", [b"def net(:", "\ufeffdef net(): pass".encode(), b"# \xe4\ndef net(): pass"])
def test_the_digest_of_a_function_is_had_of_any_file(own_module, tmp_path, content):
    """What is wrong with a file is told when it is imported; a byte order mark is not wrong."""
    (tmp_path / f"{own_module}.py").write_bytes(content)
    assert len(source_digest(f"{own_module}:net")) == 32


def test_a_byte_order_mark_changes_no_digest(own_module, tmp_path):
    before = source_digest(f"{own_module}:net")
    (tmp_path / f"{own_module}.py").write_bytes(b"\xef\xbb\xbf" + OWN.encode())
    assert source_digest(f"{own_module}:net") == before
