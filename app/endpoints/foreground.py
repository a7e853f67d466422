"""The answer to a foreground create: the final object, preceded by blanks while the response runs."""

import time
from collections.abc import Iterator
from typing import Any

from werkzeug.wsgi import ClosingIterator

from app.errors import envelope
from app.http import Answer, Exchange, json_text
from core import errors, jsonio
from core.codes import HTTP_ERRORS, Code, ErrorType
from core.responses.create import Created, Repeat
from core.streams.wait_slots import WaitSlot, WaitSlots
from core.wire.request import CreateResponse
from core.wire.status import Status

# When the answer begins at the latest. Until then, a failure can still be an HTTP error.
FIRST_BYTE_S = 3.0
# How often a blank is sent while the response runs: JSON may begin with blanks, and only a write reveals that the
# client has disconnected.
BEAT_S = 1.0


def create(exchange: Exchange, asked: CreateResponse, repeat: Repeat | None) -> Answer:
    """Create a response and answer with its final object; a client that disconnects cancels it.

    Args:
        repeat: the idempotency key, if any. With a key, the client may repeat the request, so its response is not
            cancelled at once, but only if no client waits for it for some time.
    """
    waiting = exchange.core.waiting
    slot = waiting.place()
    try:
        created = exchange.core.creation.create(exchange.caller, asked, repeat)
    except BaseException:
        slot.leave()
        raise
    exchange.allowance = created.allowance
    return _answer(waiting, slot, created, stored=asked.store, repeatable=repeat is not None)


def _answer(waiting: WaitSlots, slot: WaitSlot, created: Created, *, stored: bool, repeatable: bool) -> Answer:
    try:
        ended = slot.wait(created.id, FIRST_BYTE_S, follow=True)
        document = waiting.document(created.id) if ended else None
    except errors.StoreUnavailable:
        ended = False
    if not ended:
        body = _beats(waiting, slot, created.id, stored=stored, repeatable=repeatable)
        # If the client disconnects before the first byte, the generator never starts, and its `finally` does not run.
        return Answer(ClosingIterator(body, [slot.leave]))
    slot.leave()
    if document is None:
        raise errors.NotFound(_deleted(created.id), param="response_id")
    if not stored and not repeatable:
        waiting.forget(created.id)
    return _finished(document)


def _deleted(response_id: str) -> str:
    return f"Response with id '{response_id}' was deleted."


def _finished(text: str) -> Answer:
    document: dict[str, Any] = jsonio.loads(text)
    if document["status"] != Status.FAILED:
        return json_text(text)
    error = document["error"]
    status, kind = HTTP_ERRORS[Code(error["code"])]
    failed = envelope(status, kind, error["message"], code=error.get("type", error["code"]))
    # The server has already retried for as long as a retry could help.
    return failed.with_headers({"x-should-retry": "false"})


def _beats(waiting: WaitSlots, slot: WaitSlot, response_id: str, *, stored: bool, repeatable: bool) -> Iterator[bytes]:
    try:
        yield b" "
        while not slot.wait(response_id, BEAT_S, follow=True):
            yield b" "
        while True:
            try:
                document = waiting.document(response_id)
                break
            except errors.StoreUnavailable:
                # The response has ended, but its document cannot be read yet.
                time.sleep(BEAT_S)
                yield b" "
        yield document.encode() if document else _body(envelope(404, ErrorType.INVALID_REQUEST, _deleted(response_id)))
    except GeneratorExit:
        # The client has disconnected. With an idempotency key, it may repeat the request.
        if not repeatable:
            waiting.cancel_orphan(response_id)
        raise
    finally:
        slot.leave()
    if not stored and not repeatable:
        waiting.forget(response_id)


def _body(answer: Answer) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body
