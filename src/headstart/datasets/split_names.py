"""Which split a name means: the name of a folder, an archive or a list, or a value in a list's column."""

import re
from collections.abc import Iterable
from pathlib import Path

from headstart.errors import DataError

WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout"), "test"),
}
"""eval and evaluation mean test: such images must not choose anything, whatever else they are."""

NAMES = {"publictest": "val", "privatetest": "test"}
"""Whole names, as competitions call the images that may choose and those that judge at the end."""

MEANINGS = {
    "trainval": "trainval means train",
    "publictest": "PublicTest means val",
    "privatetest": "PrivateTest means test",
}
"""Said to the user, since a name could mean something else, too."""

FILLERS = frozenset(
    [
        *("set", "sets", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos"),
        *("split", "samples"),
    ]
)
"""Words that say nothing about a split: `train_images`, `Test Set`."""

JOINED = re.compile(f"({'|'.join(sorted(WORDS, key=len, reverse=True))})({'|'.join(FILLERS)})")
"""`trainset` and the like."""

TRAIN_AND_VAL = re.compile(r"(?<![a-zA-Z])train[ ._+-]?(val|valid|validation)(?![a-z])", re.IGNORECASE)
"""`train_val`, `TrainVal`: all images that are not for the test."""


def split_called(name: str) -> str | None:
    """The split that a name means and nothing else: `Training`, `test_set`, `train2017`, `valid`."""
    found = split_in(name)
    return found[0] if found and not found[1] else None


def split_in(name: str) -> tuple[str, str] | None:
    """The only split that is a word of a name, and the other words: `seg_train` → train, seg. None without one."""
    if split := NAMES.get(_whole(name)):
        return split, ""
    splits, words = splits_in(name), [word for word in _words(name) if word not in WORDS and word not in FILLERS]
    return (splits[0], " ".join(words)) if len(splits) == 1 else None


def splits_in(name: str) -> list[str]:
    """All splits that are words of a name, sorted."""
    return sorted({WORDS[word] for word in _words(name) if word in WORDS})


def meanings(names: Iterable[str]) -> str:
    """` (trainval means train)`, to end a sentence about names of splits; empty where their split is plain."""
    words = {word for name in set(names) for word in (_whole(name), *_words(name))}
    said = [meaning for word, meaning in MEANINGS.items() if word in words]
    return f" ({', '.join(said)})" if said else ""


def is_word_for_data(name: str) -> bool:
    """Whether a name says only that it is data: `Dataset`, `all_data`, `images`."""
    words = {word for word in _words(name) if word not in WORDS}
    return bool(words & {"data", "dataset"}) or (bool(words) and words <= FILLERS)


def _whole(name: str) -> str:
    """A name in small letters without signs and words that say nothing."""
    return "".join(word for word in _words(name) if word not in FILLERS)


def _words(name: str) -> list[str]:
    """Its words in small letters: parts between capitals, digits and signs."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+", TRAIN_AND_VAL.sub("trainval", name))
    words = [part.lower() for part in parts]
    joined = [JOINED.fullmatch(word) for word in words]
    return [part for word, match in zip(words, joined, strict=True) for part in (match.groups() if match else [word])]


def refuse_wrong_splits(top: Path, splits: dict[str, str]) -> None:
    """Raises DataError for folders of splits without train, or with two of one split."""
    wrong = ""
    if "train" not in splits.values():
        wrong = f"the split {' and '.join(splits)}, but no train. Add train/<class>/*.jpg"
    elif len(set(splits.values())) < len(splits):
        wrong = f"two folders for one split: {', '.join(splits)}. Keep one of each"
    if wrong:
        raise DataError(f"{top} holds {wrong}; or, if each folder is a class, add --layout classes.")
