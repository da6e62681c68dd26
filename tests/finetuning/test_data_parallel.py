"""Several processes fine-tune one net: the batches, losses and predictions of one process, but for rounding."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.forked import Forked, team_of
from helpers.pictures import picture
from helpers.processes import ran, until
from torch import nn

from headstart.finetuning import data_parallel
from headstart.finetuning.data_parallel import in_step, together, total_loss
from headstart.runs.predictions import read_predictions
from headstart.runs.run import load_run
from headstart.support.files import read_csv
from headstart.support.team import Team

FINETUNE = Path(__file__).parents[2] / "pipelines" / "finetune.py"
FLAGS = ["--weights", "random", "--image-px", "32", "--resize", "squash", "--batch-size", "12", "--workers", "1"]
FLAGS = [*FLAGS, "--precision", "fp32", "--lr", "1e-4", "--device", "cpu", "--epochs", "2", "--freeze-batchnorm"]
FLAGS = [*FLAGS, "--backbone", "resnet18"]
"""BatchNorm over a few untrained images would make large differences of rounding; it has a test of its own."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """41 training images (the last batch is short), 15 of validation, 15 of test; one is broken, one file is none."""
    root = tmp_path_factory.mktemp("parallel") / "photos"
    for split, count in (("train", 41), ("val", 15), ("test", 15)):
        for place in range(count):
            folder = root / split / ("cat", "dog")[place % 2]
            folder.mkdir(parents=True, exist_ok=True)
            bright = picture(place + 100 * len(split)).point(lambda value, dog=place % 2: value // 2 + 120 * dog)
            bright.save(folder / f"{place:03}.png")
    (root / "val" / "cat" / "010.png").write_bytes(b"no picture")
    (root / "val" / "cat" / "notes.txt").touch()
    return root


@pytest.fixture(scope="module")
def alone(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert (
        "left out what is no image" in ran("finetune", "--data", photos, "--run", folder, *FLAGS, cwd=folder.parent).out
    )
    return folder


def history(folder):
    names, *rows = read_csv(folder / "history.csv")
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


def assert_same(one, other, tolerance=0.005):
    """Losses and answers but for rounding, which Adam makes larger; every image counted once."""
    for ours, theirs in zip(history(one), history(other), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=tolerance)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=tolerance)
    ours, theirs = (read_predictions(folder, probabilities=True) for folder in (one, other))
    assert ours.paths == theirs.paths
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=tolerance)
    for metrics in (load_run(folder).metrics for folder in (one, other)):
        assert [metrics[split]["images"] for split in ("val", "test")] == [14, 15]
        assert (metrics["train_images"], metrics["unreadable_images"]) == (41, 1)


@pytest.mark.slow
def test_processes_train_the_net_that_one_trains_and_one_of_them_speaks(photos, alone, tmp_path):
    """As torchrun starts them; one has no image of the last batch."""
    folder = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]
    command = [*torchrun, str(FINETUNE), "--data", str(photos), "--run", str(folder), *FLAGS]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert_same(folder, alone)
    assert said.count("epoch 2/2: train loss") == 1
    assert said.count(f"{folder}: test accuracy") == 1
    assert said.count("left out what is no image by its name") == 1


def by_hand(photos, folder):
    """Two processes that no torchrun ends: each as if alone on its machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [{**where, "RANK": str(rank), "GROUP_RANK": str(rank)} for rank in range(2)]
    flags = ("--data", photos, "--run", folder, *FLAGS)
    return [Forked("finetune", *flags, cwd=folder.parent, environment=rank) for rank in ranks]


@pytest.mark.slow
def test_who_trains_with_one_that_is_killed_says_so_and_the_same_command_goes_on_alone(photos, alone, tmp_path):
    folder = tmp_path / "run"
    one, other = by_hand(photos, folder)
    with one, other:
        until((folder / "checkpoint.pth").exists)
        other.kill()
        ended = one.ended(timeout_seconds=60)
    assert ended.code == 2
    assert ended.err.splitlines()[-1] == (
        "Another process has ended. What is finished is kept: the same command goes on."
    )
    assert "Traceback" not in ended.err
    assert "gloo" not in ended.err
    assert not (folder / "metrics.json").exists(), "it was over before it could be killed"
    said = ran("finetune", "--data", photos, "--run", folder, *FLAGS, cwd=tmp_path).out
    assert said.count("going on after epoch 1 of 2") == 1
    assert_same(folder, alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--batch-size", "13"], "--batch-size is 13, but must be a multiple of 2, the processes."),
        (["--lr", "-1"], "--lr is -1.0, but must be above 0."),
    ],
    ids=["together", "flags"],
)
def test_what_all_processes_refuse_is_said_once(photos, tmp_path, flags, sentence):
    done = team_of(2, "finetune", "--data", photos, "--run", tmp_path / "run", *FLAGS, *flags, cwd=tmp_path)
    assert [each.code for each in done] == [2, 2]
    said = "".join(each.err for each in done)
    assert said.count(sentence) == 1
    assert "has stopped" not in said


@pytest.mark.slow
def test_batchnorm_over_shares_of_a_batch_is_that_over_the_batch(tmp_path):
    """Outputs, gradients and running statistics, also where a process has run out of images."""
    torch.manual_seed(0)
    whole = nn.BatchNorm2d(6).train()
    whole.weight.data.uniform_(0.5, 2)
    values = torch.randn(8, 6, 4, 5) * 3 + 10
    slopes = torch.randn_like(values)
    inputs = values.clone().requires_grad_()
    expected = whole(inputs)
    expected.backward(slopes)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fresh = nn.BatchNorm2d(6)
    fresh.weight.data = whole.weight.data.clone()
    torch.save((fresh.state_dict(), values, slopes, [(5, 3), (8, 0)]), tmp_path / "given.pth")
    (tmp_path / "share.py").write_text(SHARE)
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    started = [
        Forked(str(tmp_path / "share"), tmp_path, cwd=tmp_path, environment={**env, "RANK": str(rank)})
        for rank in range(2)
    ]
    with started[0], started[1]:
        ended = [process.ended() for process in started]
    assert [each.code for each in ended] == [0, 0], ended
    steps = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in range(2)]
    for of_both in zip(*steps, strict=True):
        outputs, gradients, weights, states = zip(*of_both, strict=True)
        torch.testing.assert_close(torch.cat(outputs), expected.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.cat(gradients), inputs.grad, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(weights[0], whole.weight.grad / 2, rtol=1e-3, atol=1e-4)
        for state in states:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                torch.testing.assert_close(state[name], whole.state_dict()[name], rtol=1e-5, atol=1e-6)


SHARE = """
import sys
from pathlib import Path

import torch
from torch import nn

from headstart.finetuning.data_parallel import together
from headstart.support.team import join


def step(team, state, values, slopes, sizes):
    norm = nn.BatchNorm2d(6)
    norm.load_state_dict(state)
    net = together(team, nn.Sequential(norm).train(), torch.device("cpu"))
    own = values.split(sizes)[team.rank].clone().requires_grad_()
    output = net(own)
    output.backward(slopes.split(sizes)[team.rank])
    return output.detach(), own.grad, norm.weight.grad, norm.state_dict()


state, values, slopes, splits = torch.load(f"{sys.argv[1]}/given.pth", weights_only=True)
with join() as team:
    torch.save([step(team, state, values, slopes, sizes) for sizes in splits], f"{sys.argv[1]}/{team.rank}.pth")
# A thread of the group that outlives Python ends it with an error, now and then.
assert not [task for task in Path("/proc/self/task").glob("*/comm") if "gloo" in task.read_text()]
"""


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(12, 6), (12, 6, 5), (12, 6, 4, 5)], ids=["images", "tokens", "maps"])
def test_batchnorm_over_all_processes_is_torchs_own_for_any_number_of_axes(monkeypatch, shape, affine):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda value: None)  # of one process the sum is its own
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    torch.manual_seed(0)
    ours, theirs, values = kind(6, affine=affine), kind(6, affine=affine), 3 * torch.randn(shape) + 1
    ours.__class__ = data_parallel._BatchNorm
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(values), theirs.train(training)(values))
        torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_timms_batchnorm_still_activates_when_it_sees_all_processes(monkeypatch):
    from timm.layers import BatchNormAct2d

    monkeypatch.setattr(torch.distributed, "all_reduce", lambda value: None)
    ours, theirs, values = BatchNormAct2d(6), BatchNormAct2d(6), torch.randn(4, 6, 3, 3)
    ours.__class__ = data_parallel._BatchNorm
    for training in (True, False):
        found = ours.train(training)(values)
        torch.testing.assert_close(found, theirs.train(training)(values))
        assert (found == 0).any()


@pytest.fixture
def on_gpus(monkeypatch):
    """What two processes with a GPU each make of a net; and what DistributedDataParallel was given."""
    given, team = [], Team(0, 2)
    vars(team)["_gpus"] = "the group of NCCL"
    monkeypatch.setattr(data_parallel._GPUBatchNorm, "process_group", None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(data_parallel, "DistributedDataParallel", lambda *some, **named: given.append((some, named)))

    def joined(net):
        together(team, net, torch.device("cuda"))
        return net, given[-1]

    return joined


def test_on_gpus_batchnorm_over_all_processes_is_torchs_own(on_gpus):
    """The same layer, so that what is trained stays trained, in the group that gives up after ten minutes."""
    layer = nn.BatchNorm2d(6)
    net, ((module, devices), named) = on_gpus(nn.Sequential(nn.Conv2d(3, 6, 1), layer))
    assert net[1] is layer
    assert isinstance(layer, nn.SyncBatchNorm)
    assert layer.process_group == named["process_group"] == "the group of NCCL"
    assert (module, devices) == (net, [1])
    assert "process_group" not in vars(layer)  # no copy could be made of it


@pytest.mark.parametrize("training", [True, False])
def test_timms_batchnorm_still_activates_on_gpus(on_gpus, training):
    from timm.layers import BatchNormAct2d

    ours, theirs, values = BatchNormAct2d(6), BatchNormAct2d(6), torch.randn(4, 6, 3, 3)
    on_gpus(ours)
    found = ours.train(training)(values)  # without a group torch's own is that of one process
    torch.testing.assert_close(found, theirs.train(training)(values))
    assert (found == 0).any()


def test_the_losses_of_an_epoch_are_added_in_the_order_of_its_steps():
    """To the bit as they were when each was read in its step."""
    losses, counts = torch.rand(1000, generator=torch.Generator().manual_seed(0)), [8] * 999 + [3]
    expected = 0.0
    for loss, count in zip(losses, counts, strict=True):
        expected += float(loss) * count
    assert total_loss(Team(), list(losses), counts) == expected
    assert total_loss(Team(), [], []) == 0.0


@pytest.mark.slow
def test_two_processes_train_two_nets_one_after_the_other(photos, tmp_path):
    flags = list(FLAGS)
    del flags[flags.index("--image-px") : flags.index("--image-px") + 2]
    flags[-1] = "timm:test_vit timm:test_efficientnet"
    done = team_of(2, "finetune", "--data", photos, *flags, cwd=tmp_path)
    assert [each.code for each in done] == [0, 0], done
    files = sorted(path.name for path in tmp_path.glob("data/runs/photos/*/*.pth"))
    assert files == ["finetuned_timm-test_efficientnet.pth", "finetuned_timm-test_vit.pth"]


def test_the_shares_of_a_batch_are_that_batch():
    rows = np.arange(100, 141)
    shares = [Team(rank, 4).share(rows) for rank in range(4)]
    for begin in range(0, 41, 12):
        part = [row for share in shares for row in share[begin // 4 : begin // 4 + 3]]
        assert sorted(part) == rows[begin : begin + 12].tolist()


def test_one_alone_takes_its_batches_as_they_are():
    batches = [(np.arange(3), torch.zeros(3, 2, 2, 3)), (np.arange(2), torch.zeros(2, 2, 2, 3))]
    none = (np.empty(0, np.int64), torch.empty(0, 2, 2, 3))
    taken = list(in_step(Team(), iter(batches), none))
    assert [images for _, images in taken] == [3, 2]
    assert all(one is other for (one, _), other in zip(taken, batches, strict=True))
    net = nn.Linear(2, 2)
    assert together(Team(), net, torch.device("cpu")) is net
