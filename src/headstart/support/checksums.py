"""Checksums of what a run consists of, so that a file whose bytes have changed is noticed when it is read.

They are in metrics.json, which is written last and has one of its own content, too; in a folder without
figures in checksums.json. Against accidents, not against people: who can change a file can change its checksum.
"""

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from headstart.errors import RunError
from headstart.support.files import plain, read_csv, write_json
from headstart.support.passing import refuse_passing
from headstart.support.plain_files import open_to_read
from headstart.support.strangers import read_json, refuse_special

CHECKSUMS = "checksums.json"
LAST = ("metrics.json", CHECKSUMS)
"""The files that hold them."""
FILES, OWN = "checksums", "checksum"
"""Their keys there."""
END, DIGITS = "\nchecksum ", 32
"""What comes before a checksum at the end of a file, and its length there."""
BLOCK_BYTES = 2**20


def of_file(path: Path, follow: bool = False, end: int | None = None) -> str:
    """CRC-32 in 8 hex digits, and the size in bytes, of a plain file, or of its bytes before `end`."""
    with open(open_to_read(path, follow), "rb", buffering=0) as file:
        left = size = os.fstat(file.fileno()).st_size if end is None else end
        crc = 0
        while left > 0 and (block := file.read(min(left, BLOCK_BYTES))):
            crc, left = zlib.crc32(block, crc), left - len(block)
    return f"{crc:08x} {size}"


def sealed(content: Mapping[str, Any], folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """What is to be written last: the content with checksums of files in the folder, and one of its own."""
    whole = plain({**content, FILES: {name: of_file(folder / name) for name in names}})
    return {**whole, OWN: _of_content(whole)}


def is_changed(content: Mapping[str, Any]) -> bool:
    """Whether it is another than `sealed` made; of an earlier version, which has neither key, or null, it never is."""
    has_any = any(content.get(name) is not None for name in (OWN, FILES))
    return has_any and content.get(OWN) != _of_content(content)


def _of_content(content: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in content.items() if name != OWN}
    return f"{zlib.crc32(json.dumps(rest, sort_keys=True).encode()):08x}"


def refuse_changed(path: Path, follow: bool = False) -> None:
    """Raises RunError if a file may not be read (see `open_to_read`), or its folder knows another checksum of it.

    FileNotFoundError: there is no such file.
    """
    try:
        refuse_special(path, follow)
        if (known := known_of(path)) is None or known == of_file(path, follow):
            return
    except FileNotFoundError:
        raise
    except OSError as error:
        refuse_passing(RunError, path, error)
        raise RunError(f"{path} cannot be read: {error.strerror}.") from None
    raise RunError(
        f"{path} is damaged, or another file: its bytes are not those that were written. Take it from a copy of "
        f"{path.parent}, or move that folder away and train again."
    )


def add_checksum(path: Path) -> None:
    """Puts the checksum of a file behind its end, where readers of archives, such as torch.load, look past it."""
    with path.open("ab") as file:
        file.write(f"{END}{of_file(path):>{DIGITS}}".encode())


def refuse_other_end(path: Path) -> None:
    """Raises ValueError if the checksum that `add_checksum` put there is not that of the bytes before it."""
    length = len(END) + DIGITS
    with open(open_to_read(path), "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - length))
        end = file.read().decode("latin-1")
    if end.startswith(END) and end.removeprefix(END).strip() != of_file(path, end=size - length):
        raise ValueError("it is damaged: its bytes are not those that were written")


def known_of(path: Path) -> str | None:
    """The checksum of a file that its folder knows; None if it knows none. RunError: it cannot be asked now."""
    for last in map(path.with_name, LAST):
        try:
            return known_in(read_json(last), path)
        except (OSError, ValueError) as error:
            refuse_passing(RunError, last, error)
    return None


def known_in(content: Mapping[str, Any], path: Path) -> str | None:
    """The checksum of a file in what `sealed` made; None if there is none."""
    files = content.get(FILES)
    known = files.get(path.name) if isinstance(files, dict) else None
    return None if known is None else str(known)


def seal(folder: Path, names: Iterable[str]) -> None:
    """Writes checksums of files of a folder that has no metrics.json, once these are complete."""
    write_json(folder / CHECKSUMS, sealed({}, folder, names))


def unseal(folder: Path) -> None:
    """Before files of such a folder are written again."""
    (folder / CHECKSUMS).unlink(missing_ok=True)


def checked_csv(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file, see `read_csv`, after `refuse_changed`."""
    refuse_changed(path)
    yield from read_csv(path)
