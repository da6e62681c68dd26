"""The report: one file that needs nothing else, with every section that there is data for, whatever names are given."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.caches import make_cache
from helpers.features import TEST, TRAIN, VAL
from helpers.pictures import picture
from helpers.runs import changed
from PIL import Image

from headstart.cache.feature_cache import FeatureCache
from headstart.cache.writing import CacheWriter
from headstart.errors import CacheError
from headstart.report import page as report
from headstart.report.comparison import Compared, Comparison, compare
from headstart.report.page import sources
from headstart.runs import figures
from headstart.runs import folder as runs
from headstart.runs.listing import ranked
from headstart.runs.method import Method, methods_of, titles_of
from headstart.runs.predictions import Predictions, read_predictions
from headstart.settings import CompareConfig
from headstart.support.files import write_table

VOID = {"meta", "img", "br", "path"}
SECTIONS = {"runs", "time", "training", "images", "classes", "mistakes", "map", "duplicates", "calibration"}
LABELS = [row % 2 for row in range(60)]
SPLITS = [TRAIN] * 30 + [VAL] * 10 + [TEST] * 20
NASTY = ('<script>alert("1")</script>', "' onerror='x & y")


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.section = [], [], ""
        self.words_by_section = {}
        self.feed(html.replace("<wbr>", "\u200b"))  # a place where a line may end
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag == "section":
            self.section = attributes["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words_by_section.setdefault(self.section, []).append(data)

    def text(self, section):
        words = " ".join(" ".join(self.words_by_section.get(section, [])).replace("\u200b", "").split())
        return re.sub(r" (?=[,)])|(?<=\() ", "", words)  # as a browser joins the parts of a title

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def save_run(root, kind, seed, classes=("cat", "dog"), epochs=3, rows=range(40, 60), labels=None, config=None):
    """A run that was tested on the images of some rows; the same seed gives the same predictions."""
    generator, folder = np.random.default_rng(seed), root / f"{kind}-{seed:08x}"
    labels = np.array([LABELS[row] for row in rows] if labels is None else labels)
    probabilities = generator.dirichlet(np.ones(len(classes)), len(labels)).astype(np.float32)
    test = Predictions.from_probabilities([f"{row:04}.png" for row in rows], labels, probabilities, classes)
    history = [
        {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 1.1 / epoch, "val_accuracy": 0.6, "seconds": 1.0}
        for epoch in range(1, epochs + 1)
    ]
    metrics = {"kind": kind, "dataset": "pets", **figures.figures(test, test), "train_seconds": 3.0}
    metrics |= (
        {"extract_seconds": 9.0} if kind != "finetune" else {"images_per_second": 123.0, "peak_memory_bytes": 5e8}
    )
    return runs.save(folder, files={}, config=config or {}, metrics=metrics, history=history, predictions=test)


@pytest.fixture
def root(tmp_path):
    for row in range(60):
        picture(row).save(tmp_path / f"{row:04}.png")
    return tmp_path / "runs"


@pytest.fixture
def everything(root):
    """Arguments of a report that has all of it."""
    found = [save_run(root, "head", 1), save_run(root, "finetune", 2)]
    (root / "learning-curve-1").mkdir()
    accuracies = ({"val_accuracy": 0.5, "test_accuracy": 0.1 * size} for size in (1, 2, 3))
    points = [
        {"fraction": size / 3, "train_images": 10 * size, "seed": 0, **values}
        for size, values in enumerate(accuracies, 1)
    ]
    write_table(root / "learning-curve-1/learning_curve.csv", points)
    return root, "Heads win.", found, make_cache(root.parent / "c.h5", LABELS, SPLITS), root.parent


def render(root, sentence, found, cache, images, left_out="", **advice):
    """The page of some runs, without their differences."""
    methods = methods_of(found)
    ranking = [Compared(Method((run,)), "", None, None) for run in ranked(found)]
    compared = [Compared(method, title, None, None) for method, title in zip(methods, titles_of(methods), strict=True)]
    comparison = Comparison(ranking, compared, None, None, sentence, None, None, "accuracy", **advice)
    return report.render(root, comparison, cache, images, left_out)


def test_the_page_needs_nothing_but_itself(everything, drawn):
    html = render(*everything)
    page = Page(html)
    assert not page.of("script")
    assert not page.of("link")
    assert all(image["src"].startswith("data:image/") for image in page.of("img"))
    references = [attributes["href"] for tag, attributes in page.tags if "href" in attributes and tag != "image"]
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert {reference.removeprefix("#") for reference in references} <= set(names)
    assert len(names) == len(set(names))
    assert all(image["href"].startswith("data:image/") for image in page.of("image"))
    assert not re.search(r"https?:|url\(|@import|javascript:", html)
    (policy,) = (meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_name_of_a_file_goes_on_in_the_next_line_before_its_suffix_and_never_in_it():
    assert report._breakable("cat & dog/IMG_01.x.jpg") == "cat <wbr>&amp; <wbr>dog/<wbr>IMG_<wbr>01.x<wbr>.jpg"


def test_what_to_do_next_stands_apart_from_the_verdict(everything):
    page = Page(render(*everything, more_runs="More seeds: make finetune DATA=a", few_images="Only 7 test images."))
    assert [part["class"] for part in page.of("p")[1:4]] == ["verdict", *["quiet advice"] * 2]
    assert "Heads win. More seeds: make finetune DATA=a Only 7 test images." in page.text("")


def test_runs_that_are_left_out_are_said_at_the_top(everything):
    said = "3 of 9 runs are left out: 3 from b/photos (head-1, head-2, head-3)."
    assert said in " ".join(Page(render(*everything, said)).words_by_section[""])


def test_every_section_is_there_and_filled_where_its_data_is(everything, drawn):
    page = Page(render(*everything))
    assert {section["id"] for section in page.of("section")} == SECTIONS
    assert len(page.of("h1")) == 1
    for section, words in {
        "": "Heads win.",
        "runs": "head-00000001",
        "time": "fine-tuned",
        "training": "best 0.600 in epoch 3",
        "images": "One seed cannot tell: from 20 to 30 training images,",
        "classes": "precision",
        "mistakes": "disagree on",
        "map": "20 test images",
        "duplicates": "of 20 test images",
        "calibration": "calibration error 0.",
    }.items():
        assert words in page.text(section), section
    assert len(page.of("img")) > 10


@pytest.mark.parametrize(
    ("lack", "section", "reason"),
    [
        ("cache", "map", "No feature cache was found"),
        ("cache", "duplicates", "No feature cache was found"),
        ("history", "training", "None of the runs was trained in epochs"),
        ("curve", "images", "make learning-curve"),
        ("finetuned", "mistakes", "This needs a second run with predictions for test images"),
        ("time", "time", "No run has both a test accuracy and a training time"),
        ("test", "classes", "No run has predictions for test images"),
        ("test", "mistakes", "No run has predictions for test images"),
        ("test", "calibration", "No run has predictions for test images"),
        ("test rows", "map", "fewer than three finished test images"),
        ("test rows", "duplicates", "no finished images in test or in train"),
    ],
)
def test_what_is_missing_is_missed_in_words_and_the_rest_is_there(everything, lack, section, reason):
    root, sentence, found, cache, images = everything
    if lack == "history":
        for run in found:
            (run.folder / "history.csv").unlink()
    if lack == "time":
        found = [changed(run, train_seconds=None) for run in found]
    if lack == "test":
        found = [changed(run, test={"images": 0}) for run in found]
    if lack == "curve":
        (root / "learning-curve-1/learning_curve.csv").unlink()
    if lack == "test rows":
        cache = make_cache(root / "other.h5", [0, 1], [TRAIN, TRAIN])
    shown = found[:1] if lack == "finetuned" else found
    page = Page(render(root, sentence, shown, None if lack == "cache" else cache, images))
    assert reason in page.text(section)
    assert {section["id"] for section in page.of("section")} == SECTIONS


def test_names_of_classes_and_files_never_become_markup(root, tmp_path, drawn):
    nasty = root.parent / "<img src=x onerror=alert(2)>"
    nasty.mkdir()
    found = [save_run(nasty, kind, seed, classes=NASTY) for seed, kind in enumerate(("head", "finetune"))]
    cache = make_cache(tmp_path / "c.h5", LABELS, SPLITS, classes=NASTY)
    page = Page(render(nasty, "1 < 2 & <b>bold</b>", found, cache, root.parent))
    assert not page.of("script")
    assert "1 < 2 & <b>bold</b>" in page.text("")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(image["src"].startswith("data:") for image in page.of("img"))
    assert all(name in page.text("classes") for name in NASTY)
    assert any(NASTY[0] in image["alt"] for image in page.of("img"))


def test_names_that_turn_the_text_around_are_shown_as_digits(root):
    run = save_run(root, "head", 1, classes=("cat", "dog\u202egnp.exe"))
    page = render(root, "best: dog\u202egnp.exe", [run], None, None)
    assert "\u202e" not in page
    assert "dog\\u202egnp.exe" in page


def test_a_file_whose_name_is_no_text_does_not_stop_the_page(root):
    run = save_run(root, "head", 1)
    table = (run.folder / "predictions.csv").read_bytes().replace(b".png", b"\xe9.png")
    (run.folder / "predictions.csv").write_bytes(table)
    render(root, "", [run], None, root.parent).encode("utf-8")


def test_the_mistakes_shown_are_the_most_confident_ones_each_with_its_picture(everything):
    root, sentence, found, _, images = everything
    page = Page(render(root, sentence, found[:1], None, images))
    predictions = read_predictions(found[0].folder)
    confidence = predictions.confidence
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    expected = [predictions.paths[row] for row in sorted(wrong, key=lambda row: -confidence[row])][:16]
    assert [image["alt"].split(",")[0] for image in page.of("img")] == expected
    assert all(path in page.text("mistakes") for path in expected)
    assert f"{100 * confidence[wrong].max():.0f}%" in page.text("mistakes")


def test_who_is_right_where_frozen_and_fine_tuned_net_disagree_is_counted(everything):
    head, finetune = (read_predictions(run.folder) for run in everything[2])
    differ = head.predicted != finetune.predicted
    first, second = (int((each.predicted == each.labels)[differ].sum()) for each in (head, finetune))
    assert first != second
    text = Page(render(*everything)).text("mistakes")
    assert f"Of 20 images, run 1 (head) and run 2 (fine-tuned) disagree on {differ.sum()}." in text
    assert f"The frozen net is right on {first} of them, the fine-tuned one on {second}, neither on 0." in text


def test_without_a_fine_tuned_run_the_two_best_are_compared_and_mistakes_are_shown_once(root):
    """Eight heads make nearly the same mistakes: those of the best are shown, and what the second does otherwise."""
    found = [save_run(root, "head", seed) for seed in range(1, 5)]
    page = Page(render(root, "", found, None, root.parent))
    text = page.text("mistakes")
    assert "Where the two best runs disagree" in text
    assert text.count("The most confident mistakes of") == 1
    assert len(page.of("img")) <= 16 + 12


def test_random_weights_are_written_across_the_page(root):
    head, tuned = save_run(root, "head", 1), save_run(root, "finetune", 2)
    banner = 'class="banner"'
    assert banner not in render(root, "", [head, tuned], None, None)
    untrained = changed(tuned, weights="random")
    html = render(root, "", [head, untrained], None, None)
    assert html.index(banner) < html.index("<h1>")
    assert "The net of run 2 started untrained" in Page(html).text("")
    assert "The nets of all runs started untrained" in Page(render(root, "", [untrained], None, None)).text("")


def test_near_duplicates_are_shown_in_pairs_with_what_speaks_for_copies(root, tmp_path):
    """Row 57 has the bytes of row 1; rows 55 and 59 have the features of rows 3 and 2, row 59 with another class."""
    cache = make_cache(tmp_path / "c.h5", LABELS, SPLITS, pending=(1, 2, 3, 55, 57, 59))
    features = np.random.default_rng(5).normal(size=(3, 2048))
    with CacheWriter(FeatureCache(cache.path)) as writer:
        digests = np.repeat([[1], [2], [3], [4], [1], [5]], 16, axis=1).astype(np.uint8)
        writer.write(np.array([1, 2, 3, 55, 57, 59]), features[[0, 1, 2, 2, 0, 1]], digests)
        writer.commit(1.0)
    page = Page(render(root, "", [save_run(root, "head", 1)], FeatureCache(cache.path), tmp_path))
    text = page.text("duplicates")
    assert "3 of 20 test images have a near-duplicate" in text
    assert "Of the 3 with their nearest training images, 1 is the same file and 2 have the same class" in text
    assert "the same file; both dog 0057.png 0001.png" in text
    assert "cosine 1.0000; dog in test, cat in train 0059.png 0002.png" in text
    assert "The backbone is untrained" in text


def test_images_that_have_moved_leave_a_note_and_the_figures(everything):
    page = Page(render(*everything[:-1], Path("nowhere")))
    assert not page.of("img")
    assert "images could not be read" in page.text("notes")
    assert "no image" in page.text("mistakes")
    assert "Heads win." in page.text("")


def test_predictions_that_are_gone_leave_a_note_and_the_other_runs(everything):
    (everything[2][0].folder / "predictions.csv").write_text("")
    page = Page(render(*everything))
    assert "head-00000001 was tested, but its predictions.csv cannot be read" in page.text("notes")
    assert "finetune-00000002" in page.text("calibration")


def test_runs_tested_on_different_images_are_not_compared_in_silence(everything):
    warning = "not all tested on the same images"
    assert warning not in Page(render(*everything)).text("runs")
    everything[2][0] = changed(everything[2][0], test_digest="another")
    assert warning in Page(render(*everything)).text("runs")


def test_speed_and_memory_are_told_where_a_run_has_them(everything):
    assert "123" in Page(render(*everything)).text("runs")
    assert "500 MB" in Page(render(*everything)).text("runs")
    root, sentence, found, cache, images = everything
    assert "images/s" not in Page(render(root, sentence, found[:1], cache, images)).text("runs")


def test_runs_that_differ_by_their_seed_alone_are_one_line_and_one_point(root):
    found = [save_run(root, "head", seed, config={"seed": seed}) for seed in (1, 2, 3)]
    page = Page(render(root, "", [*found, save_run(root, "finetune", 4)], None, None))
    accuracies = [run.figure("test", "accuracy") for run in found]
    assert f"{np.mean(accuracies):.3f} ± {np.std(accuracies, ddof=1):.3f} of 3" in page.text("runs")
    assert page.text("runs").count("head-0000000") == 1
    assert "the standard deviation, and a dot for each run" in page.text("time")
    assert "head, 3 runs head-0000000" in page.text("training")


def test_how_right_the_surest_images_are_is_said_of_the_best_run(root):
    found = [save_run(root, "head", 1), save_run(root, "finetune", 2)]
    compared = compare(found)
    text = Page(report.render(root, compared, None, root.parent)).text("calibration")
    best, all_of_them = compared.methods[0].run, compared.surest[-1]
    assert f"the surest test images of run 1 ({compared.methods[0].title})" in text
    assert all_of_them.accuracy == best.figure("test", "accuracy")
    for share, each in zip(("50%", "80%", "90%", "95%", "100%"), compared.surest, strict=True):
        low, high = each.accuracy_ci95
        row = f"{share} {each.images} {each.least_probability:.3f} {each.accuracy:.3f} {low:.3f} to {high:.3f}"
        assert row in text


def test_backbones_get_a_section_where_there_are_two(root):
    cost = {"images": 2000, "per_image": 576, "bytes": 2_304_000, "seconds": 8.0, "net_images_per_second": 400.0}
    found = [
        changed(save_run(root, "head", 1), recipe={"backbone": "mobilenet_v3_small"}, features=cost),
        changed(save_run(root, "head", 2), recipe={"backbone": "<b>timm:x"}),
    ]
    compared = compare(found)
    page = Page(report.render(root, compared, None, root.parent))
    assert {section["id"] for section in page.of("section")} == SECTIONS | {"backbones"}
    assert compared.backbones.sentence in page.text("")
    assert "#backbones" in [link["href"] for link in page.of("a")]
    text = page.text("backbones")
    for words in ("mobilenet_v3_small", "<b>timm:x", "head-00000002", "576", "2.3 MB", "4 s", "400", "best"):
        assert words in text, words


@pytest.mark.slow
def test_for_a_thousand_classes_and_hundreds_of_runs_the_page_stays_below_two_megabytes(root, tmp_path, drawn):
    """The images are noise, which JPEG cannot make small."""
    names = tuple(f"class {number:04} {'x' * 20}" for number in range(1000))
    labels, splits = np.arange(2300) % 1000, [TRAIN] * 100 + [TEST] * 2200
    cache = make_cache(tmp_path / "c.h5", labels, splits, classes=names)
    for row in range(60):
        noise = np.random.default_rng(row).integers(0, 255, (150, 150, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{row:04}.png")
    rows = [row % 60 for row in range(400)]
    found = [save_run(root, f"kind{number}", number, names, 300, rows, labels[:400]) for number in range(2)]
    found += [changed(found[number % 2], kind=f"kind{number}") for number in range(300)]
    html = render(root, "", found, cache, tmp_path)
    assert 500_000 < len(html) < 2_000_000
    page = Page(html)
    assert "The first 100 of 302 runs" in page.text("runs")
    assert "8 of 302 runs" in page.text("runs")
    assert 'aria-label="Confusion matrix of run 1: true classes' in html
    assert "The 40 hardest of 400 classes" in page.text("classes")
    assert "2,000 test images" in page.text("map")
    assert "1,000 classes are too many for colours" in page.text("map")


def test_the_same_data_give_the_same_page(everything, drawn):
    assert render(*everything) == render(*everything)


@pytest.mark.parametrize(("value", "text"), [(1.0, "100%"), (0.99996, "99.9%"), (0.996, "99.6%"), (0.5, "50%")])
def test_what_is_not_certain_is_never_told_as_100_percent(value, text):
    assert report._percent(value) == text


def test_the_cache_and_the_images_are_found_by_the_name_of_the_data(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/features").mkdir(parents=True)
    (tmp_path / "pets.csv").write_text("path,label\n")
    assert sources(CompareConfig(data="pets.csv")) == (None, Path())
    make_cache(tmp_path / "data/features/pets.h5", LABELS, SPLITS, root=tmp_path / "gone/pets")
    cache, images = sources(CompareConfig(data="gone/pets"))
    assert cache.path == Path("data/features/pets.h5")
    assert images == cache.manifest.root
    assert sources(CompareConfig(runs=root)) == (None, None)


def test_the_map_shows_the_features_of_whatever_backbone_there_are(root, tmp_path, monkeypatch, capsys):
    """The first of those that are named, else any: there may be none of resnet50. That it is another is said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/features").mkdir(parents=True)
    for name in ("pets@a.h5", "pets@timm-b.h5"):
        make_cache(tmp_path / "data/features" / name, LABELS, SPLITS, root=tmp_path / "gone/pets")
    shown = {None: "pets@a.h5", "resnet50": "pets@a.h5", "timm:b": "pets@timm-b.h5", "c timm:b+a": "pets@timm-b.h5"}
    for asked, name in shown.items():
        assert sources(CompareConfig(data="gone/pets", backbone=asked))[0].path == Path("data/features", name)
        said = (
            f"All runs are compared, whatever their backbone; the report shows the features in data/features/{name}.\n"
        )
        assert capsys.readouterr().out == ("" if asked in (None, "timm:b") else said)
    assert sources(CompareConfig(data="birds", backbone="resnet50"))[0] is None
    assert "the report shows no features, since there are none." in capsys.readouterr().out


def test_a_cache_that_is_named_and_not_there_is_a_mistake():
    with pytest.raises(CacheError, match=r"no feature cache nowhere\.h5"):
        sources(CompareConfig(data="pets", cache=Path("nowhere.h5")))
