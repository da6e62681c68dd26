"""Groups of images that are not independent, such as all of a person: from their paths, and across splits.

N images.
"""

import os
import re
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.manifest import TRAIN, UNDRAWN, Manifest
from headstart.errors import DataError, SettingsError
from headstart.support.quantities import counted, some


def group_by(manifest: Manifest, pattern: str) -> Manifest:
    """The data set with the groups that a regular expression finds in the paths, in place of those of a column.

    The group is what its first parentheses match, or without parentheses the whole match. An image with no match, or
    an empty one, is a group of its own.
    """
    paths = [manifest.relative_path(row) for row in range(len(manifest))]
    first = f"The first path is {paths[0]}."
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        why = f"is no regular expression ({error}). {first}"
        raise SettingsError(f"--group-by {pattern} {why}", in_python=f"group_by={pattern!r} {why}") from None
    matches = map(expression.search, paths)
    found = [(match[1 if expression.groups else 0] or "") if match else "" for match in matches]
    alone = found.count("")
    if alone == len(paths):
        raise DataError(f"--group-by {pattern} matches none of {counted(len(paths), 'path')}. {first}")
    groups = np.array([os.fsencode(group or path) for group, path in zip(found, paths, strict=True)], np.bytes_)
    if len(paths) > 1 and len(np.unique(groups)) == 1:
        which = "The group is what its first parentheses match. " if expression.groups > 1 else ""
        raise DataError(f"--group-by {pattern} gives all {len(paths):,} images one group, {found[0]!r}. {which}{first}")
    first_found = next(row for row, group in enumerate(found) if group)
    notes = [f"groups by {pattern} in the paths, such as {found[first_found]!r} of {paths[first_found]}"]
    if alone:
        notes.append(f"{counted(alone, 'image')} that it does not match: each a group of its own")
    if manifest.groups is not None:
        notes.append("the list's column of groups is not used: --group-by says the groups")
    return replace(manifest, groups=groups, notes=(*manifest.notes, *notes))


def in_words(manifest: Manifest) -> list[str]:
    """How many groups there are, and whether splits divide them, as lines; none without groups."""
    if manifest.groups is None:
        return []
    sizes = np.unique(manifest.groups, return_counts=True)[1]
    images = f"{sizes.min():,} to {sizes.max():,} images" if np.ptp(sizes) else counted(int(sizes[0]), "image")
    groups = f"groups: {len(sizes):,}, of {images} each"
    names = divided(manifest)
    if not names:
        return [f"{groups}; none is in two splits" if _is_drawn(manifest) else groups]
    which = f"{names[0]} is" if len(names) == 1 else f"{len(names):,} are"
    examples = "" if len(names) == 1 else f" ({some(names)})"
    return [f"{groups}; {which} in more than one split{examples}"]


def _is_drawn(manifest: Manifest) -> bool:
    """Whether no splits are open, but those of images that cannot be read."""
    return TRAIN in manifest.splits or UNDRAWN not in manifest.splits


def divided(manifest: Manifest) -> list[str]:
    """The names of the groups with images in more than one split."""
    if manifest.groups is None:
        return []
    names, numbers = np.unique(manifest.groups, return_inverse=True)
    in_split = (manifest.splits != UNDRAWN) | (not _is_drawn(manifest))  # the others are unreadable, and in none
    pairs: NDArray[np.int64] = np.unique((numbers.ravel() * 256 + manifest.splits)[in_split])  # a split is a byte
    counts = np.bincount(pairs // 256, minlength=len(names))
    return [os.fsdecode(bytes(name)) for name in names[counts > 1]]


def identity(manifest: Manifest) -> dict[str, str]:
    """What identifies the groups for a run, whose intervals know them; nothing without groups."""
    if manifest.groups is None:
        return {}
    return {"groups_digest": blake2b(b"\0".join(manifest.groups.tolist()), digest_size=16).hexdigest()}
