"""On a GPU heads, probes and whole nets learn what they learn on the CPU, and a head does not wait for the host."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.caches import make_cache
from helpers.features import TRAIN, some_features
from torch import nn

from headstart.datasets import labelled
from headstart.finetuning import training as finetuning
from headstart.finetuning.checkpoint import Checkpoint
from headstart.finetuning.start import Start
from headstart.heads.features import Features, Normalization
from headstart.heads.stack import evaluate
from headstart.heads.training import Trainer, fit_quietly
from headstart.probes.probe import probe
from headstart.settings import FinetuneConfig, HeadConfig

CONFIGS = [HeadConfig(epochs=3, dropout=0.0, lr=lr, weight_decay=decay) for lr in (1e-3, 3e-3) for decay in (0.0, 1e-3)]


def moved(features, device):
    rows = {split: own.to(device) for split, own in features.rows.items()}
    return replace(features, values=features.values.to(device), labels=features.labels.to(device), rows=rows)


def by_hand(features, config):
    """One head by torch's own layers and optimiser, on the same batches: its logits for all rows."""
    values, device = Normalization.fit(features, "standardize")(features.values), features.device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        layers = nn.Sequential(nn.Linear(features.width, 256), nn.ReLU(), nn.Linear(256, len(features.classes)))
    optimizer = torch.optim.Adam(layers.to(device).parameters(), lr=config.lr, weight_decay=config.weight_decay)
    order, train = torch.Generator().manual_seed(config.seed), features.rows["train"]
    for _ in range(config.epochs):
        for rows in train[torch.randperm(len(train), generator=order).to(device)].split(config.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(layers(values[rows]), features.labels[rows]).backward()
            optimizer.step()
    return layers(values).detach()


def test_each_head_of_a_stack_learns_what_torchs_own_learns(device):
    features = moved(some_features(train=330), device)  # the last batch is short
    trainer = Trainer(features, Normalization.fit(features, "standardize"), CONFIGS)
    for _ in range(3):
        trainer.epoch()
    logits = trainer.heads.logits(trainer.normalization(features.values))
    for own, config in zip(logits, CONFIGS, strict=True):
        torch.testing.assert_close(own, by_hand(features, config), rtol=2e-3, atol=2e-3)


def test_the_same_seed_gives_the_same_bits_and_nearly_those_of_the_cpu(device):
    config = HeadConfig(epochs=4, dropout=0.0, label_smoothing=0.1, schedule="cosine", warmup=0.1)
    features = some_features()
    one, two = (fit_quietly(moved(features, device), config).head.stack.parameters for _ in range(2))
    assert torch.equal(one, two)
    cpu = fit_quietly(features, config).head.stack.parameters
    torch.testing.assert_close(one.cpu(), cpu, rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
def test_the_host_waits_no_more_often_for_twice_as_many_steps():
    """As torch counts it; on the stand-in, tests of heads do."""
    waits = []
    features = moved(some_features(train=3000), "cuda")
    for size in (64, 32):
        trainer = Trainer(features, Normalization.fit(features, "standardize"), [HeadConfig(batch_size=size)])
        trainer.epoch()
        trainer.epoch()  # what is recorded has been recorded
        waits.append(waits_of(trainer.epoch))
    assert waits[1] <= waits[0]  # the end of an epoch waits three or four times


def waits_of(work):
    """How often the host waits."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("method", ["logistic", "ridge", "knn"])
def test_probes_find_what_they_find_on_the_cpu(device, method):
    features = some_features(train=400, val=120, test=120, spread=0.6)
    here, there = (probe(each, method, "standardize", shown=False) for each in (moved(features, device), features))
    accuracies = [max(row["val_accuracy"] for row in found.candidates) for found in (here, there)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.01)
    assert abs(here.val - there.val).max() < (0.02 if here.chosen == there.chosen else 0.2)


def test_features_from_the_file_are_those_from_memory(device, tmp_path):
    cache = make_cache(tmp_path / "a.h5", np.arange(200) % 2, np.repeat([0, 1, 2], [120, 40, 40]), views=2)
    memory, file = (Features.load(cache, device, size, 2, 0) for size in (1e12, 1e6))
    assert (memory.source, file.source) == ("memory", "file")
    heads = [fit_quietly(features, HeadConfig(epochs=3)).head for features in (memory, file)]
    plain = memory.with_views(0)
    accuracies = [evaluate(head.stack, head.normalization, plain, "val")[1][0] for head in heads]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.05)


class Stopped(Exception):
    """As by Ctrl-C."""


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "fp32"), *(pytest.param("cuda", precision, marks=pytest.mark.gpu) for precision in ("fp32", "bf16"))],
    indirect=["device"],
)
def test_a_fine_tuning_that_is_stopped_goes_on_as_an_undisturbed_one(device, tmp_path, make_photos, precision):
    manifest = labelled.load(str(make_photos({"cat": 5, "dog": 4})))  # the last batch has one image
    manifest = replace(manifest, splits=np.full_like(manifest.splits, TRAIN))
    config = FinetuneConfig(
        backbone="resnet18", weights="random", image_px=32, epochs=2, batch_size=4, precision=precision, compile="off"
    )
    whole = finetuning.finetune(manifest, Start(config), device)
    checkpoint = Checkpoint(tmp_path, {"a": 1})
    with pytest.raises(Stopped):
        finetuning.finetune(manifest, Start(config), device, StopsAfter(checkpoint))
    resumed = finetuning.finetune(manifest, Start(config), device, checkpoint)
    assert [row["epoch"] for row in resumed.history] == [1, 2]
    for one, two in zip(whole.history, resumed.history, strict=True):
        assert one["train_loss"] == pytest.approx(two["train_loss"], rel=0.05)  # backward adds in any order on CUDA


class StopsAfter:
    """A checkpoint after whose first save the training ends."""

    def __init__(self, kept):
        self.kept, self.load = kept, kept.load

    def save(self, state):
        self.kept.save(state)
        raise Stopped
