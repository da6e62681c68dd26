"""Groups by the paths: the person that names begin with is in one split, whatever folders and classes it is in."""

import os
from dataclasses import replace

import numpy as np
import pytest
from helpers.pictures import archive
from hypothesis import given
from hypothesis import strategies as st

from headstart.datasets import grouping
from headstart.datasets.description import changes, describe
from headstart.datasets.draw import drawn
from headstart.datasets.labelled import load
from headstart.datasets.manifest import TEST, TRAIN, UNDRAWN, VAL
from headstart.errors import DataError, SettingsError
from headstart.settings import ExtractConfig, Listing

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")

BEFORE_THE_LAST = r"([^/]+)_[^_/]*\."
"""The example of the help and of pipelines/README.md."""
NAMES = [f"{('happy', 'sad')[shot % 2]}/p_{person}_{shot:02}.jpg" for person in range(60) for shot in range(4)]


def grouped(data, pattern=BEFORE_THE_LAST, **how):
    """From each path to its group."""
    manifest = load(str(data), how=Listing(group_by=pattern, **how))
    return {os.fsdecode(path): os.fsdecode(group) for path, group in zip(manifest.paths, manifest.groups, strict=True)}


def splits_of_groups(manifest):
    found = {}
    for group, split in zip(manifest.groups.tolist(), manifest.splits.tolist(), strict=True):
        found.setdefault(group, set()).add(split)
    return found


def test_a_person_in_two_classes_is_one_group_and_in_one_split(files):
    listed = load(str(files(*NAMES)), how=Listing(group_by=BEFORE_THE_LAST))
    digests = np.random.default_rng(0).integers(0, 256, (len(listed), 16), np.uint8)
    manifest = drawn(listed, digests, np.full(len(listed), UNDRAWN, np.uint8))
    found = splits_of_groups(manifest)
    assert found.keys() == {f"p_{person}".encode() for person in range(60)}
    assert all(len(splits) == 1 for splits in found.values())
    assert {split for splits in found.values() for split in splits} == {0, 1, 2}
    assert "groups: 60, of 4 images each" in describe(listed).splitlines()  # nothing is known of splits yet
    assert "groups: 60, of 4 images each; none is in two splits" in describe(manifest).splitlines()
    unread = replace(manifest, splits=np.where(np.arange(240) % 4, manifest.splits, UNDRAWN).astype(np.uint8))
    assert "groups: 60, of 4 images each; none is in two splits" in describe(unread).splitlines()
    assert manifest.listing == {"group_by": BEFORE_THE_LAST}


def test_the_group_is_what_the_first_parentheses_match_else_the_whole_match(files):
    by_hand = {"train/cat/ann_1.jpg": "ann", "train/dog/bob.jpg": "bob", "test/cat/zoe_1.jpg": "zoe"}
    by_hand |= {"test/dog/zoe_2.jpg": "zoe", "val/cat/eve_1.jpg": "eve", "val/dog/eve_2.jpg": "eve"}
    root = files(*by_hand)
    for pattern in ("ann|bob|zoe|eve", "/([a-z]+)(_|[.])", r"(?:cat|dog)/([a-z]+)", "/(?P<who>[a-z]+)[_.]"):
        assert grouped(root, pattern) == by_hand


def test_an_image_that_is_not_matched_is_a_group_of_its_own_and_this_is_said(files):
    alone = ("test/dog/y.jpg", "val/cat/x.jpg", "val/dog/_3.jpg")
    root = files("train/cat/ann_1.jpg", "train/dog/ann_2.jpg", *alone)
    by_hand = {"train/cat/ann_1.jpg": "ann", "train/dog/ann_2.jpg": "ann", **{path: path for path in alone}}
    assert grouped(root, "/([a-z]*)_") == by_hand
    notes = load(str(root), how=Listing(group_by="/([a-z]*)_")).notes
    assert "groups by /([a-z]*)_ in the paths, such as 'ann' of train/cat/ann_1.jpg" in notes
    assert "3 images that it does not match: each a group of its own" in notes


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("(", SettingsError, r"--group-by \( is no regular expression .*The first path is cat/1\.jpg\.$"),
        ("[9]{3}", DataError, r"matches none of 4 paths\. The first path is cat/1\.jpg\.$"),
        ("()", DataError, r"matches none of 4 paths\. The first path is cat/1\.jpg\.$"),
        ("(j)(p)", DataError, r"one group, 'j'\. The group is what its first parentheses match\. The first path is"),
        ("jpg", DataError, r"gives all 4 images one group, 'jpg'\. The first path is cat/1\.jpg\.$"),
    ],
)
def test_an_expression_that_says_nothing_is_refused_with_the_first_path(files, pattern, error, message):
    root = files("cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/4.jpg")
    with pytest.raises(error, match=message):
        load(str(root), how=Listing(group_by=pattern))


def test_names_that_are_not_utf8_have_groups(files):
    names = (b"train/cat/caf\xe9_1.jpg", b"train/dog/na\xefve_1.jpg", b"val/cat/x_1.jpg", b"test/dog/y_1.jpg")
    groups = load(str(files(*names)), how=Listing(group_by=BEFORE_THE_LAST)).groups
    assert set(groups.tolist()) == {b"caf\xe9", b"na\xefve", b"x", b"y"}


def test_backslashes_of_a_list_from_windows_are_folders_like_any_other(files):
    root = files(*NAMES)
    lines = [f"{name},{name.split('/')[0]}".replace("/", "\\") for name in NAMES]
    (root / "l.csv").write_text("\n".join(["path,label", *lines]))
    assert grouped(root / "l.csv") == {name: name[:-7].split("/")[1] for name in NAMES}


def test_members_of_archives_have_groups(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # their index is kept below this folder
    names = [f"p_{person}_{shot}" for person in range(60) for shot in range(2)]
    archive(tmp_path / "x.tar", [pair for n in names for pair in ((f"{n}.jpg", n), (f"{n}.cls", n[-1]))])
    assert grouped(tmp_path / "x.tar") == {f"x.tar/{name}.jpg": name[:-2] for name in names}


def test_the_flag_wins_over_a_column_and_says_so(files):
    root = files(*NAMES)
    lines = [f"{name},{name.split('/')[0]},{number}" for number, name in enumerate(NAMES)]
    (root / "l.csv").write_text("\n".join(["path,label,group", *lines]))
    manifest = load(str(root / "l.csv"), how=Listing(group_by=BEFORE_THE_LAST))
    assert len(set(manifest.groups.tolist())) == 60
    assert "the list's column of groups is not used: --group-by says the groups" in manifest.notes
    assert len(set(load(str(root / "l.csv")).groups.tolist())) == len(NAMES)


def test_a_column_that_is_named_now_wins_over_an_expression_of_an_earlier_command():
    kept = {"group_by": "x", "columns": "label=emotion"}
    assert ExtractConfig(data="l.csv").with_listing(kept).listing() == kept
    now = ExtractConfig(data="l.csv", columns="group=person").with_listing(kept)
    assert now.listing() == {"columns": "group=person"}


def test_groups_that_are_new_count_as_a_change(files):
    root = files(*(f"{split}/{name}" for split in ("train", "val", "test") for name in NAMES[:8]))
    before = load(str(root))
    with pytest.warns(match=r"2 groups have images in more than one split \(p_0, p_1\)"):
        after = load(str(root), how=Listing(group_by=BEFORE_THE_LAST))
    assert changes(before, after) == "24 now in another group"
    assert changes(after, before) == "24 no longer in a group"
    assert changes(after, after) == "none of the images"
    assert grouping.identity(before) == {}
    assert grouping.identity(after).keys() == {"groups_digest"}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=30))
def test_divided_groups_are_those_with_images_in_two_splits(pairs):
    from helpers.caches import manifest

    groups, splits = np.array(pairs).T
    made = manifest(len(pairs), groups=np.array([b"%d" % group for group in groups]), splits=splits.astype(np.uint8))
    expected = sorted({str(one) for one in groups if len(set(splits[groups == one])) > 1})
    assert grouping.divided(made) == expected


def test_an_image_that_cannot_be_read_divides_no_group():
    """It belongs to no split, once the others are drawn; before, it may be one of train."""
    from helpers.caches import manifest

    groups = np.array([b"a", b"a", b"b", b"b"])
    made = manifest(4, groups=groups, splits=np.array([TRAIN, UNDRAWN, VAL, TEST], np.uint8))
    assert grouping.divided(made) == ["b"]
    listed = manifest(4, groups=groups, splits=np.array([UNDRAWN, UNDRAWN, UNDRAWN, TEST], np.uint8))
    assert grouping.divided(listed) == ["b"]
