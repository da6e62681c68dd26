"""The backbone: torchvision's own features, whatever is done for speed, and weights that are what they are called."""

import hashlib
import pickle
import time
import urllib.request
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import ResNet50_Weights, resnet50

from headstart.errors import WeightsError
from headstart.models.backbone import IMAGENET, ZERO_TO_ONE, Backbone, PixelScale
from headstart.models.fast import fast_form
from headstart.models.frozen import features_of
from headstart.models.loading import load_backbone, load_frozen
from headstart.models.mlp import trainable_parameters
from headstart.models.tuned import save_tuned

CPU = torch.device("cpu")


def shaken(net):
    """The net with BatchNorm as training leaves it: statistics, scales and shifts of their own in every channel."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.2, 3.0),
                (module.weight.data, 0.2, 1.0),
                (module.bias.data, -0.3, 0.3),
            ):
                tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))
    return net


@pytest.fixture(scope="module")
def state():
    """The state_dict of a whole net whose BatchNorm is not trivial."""
    return shaken(load_backbone("resnet50", "random", 3)[0].net).state_dict()


@pytest.fixture(scope="module")
def net(state):
    whole = resnet50()
    whole.load_state_dict(state)
    whole.fc = nn.Identity()
    return whole.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folded(net):
    return features_of(Backbone(net), "resnet50", 64).folded


@pytest.fixture(scope="module")
def pixels():
    return torch.randint(0, 256, (6, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def torchvisions(state, pixels, scale=IMAGENET):
    """Features as the documentation of torchvision says to compute them."""
    plain = resnet50()
    plain.load_state_dict(state)
    plain.fc = nn.Identity()
    plain.eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (scale.mean, scale.std))
    with torch.no_grad():
        return plain((pixels.permute(0, 3, 1, 2) / 255 - mean) / std)


@pytest.mark.parametrize("scale", [IMAGENET, ZERO_TO_ONE])
def test_features_equal_torchvisions_own(state, folded, pixels, scale):
    reference = torchvisions(state, pixels, scale)
    features = fast_form(folded, scale, "fp32", False, CPU)(pixels)
    assert features.shape == (6, 2048)
    assert features.dtype == torch.float32
    assert (features - reference).abs().max() <= 1e-5 * reference.abs().max()


def test_the_net_is_bit_for_bit_the_same_after_a_pass(state, net, folded, pixels):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert any(name.endswith("running_mean") for name in before)
    forward = fast_form(folded, IMAGENET, "fp32", False, CPU)
    forward(pixels)
    forward(pixels)
    after = net.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(torch.equal(after[name], state[name]) for name in after)


def test_a_frozen_net_does_not_drift_even_when_it_is_called_directly(net, pixels):
    """The classic bug: requires_grad is off, but BatchNorm goes on averaging."""
    before = net.layer1[0].bn1.running_mean.clone()
    net(IMAGENET(pixels))
    assert torch.equal(net.layer1[0].bn1.running_mean, before)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert trainable_parameters(net) == 0


def test_folding_leaves_the_net_itself_untouched(net, folded):
    assert isinstance(net.bn1, nn.BatchNorm2d)
    assert net.conv1.bias is None
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert {tensor.data_ptr() for tensor in net.parameters()}.isdisjoint(
        tensor.data_ptr() for tensor in folded.parameters()
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_rows_bits_depend_neither_on_its_place_nor_on_its_neighbours(folded, pixels, precision):
    forward = fast_form(folded, IMAGENET, precision, False, CPU)
    together = forward(pixels)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert torch.equal(forward(pixels[order]), together[order])
    alone = torch.zeros_like(pixels)
    alone[3] = pixels[1]  # the rest black, as in a last short batch
    assert torch.equal(forward(alone)[3], together[1])


def test_reduced_precision_is_near_fp32_but_not_the_same(folded, pixels):
    fp32, bf16 = (fast_form(folded, IMAGENET, precision, False, CPU)(pixels) for precision in ("fp32", "bf16"))
    difference = (bf16 - fp32).abs().max() / fp32.abs().max()
    assert 0 < difference < 0.1


def test_random_weights_are_a_function_of_the_seed_alone():
    torch.manual_seed(5)
    one, _ = load_backbone("resnet50", "random", 0)
    untouched = torch.rand(3)
    torch.manual_seed(99)
    two, _ = load_backbone("resnet50", "random", 0)
    other, _ = load_backbone("resnet50", "random", 1)
    assert torch.equal(one.net.conv1.weight, two.net.conv1.weight)
    assert torch.equal(one.net.fc.weight, two.net.fc.weight)
    assert not torch.equal(one.net.conv1.weight, other.net.conv1.weight)
    torch.manual_seed(5)
    assert torch.equal(untouched, torch.rand(3))  # nobody else's random numbers were used up


@pytest.mark.parametrize("classes", [1000, 7, None], ids=["1000 classes", "7 classes", "without a classifier"])
def test_a_state_dict_with_any_number_of_classes_loads(tmp_path, state, pixels, classes):
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    if classes:
        kept |= {"fc.weight": torch.ones(classes, 2048), "fc.bias": torch.zeros(classes)}
    torch.save(kept, tmp_path / "net.pth")
    loaded, _ = load_frozen("resnet50", str(tmp_path / "net.pth"))
    assert loaded.made.scale == IMAGENET
    features = fast_form(loaded.folded, IMAGENET, "fp32", False, CPU)(pixels[:2])
    reference = torchvisions(state, pixels[:2])
    assert (features - reference).abs().max() <= 1e-5 * reference.abs().max()


def test_what_we_save_plain_torchvision_loads_and_its_pixel_scale_comes_back(tmp_path, state):
    net = resnet50()
    net.load_state_dict(state)
    net.fc = nn.Linear(2048, 5)
    scale = PixelScale((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    save_tuned(net, scale, tmp_path / "ours.pth")
    plain = resnet50(num_classes=5)
    plain.load_state_dict(torch.load(tmp_path / "ours.pth", weights_only=True), strict=True)
    again, _ = load_backbone("resnet50", str(tmp_path / "ours.pth"))
    assert again.scale == scale
    for name, tensor in net.state_dict().items():
        assert torch.equal(plain.state_dict()[name], tensor), name
        assert name.startswith("fc.") or torch.equal(again.net.state_dict()[name], tensor), name


def one_sentence(message):
    return "\n" not in message and len(message) < 600


class Trap:
    """Unpickled by the rules of pickle, it makes a file; so the test sees whether it ran."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def _write_trap(path):
    torch.save({"conv1.weight": Trap(path.with_name("sprung"))}, path)


def _write_plain_pickle_with_a_trap(path):
    path.write_bytes(pickle.dumps(Trap(path.with_name("sprung")), protocol=2))


def _write_cut(path):
    torch.save({"conv1.weight": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-700])


def _write_flipped_header(path):
    torch.save({"fc.weight": torch.ones(5, 5)}, path, _use_new_zipfile_serialization=False)
    data = bytearray(path.read_bytes())
    data[30:60] = bytes(30)
    path.write_bytes(bytes(data))


BROKEN = {
    "text": lambda path: path.write_text("These are no weights.\n" * 20),
    "empty": lambda path: path.write_bytes(b""),
    "a picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500)),
    "cut": _write_cut,
    "damaged header": _write_flipped_header,
    "code in it": _write_trap,
    "a pickle with code": _write_plain_pickle_with_a_trap,
    "a list": lambda path: torch.save([1, 2], path),
    "a tensor": lambda path: torch.save(torch.ones(3), path),
    "an odd classifier": lambda path: torch.save({"fc.weight": torch.ones(3)}, path),
    "no weights at all": lambda path: torch.save({}, path),
    "another net": lambda path: torch.save(nn.Sequential(nn.Linear(3, 4)).state_dict(), path),
    "a checkpoint around it": lambda path: torch.save({"model": {"conv1.weight": torch.ones(3)}, "epoch": 3}, path),
}


@pytest.mark.parametrize("write", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_no_resnet50_is_refused_in_one_sentence_and_runs_no_code(tmp_path, write):
    path = tmp_path / "net.pth"
    write(path)
    with pytest.raises(WeightsError, match="does not hold the state_dict of a ResNet50") as error:
        load_backbone("resnet50", str(path))
    assert str(path) in str(error.value)
    assert one_sentence(str(error.value))
    assert "weights_only" not in str(error.value)  # never the advice to load it unsafely
    assert not (tmp_path / "sprung").exists()


def test_weights_of_a_wider_net_are_refused_in_one_sentence(tmp_path, state):
    torch.save(state | {"layer1.0.conv1.weight": torch.ones(128, 64, 1, 1)}, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"weight has the shape \(128, 64, 1, 1\), not \(64, ") as error:
        load_backbone("resnet50", str(tmp_path / "net.pth"))
    assert one_sentence(str(error.value))


def test_without_network_the_three_ways_on_are_named_within_seconds(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    start = time.perf_counter()
    with pytest.raises(WeightsError) as error:
        load_backbone("resnet50", "IMAGENET1K_V1")
    assert time.perf_counter() - start < 5
    for words in ("name resolution", "network", "--weights file.pth", "--weights random"):
        assert words in str(error.value)
    assert one_sentence(str(error.value))


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "IMAGENET1K_V2"])
def test_a_download_is_read_as_tensors_and_never_as_code(tmp_path, monkeypatch, weights):
    """torchvision's own way to load its download would run what stands in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    name = {"IMAGENET1K_V1": "resnet50-0676ba61.pth", "IMAGENET1K_V2": "resnet50-11ad3fa6.pth"}[weights]
    _write_trap(folder / name)
    with pytest.raises(WeightsError) as error:
        load_backbone("resnet50", weights)
    assert not (folder / "sprung").exists()
    assert str(tmp_path) in str(error.value)
    assert one_sentence(str(error.value))


def test_downloaded_weights_are_the_nets(tmp_path, monkeypatch, state):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / "resnet50-0676ba61.pth")
    content = (folder / "resnet50-0676ba61.pth").read_bytes()
    (folder / "resnet50-0676ba61.pth").rename(folder / f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth")
    published = ResNet50_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(published, "url", f"https://127.0.0.1/resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth")
    made, _ = load_backbone("resnet50", "IMAGENET1K_V1")
    assert made.scale == IMAGENET
    assert all(torch.equal(tensor, state[name]) for name, tensor in made.net.state_dict().items())


def test_other_bytes_under_the_name_of_published_weights_are_refused(tmp_path, monkeypatch):
    """torchvision does not check a file that is there already."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resnet50-0676ba61.pth").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="does not hold IMAGENET1K_V1: its SHA-256 differs"):
        load_backbone("resnet50", "IMAGENET1K_V1")
