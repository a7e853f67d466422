"""Converts the error answers and error events of model servers, in all common formats, to our exceptions."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from core import errors
from core.codes import Code
from core.jsonio import JsonObject
from worker.models import context_errors

# Maximum length of a server's error message in our message.
_MAX_MESSAGE_CHARS = 500
# Statuses of servers that are full or starting.
_UNAVAILABLE_STATUSES = frozenset({408, 425, 429, 502, 503, 504, 529})
# Statuses for invalid requests.
_INVALID_REQUEST_STATUSES = frozenset({400, 413, 422})
# Statuses caused by our configuration. Our message omits the server's message, which may contain the API key.
_CONFIGURATION_ERRORS = {
    401: "rejects this server's API key",
    403: "denies this server access to the model",
    407: "requires proxy authentication",
}
# Statuses for errors without a status, by a substring of the code or type of the error.
_STATUS_BY_KIND = {"rate_limit": 429, "overloaded": 503, "unavailable": 503, "invalid_request": 400, "badrequest": 400}
# Error codes with the same meaning in our API and on a model server. Our error has the same code as the server's.
_SHARED_CODES = frozenset(Code) - {
    Code.DATA_RESIDENCY_MISMATCH,
    Code.MISALIGNMENT_POLICY_VIOLATION,
    Code.RATE_LIMIT_EXCEEDED,
    Code.SERVER_ERROR,
    Code.VECTOR_STORE_TIMEOUT,
}


def answer_error(status: int, body: bytes, headers: Mapping[str, str]) -> errors.ModelServerError:
    """Return the exception for an answer with a status other than 200."""
    prefix = f"The model server answered {status}"
    if 300 <= status < 400:
        return errors.PermanentError(f"{prefix}: it redirects, and redirects are not followed.")
    if status in _CONFIGURATION_ERRORS:
        return errors.PermanentError(f"{prefix}: it {_CONFIGURATION_ERRORS[status]}.")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = body[:_MAX_MESSAGE_CHARS].decode(errors="replace")
    return _create_error(f"{prefix}: {_error_message(value)}", status, value, headers)


def event_error(value: Any) -> errors.ModelServerError:
    """Return the exception for an error in an event, or in an answer with status 200.

    Args:
        value: the event, or its `error` field.
    """
    error = _error_object(value)
    code = _to_text(error.get("code") or error.get("status") or "")
    status = int(code) if re.fullmatch(r"[45]\d\d", code, re.ASCII) else 0
    kind = f"{code} {_to_text(error.get('type'))}".lower()
    if not status:
        matching_statuses = [status for word, status in _STATUS_BY_KIND.items() if word in kind]
        status = matching_statuses[0] if matching_statuses else 500
    return _create_error(f"The model server failed: {_error_message(value)}", status, value, {})


def _create_error(message: str, status: int, value: Any, headers: Mapping[str, str]) -> errors.ModelServerError:
    if status in _UNAVAILABLE_STATUSES:
        rate_limit_code = Code.RATE_LIMIT_EXCEEDED if status == 429 else None
        return errors.ModelServerUnavailable(message, code=rate_limit_code, retry_after_s=retry_after_s(headers))
    exceeded = context_errors.context_error(status, _error_object(value), _error_message(value), message)
    if exceeded is not None:
        return exceeded
    code = _error_object(value).get("code")
    if isinstance(code, str) and code in _SHARED_CODES:
        return errors.PermanentError(message, code=code)
    if status >= 500:
        return errors.TransientError(message)
    return errors.PermanentError(message, code=Code.INVALID_PROMPT if status in _INVALID_REQUEST_STATUSES else None)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the backoff in seconds that the headers request, as a number or as a date; None if they request none."""
    retry_after = headers.get("Retry-After", "")
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):  # OverflowError: a number in the date has too many digits
        return None


def _error_message(value: Any) -> str:
    """Return the server's message in an error, without characters that Postgres cannot store."""
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    return _to_text(value)[:_MAX_MESSAGE_CHARS].replace("\0", "").encode("utf-8", "replace").decode()


def _to_text(value: object) -> str:
    """Return a parsed JSON value as text; Python cannot write all levels of nesting that the parser accepts."""
    try:
        return str(value)
    except RecursionError:
        return "an error that is nested too deeply"


def _error_object(value: Any) -> JsonObject:
    """Return the object of an error that contains its code; empty if there is none."""
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        value = value["error"]
    return value if isinstance(value, dict) else {}
