"""Errors as HTTP answers: the status of each error class, and the format of all errors."""

import logging

from werkzeug.exceptions import HTTPException

from app import rate_limits
from app.http import Answer, Exchange, json_object
from core import errors
from core.codes import ErrorType

log = logging.getLogger(__name__)

# An error that is not in this table has the status of its nearest base class in the table.
STATUS: dict[type[errors.Error], tuple[int, str]] = {
    errors.InvalidRequest: (400, ErrorType.INVALID_REQUEST),
    errors.InvalidKey: (401, ErrorType.INVALID_REQUEST),
    errors.Forbidden: (403, ErrorType.PERMISSION),
    errors.NotFound: (404, ErrorType.INVALID_REQUEST),
    errors.RequestTooLarge: (413, ErrorType.INVALID_REQUEST),
    errors.RateLimitExceeded: (429, "requests"),
    errors.ServerBusy: (503, ErrorType.SERVER),
    errors.ServerStopping: (503, ErrorType.SERVER),
    errors.StoreUnavailable: (503, ErrorType.SERVER),
    errors.Error: (500, ErrorType.SERVER),
}
# The cause of a server error is only logged, because libpq's messages contain host names and user names.
_PUBLIC_MESSAGES = {
    500: "The server had an error while processing your request.",
    503: "The server cannot reach its database; try again.",
}
RETRY_AFTER_S = "2"


def envelope(
    status: int, error_type: str, message: str, *, param: str | None = None, code: str | None = None
) -> Answer:
    """An error answer in the API's format, which always has the same four keys."""
    return json_object({"error": {"message": message, "type": error_type, "param": param, "code": code}}, status)


def status_and_type(error: errors.Error) -> tuple[int, str]:
    """The HTTP status of an error, and the `type` in its answer."""
    return next(STATUS[error_class] for error_class in type(error).__mro__ if error_class in STATUS)


def answer_error(error: Exception, exchange: Exchange) -> Answer:
    """The answer to a failed request. Errors that the client did not cause are also logged."""
    if isinstance(error, errors.RateLimitExceeded):
        exchange.allowance = error.allowance
        status, _ = STATUS[errors.RateLimitExceeded]
        answer = envelope(status, error.kind, str(error), param=error.param, code=error.code)
        return answer.with_headers(rate_limits.retry_headers(error))
    if isinstance(error, errors.Error):
        return _domain_answer(error, exchange)
    if isinstance(error, HTTPException):
        return _http_answer(error, exchange)
    log.error("unexpected", extra={"request": exchange.request_id}, exc_info=error)
    return envelope(500, ErrorType.SERVER, _PUBLIC_MESSAGES[500])


def _domain_answer(error: errors.Error, exchange: Exchange) -> Answer:
    status, error_type = status_and_type(error)
    if status >= 500:
        log.warning("unavailable", extra={"request": exchange.request_id, "cause": str(error)})
    # Clients learn that the server is busy or stopping, but not which internal dependency failed.
    is_public = status < 500 or isinstance(error, errors.ServerBusy | errors.ServerStopping)
    message = str(error) if is_public else _PUBLIC_MESSAGES[status]
    answer = envelope(status, error_type, message, param=error.param, code=error.code)
    if status == 503:
        return answer.with_headers({"Retry-After": RETRY_AFTER_S})
    if status == 401:
        return answer.with_headers({"WWW-Authenticate": "Bearer"})
    return answer


def _http_answer(error: HTTPException, exchange: Exchange) -> Answer:
    status = error.code or 500
    error_type = ErrorType.SERVER if status >= 500 else ErrorType.INVALID_REQUEST
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
    return envelope(status, error_type, _http_message(error, exchange)).with_headers(headers)


def _http_message(error: HTTPException, exchange: Exchange) -> str:
    path = exchange.request.path[:200]
    match error.code:
        case 404:
            return f"Invalid URL ({exchange.method} {path})."
        case 405:
            return f"{exchange.method} is not allowed on {path}."
        case _:
            return error.description or error.name
