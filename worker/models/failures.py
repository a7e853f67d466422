"""Converts the error answers and error events of model servers, in all common formats, into our exceptions."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from core import errors
from core.codes import Code
from worker.models import context_errors

# Maximum length of a server's error message that is passed on.
_MESSAGE_CHARS = 500
# Statuses that mean that the server or its queue is full, or that the server is starting.
_NOT_NOW = frozenset({408, 425, 429, 502, 503, 504, 529})
# Statuses that mean that the request is invalid.
_WRONG = frozenset({400, 413, 422})
# Statuses caused by our configuration. The server's message is not passed on, because it may quote the API key.
_OURS = {
    401: "rejects this server's API key",
    403: "denies this server access to the model",
    407: "requires proxy authentication",
}
# Statuses for errors that have none, by a substring of their code or type.
_KINDS = {"rate_limit": 429, "overloaded": 503, "unavailable": 503, "invalid_request": 400, "badrequest": 400}
# Error codes that mean the same in our API and on a model server; they are passed on unchanged.
_SHARED = frozenset(Code) - {
    Code.DATA_RESIDENCY_MISMATCH,
    Code.MISALIGNMENT_POLICY_VIOLATION,
    Code.RATE_LIMIT_EXCEEDED,
    Code.SERVER_ERROR,
    Code.VECTOR_STORE_TIMEOUT,
}


def of_answer(status: int, raw: bytes, headers: Mapping[str, str]) -> errors.ModelServerFailed:
    """Return the exception for an answer with a status other than 200."""
    prefix = f"The model server answered {status}"
    if 300 <= status < 400:
        return errors.Refused(f"{prefix}: it redirects, and redirects are not followed.")
    if status in _OURS:
        return errors.Refused(f"{prefix}: it {_OURS[status]}.")
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = raw[:_MESSAGE_CHARS].decode(errors="replace")
    return _error(f"{prefix}: {_words(found)}", status, found, headers)


def of_event(found: Any) -> errors.ModelServerFailed:
    """Return the exception for an error in an event, or in an answer with status 200.

    Args:
        found: the event, or its `error` field.
    """
    code = str(_inner(found).get("code") or _inner(found).get("status") or "")
    status = int(code) if re.fullmatch(r"[45]\d\d", code, re.ASCII) else 0
    kind = f"{code} {_inner(found).get('type')}".lower()
    if not status:
        status = next((status for word, status in _KINDS.items() if word in kind), 500)
    return _error(f"The model server failed: {_words(found)}", status, found, {})


def _error(text: str, status: int, found: Any, headers: Mapping[str, str]) -> errors.ModelServerFailed:
    if status in _NOT_NOW:
        code = Code.RATE_LIMIT_EXCEEDED if status == 429 else None
        return errors.Unavailable(text, code=code, retry_after_s=retry_after_s(headers))
    too_long = context_errors.found(status, _inner(found), _words(found), text)
    if too_long is not None:
        return too_long
    shared = _inner(found).get("code")
    if isinstance(shared, str) and shared in _SHARED:
        return errors.Refused(text, code=shared)
    if status >= 500:
        return errors.Erred(text)
    return errors.Refused(text, code=Code.INVALID_PROMPT if status in _WRONG else None)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the backoff in seconds that the headers ask for, as a number or as a date; None if they do not."""
    asked = headers.get("Retry-After", "")
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(asked))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return None


def _words(found: Any) -> str:
    """Return the message of an error, without characters that Postgres cannot store."""
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return str(found)[:_MESSAGE_CHARS].replace("\0", "").encode("utf-8", "replace").decode()


def _inner(found: Any) -> dict[str, Any]:
    """Return the object of an error that contains its code."""
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        found = found["error"]
    return found if isinstance(found, dict) else {}
