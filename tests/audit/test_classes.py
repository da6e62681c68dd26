"""Classes that cannot be told apart."""

import numpy as np
import pytest

from headstart.audit.classes import findings, mistaken


def test_shares_are_those_of_the_two_classes_alone():
    probabilities = np.array([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3], [0.1, 0.2, 0.7]], np.float32)
    shares, images = mistaken(probabilities, np.array([0, 0, 2]))
    assert images.tolist() == [2, 0, 1]
    assert shares.tolist() == [[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]]


def test_two_classes_that_are_one_are_named_and_no_others():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 400)
    logits = generator.normal(size=(400, 4))
    logits[np.arange(400), np.where(labels == 3, 2, labels)] += 5
    logits[:, 3] = logits[:, 2] + generator.normal(size=400)  # as likely as class 2, whatever the label
    shares = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    (only,) = findings(shares, labels, ("a", "b", "shirt", "t-shirt"))
    assert only.what.startswith("shirt and t-shirt are hard to tell apart")
    assert only.sure > 0.8
    assert (only.path, only.kind) == ("", "classes alike")


@pytest.mark.parametrize("count", [2, 40])
def test_few_mistakes_name_no_classes(count):
    labels = np.arange(count) % 2
    probabilities = np.eye(2, dtype=np.float32)[labels]
    probabilities[0] = [0.1, 0.9]
    assert findings(probabilities, labels, ("a", "b")) == []
