"""What a model server says when it fails, read as an error of ours, whichever of the usual shapes it has."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from core import errors
from worker.models import context_errors

# Of what a server says about an error, this much is passed on.
_MESSAGE_CHARS = 500
# Statuses by which a server says that it, or its queue, is full or not up yet.
_NOT_NOW = frozenset({408, 425, 429, 502, 503, 504, 529})
# Statuses by which it says that the request is wrong.
_WRONG = frozenset({400, 413, 422})
# Ours is the fault, and what the server says of it may quote the key.
_OURS = {401: "refuses this server's key", 403: "forbids this server the model", 407: "wants a proxy's key"}
# The statuses that errors without one would have, by what is in their code or type.
_KINDS = {"rate_limit": 429, "overloaded": 503, "unavailable": 503, "invalid_request": 400, "badrequest": 400}
# Codes that mean on our wire what they mean on a model server's.
_SHARED = frozenset(
    {
        "bio_policy",
        "empty_image_file",
        "failed_to_download_image",
        "image_content_policy_violation",
        "image_file_not_found",
        "image_file_too_large",
        "image_parse_error",
        "image_too_large",
        "image_too_small",
        "invalid_base64_image",
        "invalid_image",
        "invalid_image_format",
        "invalid_image_mode",
        "invalid_image_url",
        "invalid_prompt",
        "unsupported_image_media_type",
    }
)


def of_answer(status: int, raw: bytes, headers: Mapping[str, str]) -> errors.ModelServerFailed:
    """The error that an answer with a status other than 200 is."""
    tool_parameters = f"The model server answered {status}"
    if 300 <= status < 400:
        return errors.Refused(f"{tool_parameters}: it sends elsewhere, which is not followed.")
    if status in _OURS:
        return errors.Refused(f"{tool_parameters}: it {_OURS[status]}.")
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = raw[:_MESSAGE_CHARS].decode(errors="replace")
    return _error(f"{tool_parameters}: {_words(found)}", status, found, headers)


def of_event(found: Any) -> errors.ModelServerFailed:
    """The error that an event, or an answer with status 200, speaks of.

    Args:
        found: the event, or its `error`.
    """
    code = str(_inner(found).get("code") or _inner(found).get("status") or "")
    status = int(code) if re.fullmatch(r"[45]\d\d", code, re.ASCII) else 0
    kind = f"{code} {_inner(found).get('type')}".lower()
    if not status:
        status = next((status for word, status in _KINDS.items() if word in kind), 500)
    return _error(f"The model server failed: {_words(found)}", status, found, {})


def _error(text: str, status: int, found: Any, headers: Mapping[str, str]) -> errors.ModelServerFailed:
    if status in _NOT_NOW:
        code = "rate_limit_exceeded" if status == 429 else None
        return errors.Unavailable(text, code=code, retry_after_s=retry_after_s(headers))
    too_long = context_errors.found(status, _inner(found), _words(found), text)
    if too_long is not None:
        return too_long
    shared = _inner(found).get("code")
    if isinstance(shared, str) and shared in _SHARED:
        return errors.Refused(text, code=shared)
    if status >= 500:
        return errors.Erred(text)
    return errors.Refused(text, code="invalid_prompt" if status in _WRONG else None)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """For how long the server asks to be left alone, in seconds or by the date it names; None if it does not."""
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
    """What an error says, without what Postgres cannot keep."""
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return str(found)[:_MESSAGE_CHARS].replace("\0", "").encode("utf-8", "replace").decode()


def _inner(found: Any) -> dict[str, Any]:
    """The part of an error that has its code."""
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        found = found["error"]
    return found if isinstance(found, dict) else {}
