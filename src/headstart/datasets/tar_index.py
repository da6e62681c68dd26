"""Index of an archive: where its images begin, and their labels; kept for the next time. Of tar, WebDataset's layout.

n images in one archive.
"""

import json
import os
import tarfile
from collections import Counter
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from headstart.datasets import class_names, parquet
from headstart.datasets.manifest import UNLABELLED
from headstart.datasets.tar_members import Span, members
from headstart.datasets.walking import is_image, is_passed_over, passed_over_as, suffix_of
from headstart.errors import DataError
from headstart.support.files import mtime_ns, whole_file
from headstart.support.remote import as_path, in_words

INDEXES = Path("data/indexes")
"""Indexes of archives; they can be deleted at any time."""
FORMAT = 5
"""Version of an index; changes with its content and with the rules for images and labels."""
LABEL_KEYS = ("label", "cls", "class")
"""Where a .json may hold the label."""
LABEL_BYTES = 2**24
"""The most that a .cls or a .json may have."""

Index = dict[str, NDArray[Any]]
"""Columns: names, labels, offsets and sizes, each (n,); names of the classes; kinds and counts of what is left out, and
names and counts of files of the system that are passed over."""


def index_of(archive: str, status: os.stat_result, columns: str | None = None) -> Index:
    """The index of an archive, read again only if the archive has changed: its size or time."""
    key = f"{FORMAT} {os.path.abspath(archive)} {identity(status)}{columns or ''}"
    kept = INDEXES / f"{blake2b(os.fsencode(key), digest_size=16).hexdigest()}.npz"
    try:
        with np.load(kept) as stored:
            return dict(stored)
    except (OSError, EOFError, ValueError, BadZipFile):  # not there, or damaged
        with in_words(archive):
            index = _read(archive, mtime_ns(status), columns)
    with suppress(OSError):  # then the next run reads the archive again
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **index)
    return index


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Numbers that change with an archive: one that is packed again can keep its size and time, but not all of them."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def left_out(index: Index) -> Counter[str]:
    """How many files of which kind are no images; labels and hidden files are not counted."""
    return Counter(dict(zip(index["kinds"].tolist(), index["counts"].tolist(), strict=True)))


def passed_over(index: Index) -> Counter[str]:
    """How many files were passed over under which name, see `passed_over_as`."""
    return Counter(dict(zip(index["passed"].tolist(), index["passed_counts"].tolist(), strict=True)))


def _read(archive: str, mtime_ns: int, columns: str | None) -> Index:
    try:
        if archive.endswith(".parquet"):
            return _columns(*parquet.samples(as_path(archive), mtime_ns, columns), Counter(), Counter())
        with as_path(archive).open("rb") as file:
            spans, kinds = members(archive, file)
            label_files = _label_files(spans)
            samples = _samples(archive, spans, label_files)
            labels = [_label(archive, file, sample, label_files.get(sample, {})) for sample in samples.values()]
            kinds += _left_out(spans, samples)
            return _columns({name: spans[name] for name in samples}, labels, kinds, _passed_over(spans))
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        kind = os.path.splitext(archive)[1].removeprefix(".")
        raise DataError(
            f"{archive} cannot be read as a {kind} archive ({error}). Copy it again; a compressed one must be unpacked."
        ) from None
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror or error}.") from None


def _columns(samples: dict[str, Span], labels: list[str], kinds: Counter[str], passed: Counter[str]) -> Index:
    classes = class_names.ordered(set(labels) - {""})
    index = {name: label for label, name in enumerate(classes)} | {"": UNLABELLED}
    images = np.array(list(samples.values()), np.int64).reshape(-1, 2)
    return {
        "names": np.array([os.fsencode(name) for name in samples], np.bytes_),
        "labels": np.array([index[label] for label in labels], np.int64),
        "classes": np.array(classes, np.str_),
        "offsets": images[:, 0],
        "sizes": images[:, 1],
        "kinds": np.array(list(kinds), np.str_),
        "counts": np.array(list(kinds.values()), np.int64),
        "passed": np.array(list(passed), np.str_),
        "passed_counts": np.array(list(passed.values()), np.int64),
    }


def _label_files(spans: dict[str, Span]) -> dict[str, dict[str, Span]]:
    """For each name without suffix, where its .cls and .json are."""
    label_files: dict[str, dict[str, Span]] = {}
    for name, span in spans.items():
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in (".cls", ".json"):
            label_files.setdefault(stem, {})[suffix.lower()] = span
    return label_files


def _samples(archive: str, spans: dict[str, Span], label_files: dict[str, dict[str, Span]]) -> dict[str, str]:
    """The images, each with its sample, the name that it shares with its label file.

    That is `img_0.5` if there is `img_0.5.cls`, else all before the first dot. The latter is WebDataset's rule, by
    which `b.seg.png` belongs to the sample `b` and is not an image beside `b.jpg`.
    """
    stems = {name: os.path.splitext(name)[0] for name in spans if is_image(name) and not _is_hidden(name)}
    all_stems = set(stems.values())
    samples: dict[str, str] = {}
    first: dict[str, str] = {}
    for name, stem in stems.items():
        before_dot = _before_dot(name)
        if before_dot != stem and stem not in label_files and before_dot in all_stems:
            continue
        sample = samples[name] = stem if stem in label_files else before_dot
        other = first.setdefault(sample, name)
        if other != name and sample in label_files:
            raise DataError(
                f"{archive}: {other} and {name} have one label, that of {sample}. Keep one image of a sample, "
                "or give each its own name and label."
            )
    return samples


def _before_dot(name: str) -> str:
    folder, base = os.path.split(name)
    return os.path.join(folder, base.partition(".")[0])


def _is_hidden(name: str) -> bool:
    return any(map(is_passed_over, name.split("/")))


def _passed_over(spans: dict[str, Span]) -> Counter[str]:
    first = (next(filter(is_passed_over, name.split("/")), "") for name in spans)
    return Counter(name for name in map(passed_over_as, first) if name)


def _left_out(spans: dict[str, Span], samples: dict[str, str]) -> Counter[str]:
    others = (name for name in spans if name not in samples and not _is_hidden(name))
    kinds = (name.removeprefix(_before_dot(name)) if is_image(name) else suffix_of(name) for name in others)
    return Counter(kind for kind in kinds if kind.lower() not in (".cls", ".json"))


def _label(archive: str, file: IO[bytes], sample: str, label_files: dict[str, Span]) -> str:
    """The class in a sample's .cls, or else in its .json; empty if it has none."""
    for suffix, (offset, size) in sorted(label_files.items()):
        file.seek(offset)
        try:
            if size > LABEL_BYTES:
                raise ValueError(f"it has {size:,} bytes")
            text = file.read(size).decode("utf-8-sig")
            label = text if suffix == ".cls" else _label_in_json(json.loads(text))
            label.encode()  # JSON may hold half a character
            if label := class_names.clean(label):
                return label
        except (ValueError, RecursionError) as error:
            raise DataError(f"{archive}: {sample}{suffix} cannot be read: {error}.") from None
    return ""


def _label_in_json(content: Any) -> str:
    """The label in a .json; empty if it has none. A list or an object is an error, even with a single name in it."""
    labels = [content.get(key) for key in LABEL_KEYS] if isinstance(content, dict) else []
    label = next((label for label in labels if label is not None), "")
    if isinstance(label, list | dict):
        what = "a list" if isinstance(label, list) else "an object"
        raise ValueError(f"its label is {what}, {json.dumps(label)[:80]}; write one name or number instead")
    return str(label)
