"""A CSV that is written line by line, gets its name when it is complete, and can be continued after an interruption."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from hashlib import blake2b
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path

from headstart.errors import RunError
from headstart.support.files import in_words, write_csv
from headstart.support.locking import Words, lock
from headstart.support.plain_files import open_to_add

WORDS = Words(RunError, RunError, "written", "name another file with --out")


class GrowingCsv:
    """A context manager: `resume`, then `write` each line into `part`. Leaving it without an error ends the file."""

    def __init__(
        self, path: Path, key: str, header: Sequence[str], stamp_of: Callable[[str], str] = lambda name: ""
    ) -> None:
        """`key` identifies what decides the lines: with another one, another part is started. Writes nothing yet.

        `stamp_of` says of a name what changes with what it stands for: a line is kept only while that is the same. For
        this the part has a column more than the finished file.
        """
        if path.is_dir():
            raise RunError(f"{path} is a folder: name a file to write with --out.")
        if path.exists() and not path.is_file():
            raise RunError(f"{path} is a device or a pipe: name a file to write with --out.")
        self.path, self.header, self._stamp_of = path, list(header), stamp_of
        digest = blake2b(key.encode(errors="surrogateescape"), digest_size=4).hexdigest()
        self.part = path.with_name(f".{path.name}.{digest}.part")

    def __enter__(self) -> "GrowingCsv":
        with self._in_words(), ExitStack() as held:
            held.enter_context(lock(self.path, WORDS))
            self._bytes = open_to_add(self.part)
            self._held = held.pop_all()
        self._text = TextIOWrapper(self._bytes, "utf-8", errors="surrogateescape", newline="")
        self._lines = csv.writer(self._text)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._in_words(), self._held:
            try:
                self._text.flush()
                os.fsync(self._bytes.fileno())
                if kind is None:
                    write_csv(self.path, (line[:-1] for line in self._rows()), self.part.with_suffix(".tmp"))
                    self.part.unlink()
            finally:
                with suppress(OSError):  # of a second attempt to write what there was no room for
                    self._text.close()

    def resume(self, names: Iterator[str], keep: Callable[[list[str]], bool]) -> Iterator[str]:
        """Keeps lines that start with `names`, in order, while `keep` accepts them; returns the names without one."""
        end, missing = 0, chain([self.header[0]], names)
        for line, name in zip(self._rows(), missing, strict=False):
            fits = line[:1] == [name] and line == self._noted(line[:-1], self._stamp_of(name) if end else "")
            if not fits or not (keep(line[:-1]) if end else line[:-1] == self.header):
                missing = chain([name], missing)
                break
            end = self._read
        with self._in_words():
            self._bytes.truncate(end)
        if not end:
            self.write(self.header)
        return islice(missing, 0 if end else 1, None)

    def _rows(self) -> Iterator[list[str]]:
        """The lines of the part as cells, up to the first that is damaged or not finished."""
        with suppress(csv.Error):
            yield from csv.reader(self._whole_lines())

    def _whole_lines(self) -> Iterator[str]:
        """Lines up to the first that is not finished; counts their bytes in `_read`."""
        self._read = 0
        self._bytes.seek(0)
        for line in self._bytes:
            if not line.endswith(b"\n"):
                return
            self._read += len(line)
            yield line.decode("utf-8", "surrogateescape")

    def write(self, line: Sequence[str], stamp: str = "") -> None:
        """Adds a line, with the stamp that its name had before what it stands for was read."""
        with self._in_words():
            self._lines.writerow(self._noted(line, stamp))

    def _noted(self, line: Sequence[str], stamp: str) -> list[str]:
        """A line as the part has it: with a digest of its text and its stamp."""
        text = "\0".join([*line, stamp]).encode(errors="surrogateescape")
        return [*line, blake2b(text, digest_size=8).hexdigest()]

    def _in_words(self) -> AbstractContextManager[None]:
        advice = "What is there is kept: make room, or name another place with --out, and give the same command again."
        return in_words(RunError, f"{self.path} cannot be written", advice)
