"""A real HTTP server for the URLs in requests, with files, redirects and faulty replies."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class FileReply:
    """The reply to requests for one path.

    Args:
        sends_length: whether to send Content-Length; without it, the body ends when the connection closes.
        stalls: whether to announce one more byte, and keep the connection open without sending it.
        repeat: number of times to send the body.
    """

    body: bytes = b""
    media_type: str | None = "application/octet-stream"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sends_length: bool = True
    stalls: bool = False
    repeat: int = 1


def redirect(location: str, status: int = 302) -> FileReply:
    """Return a reply that redirects to `location`."""
    return FileReply(status=status, headers={"Location": location})


class FileServer:
    """A server on its own port; a test may change `replies`, the replies by path, at any time."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.port = server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.replies: dict[str, FileReply] = {}
        self.request_log: list[tuple[str, dict[str, str]]] = []  # (path, headers)
        self.closing = threading.Event()  # ends stalled replies


@contextmanager
def running() -> Iterator[FileServer]:
    """Run a file server inside the block."""
    servers: list[FileServer] = []  # gets its only element below, because the handler class must exist first

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            (files,) = servers
            files.request_log.append((self.path, dict(self.headers)))
            reply = files.replies.get(self.path.partition("?")[0], FileReply(status=404))
            self.send_response(reply.status)
            headers = {**({"Content-Type": reply.media_type} if reply.media_type else {}), **reply.headers}
            if reply.sends_length:
                headers = {"Content-Length": str(len(reply.body) * reply.repeat + reply.stalls)} | headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                for _ in range(reply.repeat):
                    self.wfile.write(reply.body)
                if reply.stalls:
                    self.wfile.flush()
                    files.closing.wait(60)
            except OSError:
                pass  # the client closed the connection before the end of the body

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    files = FileServer(server)
    servers.append(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield files
    finally:
        files.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
