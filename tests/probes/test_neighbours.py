"""Nearest neighbours are those that a loop over all rows finds, and each votes as the papers say.

n query rows, M rows in memory, D features, C classes.
"""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.features import C, some_features
from helpers.training import by_hand
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.heads.features import Features, Normalization
from headstart.probes import neighbours

COUNTS = (50, 20, 5, 1)


def voted(features, counts=COUNTS, kind="none"):
    normalization = Normalization.fit(features, kind)
    memory, queries = features.rows["train"], features.rows["test"]
    return [found.numpy() for found in neighbours.probabilities(features, normalization, memory, queries, counts)]


def in_plane(*directions, labels, classes=2):
    """Rows at these angles, in degrees; the last is the query."""
    radians = torch.deg2rad(torch.tensor(directions, dtype=torch.float32))
    values = torch.stack([radians.cos(), radians.sin()], dim=1)
    memory = torch.arange(len(directions) - 1)
    rows = {"train": memory, "test": memory[-1:] + 1}
    return Features(values, torch.tensor([*labels, 0]), rows, tuple(map(str, range(classes))))


@pytest.mark.parametrize("kind", ["standardize", "l2", "none"])
def test_the_votes_are_those_of_a_loop_over_all_rows(kind):
    features = some_features(spread=0.3)
    for count, found in zip(COUNTS, voted(features, kind=kind), strict=True):
        np.testing.assert_allclose(found, by_hand(features, count, kind), atol=1e-4)


@given(queries=st.integers(1, 120), block=st.integers(1, 120))
@settings(max_examples=20)
def test_how_much_is_computed_at_once_does_not_matter(queries, block):
    features = some_features(spread=0.3)
    whole = voted(features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "QUERIES", queries)
        patch.setattr("headstart.heads.features.BLOCK_ROWS", block)
        for one, other in zip(voted(features), whole, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_more_neighbours_than_there_are_rows_are_all_rows():
    features = some_features(train=7)
    seven, many = voted(features, (7, 1000))
    assert np.array_equal(seven, many)
    np.testing.assert_allclose(many, by_hand(features, 7), atol=1e-4)


def test_each_number_of_neighbours_gives_what_it_gives_alone_in_the_order_asked_for():
    features = some_features(spread=0.3)
    for count, found in zip((1, 50, 5), voted(features, (1, 50, 5)), strict=True):
        np.testing.assert_allclose(found, voted(features, (count,))[0], atol=1e-6)


def test_a_near_neighbour_outvotes_several_far_ones():
    (found,) = voted(in_plane(2, 60, 65, -60, 0, labels=[1, 0, 0, 0]), (4,))
    assert found[0, 1] == pytest.approx(4.5 / 5, abs=0.01)


def test_the_length_of_a_row_does_not_matter():
    features = some_features()
    lengths = 10 ** torch.linspace(-3, 3, len(features.values))[:, None]
    longer = dataclasses.replace(features, values=features.values * lengths)
    for one, other in zip(voted(longer), voted(features), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@given(seed=st.integers(0, 100), train=st.integers(1, 30))
@settings(max_examples=20)
def test_votes_are_probabilities(seed, train):
    features = some_features(train=train, val=1, test=5, seed=seed, spread=0.3)
    for found in voted(features):
        assert (found > 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_a_neighbour_in_the_opposite_direction_has_a_vote_too_if_there_is_no_other():
    """However small its weight is: exp(−2 / 0.07)."""
    (found,) = voted(in_plane(180, 0, labels=[1]), (1,))
    assert found.tolist() == [[0.25, 0.75]]


def test_the_log_loss_of_a_classifier_better_than_guessing_is_lower_than_that_of_guessing():
    """Classes without a vote had a probability of 0: 87 nats an image."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (900,), generator=generator)
    centres, noise = (torch.randn(count, 48, generator=generator) for count in (10, 900))
    rows = torch.arange(900)
    features = Features(
        0.3 * centres[labels] + noise, labels, {"train": rows[:600], "test": rows[600:]}, tuple("abcdefghij")
    )
    for found in voted(features, (200, 10)):
        of_truth = found[np.arange(300), labels[600:].numpy()]
        assert -np.log(of_truth).mean() < np.log(10)


def test_a_row_of_zeros_breaks_nothing():
    features = some_features()
    values = features.values.clone()
    values[features.rows["test"][0]] = values[features.rows["train"][0]] = 0
    for found in voted(dataclasses.replace(features, values=values)):
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_without_queries_there_are_no_votes():
    assert [found.shape for found in voted(some_features(test=0))] == [(0, C)] * len(COUNTS)


def test_neighbours_and_temperature_are_those_of_the_papers():
    assert neighbours.NEIGHBOURS == (200, 100, 20, 10)
    assert neighbours.TEMPERATURE == 0.07
