"""Which split a name means."""

import pytest

from headstart.datasets.split_names import meanings, split_called, split_in


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (
            "train",
            [
                "train",
                "Training",
                "TRAIN",
                "training_set",
                "TrainImages",
                "train2017",
                "trainset",
                "train-data",
                "trn",
                "train_val",
                "TrainVal",
                "trainval2012",
                "train+valid",
            ],
        ),
        (
            "val",
            [
                "val",
                "valid",
                "Validation",
                "dev",
                "val_images",
                "val2017",
                "ValidSet",
                "Dev Set",
                "PublicTest",
                "public_test",
            ],
        ),
        (
            "test",
            ["test", "Testing", "test_set", "eval", "evaluation", "testing-data", "test1", "holdout", "PrivateTest"],
        ),
    ],
)
def test_names_that_people_give_to_splits(split, names):
    assert {name: split_called(name) for name in names} == dict.fromkeys(names, split)


@pytest.mark.parametrize(
    "name",
    ["trains", "contest", "device", "value", "test_tube", "train_test", "train_val_test", "PublicTests", "", "2017"],
)
def test_other_names_mean_no_split(name):
    assert split_called(name) is None


def test_a_split_among_other_words_is_told_with_them():
    assert split_in("seg_train") == ("train", "seg")
    assert split_in("CIFAR10-test") == ("test", "cifar")
    assert split_in("train_and_test") is None


def test_a_name_that_could_mean_something_else_is_explained():
    assert meanings(["train_val", "test"]) == " (trainval means train)"
    assert meanings(["Training", "PublicTest", "PrivateTest"]) == " (PublicTest means val, PrivateTest means test)"
    assert meanings(["Training", "dev"]) == ""
