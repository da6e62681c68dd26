"""Heads on the features of a net that was fine-tuned on the same data, with the same test images or with others."""

import shutil

import numpy as np
import pytest
from helpers.caches import manifest
from helpers.features import TEST, TRAIN
from helpers.runs import Runs

from headstart.errors import DataWarning
from headstart.runs.listing import list_runs
from headstart.runs.seen import warn_of_seen
from headstart.support.files import write_json

TESTED = np.array([2, 3])


@pytest.fixture
def images(tmp_path):
    """Four images, the last two of the test."""
    paths = np.array([b"0.png", b"1.png", b"2.png", b"3.png"])
    splits = np.array([TRAIN] * 2 + [TEST] * 2, np.uint8)
    return manifest(4, root=tmp_path, source=str(tmp_path), paths=paths, splits=splits)


def fine_tuned(images, prefix="", **metrics):
    """A run with two test images; the file of its net."""
    data = {"data_root": str(images.root), "data_source": images.source}
    run = Runs(images.root / "elsewhere")("finetune-1", "finetune", images=2, prefix=prefix, **(data | metrics))
    write_json(run.folder / "metrics.json", dict(run.metrics))
    return run.folder / "finetuned_resnet50.pth"


def test_test_images_that_the_net_may_have_learned_from_are_said(images):
    file = fine_tuned(images)  # its test images are 0.png and 1.png
    with pytest.warns(DataWarning, match="2 of 2 test images were no test images of .*finetune-1, whose net"):
        warn_of_seen([file], images, TESTED)


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_where_the_net_was_tested_on_the_same_images_or_learned_from_other_data(images, tmp_path):
    warn_of_seen([tmp_path / "elsewhere/finetune-1/finetuned_resnet50.pth"], images, TESTED)  # no such run any more
    warn_of_seen([fine_tuned(images)], images, np.array([0, 1]))
    (tmp_path / "other").mkdir()
    other = str(tmp_path / "other")
    shutil.rmtree(tmp_path / "elsewhere")
    warn_of_seen([fine_tuned(images, data_root=other, data_source=other)], images, TESTED)
    warn_of_seen([tmp_path / "elsewhere/finetune-1/weights.pth"], images, TESTED)


def test_a_head_on_a_net_that_was_fine_tuned_on_its_data_is_not_frozen_wherever_the_run_lies(images, tmp_path):
    file = fine_tuned(images)
    head = Runs(tmp_path / "runs")(
        "head-1",
        data_root=str(images.root),
        data_source=images.source,
        weights_files=[str(file)],
        recipe={"weights": file.name, "weights_digest": "blake2b 12"},
    )
    write_json(head.folder / "metrics.json", dict(head.metrics))
    (listed,) = list_runs(tmp_path / "runs")
    assert (listed.is_frozen, listed.net_from) == (False, "finetune-1")
    shutil.rmtree(file.parent)
    assert list_runs(tmp_path / "runs")[0].is_frozen  # nothing tells it any more
