"""Output that ends no program: a reader that has enough is no error, and every character can be written somehow."""

import codecs
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from itertools import repeat
from typing import Any

ESCAPING = "headstart.escaping"
"""Name of the error handler for characters that the output's encoding lacks."""


class _Output(FileIO):
    """Standard output or error, whose reader may go early, as `head` does: what is written afterwards is dropped."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def prepare() -> None:
    """Replaces the standard output and error of this process."""
    codecs.register_error(ESCAPING, _escape)
    sys.stdout, sys.stderr = _lenient(sys.stdout), _lenient(sys.stderr)


def _lenient(stream: Any) -> Any:
    """Streams that are not the terminal's, a file's or a pipe's, such as a notebook's, stay what they are."""
    if not isinstance(stream, TextIOWrapper):
        return stream
    stream.reconfigure(errors=ESCAPING)
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, FileIO) or raw.fileno() not in (1, 2):
        return stream
    lenient = _Output(raw.fileno(), "wb", closefd=False)
    return TextIOWrapper(
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
