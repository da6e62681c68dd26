"""The sentence below a learning curve: careful about what a few seeds can show."""

import math

import pytest

from headstart.heads.last_doubling import sentence


def points(few, many, sizes=(500, 1000), key="test_accuracy"):
    """The accuracies of each seed with the fewer and with the more images."""
    other = {"test_accuracy": "val_accuracy", "val_accuracy": "test_accuracy"}[key]
    return [
        {"fraction": size / sizes[1], "train_images": size, "seed": seed, key: accuracy, other: math.nan}
        for size, accuracies in zip(sizes, (few, many), strict=True)
        for seed, accuracy in enumerate(accuracies)
    ]


@pytest.mark.parametrize(
    ("few", "many", "words"),
    [
        ((0.80, 0.81, 0.82), (0.83, 0.84, 0.86), "More images would probably help: from 500 to 1,000 training images"),
        ((0.80, 0.81, 0.82), (0.80, 0.84, 0.80), "It is open whether more images would help: "),
        ((0.80, 0.81, 0.82), (0.78, 0.79, 0.80), "More images like these would probably not help: "),
        ((0.80, 0.80, 0.80), (0.80, 0.80, 0.80), "More images like these would probably not help: "),
        ((0.80,), (0.90,), "Would more images help? One seed cannot tell: "),
    ],
)
def test_a_claim_is_made_only_where_the_seeds_agree(few, many, words):
    assert sentence(points(few, many)).startswith(words)


def test_the_change_is_that_of_a_doubling_seed_by_seed():
    """Four times the images are two doublings; 2, 4 and 6 points in all are 1, 2 and 3 for each, 2 ± 1."""
    text = sentence(points((0.5, 0.6, 0.7), (0.52, 0.64, 0.76), (250, 1000)))
    assert "test accuracy changed by +2.0 points for a doubling (95% -0.5 to +4.5 over 3 seeds)" in text


def test_the_half_nearest_to_a_doubling_is_taken_and_validation_where_nothing_is_tested():
    curve = [*points((0.1, 0.1), (0.8, 0.8), (100, 500)), *points((0.8, 0.8), (0.9, 0.9))[2:]]
    for fraction, point in zip((0.1, 0.1, 0.5, 0.5, 1, 1), curve, strict=True):
        point["fraction"] = fraction
    assert "from 500 to 1,000" in sentence(curve)
    assert "validation accuracy changed" in sentence(points((0.8, 0.8), (0.9, 0.9), key="val_accuracy"))


@pytest.mark.parametrize("sizes", [(1000, 1000), (900, 1000)])
def test_a_curve_without_a_step_says_that_it_cannot_tell(sizes):
    assert "This curve cannot tell" in sentence(points((0.8, 0.8), (0.9, 0.9), sizes))


def test_without_any_accuracy_nothing_is_claimed():
    assert "This curve cannot tell" in sentence(points((math.nan,), (math.nan,)))


@pytest.mark.parametrize("value", [math.inf, math.nan, 0.0, -3.0, 5e-324, 1e300])
@pytest.mark.parametrize("name", ["fraction", "train_images"])
@pytest.mark.parametrize("place", [0, 1])
def test_numbers_that_no_curve_has_are_no_point_of_one(value, name, place):
    """As a damaged file of an earlier version may hold them."""
    made = points((0.80,), (0.90,))
    made[place][name] = value
    assert sentence(made).startswith("Would more images help?")
    assert "cannot tell" in sentence(made)
