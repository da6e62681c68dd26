"""What is in a tar archive in WebDataset's layout: where its images begin, and their labels; kept once found.

n images in one archive.
"""

import json
import os
import tarfile
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from headstart.datasets.folders import is_image, suffix_of
from headstart.datasets.manifest import UNLABELLED
from headstart.errors import DataError
from headstart.support.files import whole_file

INDEXES = Path("data/indexes")
"""What was found in archives; to be found anew at any time."""
FORMAT = 2
"""Of an index; raised with every change of what is in one, or of what is taken for an image or a label."""
LABEL_KEYS = ("label", "cls", "class")
"""Where a .json may hold the label."""
END_BYTES = 2**20
"""How far behind an archive's end only zeros may follow: tar fills up its last record, of 10 KB nearly always."""

Index = dict[str, NDArray[Any]]
"""Columns: names (n,), labels (n,), offsets (n,), sizes (n,); classes by name; kinds and counts of what is left out."""
Span = tuple[int, int]
"""Where a member's bytes begin in the archive, and how many there are."""


def index_of(archive: str, status: os.stat_result) -> Index:
    """What is in an archive: as it was found before, if the archive has not changed since.

    Raises:
        DataError: it cannot be read or is damaged, a label is no text, or two images share one.
    """
    key = f"{FORMAT} {os.path.abspath(archive)} {identity(status)}"
    kept = INDEXES / f"{blake2b(os.fsencode(key), digest_size=16).hexdigest()}.npz"
    try:
        with np.load(kept) as columns:
            return dict(columns)
    except (OSError, EOFError, ValueError, BadZipFile):  # not there, or damaged
        index = _read(archive)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **index)
    except OSError:
        pass  # then the next run looks again
    return index


def identity(status: os.stat_result) -> tuple[int, ...]:
    """What changes when an archive does: one that is packed anew may have size and time of the old, but not all."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def left_out(index: Index) -> Counter[str]:
    """How many files of which kind are no images; labels and hidden files are not counted."""
    return Counter(dict(zip(index["kinds"].tolist(), index["counts"].tolist(), strict=True)))


def _read(archive: str) -> Index:
    try:
        with open(archive, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            found, links = _members(tar)
            _refuse_cut(archive, file, tar.offset)
            return _columns(archive, file, found, links)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            f"{archive} cannot be read as a tar archive ({error}). Copy it again; a compressed one must be unpacked."
        ) from None
    except OSError as error:
        raise DataError(f"{archive} cannot be read: {error.strerror}.") from None


def _members(tar: tarfile.TarFile) -> tuple[dict[str, Span], int]:
    """Files by name, of those that are called the same the last, as in tar; and how many links lead to none of them."""
    found: dict[str, Span] = {}
    links = 0
    for member in iter(tar.next, None):
        tar.members.clear()  # type: ignore[attr-defined]  # it would hold an object for each
        target = _plain(member.linkname)
        if member.isreg() and not member.issparse():
            found[_plain(member.name)] = member.offset_data, member.size
        elif member.islnk() and target in found:
            found[_plain(member.name)] = found[target]
        else:
            links += member.islnk() or member.issym()
    return found, links


def _plain(name: str) -> str:
    """A member's name as tar unpacks it: below the folder where one stands."""
    return os.path.normpath(f"/{name}").lstrip("/")


def _refuse_cut(archive: str, file: IO[bytes], end: int) -> None:
    """Python's tarfile takes a damaged header, or the file's end, for the archive's."""
    file.seek(end)
    rest = file.read(END_BYTES)
    if len(rest) < tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise DataError(
            f"{archive} ends in the middle, or is damaged at byte {end:,}: what stands there is neither a file "
            "nor the end of the archive. Copy it again, or pack it anew."
        )


def _columns(archive: str, file: IO[bytes], found: dict[str, Span], links: int) -> Index:
    labels = _labels(found)
    keys = _keys(found, labels)
    _refuse_shared(archive, keys, labels)
    named = [_label(archive, file, key, labels.get(key, {})) for key in keys.values()]
    classes = sorted(set(named) - {""})
    index = {name: label for label, name in enumerate(classes)} | {"": UNLABELLED}
    spans = np.array([found[name] for name in keys], np.int64).reshape(-1, 2)
    kinds = _kinds(found, keys) + Counter(link=links)
    return {
        "names": np.array([os.fsencode(name) for name in keys], np.bytes_),
        "labels": np.array([index[name] for name in named], np.int64),
        "classes": np.array(classes, np.str_),
        "offsets": spans[:, 0],
        "sizes": spans[:, 1],
        "kinds": np.array(list(kinds), np.str_),
        "counts": np.array(list(kinds.values()), np.int64),
    }


def _labels(found: dict[str, Span]) -> dict[str, dict[str, Span]]:
    """Where the .cls and the .json are that belong to a name without suffix."""
    labels: dict[str, dict[str, Span]] = {}
    for name, span in found.items():
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in (".cls", ".json"):
            labels.setdefault(stem, {})[suffix.lower()] = span
    return labels


def _keys(found: dict[str, Span], labels: dict[str, dict[str, Span]]) -> dict[str, str]:
    """The images, each with what it shares with its label: `img_0.5` if there is `img_0.5.cls`, else all before a dot.

    The latter is WebDataset's rule, by which `b.seg.png` is a part of the sample `b` and no image beside `b.jpg`.
    """
    stems = {name: os.path.splitext(name)[0] for name in found if is_image(name) and not _is_hidden(name)}
    whole = set(stems.values())
    keys = {}
    for name, stem in stems.items():
        sample = _sample(name)
        if stem == sample or stem in labels:
            keys[name] = stem
        elif sample not in whole:
            keys[name] = sample
    return keys


def _sample(name: str) -> str:
    """All before the first dot of a file's name."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.partition(".")[0])


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or "/." in name


def _refuse_shared(archive: str, keys: dict[str, str], labels: dict[str, dict[str, Span]]) -> None:
    first: dict[str, str] = {}
    for name, key in keys.items():
        other = first.setdefault(key, name)
        if other != name and key in labels:
            raise DataError(
                f"{archive}: {other} and {name} have one label, that of {key}. Keep one image of a sample, "
                "or give each its own name and label."
            )


def _kinds(found: dict[str, Span], keys: dict[str, str]) -> Counter[str]:
    others = (name for name in found if name not in keys and not _is_hidden(name))
    kinds = (name.removeprefix(_sample(name)) if is_image(name) else suffix_of(name) for name in others)
    return Counter(kind for kind in kinds if kind.lower() not in (".cls", ".json"))


def _label(archive: str, file: IO[bytes], key: str, spans: dict[str, Span]) -> str:
    """The class that a .cls names, or else a .json; empty where neither does."""
    for suffix in sorted(spans):
        offset, size = spans[suffix]
        file.seek(offset)
        try:
            text = file.read(size).decode()
            label = text.strip() if suffix == ".cls" else _label_in_json(text)
            label.encode()  # JSON may hold half a character
        except (ValueError, RecursionError) as error:
            raise DataError(f"{archive}: {key}{suffix} cannot be read: {error}.") from None
        if label:
            return label
    return ""


def _label_in_json(text: str) -> str:
    content = json.loads(text)
    found = [content[key] for key in LABEL_KEYS if content.get(key) is not None] if isinstance(content, dict) else []
    return str(found[0]).strip() if found else ""
