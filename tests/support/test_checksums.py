"""A flipped bit in a file of a run is found when it is read; runs of earlier versions, without checksums, are read."""

import json
from contextlib import suppress

import numpy as np
import pytest
import torch

from headstart.errors import DataWarning, HeadstartError
from headstart.finetuning.checkpoint import Checkpoint
from headstart.models.mlp import load_head
from headstart.runs import folder as runs
from headstart.runs import history
from headstart.runs.predictions import Predictions, read_predictions
from headstart.runs.run import load_run, read_config
from headstart.support.checksums import checked_csv

METRICS = {"kind": "head", "dataset": "d", "test": {"images": 9, "accuracy": 2 / 3}, "val": {"accuracy": 0.961}}
STATE = {"net": {"weight": torch.arange(9.0)}, "history": [{"epoch": 1, "val_loss": float("nan")}]}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with the checkpoint of one beside it."""
    from headstart.runs import pictures

    for name in ("confusion", "training_curves"):
        monkeypatch.setattr(pictures, name, lambda *given, **_: given[-1].touch())
    head = {"0.weight": torch.randn(2, 5), "0.bias": torch.randn(2)}
    probabilities = np.random.default_rng(0).dirichlet([1, 1], 9)
    tested = Predictions.from_probabilities([f"{n}.jpg" for n in range(9)], np.arange(9) % 2, probabilities, ("a", "b"))
    epoch = history.row_of(1, (1.5, 0.7), 0.5, "accuracy", 0.5, 2.0)
    runs.save(
        tmp_path,
        files={"head.pth": lambda path: torch.save(head, path)},
        config={"lr": 1e-3, "seed": 0},
        metrics=METRICS,
        history=[epoch],
        predictions=tested,
    )
    Checkpoint(tmp_path, {"lr": 1e-3}).save(STATE)
    return tmp_path


def everything(folder):
    """All that is read of a run, as one text."""
    run, tested = load_run(folder), read_predictions(folder, probabilities=True)
    head, checkpoint = load_head(run.weights_file, 0.0), Checkpoint(folder, {"lr": 1e-3}).load()
    read = (run.metrics, run.classes, read_config(folder), list(checked_csv(folder / "history.csv")), checkpoint)
    return repr((read, tested.paths, tested.labels, tested.probabilities, head.state_dict()))


def test_a_flipped_bit_in_any_file_is_found_or_harmless(run):
    """Of 600 over all files; those of metrics.json and config.json, which people edit, by a warning."""
    before, harmless = everything(run), 0
    files = [file for file in sorted(run.iterdir()) if file.suffix != ".png"]
    assert len(files) == 6
    for number in range(600):
        file, place = files[number % 6], (number // 6) / 100
        content = file.read_bytes()
        at = int(place * len(content))
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << number % 7]) + content[at + 1 :])
        with suppress(HeadstartError, DataWarning):
            assert everything(run) == before, f"{file.name}, byte {at}"
            harmless += 1
        file.write_bytes(content)
    assert harmless < 50
    assert everything(run) == before


def test_figures_that_somebody_edited_are_shown_with_a_warning(run):
    path = run / "metrics.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content, indent=8))  # the same figures
    assert load_run(run).metrics == {"title": "head, lr 1e-3", **METRICS}
    path.write_text(json.dumps({**content, "note": "the good one"}))
    with pytest.warns(DataWarning, match=r"metrics\.json changed after the training, by hand or by damage"):
        assert load_run(run).metrics["note"] == "the good one"


def test_a_run_without_checksums_is_read_as_before(run):
    before = everything(run)
    content = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({name: content[name] for name in content if "checksum" not in name}))
    checkpoint = run / "checkpoint.pth"
    checkpoint.write_bytes(checkpoint.read_bytes().rpartition(b"\nchecksum")[0])
    assert everything(run) == before
