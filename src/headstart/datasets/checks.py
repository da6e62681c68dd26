"""What must hold of the splits of a data set, and what is said where it does not."""

from difflib import get_close_matches

import numpy as np

from headstart.datasets import class_names, grouping
from headstart.datasets.manifest import SPLITS, TEST, TRAIN, UNDRAWN, VAL, Manifest, count_by_class
from headstart.errors import DataError, warn
from headstart.support.quantities import counted, some


def refuse_untrained_classes(manifest: Manifest) -> None:
    """Raises DataError for a class whose images are all in val and test, by what the data says."""
    counts, classes = count_by_class(manifest), manifest.classes
    undrawn = np.unique(manifest.labels[manifest.splits == UNDRAWN])
    untrained = np.setdiff1d(np.flatnonzero(counts[TRAIN] == 0), undrawn).tolist()
    if not untrained:
        return
    name, present = classes[untrained[0]], [SPLITS[split] for split in (VAL, TEST) if counts[split, untrained[0]]]
    others = [other for label, other in enumerate(classes) if label not in untrained]
    near = () if class_names.are_numbers(classes) else get_close_matches(name, others, 1)  # it may be misspelt
    meant = f" Did you mean {near[0]!r}?" if near else ""
    if alike := next((group for group in class_names.look_alike(classes) if name in group), ()):
        meant = f" If {' and '.join(map(repr, alike))} are one class, add --ignore-case."
    raise DataError(
        f"Class {name!r} has images in {' and '.join(present)} of {manifest.root}, but none in train. Add some to "
        f"train, or take the class out.{meant}"
    )


def refuse_few_groups(manifest: Manifest, empty: set[int]) -> None:
    """Raises DataError if splits stay empty because whole groups are drawn."""
    if manifest.groups is not None and empty:
        count = len(np.unique(manifest.groups[manifest.splits == UNDRAWN]))
        raise DataError(
            f"{count} groups are too few to draw splits from: none was drawn for "
            f"{' and '.join(SPLITS[split] for split in sorted(empty))}. Name the splits in a column, or take other "
            "groups."
        )


def warn_of_divided_groups(manifest: Manifest) -> None:
    """Warns if the splits that the data names divide a group."""
    if divided := grouping.divided(manifest):
        warn(
            f"{counted(len(divided), 'group')} {'has' if len(divided) == 1 else 'have'} images in more than one split ("
            f"{some(divided)}): test images then resemble training images, and the accuracy is too high for new groups."
        )


def warn_of_missing_classes(manifest: Manifest) -> None:
    """Warns of classes without an image in val or test, once no image is undrawn."""
    counts = count_by_class(manifest)
    for split in (VAL, TEST):
        absent = [manifest.classes[label] for label in np.flatnonzero(counts[split] == 0)]
        if absent:
            warn(f"No image in {SPLITS[split]} for: {some(absent)}.")
