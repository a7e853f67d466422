"""The answer to a foreground create: the finished object, with a sign of life while it is waited for."""

import time
from collections.abc import Iterator
from typing import Any

from flask import Response

from app.errors import envelope
from core import errors, jsonio
from core.responses.create import Created
from core.streams.wait_slots import WaitSlot, WaitSlots
from core.wire.status import Status

# Until then the answer has not begun, and a failure can still be an HTTP error.
FIRST_BYTE_S = 3.0
# How often a blank is sent while the answer is waited for: JSON may begin with blanks, and a client that has
# gone shows only when something is written to it.
BEAT_S = 1.0

# By the error's code; every other one says what is wrong with the request.
_STATUS = {
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "server_error": (500, "server_error"),
    "vector_store_timeout": (500, "server_error"),
}


def answer(waiting: WaitSlots, place: WaitSlot, created: Created, *, stored: bool, repeatable: bool) -> Response:
    """Wait for a response and answer with it; a client that goes away cancels it.

    Args:
        repeatable: the client gave a key by which it may ask again, so its response is left to itself until
            nobody has come back to wait for it for some time.
    """
    try:
        ended = place.wait(created.id, FIRST_BYTE_S, follow=True)
        document = waiting.document(created.id) if ended else None
    except errors.StoreUnavailable:
        ended = False
    if not ended:
        body = _beating(waiting, place, created.id, stored=stored, repeatable=repeatable)
        beating = Response(body, mimetype="application/json")
        # A generator that was never begun, because its client left before the first byte, has no end of its own.
        beating.call_on_close(place.leave)
        return beating
    place.leave()
    if document is None:
        raise errors.NotFound(_gone(created.id), param="response_id")
    if not stored and not repeatable:
        waiting.forget(created.id)
    return _finished(document)


def _gone(response_id: str) -> str:
    return f"Response with id '{response_id}' was deleted."


def _finished(text: str) -> Response:
    document: dict[str, Any] = jsonio.loads(text)
    if document["status"] != Status.FAILED:
        return Response(text, mimetype="application/json")
    error = document["error"]
    status, kind = _STATUS.get(error["code"], (400, "invalid_request_error"))
    failed = envelope(status, kind, error["message"], code=error.get("type", error["code"]))
    # Tried already, for as long as it was worth it.
    failed.headers["x-should-retry"] = "false"
    return failed


def _beating(waiting: WaitSlots, place: WaitSlot, response_id: str, *, stored: bool, repeatable: bool) -> Iterator[bytes]:
    try:
        yield b" "
        while not place.wait(response_id, BEAT_S, follow=True):
            yield b" "
        while True:
            try:
                document = waiting.document(response_id)
                break
            except errors.StoreUnavailable:
                # It has ended, and only reading it must wait.
                time.sleep(BEAT_S)
                yield b" "
        yield document.encode() if document else envelope(404, "invalid_request_error", _gone(response_id)).data
    except GeneratorExit:
        # The client has gone. One with a key may come back.
        if not repeatable:
            waiting.cancel_orphan(response_id)
        raise
    finally:
        place.leave()
    if not stored and not repeatable:
        waiting.forget(response_id)
