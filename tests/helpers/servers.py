"""Servers on this machine that end with the test: files over HTTP, by ranges, and objects as S3 has them."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from headstart.support import remote


class FileServer(ThreadingHTTPServer):
    """Serves the files of a folder, and notes the ranges that are asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        self.refused: set[str] = set()
        self.answers = 10**9
        """So many further answers; then every connection is cut."""
        self.knows_ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def answer(self, with_body: bool) -> None:
        path = self.server.folder / unquote(self.path).lstrip("/")
        if with_body:
            self.server.asked.append((self.path, self.headers.get("Range", "")))
            self.server.answers -= 1
        if self.server.answers < 0:
            self.close_connection = True
            return
        if self.path in self.server.refused or not path.is_file():
            self.say(403 if self.path in self.server.refused else 404, b"", with_body, {})
            return
        size, found = path.stat().st_size, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        headers = {"ETag": f'"{path.stat().st_mtime_ns}-{size}"'}
        with path.open("rb") as file:
            if found and self.server.knows_ranges:
                begin, end = int(found[1]), min(int(found[2]) + 1, size)
                file.seek(begin)
                headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
                self.say(206, file.read(end - begin), with_body, headers)
            else:
                self.say(200, file.read(), with_body, headers)

    def say(self, status: int, body: bytes, with_body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers.items(), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    """A server of files, whose lost connections are tried again at once."""
    with FileServer(folder) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "WAITS_SECONDS", (0, 0))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
