"""HTTP health endpoints for supervisors: `/healthz` (liveness) and `/readyz` (readiness)."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from socketserver import ThreadingMixIn
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from core import errors, jsonio

log = logging.getLogger(__name__)

_READ_TIMEOUT_S = 5
_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Health:
    """The health of a process.

    Args:
        problems: sentences that say why the process should be restarted; a condition that a restart does not fix is
            not a problem.
        ready: whether the process is doing its work now.
        details: further fields of the JSON body.
    """

    problems: list[str]
    ready: bool
    details: dict[str, object]


@contextmanager
def serve_health(host: str, port: int, get_health: Callable[[], Health], *, variable: str) -> Iterator[None]:
    """Serve `/healthz` and `/readyz` from a background thread for the duration of the block.

    Args:
        port: TCP port; 0 disables the server.
        get_health: returns the current health; it is called in the server's threads and must not block.
        variable: the environment variable that sets the port, for the error message.

    Raises:
        errors.BadSettings: the server cannot listen on the port.
    """
    if not port:
        yield
        return
    try:
        server = _Server((host, port), _Handler)
        server.set_app(_health_app(get_health))
    except OSError as error:
        raise errors.BadSettings(f"{variable}: cannot listen on port {port} of {host}: {error.strerror}.") from error
    Thread(target=server.serve_forever, name="health", daemon=True).start()
    log.info("serving health", extra={"host": host, "port": port})
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = _READ_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: supervisors poll these endpoints continuously."""


def _health_app(get_health: Callable[[], Health]) -> WSGIApplication:
    """Return the WSGI application that serves the health endpoints."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        health = get_health()
        is_ok = {"/healthz": not health.problems, "/readyz": health.ready}.get(environ["PATH_INFO"])
        content: dict[str, object]
        if environ["REQUEST_METHOD"] not in _METHODS:
            status, content = (
                HTTPStatus.METHOD_NOT_ALLOWED,
                {"error": "Method not allowed. The methods are GET and HEAD."},
            )
        elif is_ok is None:
            status, content = HTTPStatus.NOT_FOUND, {"error": "Not found. The endpoints are /healthz and /readyz."}
        else:
            failure = "unhealthy" if health.problems else "not ready"
            status = HTTPStatus.OK if is_ok else HTTPStatus.SERVICE_UNAVAILABLE
            content = {"status": "ok" if is_ok else failure, "problems": health.problems, **health.details}
        body = jsonio.dumps(content).encode() + b"\n"
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
        ]
        start_response(f"{status.value} {status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return app
