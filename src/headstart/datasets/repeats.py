"""Images that several lines name, in one list or in several: they count once, or not at all."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from headstart.datasets.listed import Entry
from headstart.datasets.split_names import split_called
from headstart.errors import DataError, warn
from headstart.support.quantities import some

MOST_CONTRARY = 0.01
"""Share of images with two labels up to which they are left out; of more, something else is wrong."""


def once(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """Each image once, as the first line says it, so that none is in two splits; and in words what was left out.

    An image with two labels, or with two splits by columns, is left out, and many such are an error.
    """
    first: dict[str, Entry] = {}
    contrary: dict[str, str] = {}
    files: dict[Path, None] = {}
    again = []
    for entry in entries:
        before = first.setdefault(entry.path, entry)
        if before is not entry:
            again.append((entry, before))
            if difference := _difference(before, entry):
                contrary[entry.path] = difference
                files |= dict.fromkeys([before.line.file, entry.line.file])
    if contrary:
        _leave_out(list(contrary.values()), len(first), list(files))
    pairs = Counter((one.line.file, other.line.file) for one, other in again if one.path not in contrary)
    notes = [_in_words(*pair, count) for pair, count in pairs.items()]
    return [entry for path, entry in first.items() if path not in contrary], notes


def _difference(one: Entry, other: Entry) -> str:
    """In words, how two lines differ; empty if they say the same."""
    splits = [split_called(entry.line.split or "") or entry.line.split for entry in (one, other)]
    if one.label != other.label:
        what, values = "label", [one.label, other.label]
    elif None not in splits and splits[0] != splits[1]:
        what, values = "split", [one.line.split or "", other.line.split or ""]
    else:
        return ""
    several = one.line.file != other.line.file
    lines = [f"line {entry.line.number}{f' of {entry.line.file}' * several}" for entry in (one, other)]
    return f"{other.line.path} ({what} {values[0]!r} in {lines[0]}, {values[1]!r} in {lines[1]})"


def _leave_out(contrary: list[str], images: int, files: list[Path]) -> None:
    lists = f"{' and '.join(map(str, files))} {'say' if len(files) > 1 else 'says'}"
    what = f"{lists} two things of {len(contrary):,} of {images:,} images: {some(contrary, between='; ')}"
    if len(contrary) > MOST_CONTRARY * images:
        raise DataError(f"{what}. Keep the line that is right, or check the columns.")
    warn(f"{what}. They are left out.")


def _in_words(file: Path, before: Path, count: int) -> str:
    if file == before:
        return f"{file}: {count:,} lines say the same as another, and count once"
    return f"{count:,} images of {file} are also in {before}, and count once, in the split that it gives them"
