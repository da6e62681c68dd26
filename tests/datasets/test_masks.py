"""Masks beside images are left out and said, or asked for; they never become a class silently."""

import pytest
from helpers.listing import labels

from headstart.datasets.labelled import load
from headstart.errors import DataError, DataWarning
from headstart.settings import Listing

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


@pytest.mark.parametrize("masks", ["masks", "Annotations", "labels", "trimaps"])
@pytest.mark.parametrize("layout", ["{kind}/{name}/", "train/{kind}/{name}/", "{name}/{kind}/"])
def test_a_folder_of_masks_beside_one_of_images_is_no_class_at_any_depth(files, masks, layout):
    root = files(
        *(
            layout.format(kind=kind, name=name) + f"1.{suffix}"
            for kind, suffix in (("images", "jpg"), (masks, "png"))
            for name in ("cat", "dog")
        )
    )
    manifest = load(str(root))
    assert manifest.classes == ("cat", "dog")
    assert len(manifest) == 2
    assert any("masks" in note and "left out" in note for note in manifest.notes)


def test_images_and_masks_without_classes_are_refused_with_what_was_found(files):
    root = files("images/1.jpg", "masks/1.png")
    with pytest.raises(
        DataError, match=rf"images, but no folder for each class \(left out, .*{root}/masks\)\. .*write a list of them"
    ):
        load(str(root))


def test_classes_that_have_such_names_are_classes_without_images_beside_them_or_by_a_flag(files):
    assert load(str(files("a/mask/1.jpg", "a/no_mask/2.jpg") / "a")).classes == ("mask", "no_mask")
    assert load(str(files("b/labels/1.jpg", "b/stamps/2.jpg") / "b")).classes == ("labels", "stamps")
    names = ("labels", "maps", "photos")
    assert load(str(files(*(f"d/{name}/1.jpg" for name in names)) / "d")).classes == names
    root = files("c/images/1.jpg", "c/masks/2.jpg") / "c"
    assert load(str(root), how=Listing(layout="classes")).classes == ("images", "masks")


def test_folders_of_masks_beside_the_images_are_left_out_and_said(files):
    root = files("crack/images/1.jpg", "crack/masks/1.png", "free/images/2.jpg", "free/masks/2.png", "mask/3.jpg")
    with pytest.warns(DataWarning, match="mask is taken for a class"):
        manifest = load(str(root))
    assert set(labels(manifest).values()) == {"crack", "free", "mask"}
    assert "left out (masks by their names): 2 x .png" in manifest.notes


def test_masks_beside_their_images_are_left_out_and_said(files):
    root = files(
        "benign/a (1).png", "benign/a (1)_mask.png", "benign/a (1)_mask_1.png", "normal/b.jpg", "normal/face_mask.jpg"
    )
    manifest = load(str(root))
    assert set(labels(manifest)) == {"benign/a (1).png", "normal/b.jpg", "normal/face_mask.jpg"}
    assert "left out (masks by their names): 2 x .png" in manifest.notes


def test_files_of_one_name_and_two_kinds_are_asked_for_and_a_flag_answers(files):
    root = files(
        *(f"{name}/Imgs/{n}.{kind}" for name in ("crack", "free") for n in range(3) for kind in ("jpg", "png"))
    )
    with pytest.raises(DataError, match=r"\(6 x \.jpg and 6 x \.png\).*--suffixes 'jpg'"):
        load(str(root))
    manifest = load(str(root), how=Listing(suffixes=("jpg",)))
    assert len(manifest) == 6
    assert "left out (not jpg): 6 x .png" in manifest.notes


@pytest.mark.parametrize(
    "mask", ["masks/1.png", "Mask/cat/1.jpg", "masks/1_mask.png", "annotations/1.png", "labels/dog/2.png"]
)
@pytest.mark.parametrize("above", ["", "train/"])
def test_a_folder_of_masks_beside_class_folders_is_left_out_and_said(files, mask, above):
    root = files(*(f"{above}{name}" for name in ("cat/1.jpg", "dog/2.jpg", mask)))
    manifest = load(str(root))
    assert manifest.classes == ("cat", "dog")
    folder = root / above / mask.split("/")[0]
    assert any(note.startswith(f"left out, as masks of the images beside them: {folder} ") for note in manifest.notes)
    if not above:
        assert len(load(str(root), how=Listing(layout="classes")).classes) == 3


def test_a_folder_of_masks_with_other_names_is_a_class_with_a_warning_unless_a_flag_says_so(files):
    for number, names in enumerate((("cat", "dog", "masks"), ("cat", "masks"))):
        root = files(*(f"{number}/{name}/{place}.jpg" for place, name in enumerate(names))) / str(number)
        with pytest.warns(DataWarning, match=rf"{root}/masks is taken for a class\. If it holds .*--layout classes"):
            assert load(str(root)).classes == names
        assert load(str(root), how=Listing(layout="classes")).classes == names


@pytest.mark.parametrize("classes", [("mask", "no_mask"), ("mask", "mask_weared_incorrect", "without_mask")])
def test_mask_is_a_class_beside_classes_that_say_so(files, classes):
    root = files(*(f"{name}/{number}.png" for name in classes for number in range(3)))
    assert load(str(root)).classes == classes


def test_classes_called_labels_or_annotations_with_numbered_images_are_classes(files):
    root = files(*(f"{name}/{number}.jpg" for name in ("labels", "stamps", "coins") for number in range(3)))
    assert load(str(root)).classes == ("coins", "labels", "stamps")
