"""Which split a name means: the name of a folder, an archive or a list, or a value in a list's column."""

import re

WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout"), "test"),
}
"""eval and evaluation mean test: such images must not choose anything, whatever else they are."""

FILLERS = frozenset(
    [
        *("set", "sets", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos"),
        *("split", "samples"),
    ]
)
"""Words that say nothing about a split: `train_images`, `Test Set`."""

JOINED = re.compile(f"({'|'.join(sorted(WORDS, key=len, reverse=True))})({'|'.join(FILLERS)})")
"""`trainset` and the like."""


def split_called(name: str) -> str | None:
    """The split that a name means and nothing else: `Training`, `test_set`, `train2017`, `valid`."""
    found = split_in(name)
    return found[0] if found and not found[1] else None


def split_in(name: str) -> tuple[str, str] | None:
    """The only split that is a word of a name, and the other words: `seg_train` → train, seg. None without one."""
    splits, words = splits_in(name), [word for word in _words(name) if word not in WORDS and word not in FILLERS]
    return (splits[0], " ".join(words)) if len(splits) == 1 else None


def splits_in(name: str) -> list[str]:
    """All splits that are words of a name, sorted."""
    return sorted({WORDS[word] for word in _words(name) if word in WORDS})


def is_word_for_data(name: str) -> bool:
    """Whether a name says only that it is data: `Dataset`, `all_data`, `images`."""
    words = {word for word in _words(name) if word not in WORDS}
    return bool(words & {"data", "dataset"}) or (bool(words) and words <= FILLERS)


def _words(name: str) -> list[str]:
    """Its words in small letters: parts between capitals, digits and signs."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+", name)]
    joined = [JOINED.fullmatch(word) for word in words]
    return [part for word, match in zip(words, joined, strict=True) for part in (match.groups() if match else [word])]
