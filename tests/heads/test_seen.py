"""Heads on the features of a net that was fine-tuned on the same data, with the same test images or with others."""

import warnings

import pytest
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN
from helpers.runs import Runs

from headstart.errors import DataWarning
from headstart.heads.seen import warn_of_seen
from headstart.support.files import write_json


@pytest.fixture
def cache(tmp_path):
    """Features of four images, the last two of the test, whose net lies in a folder of a run."""
    cache = make_cache(tmp_path / "f.h5", [0, 1] * 2, [TRAIN] * 2 + [TEST] * 2)
    cache.weights_file = str(tmp_path / "finetune-1" / "finetuned_resnet50.pth")
    return cache


def fine_tuned(cache, tested, **metrics):
    """The run of that net, with the test images `tested`."""
    make = Runs(cache.path.parent)
    run = make(
        "finetune-1", "finetune", images=2, right=2, prefix=tested, data_root=str(cache.manifest.root), **metrics
    )
    write_json(run.folder / "metrics.json", dict(run.metrics))


def test_test_images_that_the_net_may_have_learned_from_are_said(cache):
    fine_tuned(cache, "000")  # its test images are 0000.png and 0001.png
    with pytest.warns(DataWarning, match="2 of 2 test images were no test images of .*finetune-1, whose net made"):
        warn_of_seen(cache, cache.rows("test"))


def test_nothing_is_said_where_the_net_was_tested_on_the_same_images_or_learned_from_other_data(cache):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_seen(cache, cache.rows("test"))  # no such run any more
        fine_tuned(cache, "000")
        warn_of_seen(cache, cache.rows("train"))
        fine_tuned_elsewhere = cache.path.parent / "elsewhere"
        fine_tuned_elsewhere.mkdir()
        write_json(
            cache.path.parent / "finetune-1" / "metrics.json",
            {
                "kind": "finetune",
                "dataset": "d",
                "data_root": str(fine_tuned_elsewhere),
                "test": {"images": 2},
                "val": {},
            },
        )
        warn_of_seen(cache, cache.rows("test"))
