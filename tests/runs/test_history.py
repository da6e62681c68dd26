"""Event files: the epochs of a run as TensorBoard reads them, and a sentence where the package is missing."""

import math

import pytest

from headstart.errors import SettingsError, TrainingFailed
from headstart.runs import history
from headstart.support.files import write_csv

HEADER = ["epoch", "train_loss", "val_loss", "val_accuracy", "seconds"]


def scalars(folder):
    """What TensorBoard finds in a folder: for each chart its steps and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_the_epochs_of_a_run_are_written_once(tmp_path):
    write_csv(tmp_path / "history.csv", [HEADER, [1, 2.0, 1.5, 0.25, 0.1], [2, 1.0, 0.5, 0.75, 0.2]])
    history.write_events(tmp_path)
    history.write_events(tmp_path)
    assert len(list(tmp_path.glob("events.*"))) == 1
    assert scalars(tmp_path) == {
        "loss/train": [(1, 2.0), (2, 1.0)],
        "loss/validation": [(1, 1.5), (2, 0.5)],
        "accuracy/validation": [(1, 0.25), (2, 0.75)],
    }


def test_what_is_no_number_has_no_point(tmp_path):
    with history.event_writer(tmp_path) as add:
        add({"epoch": 1, "train_loss": 2.0, "val_loss": math.nan, "val_accuracy": math.nan, "seconds": 1.0})
    assert scalars(tmp_path) == {"loss/train": [(1, 2.0)]}


def test_a_run_without_epochs_has_no_event_file(tmp_path):
    write_csv(tmp_path / "history.csv", [HEADER])
    history.write_events(tmp_path)
    with history.event_writer(tmp_path / "none", wanted=False) as add:
        add({"epoch": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_a_training_that_fails_in_its_first_epoch_leaves_no_folder(tmp_path):
    with pytest.raises(TrainingFailed), history.event_writer(tmp_path / "run"):
        raise TrainingFailed("The loss became nan in epoch 1.")
    assert not (tmp_path / "run").exists()


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    history.require_tensorboard()
    monkeypatch.setattr(history, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"--tensorboard needs .* pip install tensorboard"):
        history.require_tensorboard()
