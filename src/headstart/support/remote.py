"""Objects on servers as paths, read with fsspec: `s3://bucket/a.tar`, `hf://datasets/…`, `https://…`."""

import errno
import io
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path, PosixPath
from typing import Any

from headstart.errors import DataError, HeadstartError

URL = re.compile(r"([a-z][a-z0-9+]+):/+")
"""How a URL begins; `Path` writes the two slashes as one."""
WAITS_SECONDS = (1, 3)
"""Before each further attempt."""
VERSIONS = ("ETag", "blob_id", "LastModified", "Last-Modified", "mtime")
"""What file systems call that which changes with an object, the most reliable first."""


class RemoteError(OSError):
    """A server refuses, or cannot be reached; an object that is missing is a FileNotFoundError."""


class RemotePath(PosixPath):
    """An object as a path to read from; its text is the URL."""

    def __str__(self) -> str:
        return URL.sub(r"\1://", super().__str__(), count=1)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size, and in place of a time a number that changes with the object."""
        _status.cache_clear()
        return status_lately(self)

    def read_bytes(self) -> bytes:
        return bytes(_ask(self, lambda files: files.cat_file(str(self))))

    def read_range(self, start: int, size: int) -> bytes:
        """So many bytes, by one request."""
        data = bytes(_ask(self, lambda files: files.cat_file(str(self), start=start, end=start + size)))
        if len(data) > size:
            raise RemoteError(errno.EIO, "its server gives no parts of files", str(self))
        return data

    def open(self, mode: str = "r", buffering: int = -1, *text: Any, **options: Any) -> Any:
        """Opens it to be read from the beginning to the end; errors of the file should be put `in_words`."""
        file = _ask(self, lambda files: files.open(str(self), "rb"))
        return file if "b" in mode else io.TextIOWrapper(file, *text, **options)


def is_remote(path: str | Path) -> bool:
    """Whether a path is a URL."""
    return isinstance(path, RemotePath) or URL.match(str(path)) is not None


def as_path(path: str | Path) -> Path:
    """The path of a file, or of an object if it is a URL."""
    return RemotePath(path) if is_remote(path) else Path(path)


def absolute(path: str | Path) -> str:
    """The absolute path of a file; a URL is absolute."""
    return str(as_path(path)) if is_remote(path) else os.path.abspath(path)


def matching(pattern: str) -> list[str]:
    """The URLs that a pattern with `*` means."""
    return list(_ask(pattern, lambda files: sorted(map(files.unstrip_protocol, files.glob(pattern)))))


def status_lately(path: Path) -> os.stat_result:
    """Size and change of a file; of an object as they were within the last minute, for each of many reads."""
    return _status(path, int(time.monotonic() // 60)) if is_remote(path) else os.stat(path)


@contextmanager
def in_words(url: str | Path) -> Iterator[None]:
    """Turns whatever the libraries raise for a URL into a RemoteError or FileNotFoundError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, HeadstartError | RemoteError) or not is_remote(url):
            raise
        raise _failure(error, str(url)) from None


@lru_cache(maxsize=1000)
def _status(path: Path, minute: int) -> os.stat_result:
    info = _ask(path, lambda files: files.invalidate_cache() or files.info(str(path)))
    kind = stat.S_IFDIR if info["type"] == "directory" else stat.S_IFREG
    version = str(next((info[name] for name in VERSIONS if info.get(name)), ""))
    change = int.from_bytes(blake2b(version.encode(), digest_size=8).digest(), "big") >> 1
    return os.stat_result((kind, 0, 0, 1, 0, 0, info["size"] or 0, 0, 0, 0), {"st_mtime_ns": change})


def _ask(url: str | Path, question: Callable[[Any], Any]) -> Any:
    """Asks the server, three times if it fails."""
    files = _file_system(str(url).partition(":")[0])
    for wait in (*WAITS_SECONDS, None):
        try:
            with in_words(url):
                return question(files)
        except RemoteError as error:
            if wait is None or error.errno == errno.EACCES:
                raise
            time.sleep(wait)
    return None


def _failure(error: Exception, url: str) -> OSError:
    cause = error.__cause__ or error  # fsspec says of whatever fails over HTTP that the file is missing
    status = getattr(cause, "status", None) or getattr(getattr(cause, "response", None), "status_code", None)
    said = " ".join(str(cause).split())[:200] or type(cause).__name__
    if isinstance(error, PermissionError) or status in (401, 403) or "Credentials" in type(cause).__name__:
        return RemoteError(errno.EACCES, f"no permission ({said})", url)
    if isinstance(error, FileNotFoundError) and (status == 404 or cause is error or not url.startswith("http")):
        return FileNotFoundError(errno.ENOENT, "there is no such object", url)
    return RemoteError(errno.EIO, f"the server cannot be reached, or refuses ({said})", url)


@cache
def _file_system(scheme: str) -> Any:
    try:
        import fsspec

        options: dict[str, Any] = {}
        if scheme == "s3":
            options = {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1}}}
        if scheme in ("http", "https"):
            from aiohttp import ClientTimeout

            options = {"client_kwargs": {"timeout": ClientTimeout(sock_connect=10, sock_read=30)}}
        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except (ImportError, ValueError) as error:
        if scheme in ("s3", "hf", "http", "https"):
            raise DataError(f"{scheme}:// needs an extra: .venv/bin/pip install 'headstart[remote]'") from None
        raise DataError(f"{scheme}:// cannot be read: {error}. Give a file, or s3://, hf:// or https://.") from None
