"""The picture of a data set before anything is computed."""

import pytest
from PIL import Image

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
