"""Apple's GPUs have no float64: on a stand-in that refuses it, heads and probes train to the end."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import pretend_cuda
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL

from headstart.crossvalidation.run import cross_validate
from headstart.heads import programs, run
from headstart.heads.estimator import HeadClassifier
from headstart.probes import probe
from headstart.probes import run as probes
from headstart.settings import CrossValidationConfig, HeadConfig, ProbeConfig, SweepConfig


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_cache(tmp_path / "f.h5", np.arange(60) % 2, np.repeat([TRAIN, VAL, TEST], 20), width=64)
    return tmp_path / "f.h5"


@pytest.fixture
def apple():
    with pretend_cuda.cuda(apple=True):
        yield


def device_of(folder: Path) -> str:
    return json.loads((folder / "metrics.json").read_text())["device"]


@pytest.mark.parametrize("normalize", ["standardize", "l2"])
def test_a_head_trains_and_is_tested_there(cache, apple, normalize):
    """`auto` picks an Apple GPU where there is one."""
    assert device_of(run.train(HeadConfig(cache=cache, epochs=2, hidden=(8,), normalize=normalize))) == "mps"


def test_a_sweep_trains_there(cache, apple):
    config = SweepConfig(cache=cache, epochs=(2,), hidden=("8",), lr=(1e-3, 1e-2), dropout=(0.4,), weight_decay=(0.0,))
    assert device_of(programs.sweep(config)) == "mps"


def test_the_estimator_learns_there_and_goes_on(apple):
    X, y = np.random.default_rng(0).normal(size=(40, 6)), np.arange(40) % 2  # noqa: N806
    classifier = HeadClassifier(epochs=1, hidden=(4,)).fit(X, y)
    classifier.partial_fit(X, y)
    assert classifier.predict_proba(X).shape == (40, 2)


def test_probes_run_on_the_cpu_and_say_so_if_another_was_asked_for(cache, apple, capsys, monkeypatch):
    monkeypatch.setattr(probe.logistic, "PENALTIES", (100.0, 1.0))
    for asked, methods in (("auto", ("ridge", "logistic")), ("mps", ("knn",))):
        folders = probes.run(ProbeConfig(cache=cache, device=asked, methods=methods))
        assert {device_of(folder) for folder in folders.values()} == {"cpu"}
        assert ("they run on the CPU" in capsys.readouterr().out) == (asked == "mps")


def test_a_cross_validation_runs_on_the_cpu(cache, apple):
    figures = cross_validate(CrossValidationConfig(cache=cache, folds=3, repeats=1, methods=("head", "ridge")))
    assert len(figures) == 2
