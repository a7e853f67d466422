"""Domain errors as HTTP: the one table of statuses, and the envelope every error leaves in."""

import logging

from flask import Flask, Response, g, request
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
    errors.RateLimited: (429, "requests"),  # app.rate_limits answers it
    errors.Busy: (503, "server_error"),
    errors.Stopping: (503, "server_error"),
    errors.StoreUnavailable: (503, "server_error"),
    errors.Error: (500, "server_error"),
}
# What went wrong in here, with the hosts and users that libpq names, is for operators.
_OURS = {
    500: "The server had an error while processing your request.",
    503: "The server cannot reach its database; try again.",
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
            log.warning("unavailable", extra={"request": g.get("request_id"), "cause": str(error)})
        # A full server may say so; what went wrong inside is for its log.
        message = str(error) if status < 500 or isinstance(error, errors.Busy | errors.Stopping) else _OURS[status]
        answer = envelope(status, kind, message, param=error.param, code=error.code)
        if status == 503:
            answer.headers["Retry-After"] = RETRY_AFTER_S
        if status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        answer = envelope(status, "server_error" if status >= 500 else "invalid_request_error", _sentence(error))
        for name, value in error.get_headers():
            if name in {"Allow", "Retry-After"}:
                answer.headers[name] = value
        return answer

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        log.error("unexpected", extra={"request": g.get("request_id")}, exc_info=error)
        return envelope(500, "server_error", _OURS[500])


def _sentence(error: HTTPException) -> str:
    path = request.path[:200]
    match error.code:
        case 404:
            return f"Invalid URL ({request.method} {path})."
        case 405:
            return f"{request.method} is not allowed on {path}."
        case _:
            return error.description or error.name
