"""Predictions come back from their file as they were written, or an error says why not."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import RunError
from headstart.runs.predictions import Predictions, csv_rows, read_classes, read_predictions
from headstart.support.files import write_csv

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a,b", 'say "cat"', "two\nlines", "old\rmac", "猫", "Schäferhund", "", " ", "p_p_", "'", ";", "=1+1", "\0"]
)


@settings(max_examples=50)
@given(st.data(), st.lists(NAMES, min_size=1, max_size=6, unique=True), st.lists(NAMES, max_size=5))
def test_predictions_come_back_exactly_whatever_the_names(tmp_path_factory, data, classes, paths):
    labels = data.draw(st.lists(st.integers(0, len(classes) - 1), min_size=len(paths), max_size=len(paths)))
    rows = st.lists(st.floats(0, 1, width=32), min_size=len(classes), max_size=len(classes))
    table = data.draw(st.lists(rows, min_size=len(paths), max_size=len(paths)))
    probabilities = np.array(table, np.float32).reshape(len(paths), len(classes))
    saved = Predictions.from_probabilities(paths, np.array(labels, np.int64), probabilities, tuple(classes))
    folder = tmp_path_factory.mktemp("run")
    write_csv(folder / "predictions.csv", csv_rows(saved))
    read, light = read_predictions(folder, probabilities=True), read_predictions(folder)
    assert (read.paths, read.classes) == (paths, tuple(classes))
    assert read.labels.dtype == np.int64
    assert read.labels.tolist() == labels
    assert read.probabilities.tobytes() == probabilities.tobytes()
    assert read.predicted.tolist() == saved.predicted.tolist()
    assert read.confidence.tolist() == probabilities.max(axis=1, initial=0).tolist()
    assert (light.paths, light.classes, light.probabilities) == (paths, tuple(classes), None)
    for name in ("labels", "predicted", "confidence"):
        assert getattr(light, name).tolist() == getattr(saved, name).tolist()
    assert read_classes(folder) == tuple(classes)


def test_file_names_that_are_not_utf8_come_back_as_the_same_bytes(tmp_path):
    path = os.fsdecode(b"caf\xe9.jpg")
    saved = Predictions.from_probabilities([path], np.array([0]), np.array([[1.0]]), ("cat",))
    write_csv(tmp_path / "predictions.csv", csv_rows(saved))
    assert os.fsencode(read_predictions(tmp_path).paths[0]) == b"caf\xe9.jpg"


@given(st.lists(NAMES, min_size=2, max_size=2), st.lists(NAMES | st.just("group"), min_size=1, max_size=3, unique=True))
def test_groups_come_back_beside_whatever_classes_there_are(tmp_path_factory, groups, classes):
    probabilities, folder = np.full((2, len(classes)), 1 / len(classes)), tmp_path_factory.mktemp("run")
    saved = Predictions.from_probabilities(["a", "b"], np.array([0, 0]), probabilities, tuple(classes), groups)
    write_csv(folder / "predictions.csv", csv_rows(saved))
    assert (folder / "predictions.csv").read_text("utf-8").startswith("path,label,predicted,group,")
    read = read_predictions(folder, probabilities=True)
    assert (read.groups, read.classes, read_classes(folder)) == (groups, tuple(classes), tuple(classes))
    assert read.probabilities.shape == (2, len(classes))


def test_a_file_of_an_earlier_version_has_no_groups(tmp_path):
    (tmp_path / "predictions.csv").write_text("path,label,predicted,p_group,p_a\nx,a,a,0.0,1.0\n")
    read = read_predictions(tmp_path)
    assert (read.groups, read.classes) == (None, ("group", "a"))


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\0",
        b"path,label\na.jpg,cat\n",
        b"path,label,predicted\na.jpg,cat\n",
        b"path,label,predicted,p_a\nx,b,a,1.0\n",
        b"path,label,predicted,p_a\nx,a,b,1.0\n",
        b"path,label,predicted,p_a\nx,a,a,?\n",
        b"path,label,predicted,p_a\nx,a,a,1.0,1.0\n",
        b"path,label,predicted,group,p_a\nx,a,a,1.0\n",
        b"path,label,predicted,group,p_a\nx,a,a\n",
    ],
)
@pytest.mark.parametrize("probabilities", [False, True])
def test_broken_predictions_are_an_error_that_names_the_file(tmp_path, content, probabilities):
    if content is not None:
        (tmp_path / "predictions.csv").write_bytes(content)
    with pytest.raises(RunError, match=r"predictions\.csv cannot be read .*: run the training again"):
        read_predictions(tmp_path, probabilities=probabilities)


@pytest.mark.parametrize("content", [b"", b"\0", b"path,label\na.jpg,cat\n"])
def test_a_broken_header_names_no_classes(tmp_path, content):
    (tmp_path / "predictions.csv").write_bytes(content)
    with pytest.raises(RunError, match=r"predictions\.csv cannot be read .*: run the training again"):
        read_classes(tmp_path)
