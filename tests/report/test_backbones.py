"""Which backbone: the best run of each by validation, its paired difference, its cost, and a sentence with both."""

import json

import numpy as np
import pytest
from helpers.differences import interval
from helpers.runs import Runs, changed
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.report import tables
from headstart.report.backbones import cost_of
from headstart.report.comparison import compare
from headstart.support import files

FAST = {"images": 2000, "per_image": 576, "bytes": 2_304_000, "seconds": 8.0, "net_images_per_second": 400.0}
SLOW = {"images": 2000, "per_image": 2048, "bytes": 8_192_000, "seconds": 40.0, "net_images_per_second": 80.0}


@pytest.fixture
def make(tmp_path):
    return Runs(tmp_path)


def on(*names, **figures):
    """What metrics.json says of a run on the features of a backbone, or of several side by side."""
    recipes = [{"backbone": name} for name in names]
    return {**({"recipe": recipes[0]} if len(names) == 1 else {"recipes": recipes}), **figures}


def test_each_backbone_has_a_row_for_its_best_run_by_validation(make):
    """Its test accuracy chooses nothing: the run with 179 right is not shown."""
    runs = [
        make("head-1", validation=0.9, right=160, **on("resnet50")),
        make("head-2", validation=0.8, right=179, **on("resnet50")),
        make("ridge-1", "ridge", validation=0.95, right=165, **on("resnet18")),
        make("finetune-1", "finetune", validation=0.99, right=178),
    ]
    backbones = compare(runs).backbones
    assert [(row.name, row.run.name) for row in backbones.rows] == [("resnet18", "ridge-1"), ("resnet50", "head-1")]
    assert backbones.rows[0].difference is None
    found = backbones.rows[1].difference
    assert (found.gained, found.lost) == (0, 5)
    assert found.points_ci95 == tuple(100 * end for end in interval(0, 5, 180))


def test_of_one_backbone_alone_there_is_nothing_to_say(make):
    assert compare([make("head-1", **on("resnet50")), make("head-2", **on("resnet50"))]).backbones is None
    assert compare([make("head-3"), make("finetune-1", "finetune", backbone="resnet18")]).backbones is None


def said(make, right, best=None, other=None):
    """The sentence on resnet18, the best by validation, and resnet50, which has 160 of 180 right."""
    one = make("head-1", validation=0.95, right=right, **on("resnet18", **(best or {})))
    return compare([one, make("head-2", validation=0.9, **on("resnet50", **(other or {})))]).backbones.sentence


@pytest.mark.parametrize(
    ("right", "sentence"),
    [
        (170, "Which backbone? resnet18 is 5.6 points (1.9 to 9.1) better than resnet50 on the same 180 test images"),
        (140, "Which backbone? resnet18 is 11.1 points (6.2 to 15.8) worse than resnet50 on the same 180 test images"),
        (
            162,
            "Which backbone? On the same 180 test images resnet18 is between 1.0 points worse and 3.2 points better "
            "than resnet50, which is no clear difference",
        ),
    ],
)
def test_the_sentence_says_by_how_much_with_its_uncertainty_and_at_what_cost(make, right, sentence):
    seeds = "; by one head each, and another seed may differ"
    cost = ". 1,000 images take 4 s in the pass against 20 s, and 400 images/s go through the net against 80."
    assert said(make, right, {"features": FAST}, {"features": SLOW}) == sentence + seeds + cost


@given(right=st.integers(0, 180))
@settings(deadline=None, max_examples=30)
def test_a_difference_is_claimed_only_where_the_interval_leaves_zero_out(tmp_path_factory, right):
    make = Runs(tmp_path_factory.mktemp("runs"))
    sentence = said(make, right)
    low, high = interval(max(0, right - 160), max(0, 160 - right), 180)
    assert (" better than resnet50 on the same" in sentence) == (low > 0)
    assert (" worse than resnet50 on the same" in sentence) == (high < 0)
    assert ("no clear difference" in sentence) == (low <= 0 <= high)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "a+b"]), st.sampled_from([0.8, 0.9, None]), st.integers(0, 12), st.booleans()
        ),
        min_size=2,
        max_size=7,
    )
)
@settings(deadline=None, max_examples=50)
def test_whatever_runs_there_are_rows_are_the_first_of_each_backbone_and_unequal_tests_are_never_paired(
    tmp_path_factory, drawn
):
    make = Runs(tmp_path_factory.mktemp("runs"))
    runs = [
        make(f"head-{n}", validation=val, right=right, images=12, prefix="other" * other, **on(*name.split("+")))
        for n, (name, val, right, other) in enumerate(drawn)
    ]
    comparison = compare(runs)
    ordered = [compared.run for compared in comparison.ranking]
    names = list(dict.fromkeys(run.backbone for run in ordered))
    if len(names) < 2:
        assert comparison.backbones is None
        return
    rows = comparison.backbones.rows
    assert [row.name for row in rows] == names
    for row in rows:
        assert row.run is next(run for run in ordered if run.backbone == row.name)
        assert row.run is ordered[0] or (row.difference is None) == (row.run.test_digest != ordered[0].test_digest)
    assert comparison.backbones.sentence.startswith("Which backbone? ")


def test_tested_on_different_images_nothing_says_which_is_best(make):
    sentence = said(make, 170, {"prefix": "other"})
    assert sentence.startswith(
        "Which backbone? resnet18 is the best by validation, but no run on another one was tested"
    )


def test_that_validation_finds_two_equal_is_said(make):
    runs = [make("head-1", right=170, **on("a")), make("head-2", train_seconds=9.0, **on("b"))]
    sentence = compare(runs).backbones.sentence
    assert sentence.startswith(
        "Which backbone? By validation a and b are equal. a is 5.6 points (1.9 to 9.1) better than b"
    )


def test_without_validation_images_nothing_chooses(make):
    runs = [make(name, validation=None, **on(name)) for name in ("resnet18", "resnet50")]
    assert compare(runs).backbones.sentence == "Which backbone? There are no validation images to choose by."


# --- features side by side ---


def side_by_side(make, joined_right, joined_validation):
    return compare(
        [
            make("head-1", validation=0.95, right=160, extract_seconds=None, **on("a")),
            make("head-2", validation=0.9, right=150, extract_seconds=None, **on("b")),
            make("head-3", validation=joined_validation, right=joined_right, **on("a", "b")),
        ]
    ).backbones.sentence


def test_two_side_by_side_are_compared_with_the_better_of_them(make):
    sentence = side_by_side(make, 170, 0.92)
    assert sentence.startswith(
        "Which backbone? a is 5.6 points (1.9 to 9.1) better than b on the same 180 test images; by one head each, and "
        "another seed may differ. "
    )
    assert sentence.endswith(
        "Side by side: a+b is 5.6 points (1.9 to 9.1) better than a on the same 180 test images; by one head each, "
        "and another seed may differ."
    )


def test_where_two_side_by_side_are_the_best_it_is_said_once(make):
    sentence = side_by_side(make, 170, 0.97)
    assert sentence == (
        "Which backbone? a+b is 5.6 points (1.9 to 9.1) better than a on the same 180 test images; by one head each, "
        "and another seed may differ."
    )


def test_side_by_side_is_compared_with_its_parts_even_where_a_third_net_is_better(make):
    runs = [
        make("head-0", validation=0.99, right=175, **on("c")),
        make("head-1", validation=0.95, right=160, **on("a")),
        make("head-3", validation=0.9, right=170, **on("a", "b")),
    ]
    sentence = compare(runs).backbones.sentence
    assert "Which backbone? c is 8.3 points (4.0 to 12.5) better than a" in sentence
    assert "Side by side: a+b is 5.6 points (1.9 to 9.1) better than a" in sentence


# --- cost ---


def test_the_cost_is_what_the_run_says_of_its_cache(make):
    cost = cost_of(make("head-1", **on("resnet18", features=FAST)))
    assert (cost.features, cost.bytes) == (576, 2_304_000)
    assert (cost.pass_seconds_per_1000, cost.images_per_second) == (4.0, 400.0)


def test_of_a_run_that_does_not_say_it_the_cost_follows_from_its_other_figures(make):
    """1,437 training and 180 test images; the pass took 12.4 s. Probes count validation images among the training's."""
    recipe = {"backbone": "resnet50", "storage": "float32"}
    cost = cost_of(make("head-1", recipe=recipe))
    assert (cost.features, cost.bytes) == (2048, 1617 * 8192)
    assert cost.pass_seconds_per_1000 == pytest.approx(1000 * 12.4 / 1617)
    assert cost.images_per_second == pytest.approx(1617 / 12.4)
    counted = {"images": 100, "accuracy": 0.9}
    for kind, images in (("head", 1717), ("ridge", 1617)):
        run = changed(make(f"{kind}-2", kind, recipe=recipe), val=counted)
        assert cost_of(run).bytes == images * 8192
    with_views = cost_of(make("head-3", recipe=recipe, views=8))
    assert with_views.pass_seconds_per_1000 is None
    assert with_views.bytes == 1617 * 8192
    assert cost_of(make("head-4")).features is None


def test_the_table_has_a_line_for_each_backbone_and_json_all_figures(make, tmp_path):
    one = make("head-1", validation=0.95, right=170, **on("resnet18", features=FAST))
    comparison = compare([one, make("head-2", **on("resnet50", features=SLOW))])
    lines = tables.backbones(comparison.backbones).splitlines()
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert cells[0] == list(tables.BACKBONE)
    accuracies = [f"{right / 180:.3f} ({right / 180 - 0.05:.3f} to {right / 180 + 0.04:.3f})" for right in (170, 160)]
    assert cells[2] == ["resnet18", "head-1", "0.950", accuracies[0], "best", "576", "2.3 MB", "4 s", "400"]
    difference = "-5.6 (-9.1 to -1.9)"
    assert cells[3] == ["resnet50", "head-2", "0.900", accuracies[1], difference, "2,048", "8.19 MB", "20 s", "80"]
    files.write_json(tmp_path / "compare.json", comparison.to_json())
    read = json.loads((tmp_path / "compare.json").read_text())["backbones"]
    assert read["sentence"] == comparison.backbones.sentence
    assert [row["backbone"] for row in read["rows"]] == ["resnet18", "resnet50"]
    assert read["rows"][1]["difference"]["points"] == pytest.approx(-100 * 10 / 180)
    assert np.isclose(read["rows"][0]["pass_seconds_per_1000"], 4)
