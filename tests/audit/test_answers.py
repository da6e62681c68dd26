"""Who is asked what a label should be: models that saw neither the image, nor its group, but its class."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.features import some_features

from headstart.audit.answers import Asked, out_of_fold
from headstart.probes import ridge


@pytest.fixture(autouse=True)
def few_penalties(monkeypatch):
    monkeypatch.setattr(ridge, "PENALTIES", (10.0, 1.0))


def asked_of(labels, groups=None, is_test=None):
    every = np.arange(len(labels))
    groups = every if groups is None else groups
    is_test = np.zeros(len(labels), np.bool_) if is_test is None else is_test
    return Asked(every, labels, groups, every, is_test)


def test_a_class_of_one_image_or_of_one_group_is_not_judged():
    features = replace(some_features(80, 0, 0, classes=3), classes=("cat", "dog", "lion", "one"))
    labels, groups = features.labels.numpy().copy(), np.arange(80)
    labels[7], groups[labels == 2] = 3, 200
    known = ~np.isnan(
        out_of_fold(replace(features, labels=torch.from_numpy(labels)), asked_of(labels, groups), "ridge", 0)
    ).any(axis=1)
    assert known.tolist() == (labels < 2).tolist()


def folds_of(groups, is_test):
    labels = np.arange(len(groups)) % 2
    *_, last = asked_of(labels, groups, is_test).folds(0)
    return last


def test_labels_of_test_are_judged_by_models_that_saw_no_image_of_their_groups(capsys):
    groups, is_test = np.arange(40) // 2, np.arange(40) >= 29
    last = folds_of(groups, is_test)
    learned = np.concatenate([last.train, last.val])
    assert sorted(learned) == list(range(28))  # 28 is of the group of 29
    assert capsys.readouterr().out == ""


def test_where_all_groups_are_on_both_sides_it_is_said(capsys):
    groups, is_test = np.arange(40) % 10, np.arange(40) >= 30
    last = folds_of(groups, is_test)
    assert sorted(np.concatenate([last.train, last.val])) == list(range(30))
    assert "labels of test are judged by models that saw their groups" in capsys.readouterr().out
