"""The outermost WSGI layer, which handles every request, whether Flask or the fast router matches its endpoint."""

import logging
import random
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.http import HTTP_STATUS_CODES

from app import fast_router, rate_limits
from app.auth import authenticate, check_right
from app.cors import Cors, Headers
from app.errors import answer_error
from app.http import Answer, Endpoint, Exchange
from core.bootstrap import Core

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

REQUEST_ID_HEADER = "x-request-id"
# Keys in the WSGI environment: the request's ID, and the rule of its endpoint after routing.
REQUEST_ID = "backburner.request_id"
RULE = "backburner.rule"
_STATUS_LINES = {code: f"{code} {phrase}" for code, phrase in HTTP_STATUS_CODES.items()}


def respond(endpoint: Endpoint, exchange: Exchange) -> Answer:
    """Authenticate a request, call its endpoint, and turn any exception into an answer."""
    exchange.environ[RULE] = endpoint.rule
    try:
        if endpoint.right is not None:
            exchange.set_caller(caller := authenticate(exchange))
            check_right(caller, endpoint.right)
        answer = endpoint.function(exchange)
    except Exception as error:  # noqa: BLE001  every exception becomes an answer
        answer = answer_error(error, exchange)
    if exchange.allowance is None:
        return answer
    return answer.with_headers(rate_limits.limit_headers(exchange.allowance))


class Edge:
    """WSGI application that assigns request IDs, answers preflight requests, routes all others, and logs answers."""

    def __init__(self, flask: "WSGIApplication", core: Core) -> None:
        self._flask = flask
        self._core = core
        self._cors = Cors(core.settings.allowed_origins)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request, as a WSGI application."""
        began_at = time.monotonic()
        environ[REQUEST_ID] = request_id = _new_request_id()
        common_headers = [(REQUEST_ID_HEADER, request_id), *self._cors.headers(environ)]
        route = fast_router.match(environ)
        if route is not None:
            endpoint, values = route
            answer = respond(endpoint, Exchange(environ, self._core, values, request_id))
            _log_request(environ, str(answer.status), began_at)
            return _send_answer(answer, common_headers, start_response)

        def start_flask_answer(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            _log_request(environ, status[:3], began_at)
            return start_response(status, [*headers, *common_headers], exc_info)

        preflight_headers = self._cors.preflight_headers(environ)
        if preflight_headers is None:
            return self._flask(environ, start_flask_answer)
        start_flask_answer(_STATUS_LINES[204], preflight_headers)
        return []


def _send_answer(answer: Answer, common_headers: Headers, start_response: "StartResponse") -> Iterable[bytes]:
    body, status, headers, content_type = answer
    if status == 304:
        start_response(_STATUS_LINES[status], [*headers, *common_headers])
        return []
    type_header = ("Content-Type", content_type)
    if not isinstance(body, bytes):
        start_response(_STATUS_LINES[status], [*headers, type_header, *common_headers])
        return body
    start_response(_STATUS_LINES[status], [*headers, type_header, ("Content-Length", str(len(body))), *common_headers])
    return [body]


def _log_request(environ: "WSGIEnvironment", status: str, began_at: float) -> None:
    """Log one line per request, with the milliseconds until its answer began."""
    if log.isEnabledFor(logging.DEBUG):
        fields = {
            "request": environ[REQUEST_ID],
            "method": environ["REQUEST_METHOD"],
            "rule": environ.get(RULE, "none"),
            "status": status,
            "ms": round(1000 * (time.monotonic() - began_at), 1),
        }
        log.debug("answered", extra=fields)


def _new_request_id() -> str:
    """A unique but guessable ID. For each request, `uuid4` would make a system call, which releases the GIL."""
    return f"req_{random.getrandbits(128):032x}"
