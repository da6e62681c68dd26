"""Which split a name means."""

import pytest

from headstart.datasets.split_names import split_called, split_in


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (
            "train",
            ["train", "Training", "TRAIN", "training_set", "TrainImages", "train2017", "trainset", "train-data", "trn"],
        ),
        ("val", ["val", "valid", "Validation", "dev", "val_images", "val2017", "ValidSet", "Dev Set"]),
        ("test", ["test", "Testing", "test_set", "eval", "evaluation", "testing-data", "test1", "holdout"]),
    ],
)
def test_names_that_people_give_to_splits(split, names):
    assert {name: split_called(name) for name in names} == dict.fromkeys(names, split)


@pytest.mark.parametrize(
    "name", ["trains", "contest", "device", "value", "test_tube", "train_test", "PublicTest", "", "2017"]
)
def test_other_names_mean_no_split(name):
    assert split_called(name) is None


def test_a_split_among_other_words_is_told_with_them():
    assert split_in("seg_train") == ("train", "seg")
    assert split_in("CIFAR10-test") == ("test", "cifar")
    assert split_in("train_and_test") is None
