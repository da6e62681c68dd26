"""The card says what a model was made of, how good it is and how to serve it; the lines in it are run elsewhere."""

import ast
import re
from dataclasses import asdict

import numpy as np
import pytest
from helpers.cards import card_of, code, facts, metrics
from helpers.pictures import picture
from helpers.runs import make_run
from PIL import Image
from torchvision.transforms import v2

from headstart.cache.recipe import from_config
from headstart.errors import DataError, RunError
from headstart.images.geometry import Geometry
from headstart.prediction.model_card import CHECKED, checks_of
from headstart.settings import ExtractConfig

TUNED = {"method": "strong", "train_from": "all", "epochs": 10}


def test_it_says_what_the_model_takes_and_gives_how_good_it_is_and_what_it_was_made_of():
    text = card_of(facts(), metrics())
    for words in (
        "# photos: head-1234",
        "(B, 3, 224, 224) uint8",
        "classes: cat, dog.",
        "On 200 test images that had no part in training or choosing it",
        "| accuracy | 0.945 | 0.910 to 0.970 |",
        "1 / 1.250",
        "IMAGENET1K_V1",
        "sha256 0676",
        "hidden 256, lr 0.001",
        "0.01, the class the same for 63 of 64",
        'no answer "none of them"',
    ):
        assert words in " ".join(text.split("\n")), words


@pytest.mark.parametrize("form", ["pt2", "onnx"])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_the_lines_that_serve_it_are_python_ten_of_them_at_most_and_do_not_import_this_package(form, resize):
    lines = code(card_of(facts(format=form, resize=resize), metrics()))
    ast.parse(lines)
    assert len([line for line in lines.splitlines() if line]) <= 10
    assert "headstart" not in lines


@pytest.mark.parametrize("form", ["pt2", "onnx"])
@pytest.mark.parametrize(
    ("resize", "interpolation"), [("crop", "bicubic"), ("squash", "lanczos"), ("crop", "bilinear")]
)
def test_another_net_is_named_and_its_lines_make_its_own_pixels(form, resize, interpolation):
    net = {"backbone": "convnext_tiny", "interpolation": interpolation, "image_px": 48, "shorter_px": 51}
    text = card_of(facts(format=form, resize=resize, **net), metrics())
    assert "the net convnext_tiny (IMAGENET1K_V1), frozen" in text
    assert f"{interpolation} and antialiased" in text
    image = picture(3, (90, 70))
    names = {"image": image, "v2": v2, "Image": Image}
    lines = [line for line in code(text).splitlines() if re.match(r"see =|image = image\.|left, top", line)]
    exec("\n".join(lines), names)
    made = names["see"](image).permute(1, 2, 0).numpy() if form == "pt2" else np.asarray(names["image"])
    assert made.tobytes() == Geometry(48, resize, 51, False, interpolation).square(image).tobytes()


def test_what_is_not_known_is_not_said():
    text = card_of(facts(temperature=None, to_stored_predictions=None), metrics(test={"images": 0}))
    assert "nobody has measured it" in text
    assert "| accuracy |" not in text
    assert "Probabilities are as trained" not in text
    assert "None" not in text.replace(code(text), "")


def test_where_the_log_loss_has_no_interval_the_card_says_why():
    test = metrics()["test"]
    text = card_of(facts(), metrics(test=test | {"log_loss_ci95": None}))
    assert "| log loss | 0.945 | none |" in text
    assert "The log loss has no interval: too few of these images are wrong" in text
    assert "has no interval" not in card_of(facts(), metrics())


def test_a_fine_tuned_net_and_an_untrained_one_are_called_what_they_are():
    tuned = {key: value for key, value in metrics(kind="finetune").items() if key != "recipe"}
    text = card_of(facts(), tuned, TUNED)
    assert "a ResNet50 (IMAGENET1K_V1), fine-tuned end to end." in text
    assert "method strong, train_from all, epochs 10" in text
    assert "fine-tuned, from layer4 on." in card_of(facts(), tuned, TUNED | {"train_from": "layer4"})
    assert "never trained" in card_of(facts(), metrics(weights="random"))
    assert "never trained" not in card_of(facts(), metrics())


def test_figures_that_a_run_of_another_version_lacks_are_a_sentence():
    with pytest.raises(
        RunError, match=r"The run lacks what belongs on a card .*train_images.*: another version made it"
    ):
        card_of(facts(), {key: value for key, value in metrics().items() if key != "train_images"})
    with pytest.raises(RunError, match="another version made it"):
        card_of(facts(), metrics(test={"images": 3, "accuracy": None}))


def test_of_a_thousand_classes_the_first_are_named():
    text = card_of(facts(classes=tuple(f"c{number}" for number in range(1000))), metrics())
    assert "c48, c49, and 950 more (all of them in `model.json`)." in text
    assert "c50" not in text


RUN = make_run("head-1", recipe=asdict(from_config(ExtractConfig(weights="random", image_px=32))))


def test_a_check_takes_images_from_all_over_the_list_and_leaves_out_what_cannot_be_read(make_photos):
    root = make_photos({"cat": 100})
    paths = sorted(root.rglob("*.png"))
    paths[0].write_bytes(b"")
    (pixels,), stored = checks_of(RUN, str(root))
    assert pixels.shape == (CHECKED - 1, 3, 32, 32)
    assert pixels.dtype == np.uint8
    assert stored is None
    assert len(checks_of(RUN, str(paths[3]))[0][0]) == 1


@pytest.mark.parametrize("source", ["gone.png", "nothing/"])
def test_images_that_are_named_and_not_there_are_not_replaced_by_others(tmp_path, source):
    with pytest.raises(DataError, match=f"Not one of the images of .*{source} can be read: name images to check"):
        checks_of(RUN, f"{tmp_path}/{source}")
