"""A real HTTP server that serves files, redirects and any other target of a URL sent by a client."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Given:
    """The reply to requests for one path.

    Args:
        says_length: whether to send Content-Length; without it, the end of the connection ends the body.
        stalls: whether to withhold the last byte.
        repeat: number of times to send the body.
    """

    body: bytes = b""
    media_type: str | None = "application/octet-stream"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    says_length: bool = True
    stalls: bool = False
    repeat: int = 1


def redirect(there: str, status: int = 302) -> Given:
    return Given(status=status, headers={"Location": there})


class FileServer:
    """A server on its own port; `paths` may be changed at any time."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.port = server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.paths: dict[str, Given] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []  # (path, headers)
        self.leaving = threading.Event()


@contextmanager
def running() -> Iterator[FileServer]:
    """Run a file server for the duration of the block."""
    held: list[FileServer] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            (files,) = held
            files.asked.append((self.path, dict(self.headers)))
            given = files.paths.get(self.path.partition("?")[0], Given(status=404))
            self.send_response(given.status)
            headers = {**({"Content-Type": given.media_type} if given.media_type else {}), **given.headers}
            if given.says_length:
                headers = {"Content-Length": str(len(given.body) * given.repeat + given.stalls)} | headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                for _ in range(given.repeat):
                    self.wfile.write(given.body)
                if given.stalls:
                    self.wfile.flush()
                    files.leaving.wait(60)
            except OSError:
                pass  # the client has read as much as it wants

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    held.append(FileServer(server))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield held[0]
    finally:
        held[0].leaving.set()
        server.shutdown()
        server.server_close()
        thread.join()
