"""Fine-tuning of other nets than ResNet50: what is trained, what is frozen, the saved file, and predictions with it.

Outputs of an untrained net may hardly depend on the picture, so that anything would agree with them: every comparison
first demands that they do.
"""

import json
import sys
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torchvision
from helpers.pictures import picture
from torch import nn

from headstart.datasets import labelled
from headstart.datasets.splits import rows_of
from headstart.errors import BackboneError, RunError, SettingsError
from headstart.extraction import updating
from headstart.finetuning import run, training
from headstart.finetuning.batches import Images, predict
from headstart.finetuning.net import initial_net, optimizer_of
from headstart.finetuning.start import CLIP_NORM, Start
from headstart.heads import run as heads
from headstart.images.geometry import Geometry
from headstart.models.loading import load_backbone, load_frozen
from headstart.models.tuned import BEHIND, how_to_load, load_tuned, save_tuned
from headstart.prediction import programs
from headstart.prediction.classifier import Classifier
from headstart.runs.predictions import read_predictions
from headstart.runs.run import load_run
from headstart.settings import ExportConfig, ExtractConfig, FinetuneConfig, HeadConfig

CPU = torch.device("cpu")
CLASSES = ("cat", "dog")
SEED = {"method": "seed", "precision": "auto"}
VIT, SQUEEZED = "timm:test_vit", "timm:test_efficientnet"
OWN = """
import torch
import headstart

def layers():
    torch.manual_seed(4)
    return [torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten()]

def headless():
    body = torch.nn.Sequential(*layers()).requires_grad_(False)
    return headstart.Backbone(body, image_px=48, interpolation="bicubic", version="7")

def whole():
    return headstart.Backbone(torch.nn.Sequential(torch.nn.Sequential(*layers()), torch.nn.Linear(8, 5)), image_px=48)

class Viewing(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.table = torch.nn.Sequential(*layers()[:3], torch.nn.AvgPool2d(15)), None

    def forward(self, inputs):
        self.table = torch.linspace(0.5, 1.5, 72) if self.table is None else self.table
        return self.body(inputs).view(len(inputs), -1) * self.table

def viewing():
    return headstart.Backbone(Viewing(), image_px=48)

def scripted():
    return headstart.Backbone(torch.jit.script(torch.nn.Sequential(*layers())), image_px=48)
"""
HEADLESS, WHOLE, VIEWING = (f"own_nets_to_tune:{name}" for name in ("headless", "whole", "viewing"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to work in, with pictures and with nets of one's own."""
    root = tmp_path_factory.mktemp("backbones")
    for split, count in (("train", 6), ("val", 2), ("test", 4)):
        for place, name in enumerate(CLASSES):
            (root / "photos" / split / name).mkdir(parents=True)
            for number in range(count):
                bright = picture(1000 * place + 100 * len(split) + number, (70 + number, 80))
                bright = bright.point(lambda value, n=number: value * (n + 1) // 4)
                bright.save(root / "photos" / split / name / f"{number}.png")
    (root / "own_nets_to_tune.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(sys, "path", [str(root), *sys.path])
        yield root
    sys.modules.pop("own_nets_to_tune", None)


def config(backbone, **changes):
    settings = {"weights": None if "own" in backbone else "random", "epochs": 1, "batch_size": 4, "precision": "fp32"}
    settings |= {"image_px": 64} if backbone == "resnet18" else {}
    settings |= {"data": "photos", "workers": 1, "device": "cpu", "backbone": backbone}
    return FinetuneConfig(**{**settings, **changes})


def start(backbone, **changes):
    return Start(config(backbone, **changes))


def assert_agree(ours, theirs, tolerance=1e-5):
    """Relative to how much the outputs differ from picture to picture, which must be more than rounding."""
    spread = float(np.ptp(np.asarray(theirs), axis=0).max())
    assert spread > 1e-2
    assert float(np.abs(np.asarray(ours) - np.asarray(theirs)).max()) <= tolerance * spread
    assert float(np.abs(np.roll(np.asarray(ours), 1, axis=0) - np.asarray(theirs)).max()) > 100 * tolerance * spread


# --- what is trained ---


@pytest.fixture(scope="module")
def manifest(folder):
    return labelled.load(str(folder / "photos"))


@pytest.mark.parametrize(
    ("backbone", "part", "moving"),
    [
        ("resnet18", "layer4", ("layer4.", "fc.")),
        ("resnet18", "layer4.1", ("layer4.1.", "fc.")),
        ("mobilenet_v3_small", "classifier", ("classifier.",)),
        ("mobilenet_v3_small", "head", ("classifier.3.",)),
        (VIT, "norm", ("norm.", "fc_norm.", "head.")),
        (VIT, "head", ("head.",)),
        (HEADLESS, "head", ("1.",)),
        (HEADLESS, "1", ("0.1.", "1.")),
        (SQUEEZED, "conv_head", ("conv_head.", "bn2.", "classifier.")),
    ],
)
def test_parts_before_the_one_that_is_named_stay_as_they_are_to_the_bit(manifest, backbone, part, moving):
    asked = start(backbone, train_from=part)
    before = {name: tensor.clone() for name, tensor in initial_net(asked, CLASSES).net.state_dict().items()}
    after = training.finetune(manifest, start(backbone, train_from=part), CPU).net.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert name.startswith(moving) or torch.equal(tensor, after[name]), name
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(any(name.startswith(prefix) for name in moved) for prefix in moving if prefix != "fc_norm.")


@pytest.mark.parametrize("backbone", ["resnet18", VIT, HEADLESS])
def test_all_of_a_net_is_trained_by_default_tokens_and_what_was_frozen_for_extraction_too(manifest, backbone):
    before = {name: tensor.clone() for name, tensor in initial_net(start(backbone), CLASSES).net.state_dict().items()}
    after = training.finetune(manifest, start(backbone), CPU).net.state_dict()
    assert [name for name in before if torch.equal(before[name], after[name]) and name.endswith("weight")] == []
    assert backbone != VIT or not torch.equal(before["pos_embed"], after["pos_embed"])


def test_what_a_net_never_trains_itself_is_left_as_it_is(folder, monkeypatch):
    made, used = load_backbone(HEADLESS, None)
    made.net.requires_grad_(True)
    made.net[1].weight.requires_grad_(False)
    monkeypatch.setattr("headstart.finetuning.start.load_backbone", lambda *_: (made, used))
    net = initial_net(start(HEADLESS), CLASSES).net
    assert [name for name, weight in net.named_parameters() if not weight.requires_grad] == ["0.1.weight"]


@pytest.mark.parametrize(
    ("backbone", "part", "words"),
    [
        ("resnet50", "layer5", r"resnet50 has the parts conv1, bn1, layer1, .*fc .*all, or head\. Did you mean layer"),
        ("mobilenet_v3_small", "layer4", r"mobilenet_v3_small has the parts features, classifier "),
        (VIT, "block", r"has the parts patch_embed, blocks, .*head.*Did you mean blocks"),
    ],
)
def test_an_unknown_part_is_answered_with_those_that_there_are(backbone, part, words):
    with pytest.raises(SettingsError, match=words):
        start(backbone, train_from=part)


def test_head_and_fc_of_resnet50_are_one_run():
    one, other = (start("resnet50", train_from=part).config for part in ("head", "fc"))
    assert one == other


# --- rates ---


def test_a_net_without_batchnorm_gets_smaller_rates_and_only_weights_decay(folder):
    asked = start(VIT)
    assert asked.chosen == {"lr": 5e-4, "backbone_lr": 5e-5, "clip_norm": CLIP_NORM}
    assert "no BatchNorm, and is trained as transformers are: lr 0.0005, backbone_lr 5e-05" in asked.describe()
    tunable = initial_net(asked, CLASSES)
    names = {id(weight): name for name, weight in tunable.net.named_parameters()}
    groups = optimizer_of(tunable, asked.config).param_groups
    decay = {names[id(weight)]: group["weight_decay"] for group in groups for weight in group["params"]}
    assert decay["blocks.0.attn.qkv.weight"] == decay["head.weight"] == 0.05
    assert {decay[name] for name in ("pos_embed", "blocks.0.norm1.weight", "head.bias", "blocks.0.attn.qkv.bias")} == {
        0
    }
    assert start("resnet18").chosen == start(VIT, **SEED).chosen == {}
    assert (start("resnet18").config.lr, start("resnet18").config.backbone_lr) == (1e-3, 3e-4)


def test_rates_that_are_given_are_taken_as_they_are(folder):
    asked = start(VIT, lr=0.01)
    assert asked.chosen == {"backbone_lr": 5e-5, "clip_norm": CLIP_NORM}
    assert (asked.config.lr, asked.config.backbone_lr) == (0.01, 5e-5)


@pytest.mark.parametrize(("backbone", "clipped"), [(VIT, True), ("resnet18", False)])
def test_gradients_are_clipped_where_there_is_no_batchnorm(manifest, monkeypatch, backbone, clipped):
    norms, step = [], torch.optim.AdamW.step

    def noting(optimizer, *rest):
        gradients = [w.grad for group in optimizer.param_groups for w in group["params"] if w.grad is not None]
        norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
        return step(optimizer, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", noting)
    training.finetune(manifest, start(backbone), CPU)
    assert (max(norms) <= CLIP_NORM * 1.001) == clipped
    assert max(norms) > 0.5


# --- a run ---

RATES = {"resnet18": 1e-4, VIT: 1e-3, SQUEEZED: 0.01, HEADLESS: 0.01, WHOLE: 0.01}
"""With others, the outputs would hardly depend on the picture."""


@pytest.fixture(scope="module")
def runs(folder):
    """A run of each net, by the name of the net."""
    return {name: run.train_each(config(name, lr=lr, epochs=2))[0] for name, lr in RATES.items()}


EACH = pytest.mark.parametrize("backbone", RATES)


@pytest.mark.slow
@EACH
def test_the_saved_file_loads_by_the_line_that_the_run_says_and_gives_its_predictions(runs, folder, backbone):
    metrics = json.loads((runs[backbone] / "metrics.json").read_text())
    file = load_run(runs[backbone]).weights_file
    state = torch.load(file, weights_only=True)
    about = state._metadata["headstart"]
    assert about["how_to_load"] == metrics["how_to_load"]
    names = {"torch": torch, "nn": nn, "torchvision": torchvision, "timm": timm, "path": file}
    exec(metrics["how_to_load"], names)
    geometry, tested = Geometry(**metrics["geometry"]), read_predictions(runs[backbone], probabilities=True)
    squares = [np.array(geometry.square(opened(folder / "photos" / path))) for path in tested.paths]
    mean, std = (torch.tensor(about[name]).view(3, 1, 1) for name in ("mean", "std"))
    inputs = (torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        found = names["net"].eval()(inputs).softmax(dim=1).numpy()
    assert_agree(found, tested.probabilities)


def opened(path):
    from PIL import Image

    return Image.open(path).convert("RGB")


@EACH
def test_a_classifier_of_the_run_agrees_with_the_runs_own_test(runs, folder, backbone):
    tested = read_predictions(runs[backbone], probabilities=True)
    classifier = Classifier.load(runs[backbone], device="cpu")
    _, found = classifier.predict([folder / "photos" / path for path in tested.paths])
    assert_agree(found, tested.probabilities)


@pytest.mark.parametrize("changes", [{"precision": "auto"}, SEED], ids=["strong", "seed"])
def test_a_net_that_does_not_run_on_channels_last_is_trained_and_predicts(folder, monkeypatch, changes):
    """As one that calls `view`; it also keeps a table that it makes when it is first run."""
    monkeypatch.setattr("headstart.finetuning.precision.bf16_is_native", lambda device: True)
    made = run.train_each(config(VIEWING, lr=0.01, epochs=2, **changes))[0]
    tested = read_predictions(made, probabilities=True)
    files = [folder / "photos" / path for path in tested.paths]
    _, found = Classifier.load(made, device="cpu", precision="fp32").predict(files)
    assert_agree(found, tested.probabilities)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_a_program_of_torchscript_is_refused(folder):
    with pytest.raises(BackboneError, match="scripted is a program of TorchScript, which is not trained here"):
        start("own_nets_to_tune:scripted")


def test_the_file_is_named_after_the_net(runs):
    files = {name: load_run(folder).weights_file for name, folder in runs.items()}
    assert all(file.is_file() for file in files.values())
    assert files["resnet18"].name == "finetuned_resnet18.pth"
    assert files[VIT].name == "finetuned_timm-test_vit.pth"


def test_a_run_notes_its_net_pixels_and_what_was_chosen(runs):
    metrics = {name: load_run(folder).metrics for name, folder in runs.items()}
    assert metrics[HEADLESS]["geometry"]["interpolation"] == "bicubic"
    assert (metrics[HEADLESS]["backbone"], metrics[HEADLESS]["weights"]) == (HEADLESS, "its own")
    assert metrics[HEADLESS]["features"] == 8
    assert metrics[VIT]["chosen"] == {"backbone_lr": 5e-5, "clip_norm": 1.0}
    assert "chosen" not in metrics["resnet18"]


def test_a_run_that_is_there_is_reported_and_other_pixels_make_another(runs, capsys):
    assert run.train_each(config(VIT, lr=RATES[VIT], epochs=2)) == [runs[VIT]]
    assert f"{runs[VIT]} is there already" in capsys.readouterr().out
    ours, other = start("resnet18").identity, start("resnet18", image_px=96).identity
    assert (ours["backbone"], ours["state_digest"]) == ("resnet18", other["state_digest"])
    assert ours != other
    assert "backbone" not in start("resnet50").identity


def test_a_mistake_in_one_of_several_names_trains_none(folder, monkeypatch):
    monkeypatch.setattr(run, "train", lambda *_: pytest.fail("trained"))
    with pytest.raises(BackboneError, match="no backbone resnet19"):
        run.train_each(config("resnet18 resnet19"))


def test_several_names_are_trained_one_after_the_other(runs):
    assert run.train_each(config(f"{WHOLE} {HEADLESS}", lr=0.01, epochs=2)) == [runs[WHOLE], runs[HEADLESS]]


# --- the file of other nets ---


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["mobilenet_v3_small", "timm:deit_tiny_distilled_patch16_224", "timm:test_resnet"])
@pytest.mark.parametrize("hidden", [False, True], ids=["layer", "MLP"])
def test_a_file_of_any_net_loads_as_it_says_and_for_prediction(tmp_path, backbone, hidden):
    asked = start(backbone)
    net, classifier = initial_net(asked, CLASSES).net, asked.net.classifier
    if hidden:
        mlp = nn.Sequential(nn.Linear(asked.net.features, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 2))
        nn.init.normal_(mlp[0].weight)
        net.set_submodule(classifier or BEHIND, mlp)
    side = asked.geometry.image_px
    sample = torch.randn(4, 3, side, side) * torch.tensor([0.1, 1, 3, 9]).view(4, 1, 1, 1)
    with torch.no_grad():
        for module in net.modules():  # statistics of these very pictures, or all outputs would be nearly the same
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        net.train()(sample)
        expected = net.eval()(sample)
        save_tuned(net, asked.scale, tmp_path / "net.pth", backbone, classifier)
        names = {"torch": torch, "nn": nn, "torchvision": torchvision, "timm": timm, "path": tmp_path / "net.pth"}
        exec(how_to_load(net, backbone, classifier), names)
        assert_agree(names["net"].eval()(sample), expected)
        body, _, head = load_tuned(tmp_path / "net.pth", backbone, side)
        assert_agree(head(body(sample)), expected, tolerance=1e-4)


def test_a_file_of_a_vit_of_another_size_loads_as_it_says_for_prediction_and_as_weights(tmp_path, monkeypatch):
    def small(name, image_size=224):
        return torchvision.models.VisionTransformer(image_size, 32, 1, num_heads=2, hidden_dim=16, mlp_dim=16)

    monkeypatch.setattr("headstart.models.loading.get_model", small)
    asked = start("vit_b_32", image_px=64)
    net, sample = initial_net(asked, CLASSES).net.eval(), torch.randn(4, 3, 64, 64)
    save_tuned(net, asked.scale, tmp_path / "net.pth", "vit_b_32", asked.net.classifier)
    place = SimpleNamespace(models=SimpleNamespace(get_model=small))
    names = {"torch": torch, "nn": nn, "torchvision": place, "path": tmp_path / "net.pth"}
    exec(how_to_load(net, "vit_b_32", asked.net.classifier), names)
    body, _, head = load_tuned(tmp_path / "net.pth", "vit_b_32", 64)
    taken, _ = load_frozen("vit_b_32", str(tmp_path / "net.pth"), image_px=64)
    with torch.no_grad():
        expected = net(sample)
        assert_agree(names["net"].eval()(sample), expected)
        assert_agree(head(body(sample)), expected, tolerance=1e-4)
        assert_agree(head(taken.net(sample)), expected, tolerance=1e-4)


def test_a_file_of_another_net_is_refused(tmp_path):
    asked = start("mobilenet_v3_small")
    save_tuned(initial_net(asked, CLASSES).net, asked.scale, tmp_path / "net.pth", "mobilenet_v3_small", "classifier.3")
    with pytest.raises(RunError, match=r"does not hold the fine-tuned resnet18 .*train it again"):
        load_tuned(tmp_path / "net.pth", "resnet18", 64)
    (tmp_path / "net.pth").write_bytes(b"nothing")
    with pytest.raises(RunError, match="does not hold the fine-tuned resnet18"):
        load_tuned(tmp_path / "net.pth", "resnet18", 64)


def test_a_tuned_file_as_weights_brings_the_scale_of_its_pixels(tmp_path):
    asked = start("mobilenet_v3_small", **SEED)
    save_tuned(initial_net(asked, CLASSES).net, asked.scale, tmp_path / "net.pth", "mobilenet_v3_small", "classifier.3")
    made, _ = load_backbone("mobilenet_v3_small", str(tmp_path / "net.pth"))
    assert (made.mean, made.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


# --- a head to start from ---


@pytest.fixture(scope="module")
def trained_head(folder):
    """A linear head on features of the small transformer, and its cache."""
    updating.bring_up_to_date(
        ExtractConfig(
            data="photos", backbone=VIT, weights="random", precision="fp32", compile="off", device="cpu", workers=1
        )
    )
    return heads.train(HeadConfig(data="photos", backbone=VIT, hidden=(), epochs=30, device="cpu", lr=0.01))


def test_a_net_with_a_head_to_start_from_gives_the_heads_own_predictions(trained_head, manifest):
    asked = start(VIT, init_head=trained_head)
    tunable = initial_net(asked, manifest.classes)
    images = Images(manifest, asked.geometry, 1)
    rows, found = predict(tunable.net, tunable.scale, images, rows_of(manifest, "test"), CPU)
    tested = read_predictions(trained_head, probabilities=True)
    assert [manifest.relative_path(row) for row in rows] == list(tested.paths)
    assert_agree(found, tested.probabilities, tolerance=5e-3)  # the cache holds float16


@pytest.mark.parametrize(
    ("backbone", "changes", "words"),
    [
        ("resnet18", {}, "give the same --backbone"),
        (VIT, {"seed": 1}, "made with seed 0, this run has seed 1: give the same --seed, which draws random weights"),
        (VIT, {"resize": "squash"}, "give the same --resize"),
    ],
)
def test_a_head_of_other_features_is_refused(trained_head, manifest, backbone, changes, words):
    with pytest.raises(RunError, match=words):
        initial_net(start(backbone, init_head=trained_head, **changes), manifest.classes)


def test_a_head_on_features_side_by_side_is_none_to_start_from(trained_head, manifest, tmp_path):
    folder = copytree(trained_head, tmp_path / "head-1")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["recipes"] = [metrics.pop("recipe")] * 2
    del metrics["checksum"], metrics["checksums"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RunError, match=r"learned from the features of timm:test_vit\+timm:test_vit side by side"):
        initial_net(start(VIT, init_head=folder), manifest.classes)


def test_a_run_of_another_net_is_exported_with_its_own_predictions(runs, folder):
    file = programs.export(ExportConfig(run=runs[SQUEEZED]))
    about = json.loads((file.parent / "model.json").read_text())
    assert about["to_stored_predictions"]["same_class"] == about["checked_images"] == 8
    assert about["to_stored_predictions"]["largest_difference"] < 1e-5
