"""A CSV that grows line by line and gets its name with the last: who is stopped goes on after what is there."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from types import TracebackType

from headstart.errors import RunError


class GrowingCsv:
    """Use it as a context manager: `resume`, then `write` line by line. Leaving it without an error completes the file.

    Attributes:
        part: where the lines are until then.
    """

    def __init__(self, path: Path, key: str, header: Sequence[str]) -> None:
        """Names the file; nothing is touched yet.

        Args:
            path: replaced in the end.
            key: what decides the lines: who gives another one starts anew, in another part.
            header: names of the columns; by the first one a line is known.
        """
        self.path, self.header = path, list(header)
        self.part = path.with_name(f".{path.name}.{blake2b(key.encode(), digest_size=4).hexdigest()}.part")

    def __enter__(self) -> "GrowingCsv":
        with self._in_words():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._bytes = self.part.open("a+b")
        self._text = TextIOWrapper(self._bytes, "utf-8", errors="surrogateescape", newline="")
        self._lines = csv.writer(self._text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._in_words():
            try:
                self._text.flush()
                os.fsync(self._bytes.fileno())
            finally:
                with suppress(OSError):  # of a second attempt to write what there was no room for
                    self._text.close()
            if kind is None:
                os.replace(self.part, self.path)

    def resume(self, names: Iterator[str], note: Callable[[list[str]], object]) -> int:
        """Keeps the lines that are there, as long as they are those that are expected, and cuts off the rest.

        Args:
            names: what the first column must hold, line by line.
            note: told of each line that is kept.

        Returns:
            How many were kept.
        """
        kept = end = 0
        for line, name in zip(csv.reader(self._whole_lines()), chain([self.header[0]], names), strict=False):
            fits = len(line) == len(self.header) and line[0] == name
            if not fits or (not end and line != self.header):
                break
            if end:
                note(line)
                kept += 1
            end = self._read
        with self._in_words():
            self._bytes.truncate(end)
        if not end:
            self.write(self.header)
        return kept

    def _whole_lines(self) -> Iterator[str]:
        """Lines up to the first that was not finished; counts their bytes."""
        self._read = 0
        self._bytes.seek(0)
        for line in self._bytes:
            if not line.endswith(b"\n"):
                return
            self._read += len(line)
            yield line.decode("utf-8", "surrogateescape")

    def write(self, line: Sequence[str]) -> None:
        """Adds a line.

        Raises:
            RunError: the disk is full.
        """
        with self._in_words():
            self._lines.writerow(line)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written: {error.strerror}. What is there is kept: make room, or name another "
                "place with --out, and give the same command again."
            ) from error
