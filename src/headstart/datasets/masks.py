"""Masks beside images: files and folders that outline what the images show, and belong to no class."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from headstart.datasets.manifest import Manifest
from headstart.datasets.walking import is_image, walk
from headstart.errors import DataError

ALWAYS = frozenset(("mask", "masks"))
"""Names of folders that hold masks wherever they lie below a class."""
BESIDE_IMAGES = ALWAYS | frozenset(
    [
        *("annotation", "annotations", "label", "labels", "trimap", "trimaps", "segmentation", "segmentations"),
        *("segmentationclass", "segmentationobject", "ground_truth", "groundtruth", "gt"),
    ]
)
"""Names of folders that hold masks where a folder of images lies beside them."""
IMAGES = frozenset(("image", "images", "img", "imgs", "jpegimages", "photos", "pictures"))
"""Names of folders that say of what is in them only that they are images."""
ENDING = re.compile(r"[ _-]masks?([ _-]?\d+)?$", re.IGNORECASE)
PAIRED = 0.5
"""Share of images beside one of the same name and another suffix from which on one of the two may be masks."""
ALIKE = 0.9
"""Share of files in a folder called masks that must have the name of an image."""


def mask_folders(folders: Iterable[str]) -> list[str]:
    """Of the folders in one folder, those of masks: `masks` beside `images`, or `labels` if there is nothing else."""
    names = {name: name.lower() for name in folders}
    others = set(names.values()) - IMAGES - BESIDE_IMAGES  # then `labels` may be a class beside `photos` and `maps`
    masks = ALWAYS if others else BESIDE_IMAGES
    return [name for name, small in names.items() if small in masks and not IMAGES.isdisjoint(names.values())]


def masks_beside_classes(top: Path, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of folders that would be classes, those that hold masks of the others' images, and those that only may.

    The first are told by the names of their files: those of the images, and for `labels` and the like only where they
    are PNG files and the images are not. Beside `no_mask`, `mask` is a class like any other.
    """
    others = [name for name in names if name.lower() not in BESIDE_IMAGES]
    suspects = [name for name in names if name not in others]
    if any("mask" in name.lower() for name in others):
        return [], []
    if len(others) < 2:  # one of the folders must be the second class
        return [], [name for name in suspects if name.lower() in ALWAYS]
    images = _stems_and_suffixes(top, others) if suspects else (set(), set())
    masks, unsure = [], []
    for name in suspects:
        stems, suffixes = _stems_and_suffixes(top, [name])
        same = bool(stems) and len(stems & images[0]) >= ALIKE * len(stems)
        if same and (name.lower() in ALWAYS or (suffixes == {".png"} and ".png" not in images[1])):
            masks.append(name)
        elif name.lower() in ALWAYS:
            unsure.append(name)
    return masks, unsure


def _stems_and_suffixes(top: Path, folders: Iterable[str]) -> tuple[set[str], set[str]]:
    """Names of the images in some folders, without `_mask` at their ends, and the suffixes of these images."""
    files = [os.path.basename(path) for name in folders for path in walk(str(top / name)) if is_image(path)]
    parts = [os.path.splitext(file) for file in files]
    return {ENDING.sub("", stem) for stem, _ in parts}, {suffix.lower() for _, suffix in parts}


def masks_among(files: Sequence[str]) -> set[str]:
    """Of the files below a class, those in folders of masks, and `a_mask.png` beside `a.png`."""
    folders = {folder for path in files if (folder := os.path.dirname(path))}
    above = {folder: [folder, *map(str, Path(folder).parents)] for folder in folders}
    all_folders = {one.lower() for group in above.values() for one in group}
    masks = {folder for folder, group in above.items() if any(_holds_masks(one.lower(), all_folders) for one in group)}
    found = {path for path in files if os.path.dirname(path) in masks} if masks else set()
    named = [path for path in files if "mask" in path.lower()]  # few: the rest takes time for each file
    stems = {os.path.splitext(path)[0] for path in files} if named else set()
    originals = {path: ENDING.sub("", os.path.splitext(path)[0]) for path in named}
    return found | {path for path, stem in originals.items() if not path.startswith(f"{stem}.") and stem in stems}


def _holds_masks(folder: str, folders: set[str]) -> bool:
    """Whether one of the folders is one of masks; all in small letters."""
    above, name = os.path.split(folder)
    beside = name in BESIDE_IMAGES and any(os.path.join(above, images) in folders for images in IMAGES)
    return name in ALWAYS or beside


def ask_for_suffixes(data: str, manifest: Manifest) -> None:
    """Refuses to guess whether one of `a.jpg` and `a.png` is a mask, where most images come in such pairs."""
    names = [os.path.splitext(path) for path in manifest.paths.tolist()]
    count = Counter(stem for stem, _ in names)
    if len(names) - len(count) < PAIRED * len(count):
        return
    kinds = Counter(os.fsdecode(suffix) for stem, suffix in names if count[stem] > 1)
    if len({kind.lower() for kind in kinds}) > 1:
        found = " and ".join(f"{number:,} x {kind}" for kind, number in kinds.most_common(3))
        first = kinds.most_common(1)[0][0].lstrip(".")
        raise DataError(
            f"{data}: most images lie beside another of the same name and another kind ({found}). If one kind are "
            f"masks or copies, say which are the images, such as --suffixes '{first}'; if all are images, name all "
            "kinds."
        )
