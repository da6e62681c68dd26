"""What makes two data sets the same."""

import os
from dataclasses import replace

import pytest

from headstart.datasets.labelled import load

pytestmark = pytest.mark.filterwarnings("ignore:No image in:headstart.errors.DataWarning")


@pytest.mark.parametrize("change", ["label", "split", "name", "class", "one image less"])
def test_the_digest_changes_with(files, change):
    manifest = load(str(files("cat/1.jpg", "cat/2.jpg", "dog/3.jpg")))
    paths, labels_, splits = manifest.paths.copy(), manifest.labels.copy(), manifest.splits.copy()
    paths[0], labels_[0], splits[0] = b"cat/0.jpg", 1, 0
    changed = {
        "label": replace(manifest, labels=labels_),
        "split": replace(manifest, splits=splits),
        "name": replace(manifest, paths=paths),
        "class": replace(manifest, classes=("cat", "wolf")),
        "one image less": replace(
            manifest, paths=manifest.paths[:2], labels=manifest.labels[:2], splits=manifest.splits[:2]
        ),
    }[change]
    assert changed.digest() != manifest.digest()


def test_the_digest_does_not_change_with_time_or_place(files, tmp_path_factory):
    manifest = load(str(files("cat/1.jpg", "dog/3.jpg")))
    elsewhere = tmp_path_factory.mktemp("copy") / "other"
    manifest.root.rename(elsewhere)
    os.utime(elsewhere / "cat/1.jpg", ns=(1, 1))
    assert load(str(elsewhere)).digest() == manifest.digest()


def test_a_file_that_was_written_again_has_another_files_digest(make_photos):
    root = make_photos({"cat": 2, "dog": 2})
    before = load(root)
    os.utime(root / "cat" / "000.png", ns=(0, 10**18))
    after = load(root)
    assert before.digest() == after.digest()
    assert before.files_digest() != after.files_digest()
