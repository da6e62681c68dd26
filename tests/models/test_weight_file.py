"""Weights as trainers leave them are taken; where that cannot be, the error says what the file holds."""

import argparse
import sys

import pytest
import torch
from torchvision import models

from headstart.errors import WeightsError
from headstart.models.backbone import ZERO_TO_ONE
from headstart.models.loading import load_backbone
from headstart.models.tuned import save_tuned
from headstart.models.weight_file import find, resnet_wanted


@pytest.fixture(scope="module")
def state():
    """Of a whole net; one number for each tensor, so that files are small."""
    tensors = enumerate(models.resnet50().state_dict().items())
    return {name: torch.full((), n if t.ndim else 0, dtype=t.dtype).expand(t.shape) for n, (name, t) in tensors}


@pytest.fixture(scope="module")
def body(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def place_in(path):
    """Where a ResNet50 is found in a file."""
    return find(path, resnet_wanted("resnet50")).place


def behind(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def refused(path, content=None):
    """The sentence for a file that is refused."""
    if content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError) as error:
        load_backbone("resnet50", str(path))
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


WRAPPED = {
    "a trainer's": lambda whole, body: {"epoch": 1, "net": whole, "optimizer": {"state": {0: torch.ones(3)}}},
    "parallel": lambda whole, body: {"state_dict": behind("module.", whole)},
    "momentum contrast": lambda whole, body: behind("module.encoder_q.", body) | {"module.queue": torch.ones(3, 3)},
    "deep": lambda whole, body: {"a": {"b": {"any name": behind("_orig_mod.x.y.", body)}}},
    "body and head apart": lambda whole, body: {"backbone": body, "head": {"0.weight": torch.ones(3, 2048)}},
    "saved twice": lambda whole, body: {"model": whole, "best": {name: t.clone() for name, t in whole.items()}},
    "of an old torch": lambda whole, body: {k: t for k, t in whole.items() if not k.endswith("_tracked")},
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_a_resnet50_is_found_in_any_dict_and_behind_any_prefix(tmp_path, state, body, wrap, capsys):
    torch.save(wrap(state, body), tmp_path / "net.pth")
    made, _ = load_backbone("resnet50", str(tmp_path / "net.pth"))
    assert all(torch.equal(tensor, made.net.state_dict()[name]) for name, tensor in body.items())
    place = place_in(tmp_path / "net.pth")
    assert capsys.readouterr().out == (f"weights: {tmp_path / 'net.pth'}, {place}\n" if place else "")


def test_where_the_weights_were_is_said_as_key_and_prefix(tmp_path, body):
    torch.save({"state_dict": behind("module.", body)}, tmp_path / "net.pth")
    assert place_in(tmp_path / "net.pth") == "under `state_dict`, prefix `module.`"


@pytest.mark.parametrize(
    "classifier",
    [
        {"fc.1.weight": (5, 2048)},
        {"fc.weight": (5, 2048)},
        {"fc.out.a": (3,)},
        {"head.weight": (2, 9)},
        {"fc.0.weight": ()},
    ],
    ids=["after dropout", "without bias", "own names", "elsewhere", "a number"],
)
def test_a_classifier_of_any_kind_is_left_out(tmp_path, body, classifier):
    torch.save(body | {name: torch.ones(shape) for name, shape in classifier.items()}, tmp_path / "net.pth")
    made, _ = load_backbone("resnet50", str(tmp_path / "net.pth"))
    assert torch.equal(made.net.conv1.weight, body["conv1.weight"])
    assert made.net.fc.out_features == 1000, "its own"


def test_the_pixel_scale_survives_a_checkpoint_around_it(tmp_path, state):
    save_tuned(models.resnet50(), ZERO_TO_ONE, tmp_path / "plain.pth")
    torch.save({"model": torch.load(tmp_path / "plain.pth", weights_only=True)}, tmp_path / "net.pth")
    assert load_backbone("resnet50", str(tmp_path / "net.pth"))[0].scale == ZERO_TO_ONE


def test_of_two_nets_none_is_guessed_and_the_advice_works(tmp_path, body):
    other = {name: tensor + 1 for name, tensor in body.items()}
    message = refused(tmp_path / "net.pth", {"teacher": behind("m.", body), "student": behind("m.", other)})
    assert "holds a ResNet50 2 times (under `teacher`, prefix `m.`; under `student`, prefix `m.`)" in message
    exec(message.split("for example: ")[1], {"torch": torch})
    assert place_in(tmp_path / "net-alone.pth") == "under the prefix `m.`"


def test_the_advice_works_for_safetensors_too(tmp_path, body):
    safetensors = pytest.importorskip("safetensors")
    torch_files = pytest.importorskip("safetensors.torch")
    both = behind("a.", body) | behind("b.", {name: tensor + 1 for name, tensor in body.items()})
    torch_files.save_file({name: tensor.contiguous() for name, tensor in both.items()}, tmp_path / "net.safetensors")
    message = refused(tmp_path / "net.safetensors")
    exec(message.split("for example: ")[1], {"safetensors": safetensors})
    assert place_in(tmp_path / "net-alone.safetensors") == "under the prefix `b.`"


def test_missing_tensors_are_counted_and_named_with_the_place_of_the_others(tmp_path, body):
    parts = {name: tensor for name, tensor in body.items() if not name.startswith(("bn1.weight", "layer4.2.conv"))}
    message = refused(tmp_path / "net.pth", {"state_dict": behind("module.", parts)})
    assert (
        "your weights are under `state_dict`, prefix `module.`; 4 of 265 tensors are missing: bn1.weight, " in message
    )


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("resnet18", r"layer1.0.conv1.weight has the shape (64, 64, 3, 3), not (64, 64, 1, 1)"),
        ("resnet101", "255 tensors are none of a ResNet50's: layer3.10.bn1.bias, "),
        ("wide_resnet50_2", "layer1.0.bn1.bias has the shape (128,), not (64,)"),
    ],
)
def test_another_resnet_is_recognised(tmp_path, name, since):
    """A ResNet101 has every tensor that a ResNet50 has."""
    message = refused(tmp_path / "net.pth", {"model": models.get_model(name).state_dict()})
    assert f"your weights are under `model`; this looks like a {name}, since {since}" in message


def test_names_of_another_kind_of_net_are_shown(tmp_path):
    assert "its tensors are features.0.weight, features.0.bias)" in refused(
        tmp_path / "net.pth", {"features.0.weight": torch.ones(1), "features.0.bias": torch.ones(1), "epoch": 3}
    )


@pytest.mark.parametrize("extra", [argparse.Namespace(lr=1), argparse.ArgumentParser], ids=["settings", "a class"])
def test_a_checkpoint_with_python_objects_is_refused_and_the_object_is_named(tmp_path, body, extra):
    message = refused(tmp_path / "net.pth", {"state_dict": body, "args": extra})
    assert "(it holds argparse." in message
    assert "not loaded, since that could run code" in message


def test_a_dict_that_contains_itself_ends(tmp_path, body):
    content = {"model": body}
    content["again"] = content
    torch.save(content, tmp_path / "net.pth")
    assert place_in(tmp_path / "net.pth") == "under `model`"


def test_safetensors_are_read_and_damaged_ones_refused(tmp_path, state):
    torch_files = pytest.importorskip("safetensors.torch")
    path = tmp_path / "net.SafeTensors"
    torch_files.save_file({f"model.{name}": tensor.contiguous() for name, tensor in state.items()}, path)
    made, _ = load_backbone("resnet50", str(path))
    assert torch.equal(made.net.conv1.weight, state["conv1.weight"])
    path.write_bytes(path.read_bytes()[:-1000])
    assert "does not hold the state_dict of a ResNet50" in refused(path)
    path.write_bytes(b"text")
    assert "does not hold the state_dict of a ResNet50" in refused(path)


def test_without_the_package_the_extra_for_safetensors_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "net.safetensors").write_bytes(b"")
    assert "needs the package safetensors: .venv/bin/pip install 'headstart[safetensors]'" in refused(
        tmp_path / "net.safetensors"
    )
