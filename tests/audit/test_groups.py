"""Groups that are mistaken far more often than others."""

import numpy as np

from headstart.audit.groups import findings


def answers(count, groups, spoiled=(), mistakes=0.1, seed=0):
    """Images of two classes in groups; in spoiled groups most are taken for the other class."""
    generator = np.random.default_rng(seed)
    labels, group = np.arange(count) % 2, np.arange(count) // 2 % groups
    wrong = generator.random(count) < np.where(np.isin(group, spoiled), 0.8, mistakes)
    names = np.array([f"camera {number}".encode() for number in range(groups)])
    return np.eye(2, dtype=np.float32)[labels ^ wrong], labels, names[group]


def test_a_spoiled_group_is_named():
    (only,) = findings(*answers(600, 20, spoiled=[7]))
    assert only.kind == "group"
    assert only.what.startswith("camera 7 stands out: ")
    assert "of its 30 images are taken for another class" in only.what
    assert 0.95 <= only.sure <= 1


def test_chance_names_none_nearly_always():
    """`sure` knows how many groups there are: of 40 data sets without a spoiled group, few have a finding."""
    named = [len(findings(*answers(400, 20, mistakes=0.2, seed=seed))) for seed in range(40)]
    assert sum(map(bool, named)) <= 5


def test_few_or_small_groups_say_nothing():
    assert findings(*answers(300, 6, spoiled=[1])) == []
    assert findings(*answers(40, 20, spoiled=[1])) == []
