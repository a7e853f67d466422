"""Endpoints under /v1/responses: create, poll, stream, delete and cancel."""

import time
from contextlib import ExitStack

from app import bodies, parsing, query
from app.auth import Reauthentication
from app.endpoints import foreground, streaming
from app.http import Answer, Exchange, json_object, json_text, with_etag
from core import errors, jsonio
from core.responses.created import IdempotencyKey
from core.wire import response
from core.wire.request import CreateResponse
from core.wire.status import Status

# The delay between two polls that the server recommends in a header, which some SDKs honour.
POLL_AFTER_MS = "1000"


def create_response(exchange: Exchange) -> Answer:
    """Create a response, and answer with its initial object, its event stream or its final object."""
    body, body_reservation = bodies.read_json_body_with_reservation(exchange)
    with body_reservation:
        request = parsing.create_response(body, strict=exchange.core.settings.strict_params)
        key = parsing.idempotency_key(exchange, body)
        return _create_and_answer(exchange, request, key, body_reservation)


def _create_and_answer(
    exchange: Exchange, request: CreateResponse, key: IdempotencyKey | None, body_reservation: ExitStack
) -> Answer:
    if request.stream:
        return streaming.create_stream(exchange, request, key, body_reservation)
    if request.background:
        return _create_in_background(exchange, request, key)
    return foreground.create_and_wait(exchange, request, key, body_reservation)


def _create_in_background(
    exchange: Exchange, request: CreateResponse, idempotency_key: IdempotencyKey | None
) -> Answer:
    new_response = exchange.core.creation.create(exchange.caller, request, idempotency_key)
    exchange.allowance = new_response.allowance
    return json_text(new_response.document or exchange.core.responses.get(exchange.caller, new_response.id)[0])


def get_response(exchange: Exchange) -> Answer:
    """Answer with the current response, after a wait if the client prefers one, or with its event stream."""
    # Most polls have no query string: looking for six absent parameters would double their cost.
    if not exchange.has_query:
        return _poll_response(exchange)
    is_reason_requested = query.is_wait_reason_requested(exchange)
    if query.is_stream_requested(exchange):
        return streaming.stream_response(exchange, query.starting_after(exchange))
    return _poll_response(exchange, is_reason_requested=is_reason_requested)


def delete_response(exchange: Exchange) -> Answer:
    """Delete a response."""
    response_id = exchange.values["response_id"]
    exchange.core.responses.delete(exchange.caller, response_id, request_id=exchange.request_id)
    return json_object({"id": response_id, "object": "response", "deleted": True})


def cancel_response(exchange: Exchange) -> Answer:
    """Cancel a background response."""
    response_id = exchange.values["response_id"]
    return json_text(exchange.core.responses.cancel(exchange.caller, response_id, request_id=exchange.request_id))


def _poll_response(exchange: Exchange, *, is_reason_requested: bool = False) -> Answer:
    responses, response_id = exchange.core.responses, exchange.values["response_id"]
    document, has_ended = responses.get(exchange.caller, response_id)
    wait_s = None if has_ended else query.preferred_wait_s(exchange)
    has_waited = wait_s is not None and _wait_for_end(exchange, response_id, wait_s)
    if has_waited:
        document, has_ended = responses.get(exchange.caller, response_id)
    if is_reason_requested:
        document = _add_wait_reason(exchange, document)
    headers = {} if has_ended else {"openai-poll-after-ms": POLL_AFTER_MS}
    if has_waited:
        headers["Preference-Applied"] = f"wait={wait_s}"
    return with_etag(Answer(document.encode(), headers=tuple(headers.items())), exchange)


def _add_wait_reason(exchange: Exchange, document: str) -> str:
    """Return the document of a queued response with the reason why it does not run, any other document unchanged.

    The caller has checked that the client may read the response.
    """
    values = jsonio.loads(document)
    if values["status"] != Status.QUEUED:
        return document
    reason = exchange.core.waits.client_reason(exchange.values["response_id"])
    return document if reason is None else jsonio.dumps(response.explained_document(values, reason))


def _wait_for_end(exchange: Exchange, response_id: str, timeout_s: float) -> bool:
    """Wait for the end of a response; return False if no wait slot is available: the client must then poll."""
    try:
        slot = exchange.core.wait_slots.take_slot()
    except (errors.ServerBusy, errors.ServerStopping):
        return False
    reauthentication = Reauthentication(exchange)
    deadline = time.monotonic() + timeout_s
    try:
        while (interval_s := min(reauthentication.interval_s, deadline - time.monotonic())) > 0:
            interval_end = time.monotonic() + interval_s
            if slot.wait(response_id, interval_s) or time.monotonic() < interval_end:
                break  # the response has ended, or the server is shutting down
            reauthentication.repeat_if_due()
    finally:
        slot.leave()
    return True
