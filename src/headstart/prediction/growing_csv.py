"""A CSV that is written line by line, gets its name when it is complete, and can be continued after an interruption."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from hashlib import blake2b
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path

from headstart.errors import RunError
from headstart.support.files import in_words, open_locked


class GrowingCsv:
    """A context manager: `resume`, then `write` each line into `part`. Leaving it without an error ends the file."""

    def __init__(self, path: Path, key: str, header: Sequence[str]) -> None:
        """`key` identifies what decides the lines: with another one, another part is started. Writes nothing yet."""
        if path.is_dir():
            raise RunError(f"{path} is a folder: name a file to write with --out.")
        self.path, self.header = path, list(header)
        digest = blake2b(key.encode(errors="surrogateescape"), digest_size=4).hexdigest()
        self.part = path.with_name(f".{path.name}.{digest}.part")

    def __enter__(self) -> "GrowingCsv":
        with self._in_words():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._bytes = open_locked(self.part)
            except BlockingIOError:
                raise RunError(f"{self.path} is being written by another process: wait for it, or stop it.") from None
        self._text = TextIOWrapper(self._bytes, "utf-8", errors="surrogateescape", newline="")
        self._lines = csv.writer(self._text)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._in_words():
            try:
                self._text.flush()
                os.fsync(self._bytes.fileno())
            finally:
                with suppress(OSError):  # of a second attempt to write what there was no room for
                    self._text.close()
            if kind is None:
                os.replace(self.part, self.path)

    def resume(self, names: Iterator[str], keep: Callable[[list[str]], bool]) -> Iterator[str]:
        """Keeps lines that start with `names`, in order, while `keep` accepts them; returns the names without one."""
        self._widen()
        end, missing = 0, chain([self.header[0]], names)
        for line, name in zip(csv.reader(self._whole_lines()), missing, strict=False):
            fits = len(line) == len(self.header) and line[0] == name
            if not fits or not (keep(line) if end else line == self.header):
                missing = chain([name], missing)
                break
            end = self._read
        with self._in_words():
            self._bytes.truncate(end)
        if not end:
            self.write(self.header)
        return islice(missing, 0 if end else 1, None)

    def _widen(self) -> None:
        """Adds the last columns to a part of an earlier version, which did not have them; they stay empty."""
        before, *lines = list(csv.reader(self._whole_lines())) or [[]]
        missing = self.header[len(before) :]
        if not before or not missing or before != self.header[: len(before)]:
            return
        print(f"{self.path}: an earlier version wrote {len(lines):,} lines, without {', '.join(missing)}.")
        self._bytes.truncate(0)
        for line in [self.header, *([*line, *[""] * len(missing)] for line in lines)]:
            self.write(line)
        self._text.flush()

    def _whole_lines(self) -> Iterator[str]:
        """Lines up to the first that is not finished; counts their bytes in `_read`."""
        self._read = 0
        self._bytes.seek(0)
        for line in self._bytes:
            if not line.endswith(b"\n"):
                return
            self._read += len(line)
            yield line.decode("utf-8", "surrogateescape")

    def write(self, line: Sequence[str]) -> None:
        """Adds a line."""
        with self._in_words():
            self._lines.writerow(line)

    def _in_words(self) -> AbstractContextManager[None]:
        advice = "What is there is kept: make room, or name another place with --out, and give the same command again."
        return in_words(RunError, f"{self.path} cannot be written", advice)
