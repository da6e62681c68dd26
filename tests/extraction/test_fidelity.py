"""What tells features that only rounding changed from features that are others."""

import numpy as np
import pytest
import torch

from headstart.extraction.fidelity import BOUNDS, centred_cosines, fidelity, neighbours_kept

UNKNOWN = np.full(20, -1)


def features(count=20, seed=0):
    """Features as a net gives them: all near one large mean, and each a little different."""
    generator = torch.Generator().manual_seed(seed)
    mean = 5 * torch.rand(2048, generator=generator)
    return mean + 0.05 * torch.randn(count, 2048, generator=generator)


def smallest_centred_cosine(reference, other):
    return float(centred_cosines(reference, other).min())


def test_rows_shifted_by_one_place_are_caught_though_a_plain_cosine_is_not():
    reference = features()
    shifted = reference.roll(1, dims=0)
    assert torch.nn.functional.cosine_similarity(reference, shifted).min() > 0.999
    assert smallest_centred_cosine(reference, shifted) < 0.5


def test_the_centred_cosine_sees_the_worst_row_and_forgives_rounding():
    reference = features()
    assert smallest_centred_cosine(reference, reference) == pytest.approx(1)
    assert smallest_centred_cosine(reference, reference.half().float()) > 0.999
    one_bad = reference.clone()
    one_bad[7] = reference[8]
    assert smallest_centred_cosine(reference, one_bad) < 0.5
    assert smallest_centred_cosine(reference, reference + 0.05 * torch.randn(20, 2048)) < BOUNDS["bf16"]["least_cosine"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_precision_that_gives_no_numbers_is_as_bad_as_can_be(value):
    broken = features()
    broken[3, 100] = value
    assert smallest_centred_cosine(features(), broken) == -1


def test_shuffled_features_have_other_neighbours_and_rounded_ones_the_same():
    reference = torch.randn(64, 20, generator=torch.Generator().manual_seed(1))
    assert neighbours_kept(reference, reference + 1e-6) == 1
    assert neighbours_kept(reference, reference.roll(1, dims=0)) < 0.4  # by chance 10 of 63
    assert neighbours_kept(reference[:2], reference[:2]) == 1


def classes(count, noise=0.0):
    """Features of two classes far apart, and their labels."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(count) % 2
    values = torch.randn(count, 16, generator=generator) + 4 * labels[:, None]
    return values + noise * torch.randn(count, 16, generator=generator), labels.numpy()


@pytest.mark.parametrize("compared", [30, 10])  # all of them, or the last ones alone
def test_a_ridge_head_answers_alike_by_features_that_are_near_and_not_by_others(compared):
    reference, labels = classes(30)
    assert fidelity(reference, reference[-compared:], labels).agreement == 1
    swapped = reference[-compared:].roll(1, dims=0)  # each has the features of the other class
    assert fidelity(reference, swapped, labels).agreement == 0


def test_without_labels_of_two_classes_nothing_is_said_of_a_head():
    reference, _ = classes(20)
    for labels in (UNKNOWN, np.zeros(20, np.int64)):
        near = fidelity(reference, reference, labels)
        assert near.agreement is None
        assert "ridge" not in str(near)
        assert "int8_ridge_agreement" not in near.notes("int8")
        assert not near.fault("int8")


def test_a_fault_names_the_bound():
    reference, labels = classes(20)
    noisy = classes(20, noise=3.0)[0]
    near = fidelity(reference, noisy, labels)
    assert near.mean_cosine < BOUNDS["int8"]["mean_cosine"]
    assert near.fault("int8") == f" (bound: {BOUNDS['int8']['mean_cosine']})"
    assert near.notes("int8")["int8_mean_centred_cosine"] == near.mean_cosine
