"""Runs side by side: chosen without looking at the test, honest about what can be compared, summed up in a sentence."""

import json
import os
from fractions import Fraction
from pathlib import Path

import pytest
from helpers.differences import interval
from helpers.runs import ALL, Runs, changed, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import RunError
from headstart.models.weights import weights_digest
from headstart.report import tables
from headstart.report.comparison import compare, pays_after
from headstart.runs.listing import list_runs
from headstart.runs.method import best_run
from headstart.runs.run import Run
from headstart.support import files


@pytest.fixture
def make(tmp_path):
    return Runs(tmp_path)


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def named(comparison, name):
    (compared,) = [compared for compared in comparison.ranking if compared.run.name == name]
    return compared


# --- which runs are compared ---


def test_the_best_by_validation_comes_first_whatever_the_test_says(make):
    runs = [make("a", validation=0.8, right=175), make("b", right=150), make("c", validation=None)]
    assert [compared.run.name for compared in compare(runs).ranking] == ["b", "a", "c"]


def test_the_best_frozen_run_by_validation_is_the_reference_and_the_best_fine_tuned_one_gets_the_sentence(make):
    comparison = compare(
        [
            make("head-1", validation=0.91, right=170),
            make("ridge-1", "ridge", validation=0.93, right=150),
            make("finetune-1", "finetune", validation=0.97, right=165),
            make("finetune-2", "finetune", validation=0.95, right=179),
        ]
    )
    assert (comparison.reference.name, comparison.finetuned.name) == ("ridge-1", "finetune-1")
    assert comparison.sentence.startswith("Of these two nets the fine-tuned one has 8.3 points more (")


ANYTHING = st.lists(
    st.tuples(
        st.sampled_from(["head", "sweep", "knn", "finetune"]),
        st.sampled_from([0.8, 0.9, None]),
        st.lists(st.booleans(), min_size=12, max_size=12),
        st.lists(st.booleans(), min_size=12, max_size=12),
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=50)
@given(ANYTHING)
def test_whatever_the_test_images_say_the_same_runs_are_compared_in_the_same_order(tmp_path_factory, drawn):
    """Each run twice, the same in all but its test predictions and test figures."""
    chosen = []
    for version in (2, 3):
        make = Runs(tmp_path_factory.mktemp("runs"))
        runs = [make(f"{n}", row[0], validation=row[1], rights=row[version]) for n, row in enumerate(drawn)]
        comparison = compare(runs)
        first = [run and run.name for run in (comparison.reference, comparison.finetuned)]
        chosen.append((first, [compared.run.name for compared in comparison.ranking]))
    assert chosen[0] == chosen[1]


# --- differences ---


def test_a_difference_is_that_of_the_images_one_has_right_and_the_other_wrong(make):
    comparison = compare([make("head-1", right=160), make("finetune-1", "finetune", right=169)])
    found = named(comparison, "finetune-1").difference
    assert (found.images, found.gained, found.lost) == (180, 9, 0)
    assert found.points == pytest.approx(5)
    assert found.points_ci95 == tuple(100 * end for end in interval(9, 0, 180))
    assert named(comparison, "head-1").difference is None


def test_frozen_runs_are_compared_with_the_reference_too(make):
    comparison = compare([make("head-1"), make("knn-1", "knn", validation=0.8, right=151)])
    assert named(comparison, "knn-1").difference.points == pytest.approx(-5)


@pytest.mark.parametrize(
    "other",
    [{"prefix": "bb"}, {"images": 170}, {"labels": ["dog", "cat"] * 90}, {"images": 0}],
    ids=["other names", "fewer", "other labels", "none"],
)
def test_runs_that_were_not_asked_the_same_have_no_difference(make, other):
    comparison = compare([make("head-1"), make("finetune-1", "finetune", right=0, **other)])
    assert named(comparison, "finetune-1").difference is None
    assert "gains" in comparison.sentence  # "nothing says what fine-tuning gains"
    assert comparison.sentence.count("points") == 0


def test_runs_from_before_there_was_a_digest_are_compared_by_the_names_of_their_images(make):
    comparison = compare([make("head-1", test_digest=None), make("finetune-1", "finetune")])
    assert named(comparison, "finetune-1").difference.images == ALL


def test_predictions_that_cannot_be_read_are_named(make):
    runs = [make("head-1"), make("finetune-1", "finetune")]
    (runs[1].folder / "predictions.csv").write_text("path,label\na.png,cat\n")
    with pytest.raises(RunError, match=r"finetune-1/predictions\.csv cannot be read"):
        compare(runs)


# --- when the cache has paid for itself ---


def timed(extract, frozen, finetuned):
    """A frozen and a fine-tuned run that took so many seconds."""
    head = make_run("head-1", extract_seconds=extract, train_seconds=frozen)
    return head, make_run("finetune-1", kind="finetune", train_seconds=finetuned)


@pytest.mark.parametrize(
    ("extract", "frozen", "finetuned", "experiments"),
    [(40, 2, 100, 1), (98, 2, 100, 2), (97.9, 2, 100, 1), (1000, 5, 15, 101), (0, 1, 2, 1), (40, 9, 9, None)],
)
def test_the_cache_pays_with_the_first_experiment_that_makes_it_cheaper(extract, frozen, finetuned, experiments):
    assert pays_after(*timed(extract, frozen, finetuned)) == experiments


SECONDS = st.floats(0, 1e9)


@given(SECONDS, SECONDS, SECONDS)
def test_for_any_times_it_is_the_smallest_number_and_none_means_never(extract, frozen, finetuned):
    count = pays_after(*timed(extract, frozen, finetuned))
    once, each, other = map(Fraction, (extract, frozen, finetuned))
    if count is None:
        assert other <= each
        return
    assert once + count * each < count * other
    assert count == 1 or once + (count - 1) * each >= (count - 1) * other


@pytest.mark.parametrize("unknown", [{"extract_seconds": None}, {"train_seconds": None}])
def test_without_a_time_nothing_is_said_about_what_pays(make, unknown):
    comparison = compare([make("head-1", **unknown), make("finetune-1", "finetune")])
    assert named(comparison, "finetune-1").pays_after is None


def test_only_fine_tuning_has_a_number_of_experiments(make):
    slow = make("sweep-1", "sweep", train_seconds=60.0)
    comparison = compare([make("head-1"), slow, make("finetune-1", "finetune", validation=0.99)])
    assert [compared.pays_after for compared in comparison.ranking] == [1, None, None]


# --- the sentence ---


def sentence_on(make, right, reference=None, **changes):
    """The sentence on a fine-tuned run against a head that has 160 of 180 right and took 3.2 s."""
    return compare(
        [make("head-1", **(reference or {})), make("finetune-1", "finetune", right=right, **changes)]
    ).sentence


@pytest.mark.parametrize(
    ("right", "sentence"),
    [
        (170, "Of these two nets the fine-tuned one has 5.6 points more (1.9 to 9.1) on 180 test images"),
        (140, "Of these two nets the fine-tuned one has 11.1 points less (6.2 to 15.8) on 180 test images"),
        (
            162,
            "Between these two nets 180 test images show no difference: the fine-tuned one is between 1.0 points worse "
            "and 3.2 points better",
        ),
    ],
)
def test_the_answer_is_a_sentence_with_its_uncertainty_and_its_price(make, right, sentence):
    assert sentence_on(make, right) == (f"{sentence} for 180 times the training time; another seed may differ.")


@given(right=st.integers(0, ALL))
@settings(deadline=None, max_examples=30)
def test_a_gain_is_claimed_only_where_the_interval_leaves_no_difference_out(tmp_path_factory, right):
    make = Runs(tmp_path_factory.mktemp("runs"))
    comparison = compare([make("head-1"), make("finetune-1", "finetune", right=right)])
    low, high = named(comparison, "finetune-1").difference.points_ci95
    assert ("points more" in comparison.sentence) == (low > 0)
    assert ("points less" in comparison.sentence) == (high < 0)
    assert ("180 test images show no difference" in comparison.sentence) == (low <= 0 <= high)


@pytest.mark.parametrize(
    ("more", "claim"),
    [(5, "Between these two nets 2,000 test images show no difference"), (6, "has 0.3 points more (0.02 to 0.6)")],
)
def test_a_claim_begins_where_the_interval_leaves_zero(make, more, claim):
    runs = [make("head-1", images=2000, right=1900), make("finetune-1", "finetune", images=2000, right=1900 + more)]
    assert claim in compare(runs).sentence


@pytest.mark.parametrize(
    ("seconds", "price"),
    [
        (3.2, " for the same training time;"),
        (2.72, " for 0.85 times the training time;"),
        (30.0, " for 9.4 times the training time;"),
        (3950.0, " for 1,200 times the training time;"),
        (320_000_000.0, " for 100,000,000 times the training time;"),
        (0.0, "180 test images;"),
        (None, "180 test images;"),
    ],
)
def test_the_price_is_told_in_two_digits_where_it_is_known(make, seconds, price):
    assert f"{price} another seed may differ." in sentence_on(make, 170, train_seconds=seconds)


def test_a_training_too_short_to_measure_is_no_price_to_compare_with(make):
    assert "on 180 test images; another seed" in sentence_on(make, 170, {"train_seconds": 0.0})


def test_one_image_more_or_less_is_no_difference_and_spelt_right(make):
    runs = [make("head-1", images=1, right=0), make("finetune-1", "finetune", images=1, right=1)]
    assert compare(runs).sentence.startswith("Between these two nets 1 test image shows no difference: ")


def test_settings_in_which_the_two_runs_of_the_verdict_differ_are_said(make):
    """Other pixels, weights or epochs may be what makes the difference."""
    recipe = {"weights": "IMAGENET1K_V1", "image_px": 64, "resize": "squash"}
    head = make("head-1", recipe=recipe, views=8, best_setting={"hidden": "256", "epochs": 10})
    geometry = {"image_px": 224, "resize": "crop"}
    tuned = make("finetune-1", "finetune", right=170, weights="IMAGENET1K_V2", geometry=geometry)
    files.write_json(tuned.folder / "config.json", {"epochs": 1, "augment": "crop-flip"})
    assert compare([head, tuned]).sentence.split(". ")[1] == (
        "The fine-tuned run also differs in its settings: IMAGENET1K_V2 weights against IMAGENET1K_V1 weights; 224 px "
        "against 64 px; cropped images against squashed images; 1 epoch against 10 epochs; new random views "
        "(crop-flip) in each epoch against 8 stored views."
    )
    files.write_json(tuned.folder / "config.json", {"epochs": 10, "augment": "none"})
    same = changed(tuned, weights="IMAGENET1K_V1", geometry={"image_px": 64, "resize": "squash"})
    assert "differs in its settings" not in compare([changed(head, views=0), same]).sentence


def test_runs_that_learned_from_different_numbers_of_images_are_not_compared_in_silence(make):
    assert "training time, trained on 100 images against 1,437; another" in sentence_on(make, 170, train_images=100)


def test_without_a_fine_tuned_run_the_sentence_says_how_to_get_one(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my photos").mkdir()
    alone = compare([make("head-1")])
    assert (alone.sentence, alone.advice) == ("No fine-tuned run to compare with yet.", [])
    made = {"weights": "random", "image_px": 224, "resize": "squash"}
    compared = compare([make("head-2", data_source="my photos", recipe=made)])
    assert compared.sentence == "No fine-tuned run to compare with yet."
    (advice,) = compared.advice
    assert advice.startswith("Train one with: ")
    assert advice.endswith("/finetune.py '--data=my photos' --weights random --resize squash")


def test_the_command_that_fine_tunes_begins_with_the_same_file_of_weights_if_it_is_there(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    place, made = str(tmp_path / "mine.pth"), {"weights": "mine.pth", "image_px": 224, "resize": "crop"}
    run = make("head-1", data_source="photos", recipe=made, weights_files=[place])
    assert compare([run]).more_runs.endswith("/finetune.py --data=photos")
    Path(place).touch()
    assert compare([run]).more_runs.endswith(f"/finetune.py --data=photos --weights {place}")


def test_without_a_frozen_run_the_sentence_says_how_to_get_one(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    comparison = compare([make("finetune-1", "finetune", data_source="photos")])
    assert comparison.sentence == "No run on frozen features to compare with yet."
    assert comparison.more_runs.startswith("Train one with: ")
    assert comparison.more_runs.endswith("/train_head.py --data=photos")
    assert comparison.reference is None


def test_the_features_to_compare_with_are_by_the_weights_and_pixels_of_the_fine_tuned_run(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("headstart.settings.command.make_is_at_hand", lambda: True)
    (tmp_path / "photos").mkdir()
    run = make("finetune-1", "finetune", data_source="photos")
    files.write_json(run.folder / "config.json", {"weights": "random", "image_px": 64, "resize": "crop"})
    assert compare([run]).more_runs.endswith(
        "make train-head DATA=photos EXTRACT_ARGS='--image-px 64 --weights random'"
    )


def test_without_test_images_the_sentence_says_so(make):
    sentence = sentence_on(make, 0, {"images": 0, "right": 0}, images=0)
    assert sentence == "No test images of finetune-1 and head-1, so that nothing says what fine-tuning gains."


def test_tested_on_different_images_the_sentence_gives_no_verdict(make):
    sentence = sentence_on(make, 170, prefix="other")
    assert sentence.startswith("finetune-1 and head-1 were not tested on the same images with the same labels")


# --- fine-tuning is compared with frozen features of the same backbone ---


def on(backbone, **recipe):
    return {"recipe": {"backbone": backbone, "weights": "w", **recipe}}


def test_fine_tuning_is_compared_with_the_best_frozen_run_of_its_own_backbone(make):
    """Another backbone is better frozen: that is no gain or loss by fine-tuning, and is said apart."""
    frozen = make("head-1", right=150, validation=0.8, **on("resnet50"))
    other = make("head-2", right=175, validation=0.97, **on("resnet18"))
    comparison = compare([frozen, other, make("finetune-1", "finetune", right=165)])
    assert comparison.reference is other
    assert comparison.sentence == (
        "Of these two nets the fine-tuned one has 8.3 points more (4.0 to 12.5) on 180 test images for 180 times the "
        "training time; another seed may differ. The best run on frozen features by validation, head-2, has another "
        "backbone: resnet18; the fine-tuned resnet50 differs from it by -5.6 points (-9.1 to -1.9)."
    )


def test_without_frozen_features_of_the_fine_tuned_backbone_there_is_no_verdict(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    tuned = make("finetune-1", "finetune", right=175, backbone="resnet18", data_source="photos")
    compared = compare([make("head-1", **on("resnet50")), tuned])
    no_run = "No run on frozen features of resnet18 to compare with yet. The best run on frozen features"
    assert compared.sentence.startswith(no_run)
    assert compared.more_runs.endswith("/train_head.py --data=photos --backbone=resnet18")
    assert "the fine-tuned resnet18 differs from it by +8.3 points" in compared.sentence


def test_a_fine_tuned_run_of_another_backbone_has_no_counterpart_in_features_side_by_side(make):
    joined = make("head-1", recipes=[{"backbone": "resnet50"}, {"backbone": "resnet18"}])
    said = compare([joined, make("finetune-1", "finetune")]).sentence
    assert said.startswith("No run on frozen features to compare with yet. The best run on frozen features")
    assert "has another backbone: resnet50+resnet18" in said


def test_the_command_that_fine_tunes_names_the_backbone_of_the_best_frozen_run(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    joined = make("head-2", data_source="photos", recipes=[{"backbone": name, "image_px": 96} for name in ("a", "b")])
    assert compare([joined]).more_runs.endswith("/finetune.py --data=photos --backbone=a --image-px 96")
    frozen = make("head-1", data_source="photos", **on("timm:vit_tiny_patch16_224", weights="augreg_in21k_ft_in1k"))
    said = compare([frozen]).more_runs
    assert said.endswith("/finetune.py --data=photos --backbone=timm:vit_tiny_patch16_224")


# --- tables ---


def rows_under(headings, table):
    """The cells of each line, which must stand where their headings do."""
    header, *lines = [line for line in table.splitlines() if "  " in line]
    assert cells(header) == list(headings)
    starts, start = [], 0
    for heading in headings:
        start = header.index(heading, start)
        starts.append(start)
    rows = [cells(line) for line in lines]
    for line, row in zip(lines, rows, strict=True):
        assert all(line.startswith(cell, start) for cell, start in zip(row, starts, strict=True))
    return rows


def test_every_figure_of_a_run_stands_under_its_heading(make):
    figures = {"images_per_second": 21.34, "peak_memory_bytes": 1_530_000_000, "method": "strong"}
    comparison = compare([make("head-1"), make("finetune-1", "finetune", right=170, validation=0.8, **figures)])
    assert rows_under(tables.ACCURACY, tables.accuracies(comparison)) == [
        ["head-1", "head", "0.900", "0.889 (0.839 to 0.929)", "180", "0.894", "reference", "-"],
        [
            *("finetune-1", "finetune strong", "0.800", "0.944 (0.894 to 0.984)", "180", "0.894"),
            *("+5.6 (+1.9 to +9.1)", "0.001"),
        ],
    ]
    assert rows_under(tables.COST, tables.costs(comparison)) == [
        ["head-1", "cpu", "1,437", "527k", "-", "-", "12 s", "3.2 s", "-"],
        ["finetune-1", "cpu", "1,437", "23.5M", "21.3", "1.53 GB", "-", "9 min 36 s", "1 training"],
    ]


def test_probes_are_said_to_learn_from_validation_images_too(make):
    costs = tables.costs(compare([make("head-1"), make("knn-1", "knn", train_images=1617)]))
    assert "1,617 with val" in costs
    assert "probes learn from the validation images, too" in costs
    assert "with val" not in tables.costs(compare([make("head-2")])).lower()


def test_the_table_says_what_the_differences_are_to(make):
    assert "Difference: " not in tables.accuracies(compare([make("head-0")]))
    text = tables.accuracies(compare([make("head-1", validation=0.8), make("head-2")]))
    assert "to head-2, the best frozen run by validation" in text.replace("\n", " ")


def test_fine_tuning_from_before_there_were_methods_is_that_of_the_seed(make):
    comparison = compare([make("finetune-1", "finetune")])
    assert comparison.ranking[0].run.method == "seed"
    assert "finetune seed" in tables.accuracies(comparison)


def test_what_a_run_lacks_is_a_dash(make):
    run = make("finetune-1", images=0, validation=None)
    least = {key: run.metrics[key] for key in ("kind", "dataset", "test", "val")}
    comparison = compare([Run.from_metrics(run.folder, least)])
    accuracies, costs = tables.accuracies(comparison), tables.costs(comparison)
    assert rows_under(tables.ACCURACY, accuracies) == [["finetune-1", "head", "-", "-", "0", "-", "reference", "-"]]
    assert rows_under(tables.COST, costs) == [["finetune-1", *"--------"]]


def test_the_tables_fit_a_terminal_of_120_columns(make):
    figures = {"images_per_second": 1.234e5, "peak_memory_bytes": 123_456_789_000, "train_seconds": 59.4 * 3600}
    figures |= {"train_images": 1_281_167, "extract_seconds": 59.4 * 60, "method": "strong", "device": "cuda"}
    runs = [make(f"finetune-6ca48db{n}", "finetune", right=10, images=2000, **figures) for n in range(2)]
    comparison = compare([make("logistic-6ca48dba", "logistic", images=2000, right=1990, extract_seconds=1e6), *runs])
    text = f"{tables.accuracies(comparison)}\n{tables.costs(comparison)}"
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        ({}, None),
        ({"test_digest": None}, None),
        ({"prefix": "bb"}, "2 different sets of 180"),
        ({"images": 170}, "170 and 180 images"),
        ({"labels": ["dog", "cat"] * 90}, "or not with the same labels"),
    ],
)
def test_runs_tested_on_different_images_are_not_compared_in_silence(make, other, warning):
    text = tables.accuracies(compare([make("a"), make("b", **other)]))
    assert ("Warning: these runs were not tested on the same images" in text) == (warning is not None)
    assert warning is None or warning in text


def test_every_run_has_a_title_beside_its_folder_and_random_weights_are_called_out(make):
    setting = {"hidden": "256", "lr": 1e-3}
    head, ridge = make("head-1", best_setting=setting), make("ridge-1", "ridge", weights="random")
    text = tables.names(compare([head, ridge]))
    assert ["head-1", "head 256, lr 1e-3"] in [cells(line) for line in text.splitlines()]
    assert text.startswith("RANDOM WEIGHTS in 1 of 2 runs: ")
    assert tables.names(compare([ridge])).startswith("RANDOM WEIGHTS in all runs: ")
    assert "RANDOM" not in tables.names(compare([head]))


# --- as JSON ---


def test_all_of_it_survives_as_json(make, tmp_path):
    comparison = compare([make("head-1"), make("finetune-1", "finetune", right=170)])
    files.write_json(tmp_path / "compare.json", comparison.to_json())
    read = json.loads((tmp_path / "compare.json").read_text())
    expected = {"dataset", "select", "standings", "methods", "reference", "finetuned", "sentence", "advice", "surest"}
    assert read.keys() == expected
    assert (read["sentence"], read["advice"]) == (comparison.sentence, comparison.advice)
    assert read["standings"][0].keys() == {
        *("name", "kind", "method", "device", "train_images", "val_accuracy", "test_images", "test_groups"),
        *("test_digest", "test_accuracy", "test_accuracy_ci95", "balanced_accuracy", "macro_f1", "difference"),
        *("trainable_parameters", "images_per_second", "peak_memory_bytes", "extract_seconds", "train_seconds"),
        *("pays_after", "title"),
    }
    assert (read["reference"], read["finetuned"]) == ("head-1", "finetune-1")
    whole = read["surest"][-1]
    assert (whole["share"], whole["images"], whole["accuracy"]) == (1.0, 180, read["standings"][0]["test_accuracy"])
    (finetuned,) = [row for row in read["standings"] if row["name"] == "finetune-1"]
    assert finetuned["difference"]["points_ci95"] == list(named(comparison, "finetune-1").difference.points_ci95)


# --- data that have changed since, nets that have learned from the data ---


def saved(run, second, manifest_digest="now"):
    """Gives a made run the files that say when it was saved, and on which data."""
    files.write_json(run.folder / "config.json", {"manifest_digest": manifest_digest})
    files.write_json(run.folder / "metrics.json", dict(run.metrics))
    os.utime(run.folder / "metrics.json", (second, second))
    return run


def test_runs_on_earlier_data_are_shown_but_never_chosen(make):
    stale = saved(make("head-1", validation=0.99, prefix="old"), 1, "before")
    tuned_before = saved(make("finetune-1", "finetune", validation=0.99, prefix="old"), 2, "before")
    head = saved(make("ridge-1", "ridge", validation=0.8, right=150), 3)
    tuned = saved(make("finetune-2", "finetune", validation=0.7, right=155), 4)
    comparison = compare([stale, tuned_before, head, tuned])
    assert (comparison.reference, comparison.finetuned) == (head, tuned)
    assert "these two nets" in comparison.sentence
    assert best_run([stale, tuned_before, head, tuned]) == head
    text = f"{tables.names(comparison)}\n{tables.accuracies(comparison)}"
    assert "On earlier data: head-1, finetune-1." in text
    assert text.count(", on earlier data") == 2
    assert "Warning: these runs were not tested on the same images" not in text


def test_the_data_of_the_run_that_was_saved_last_are_the_data_of_now(make):
    first = saved(make("head-1", validation=0.9), 1, "a")
    second = saved(make("head-2", validation=0.8), 2, "b")
    assert best_run([first, second]) == second
    os.utime(first.folder / "metrics.json", (3, 3))
    assert best_run([first, second]) == first


@pytest.mark.parametrize("found_by", ["its bytes", "its place"])
def test_a_head_on_features_of_a_net_that_learned_from_the_data_is_not_frozen(make, found_by):
    tuned = saved(make("finetune-1", "finetune", validation=0.93, right=170), 1)
    tuned.weights_file.write_bytes(b"its weights")
    digest = weights_digest(str(tuned.weights_file), 0)
    where = [str(tuned.weights_file)] if found_by == "its place" else [""]
    recipe = {"backbone": "resnet50", "weights_digest": "blake2b other" if found_by == "its place" else digest}
    on_tuned = make("head-2", validation=0.94, right=169, recipe=recipe, weights_files=where)
    saved(on_tuned, 2)
    saved(make("head-1", validation=0.85, right=150), 3)
    comparison = compare(list_runs(make.root))
    assert comparison.reference.name == "head-1"
    assert "11.1 points more" in comparison.sentence
    assert "head on a fine-tuned net" in tables.accuracies(comparison)
    assert comparison.backbones is None


def test_where_images_come_in_groups_the_sentence_and_the_tables_speak_of_them(make):
    """Ten images more, all of one person, are a clear gain of single images, and none by group."""
    names, runs = [f"p{number // 10}" for number in range(ALL)], []
    for name, kind, right in (("head-1", "head", 100), ("finetune-1", "finetune", 110)):
        runs.append(make(name, kind, right=right))
        path = runs[-1].folder / "predictions.csv"
        header, *lines = path.read_text().splitlines()
        parts = [line.split(",") for line in lines]
        rows = [",".join([*row[:3], group, *row[3:]]) for row, group in zip(parts, names, strict=True)]
        path.write_text("\n".join([header.replace("predicted", "predicted,group"), *rows]))
    comparison = compare(runs)
    assert "180 test images of 18 groups show no difference" in comparison.sentence
    assert "intervals and p of 18 groups of images" in tables.accuracies(comparison)
    (difference,) = [each.difference for each in comparison.methods if each.difference]
    assert (difference.groups, difference.p > 0.05) == (18, True)
