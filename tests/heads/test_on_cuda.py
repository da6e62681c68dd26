"""Heads on a stand-in for CUDA: steps that are recorded as graphs, few launches, and no waits of the host."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import pretend_cuda, pretend_graphs
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL, some_features

from headstart.heads import adam, own_kernels, pointwise, training
from headstart.heads.features import Features, Normalization
from headstart.heads.training import Trainer
from headstart.settings import HeadConfig

ONE = HeadConfig(epochs=3, hidden=(16,), batch_size=16, schedule="cosine", warmup=0.1, label_smoothing=0.1)
SEVERAL = [
    replace(ONE, lr=lr, weight_decay=decay, dropout=dropout)
    for lr in (1e-3, 3e-3)
    for decay in (0.0, 1e-3)
    for dropout in (0.0, 0.4)
]
STACKS = pytest.mark.parametrize("configs", [[ONE], SEVERAL], ids=["one head", "several heads"])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Five blocks of four batches in an epoch of 330 rows, and a last one of ten rows."""
    monkeypatch.setattr(training, "ROWS_AHEAD", 64)


@pytest.fixture
def counts():
    """Whether Triton compiles is asked anew, and forgotten afterwards."""
    own_kernels.own_kernels.cache_clear()
    with pretend_cuda.cuda() as counts, pretend_graphs.graphs():
        yield counts
    own_kernels.own_kernels.cache_clear()


def moved(features, device="cuda"):
    rows = {split: own.to(device) for split, own in features.rows.items()}
    offsets = None if features.offsets is None else features.offsets.to(device)
    return replace(
        features, values=features.values.to(device), labels=features.labels.to(device), rows=rows, offsets=offsets
    )


def trainer_of(features, configs, recorded=True):
    trainer = Trainer(features, Normalization.fit(features, "standardize"), configs)
    if not recorded:
        trainer._recorder = None
    return trainer


def parameters(trainer):
    return trainer.heads.parameters.cpu()


@STACKS
def test_recorded_steps_give_the_bits_of_those_that_are_launched_one_by_one(counts, configs):
    features = moved(some_features(train=330))
    one, other = (trainer_of(features, configs, recorded) for recorded in (True, False))
    for _ in range(3):
        one.epoch()
        other.epoch()
    assert torch.equal(parameters(one), parameters(other))
    losses = [[row["train_loss"] for row in trainer.records[-1].history] for trainer in (one, other)]
    assert losses[0] == losses[1]


@STACKS
def test_heads_learn_there_what_they_learn_on_the_cpu(counts, configs):
    """Rates are tensors there, of float32, so that the last bits differ."""
    features = some_features(train=330)
    here, there = trainer_of(features, configs), trainer_of(moved(features), configs)
    for _ in range(3):
        here.epoch()
        there.epoch()
    torch.testing.assert_close(parameters(there), parameters(here), rtol=1e-4, atol=1e-6)


@STACKS
@pytest.mark.parametrize("views", [0, 3])
def test_an_epoch_waits_for_the_device_only_at_its_end(counts, configs, views):
    features = some_features(train=330)
    if views:
        rows = len(features.labels)
        offsets = torch.arange((views + 1) * rows).view(-1, rows)
        features = replace(features, values=features.values.repeat(views + 1, 1), offsets=offsets)
    trainer = trainer_of(moved(features), configs)
    for _ in range(3):
        counts.clear()
        trainer._train()
        assert counts.host_waits == {"tolist": 1}


def test_a_block_of_steps_is_one_launch_beside_what_gathers_it(counts):
    """A step alone takes some thirty launches, an epoch of 21 steps 770."""
    trainer = trainer_of(moved(some_features(train=330)), [ONE])
    launches = []
    for _ in range(3):
        counts.clear()
        trainer._train()
        launches.append(sum(counts.kernels.values()))
    assert counts.kernels["graph"] == 6
    assert launches[2] < 60
    assert launches[0] < 300


def test_heads_that_are_kept_are_recorded_anew(counts):
    features = moved(some_features(train=330))
    whole, alone = trainer_of(features, SEVERAL), trainer_of(features, SEVERAL, recorded=False)
    for trainer in (whole, alone):
        trainer.epoch()
        trainer.epoch()
        trainer.keep([5, 2])
    alone._recorder = None
    for _ in range(2):
        whole.epoch()
        alone.epoch()
    assert torch.equal(parameters(whole), parameters(alone))


def test_features_in_a_file_are_not_recorded_and_give_the_same_heads(counts, tmp_path):
    """They arrive from the disk, by a thread that a recording must not meet."""
    splits = np.repeat([TRAIN, VAL, TEST], [120, 40, 40])
    made = make_cache(tmp_path / "a.h5", np.arange(200) % 2, splits)
    features = [Features.load(made, torch.device(place), 5e5) for place in ("cuda", "cpu")]
    assert features[0].source == "file"
    there, here = (trainer_of(some, [replace(ONE, dropout=0.0)]) for some in features)
    for _ in range(3):
        there.epoch()
        here.epoch()
    assert counts.kernels["graph"] == 0
    torch.testing.assert_close(parameters(there), parameters(here), rtol=1e-3, atol=1e-5)


def test_any_number_of_rates_and_decays_is_one_launch(counts, monkeypatch):
    """The kernel itself, which needs a GPU to be compiled, is tested in test_adam.py."""
    calls = []
    kernel = SimpleNamespace(step=lambda *given: calls.append(given))
    monkeypatch.setattr(adam, "own_kernels", cache(lambda: SimpleNamespace(adam=kernel, pointwise=pointwise)))
    configs = [HeadConfig(lr=1e-3 * (1 + head % 4), weight_decay=1e-3 * (head // 4), hidden=()) for head in range(16)]
    trainer = trainer_of(moved(some_features(train=330)), configs, recorded=False)
    counts.clear()
    trainer._train()
    assert len(calls) == trainer.steps
    assert not any("fused_adam" in name for name in counts.kernels)
    tensors, rates, decays, _, decoupled, factor = calls[-1]
    assert [tuple(tensor.shape) for tensor in tensors] == [tuple(trainer.heads.parameters.shape)] * 4 + [(16,)]
    assert rates.tolist() == pytest.approx([config.lr for config in configs])
    assert decays.tolist() == pytest.approx([config.weight_decay for config in configs])
    assert (decoupled, factor.shape) == (False, ())


def test_where_triton_compiles_nothing_torchs_kernel_takes_over_and_that_is_said(counts, capsys):
    trainer_of(moved(some_features()), SEVERAL).epoch()
    assert capsys.readouterr().out.count("Triton compiles no kernel here (") == 1
    assert any("fused_adam" in name for name in counts.kernels)
