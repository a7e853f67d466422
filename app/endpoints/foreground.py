"""Answers requests that create a foreground response: sends spaces while the response runs, then its final object."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

from werkzeug.wsgi import ClosingIterator

from app.auth import Reauthentication
from app.errors import envelope, status_and_type
from app.http import Answer, Exchange, json_text
from core import errors, jsonio
from core.codes import HTTP_ERRORS, Code, ErrorType
from core.jsonio import JsonObject
from core.responses.created import CreatedResponse, IdempotencyKey
from core.streams.wait_slots import WaitSlot
from core.wire.request import CreateResponse
from core.wire.status import Status

# The answer begins after this time at the latest. Before it begins, a failure can still be an HTTP error.
FIRST_BYTE_TIMEOUT_S = 3.0
# The interval at which a space is sent while the response runs: JSON may begin with whitespace, and only a write
# reveals that the client has disconnected.
KEEP_ALIVE_INTERVAL_S = 1.0


def create_and_wait(
    exchange: Exchange, request: CreateResponse, idempotency_key: IdempotencyKey | None, body_reservation: ExitStack
) -> Answer:
    """Create a response and answer with its final object; if the client disconnects, the response is cancelled.

    Args:
        idempotency_key: the key of the request, if any. With a key, the client may repeat the request, so the response
            is not cancelled immediately, but only after no client has waited for it for some time.
        body_reservation: the capacity that the request occupies until the response is created.
    """
    wait_slots = exchange.core.wait_slots
    slot = wait_slots.take_slot()
    try:
        new_response = exchange.core.creation.create(exchange.caller, request, idempotency_key)
    except BaseException:
        slot.leave()
        raise
    body_reservation.close()
    exchange.allowance = new_response.allowance
    return _answer_when_ended(
        exchange, slot, new_response, is_stored=request.store, is_repeatable=idempotency_key is not None
    )


def _answer_when_ended(
    exchange: Exchange, slot: WaitSlot, new_response: CreatedResponse, *, is_stored: bool, is_repeatable: bool
) -> Answer:
    wait_slots = exchange.core.wait_slots
    try:
        has_ended = slot.wait(new_response.id, FIRST_BYTE_TIMEOUT_S, keeps_alive=True)
        document = wait_slots.document(new_response.id) if has_ended else None
    except errors.StoreUnavailable:
        has_ended = False
    except BaseException:
        slot.leave()
        raise
    if not has_ended:
        body = _yield_body(exchange, slot, new_response.id, is_stored=is_stored, is_repeatable=is_repeatable)
        # If the client disconnects before the first byte, the generator never starts, and its `finally` does not run.
        return Answer(ClosingIterator(body, [slot.leave]))
    slot.leave()
    if document is None:
        raise errors.NotFound(_deletion_message(new_response.id), param="response_id")
    if not is_stored and not is_repeatable:
        wait_slots.delete_unstored(new_response.id)
    return _build_final_answer(document)


def _deletion_message(response_id: str) -> str:
    return f"Response with id '{response_id}' was deleted."


def _build_final_answer(document_text: str) -> Answer:
    document: JsonObject = jsonio.loads(document_text)
    if document["status"] != Status.FAILED:
        return json_text(document_text)
    error = document["error"]
    http_status, error_type = HTTP_ERRORS[Code(error["code"])]
    # `type` is present only if it is more precise than `code`.
    error_answer = envelope(http_status, error_type, error["message"], code=error.get("type", error["code"]))
    # The worker has already repeated the model call for as long as a retry could help.
    return error_answer.with_headers({"x-should-retry": "false"})


def _yield_body(
    exchange: Exchange, slot: WaitSlot, response_id: str, *, is_stored: bool, is_repeatable: bool
) -> Iterator[bytes]:
    wait_slots = exchange.core.wait_slots
    reauthentication = Reauthentication(exchange)
    try:
        yield b" "
        while not slot.wait(response_id, KEEP_ALIVE_INTERVAL_S, keeps_alive=True):
            reauthentication.repeat_if_due()
            yield b" "
        while True:
            try:
                document = wait_slots.document(response_id)
                break
            except errors.StoreUnavailable:
                # The response has ended, but its document cannot be read yet.
                time.sleep(KEEP_ALIVE_INTERVAL_S)
                yield b" "
        yield (
            document.encode()
            if document
            else _body_bytes(envelope(404, ErrorType.INVALID_REQUEST, _deletion_message(response_id)))
        )
    except (errors.InvalidKey, errors.NotFound) as error:
        wait_slots.cancel_orphan(response_id)
        http_status, error_type = status_and_type(error)
        yield _body_bytes(envelope(http_status, error_type, str(error), param=error.param, code=error.code))
        return
    except GeneratorExit:
        # The client has disconnected. With an idempotency key, it may repeat the request.
        if not is_repeatable:
            wait_slots.cancel_orphan(response_id)
        raise
    finally:
        slot.leave()
    if not is_stored and not is_repeatable:
        wait_slots.delete_unstored(response_id)


def _body_bytes(answer: Answer) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body
