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

URL = re.compile(r"(?:^|/)(s3|hf|https?):/+(?=.)")
"""How a URL begins: in a path its slashes are one, and it may follow the current folder."""
WAITS_SECONDS = (1, 3)
"""Before each further attempt over HTTP; the libraries of the others wait themselves."""
VERSIONS = ("ETag", "blob_id", "LastModified", "Last-Modified", "mtime")
"""What file systems call that which changes with an object, the most reliable first."""


class RemoteError(OSError):
    """A server refuses, or cannot be reached; an object that is missing is a FileNotFoundError."""


class RemotePath(PosixPath):
    """An object as a path to read from; its text is the URL."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size, and in place of a time a number that changes with the object."""
        _status.cache_clear()
        return status_lately(self)

    def read_bytes(self, start: int | None = None, size: int = 0) -> bytes:
        """All bytes, or so many from `start` on, by one request."""

        def ask(files: Any) -> Any:
            exactly = {} if files.async_impl else {"cache_type": "none"}
            return files.cat_file(str(self), start=start, end=None if start is None else start + size, **exactly)

        data = bytes(_ask(self, ask))
        if start is not None and len(data) > size:
            raise RemoteError(errno.EIO, "its server gives no parts of files", str(self))
        return data

    def open(self, mode: str = "r", buffering: int = -1, *text: Any, **options: Any) -> Any:
        """Opens it to be read: lists as a whole, archives by ranges, whose errors should be put `in_words`."""
        if self.suffix in (".tar", ".parquet"):
            return _ask(self, lambda files: files.open(str(self), "rb"))
        file = io.BytesIO(self.read_bytes())
        return file if "b" in mode else io.TextIOWrapper(file, *text, **options)


def is_remote(path: str | Path) -> bool:
    return URL.search(str(path)) is not None


def as_path(path: str | Path) -> Path:
    """The path of a file, or of an object if it is a URL, also one behind the current folder."""
    found = URL.search(str(path))
    return RemotePath(str(path)[found.start(1) :]) if found else Path(path)


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
        cause = error.__cause__ or error  # fsspec says of whatever fails over HTTP that the file is missing
        status = getattr(cause, "status", None) or getattr(getattr(cause, "response", None), "status_code", None)
        said = " ".join(str(cause).split())[:200] or type(cause).__name__
        if isinstance(error, PermissionError) or status in (401, 403) or "Credentials" in type(cause).__name__:
            raise RemoteError(errno.EACCES, f"no permission ({said})", str(url)) from None
        is_http = str(url).startswith("http")
        if isinstance(error, FileNotFoundError) and (status == 404 or cause is error or not is_http):
            raise FileNotFoundError(errno.ENOENT, "there is no such object", str(url)) from None
        raise RemoteError(errno.EIO, f"the server cannot be reached, or refuses ({said})", str(url)) from None


@lru_cache(maxsize=1000)
def _status(path: Path, minute: int) -> os.stat_result:
    info = _ask(path, lambda files: files.invalidate_cache() or files.info(str(path)))
    kind = stat.S_IFDIR if info["type"] == "directory" else stat.S_IFREG
    version = str(next((info[name] for name in VERSIONS if info.get(name)), ""))
    change = int.from_bytes(blake2b(version.encode(), digest_size=8).digest(), "big") >> 1
    return os.stat_result(
        (kind, 0, 0, 1, 0, 0, info["size"] or 0, 0, 0, 0), {"st_mtime_ns": change, "st_ctime_ns": change}
    )


def _ask(url: str | Path, question: Callable[[Any], Any]) -> Any:
    scheme = str(url).partition(":")[0]
    waits = list(WAITS_SECONDS) if scheme.startswith("http") else []
    while True:
        try:
            with in_words(url):
                return question(_file_system(scheme))
        except RemoteError as error:
            if not waits or error.errno == errno.EACCES:
                raise
            time.sleep(waits.pop(0))


@cache
def _file_system(scheme: str) -> Any:
    options: dict[str, Any] = {}
    try:
        import fsspec

        if scheme == "s3":
            options = {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1}}}
        if scheme.startswith("http"):
            from aiohttp import ClientTimeout

            options = {"client_kwargs": {"timeout": ClientTimeout(sock_connect=10, sock_read=30)}}
        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except ImportError:
        raise DataError(f"{scheme}:// needs an extra: .venv/bin/pip install 'headstart[remote]'") from None
