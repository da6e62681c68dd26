"""Each weight gets the learning rate and the weight decay of its group."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from headstart.finetuning import net
from headstart.finetuning.batches import crops_identity
from headstart.finetuning.net import initial_net, optimizer_of, set_rates
from headstart.finetuning.start import Start
from headstart.runs.folder import identity, run_folder
from headstart.settings import FinetuneConfig

STRONG = FinetuneConfig(weights="random", image_px=32, epochs=1, batch_size=8)


def rates_of(config):
    """Learning rate and weight decay of every parameter, by its name."""
    start = Start(config)
    tunable = initial_net(start, ("bird", "cat", "dog"))
    names = {id(weight): name for name, weight in tunable.net.named_parameters()}
    return {
        names[id(weight)]: (group["lr"], group["weight_decay"])
        for group in optimizer_of(tunable, start.config).param_groups
        for weight in group["params"]
    }


def test_pretrained_layers_have_a_smaller_rate_than_the_new_one_and_norms_and_biases_no_decay(tmp_path):
    file = tmp_path / "pretrained.pth"
    torch.save(resnet50().state_dict(), file)
    rates = rates_of(dataclasses.replace(STRONG, weights=str(file)))
    assert rates["fc.weight"] == (1e-3, 0.05)
    assert rates["fc.bias"] == (1e-3, 0.0)
    assert rates["layer1.0.conv1.weight"] == (3e-4, 0.05)
    assert rates["layer1.0.bn1.weight"] == rates["layer1.0.bn1.bias"] == (3e-4, 0.0)
    untrained = rates_of(STRONG)
    assert untrained["layer1.0.conv1.weight"] == (1e-3, 0.05)
    assert len(rates) == len(untrained) == len(list(resnet50().parameters()))


def test_the_seeds_rate_is_constant():
    start = Start(dataclasses.replace(STRONG, method="seed"))
    config = start.config
    optimizer = optimizer_of(initial_net(start, ("cat", "dog")), config)
    assert isinstance(optimizer, torch.optim.Adam)
    assert not isinstance(optimizer, torch.optim.AdamW)
    for step in (0, 5, 9):
        set_rates(optimizer, step, config, 80)
        assert [group["lr"] for group in optimizer.param_groups] == [1e-3]


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def compiled(monkeypatch):
    """Whether a net is compiled for steps with full batches; `faults` holds why it cannot be."""
    faults = [""]
    monkeypatch.setattr(net, "compiler_fault", lambda device: faults[0])
    monkeypatch.setattr(torch, "compile", lambda module, **options: (module, options))

    def asked(config, device, steps):
        plain = nn.Identity()
        return net.for_full_batches(plain, config, device, steps) is not plain

    asked.faults = faults
    return asked


@pytest.mark.parametrize(
    ("settings", "device", "steps", "expected"),
    [
        ({}, CUDA, net.COMPILE_PAYS_STEPS, True),
        ({}, CUDA, net.COMPILE_PAYS_STEPS - 1, False),  # the minutes would not be won back
        ({}, CPU, 10**6, False),
        ({"method": "seed"}, CUDA, 10**6, False),
        ({"compile": "off"}, CUDA, 10**6, False),
        ({"compile": "on"}, CUDA, 1, True),
        ({"compile": "on"}, CPU, 1, True),
    ],
)
def test_a_net_is_compiled_where_that_was_asked_for_or_where_many_steps_on_a_gpu_follow(
    compiled, monkeypatch, settings, device, steps, expected
):
    monkeypatch.setattr(net, "require_compiler", lambda device: None)
    assert compiled(dataclasses.replace(STRONG, **settings), device, steps) is expected


def test_a_gpu_that_cannot_compile_trains_without_and_says_so(compiled, capsys):
    compiled.faults[0] = "Triton finds no C compiler"
    assert not compiled(STRONG, CUDA, 10**6)
    assert capsys.readouterr().out.count("compile: off, since Triton finds no C compiler") == 1


BEFORE = {"backbone_lr": 1e-4}
"""The default of version 0.1."""


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (BEFORE, "finetune-46aeb9c7"),
        ({"weights": "random", "image_px": 64, **BEFORE}, "finetune-f6816815"),
        ({"train_from": "fc", **BEFORE}, "finetune-b8d0739f"),
        ({"train_from": "head", **BEFORE}, "finetune-b8d0739f"),
        ({"train_from": "layer4", "lr": 0.01, "backbone_lr": 1e-5}, "finetune-3ee2780d"),
        ({"method": "seed"}, "finetune-14c3341a"),
        ({"resize": "squash", "weights": "IMAGENET1K_V2", "freeze_batchnorm": True, **BEFORE}, "finetune-3d7032b6"),
    ],
)
def test_runs_of_resnet50_keep_the_names_that_they_had_when_it_was_the_only_net(settings, name):
    start = Start(FinetuneConfig(**settings))
    others = {"manifest_digest": "m", "files_digest": "f", "head_digest": "", "device": "cpu"}
    assert run_folder(Path("runs"), "d", "finetune", identity(start.config, **start.identity, **others)).name == name


def test_trainings_with_the_smaller_crops_of_before_are_other_runs():
    assert crops_identity(FinetuneConfig()) == {"crop_share": (0.5, 1.0)}
    assert crops_identity(FinetuneConfig(augment="none")) == crops_identity(FinetuneConfig(method="seed")) == {}


def test_a_run_of_resnet50_is_found_without_loading_the_net(monkeypatch):
    monkeypatch.setattr("headstart.finetuning.start.load_backbone", lambda *_: pytest.fail("loaded"))
    assert Start(FinetuneConfig()).identity == {"weights_digest": "sha256 0676ba61"}
