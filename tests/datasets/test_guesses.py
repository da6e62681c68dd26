"""A folder that is not the data set itself is answered with what lies inside of it, never taken for classes."""

import re
import shlex

import pytest
from helpers.listing import listed

from headstart.datasets.labelled import load
from headstart.errors import DataError, DataWarning
from headstart.settings import Listing

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


def asked(root, how: Listing | None = None) -> str:
    with pytest.raises(DataError) as error:
        load(str(root), how=how)
    return str(error.value)


def data_sets(message: str) -> list[str]:
    """What a message offers as DATA=."""
    return [shlex.split(word)[0].rstrip(".;") for word in re.findall(r"DATA=('[^']*'|\S+)", message)]


def test_a_folder_that_is_no_data_set_is_answered_with_the_one_inside_it(files):
    root = files("code/main.py", "data/photos/cat/1.jpg", "data/photos/dog/2.jpg")
    with pytest.raises(DataError, match=rf"code holds no images.* Did you mean {root}/data/photos\?"):
        load(str(root))


@pytest.mark.parametrize("beside", ["Examples", "sample_images"])
@pytest.mark.parametrize("inside", ["Dataset/{}", "all_data/{}", "photos/train/{}", "photos/test/{}"])
def test_a_whole_data_set_beside_another_folder_is_asked_for(files, beside, inside):
    inner = ["photos/train/{}", "photos/test/{}"] if "photos" in inside else [inside]
    names = [f"{folder.format(name)}/1.jpg" for folder in inner for name in ("cat", "dog")]
    root = files(*names, f"{beside}/2.jpg")
    said = asked(root)
    assert "looks like a data set, not like a class beside" in said
    assert load(data_sets(said)[0]).classes == ("cat", "dog")
    with pytest.warns(DataWarning, match="folders of images count as 1 class"):
        assert len(load(str(root), how=Listing(layout="classes")).classes) == 2


def test_folders_called_like_splits_that_hold_none_are_answered_with_the_data_set_beside_them(files):
    """A repository with figures of training: no flag of folders would help."""
    root = files("photos/cat/1.jpg", "photos/dog/2.jpg", "train_acc/a.txt", "test_acc/a.txt", "train_loss/a.txt")
    said = asked(root)
    assert "--layout" not in said
    assert load(*data_sets(said)).classes == ("cat", "dog")


def test_folders_that_are_no_data_set_are_answered_with_the_lists_that_name_images(files):
    root = files("code/main.py", "images/1.jpg", "images/2.jpg")
    (root / "tables").mkdir()
    (root / "tables/list.csv").write_text("image,label\n1.jpg,cat\n2.jpg,dog\n")
    (root / "tables/notes.csv").write_text("day,hours\nMonday,3\n")
    (offered,) = data_sets(asked(root))
    assert listed(load(offered, how=Listing(root=root / "images")))["2.jpg"][0] == "dog"


def test_lists_for_each_split_are_offered_as_one_pattern_that_works(files):
    root = files("a/images/1.jpg", "a/images/2.jpg", "a/images/3.jpg", "a/images/4.jpg") / "a"
    for split, lines in (("train", "images/1.jpg,0\nimages/2.jpg,1\n"), ("test", "images/3.jpg,0\nimages/4.jpg,1\n")):
        (root / f"{split}.txt").write_text(lines)
    (offered,) = data_sets(asked(root))
    assert listed(load(offered))["images/4.jpg"] == ("1", "test")


def test_lists_beside_class_folders_are_said(files):
    root = files("cat/1.jpg", "dog/2.jpg")
    (root / "more.csv").write_text("path,label\ncat/1.jpg,cat\n")
    assert any(f"DATA={root}/more.csv" in note for note in load(str(root)).notes)
