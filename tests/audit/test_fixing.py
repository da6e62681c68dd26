"""The cleaned list names every image so that it is found from where the list lies."""

import numpy as np
from helpers.caches import manifest

from headstart.audit.fixing import write
from headstart.datasets.labelled import load


def test_a_list_in_a_folder_that_is_a_link_finds_its_images(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    labels = np.arange(12) % 2
    images = manifest(12, labels=labels, splits=np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2], np.uint8), root=root)
    for row in range(12):
        (root / images.relative_path(row)).write_bytes(b"picture")
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "lists").symlink_to(tmp_path / "far" / "away")
    write(tmp_path / "lists" / "clean.csv", images, {images.relative_path(0): ("drop", "")})
    cleaned = load(str(tmp_path / "lists" / "clean.csv"))
    assert len(cleaned) == 11
