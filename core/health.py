"""HTTP health endpoints for supervisors: `/healthz` (liveness) and `/readyz` (readiness)."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from core import errors, jsonio

log = logging.getLogger(__name__)

_READ_TIMEOUT_S = 5


@dataclass(frozen=True)
class Health:
    """The health of a process.

    Args:
        problems: the reasons to restart the process, one sentence each; conditions that a restart does not fix are not
            included.
        ready: whether the process is doing its work now.
        details: further fields of the JSON body.
    """

    problems: list[str]
    ready: bool
    details: dict[str, object]


@contextmanager
def served(host: str, port: int, get_health: Callable[[], Health], *, variable: str) -> Iterator[None]:
    """Serve `/healthz` and `/readyz` from a background thread for the duration of the block.

    Args:
        port: TCP port; 0 disables the server.
        get_health: returns the current health; called in the server's threads, must not block.
        variable: the environment variable that sets the port, for the error message.

    Raises:
        errors.BadSettings: the server cannot listen on the port.
    """
    if not port:
        yield
        return
    try:
        server = _Server((host, port), _Handler)
    except OSError as error:
        raise errors.BadSettings(f"{variable}: cannot listen on port {port} of {host}: {error.strerror}.") from error
    server.get_health = get_health
    Thread(target=server.serve_forever, name="health", daemon=True).start()
    log.info("serving health", extra={"host": host, "port": port})
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    get_health: Callable[[], Health]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _READ_TIMEOUT_S

    def do_GET(self) -> None:
        health = self.server.get_health()
        is_ok = {"/healthz": not health.problems, "/readyz": health.ready}.get(self.path.partition("?")[0])
        if is_ok is None:
            self._send_answer(404, {"error": "Not found. The endpoints are /healthz and /readyz."})
            return
        status = "ok" if is_ok else "unhealthy" if health.problems else "not ready"
        self._send_answer(200 if is_ok else 503, {"status": status, "problems": health.problems, **health.details})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send_answer(self, status: int, content: dict[str, object]) -> None:
        body = jsonio.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: supervisors poll these endpoints continuously."""
