"""Output that ends no program: it may lead nowhere, and every character is shown somehow."""

import codecs
import errno
import os
import re
import select
import sys
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from itertools import repeat
from typing import Any

ESCAPING = "headstart.escaping"
"""Name of the error handler for characters that the output's encoding lacks."""


NOBODY_READS = (errno.EPIPE, errno.EIO)
"""Errors of a pipe whose reader has gone early, as `head` does, and of a terminal that was closed."""


class _Output(FileIO):
    """Standard output or error: what cannot be written is dropped, and the work goes on."""

    _has_failed = False

    def write(self, data: Any) -> int:
        try:
            while (count := super().write(data)) is None:  # another program made it so
                select.select([], [self], [])
            return count
        except OSError as error:
            if not self._has_failed and error.errno not in NOBODY_READS:
                with suppress(OSError):
                    os.write(2, f"warning: what is printed cannot be written: {error.strerror}.\n".encode())
            self._has_failed = True
            return memoryview(data).nbytes


CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udc9f]")
"""Characters that steer a terminal, or turn the text around; but for tabs and ends of lines."""
BAR = re.compile(r"\r|(?:\n|\x1b\[A)+$")
"""How a progress bar goes back to the beginning of its line, or to the line above."""


def visible(text: str) -> str:
    """The text with each character that steers a terminal as `\\x1b`, and ends of lines as `\\n`."""
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")


def escaped(text: str) -> str:
    """The same, but with tabs and ends of lines as they are."""
    return CONTROL.sub(_in_digits, text)


def _in_digits(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code & 0xFF:02x}" if code < 256 or code >= 0xDC80 else f"\\u{code:04x}"


class Shown(TextIOWrapper):
    """Text for people: what names of files and classes would do to a terminal is shown as text."""

    escapes = True

    def write(self, text: str, /) -> int:
        is_bar = BAR.match(text)
        begin = is_bar.end() if is_bar else 0
        return super().write(text[:begin] + escaped(text[begin:]) if self.escapes else text)


def show_colours() -> None:
    """From now on what is printed is not escaped: help has colours, and no names of others."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Shown):
            stream.escapes = False


def prepare() -> None:
    """Replaces the standard output and error of this process."""
    codecs.register_error(ESCAPING, _escape)
    sys.stdout, sys.stderr = map(_lenient, (sys.stdout, sys.stderr))


def _lenient(stream: Any) -> Any:
    """Streams that are not the terminal's, a file's or a pipe's, such as a notebook's, stay what they are."""
    if stream is None:  # it is closed
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, FileIO) or raw.fileno() not in (1, 2):
        stream.reconfigure(errors=ESCAPING)
        return stream
    lenient = _Output(raw.fileno(), "wb", closefd=False)
    return Shown(
        lenient if stream.buffer is raw else BufferedWriter(lenient),  # python -u has no buffer
        stream.encoding,
        ESCAPING,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _escape(error: UnicodeError) -> tuple[bytes, int]:
    """Names of files keep their bytes, whatever they are; other characters become `\\u732b`."""
    assert isinstance(error, UnicodeEncodeError)
    characters = error.object[error.start : error.end]
    handlers = ("surrogateescape" if "\udc80" <= each <= "\udcff" else "backslashreplace" for each in characters)
    return b"".join(map(str.encode, characters, repeat("ascii"), handlers)), error.end
