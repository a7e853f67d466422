"""Domain errors as HTTP: the one table of statuses, and the envelope every error leaves in."""

import logging

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from core import errors, jsonio

log = logging.getLogger(__name__)

# Looked up along the class's ancestors; a test insists that every error a request can meet is here.
STATUS: dict[type[errors.Error], tuple[int, str]] = {
    errors.InvalidRequest: (400, "invalid_request_error"),
    errors.InvalidKey: (401, "invalid_request_error"),
    errors.Forbidden: (403, "permission_error"),
    errors.NotFound: (404, "invalid_request_error"),
    errors.TooLarge: (413, "invalid_request_error"),
    errors.StoreUnavailable: (503, "server_error"),
    errors.Error: (500, "server_error"),
}
RETRY_AFTER_S = "2"


def envelope(status: int, kind: str, message: str, *, param: str | None = None, code: str | None = None) -> Response:
    """An error as the contract has it: always the same four keys."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Response(jsonio.dumps(body), status, mimetype="application/json")


def install(app: Flask) -> None:
    """Answer every error in the envelope."""

    @app.errorhandler(errors.Error)
    def domain(error: errors.Error) -> Response:
        status, kind = next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
        if status >= 500:
            log.warning("unavailable", extra={"cause": str(error)})
        # What libpq says of hosts and users is for operators.
        message = "The server cannot reach its database; try again." if status == 503 else str(error)
        answer = envelope(status, kind, message, param=error.param, code=error.code)
        if status == 503:
            answer.headers["Retry-After"] = RETRY_AFTER_S
        if status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        code = "request_too_large" if status == 413 else None
        answer = envelope(status, "invalid_request_error", error.description or error.name, code=code)
        for name, value in error.get_headers():
            if name in {"Allow", "Retry-After"}:
                answer.headers[name] = value
        return answer

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        log.error("unexpected", exc_info=error)
        return envelope(500, "server_error", "The server had an error while processing your request.")
