"""The picture of a data set before anything is computed."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from helpers import caches
from helpers.pictures import picture
from PIL import Image, ImageFont

from headstart.datasets.labelled import load
from headstart.report import contact_sheet


@pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")
def test_the_sheet_shows_images_of_each_class_and_names_what_cannot_be_read(make_photos, tmp_path):
    photos = make_photos({"cat": 12, "a long name of a class that needs more than one line": 3})
    (photos / "cat" / "broken.png").write_bytes(b"no picture")
    manifest = load(str(photos))
    unreadable = contact_sheet.draw(manifest, tmp_path / "checks" / "sheet.png")
    assert set(unreadable) <= {"cat/broken.png: not an image"}
    with Image.open(tmp_path / "checks" / "sheet.png") as sheet:
        sheet.load()
        assert sheet.height == 2 * (contact_sheet.CELL_PX + contact_sheet.GAP_PX) + contact_sheet.GAP_PX
        colours = len(set(sheet.get_flattened_data() if hasattr(sheet, "get_flattened_data") else sheet.getdata()))
    assert colours > 50


@pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")
def test_of_many_classes_the_largest_the_smallest_and_some_between_are_shown(files):
    root = files(*(f"{n:02}/{i}.jpg" for n in range(40) for i in range(n + 1)))
    chosen = contact_sheet._chosen_classes(load(str(root), how=None))
    assert len(chosen) == contact_sheet.CLASSES
    assert {0, 39} <= set(chosen)


def sheet_of(root: Path, name: str, out: Path) -> np.ndarray:
    """The sheet of a data set with a class of this name."""
    for folder in (name, "rose"):
        (root / folder).mkdir(parents=True)
        picture(1, (96, 128)).save(root / folder / "1.png")
    contact_sheet.draw(load(str(root)), out)
    with Image.open(out) as sheet:
        return np.asarray(sheet)


@pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")
def test_a_name_is_drawn_alike_however_its_letters_are_written(tmp_path):
    """macOS writes ä as an a with two dots behind it; no letter of Greek or Cyrillic is a box, either."""
    names = {form: unicodedata.normalize(form, "Gänse blümchen") for form in ("NFC", "NFD")}
    one, other = (sheet_of(tmp_path / form, name, tmp_path / f"{form}.png") for form, name in names.items())
    assert np.array_equal(one, other)
    font = ImageFont.truetype(contact_sheet.FONT, 40)
    masks = {sign: bytes(font.getmask(sign)) for sign in "äüлλ\U0010fffe"}
    assert len(set(masks.values())) == len(masks)


@pytest.mark.parametrize("name", ["a\x1b[2J", "b\r\n", "c\u202e", b"caf\xe9".decode(errors="surrogateescape"), "d\x00"])
def test_a_name_that_no_font_can_draw_is_shown_as_text(tmp_path, name):
    listed = caches.manifest(2, classes=(name, "z"))
    contact_sheet.draw(listed, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (np.asarray(sheet.crop((0, 0, 190, 60))) < 128).any()


@pytest.mark.filterwarnings("ignore::headstart.errors.DataWarning")
def test_a_picture_that_fits_is_shown_pixel_by_pixel(tmp_path):
    sheet = sheet_of(tmp_path / "photos", "cat", tmp_path / "sheet.png")
    left = contact_sheet.NAME_PX + (contact_sheet.CELL_PX - 96) // 2
    shown = sheet[contact_sheet.GAP_PX :][:128, left : left + 96]
    assert np.array_equal(shown, np.asarray(picture(1, (96, 128)).convert("RGB")))
