"""The answer to a foreground create: the finished object, with a sign of life while it is waited for."""

from collections.abc import Iterator
from typing import Any

from flask import Response

from app.errors import envelope
from core import errors, jsonio
from core.creation import Created
from core.lifecycle import Status
from core.waiting import Place, Waiting

# Until then the answer has not begun, and a failure can still be an HTTP error.
FIRST_BYTE_S = 3.0
# How often a blank is sent while the answer is waited for: JSON may begin with blanks, and a client that has
# gone shows only when something is written to it.
BEAT_S = 1.0

_STATUS = {"rate_limit_exceeded": (429, "rate_limit_error"), "invalid_prompt": (400, "invalid_request_error")}


def answer(waiting: Waiting, place: Place, created: Created, *, stored: bool, repeatable: bool) -> Response:
    """Wait for a response and answer with it; a client that goes away cancels it.

    Args:
        repeatable: the client gave a key by which it may ask again, so its response is left to itself until
            nobody has come back to wait for it for some time.
    """
    try:
        ended = place.wait(created.id, FIRST_BYTE_S, follow=True)
        document = waiting.document(created.id) if ended else None
    except BaseException:
        place.leave()
        if not repeatable:
            waiting.abandon(created.id)
        raise
    if not ended:
        body = _beating(waiting, place, created.id, stored=stored, repeatable=repeatable)
        beating = Response(body, mimetype="application/json")
        # A generator that was never begun, because its client left before the first byte, has no end of its own.
        beating.call_on_close(place.leave)
        return beating
    place.leave()
    if document is None:
        raise errors.NotFound(f"Response with id '{created.id}' was deleted.", param="response_id")
    if not stored:
        waiting.forget(created.id)
    return _whole(document)


def _whole(text: str) -> Response:
    document: dict[str, Any] = jsonio.loads(text)
    if document["status"] != Status.FAILED:
        return Response(text, mimetype="application/json")
    error = document["error"]
    status, kind = _STATUS.get(error["code"], (500, "server_error"))
    failed = envelope(status, kind, error["message"], code=error["code"])
    # Tried already, for as long as it was worth it.
    failed.headers["x-should-retry"] = "false"
    return failed


def _beating(waiting: Waiting, place: Place, response_id: str, *, stored: bool, repeatable: bool) -> Iterator[bytes]:
    delivered = False
    try:
        yield b" "
        while not place.wait(response_id, BEAT_S, follow=True):
            yield b" "
        document = waiting.document(response_id)
        if document is not None:
            yield document.encode()
        delivered = True
    finally:
        # Reached with GeneratorExit where the client has gone.
        place.leave()
        if not delivered and not repeatable:
            waiting.abandon(response_id)
        if not stored and (delivered or not repeatable):
            waiting.forget(response_id)
