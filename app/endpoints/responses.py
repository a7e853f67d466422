"""/v1/responses: create, poll, stream, delete and cancel."""

from app import parsing, query
from app.endpoints import foreground, streaming
from app.http import Answer, Exchange, json_object, json_text, with_etag
from core import errors
from core.responses.create import Repeat
from core.wire.request import CreateResponse

# How long a client should wait between two polls; SDKs that support the header honour it.
POLL_AFTER_MS = "1000"


def create(exchange: Exchange) -> Answer:
    """Create a response, and answer with its initial object, its event stream or its final object."""
    body = parsing.json_body(exchange)
    asked = parsing.create_response(body, strict=exchange.core.settings.strict_params)
    repeat = parsing.repeat(exchange, body)
    if asked.stream:
        return streaming.create(exchange, asked, repeat)
    return (_create_in_background if asked.background else foreground.create)(exchange, asked, repeat)


def _create_in_background(exchange: Exchange, asked: CreateResponse, repeat: Repeat | None) -> Answer:
    created = exchange.core.creation.create(exchange.caller, asked, repeat)
    exchange.allowance = created.allowance
    return json_text(created.document or exchange.core.responses.get(exchange.caller, created.id)[0])


def get(exchange: Exchange) -> Answer:
    """The current object of a response, after a wait if the client prefers one, or its event stream."""
    if not exchange.has_query:  # most polls: parsing nothing five times costs as much as all the rest
        return _poll(exchange)
    query.include(exchange)
    query.check_obfuscation(exchange)
    after = query.starting_after(exchange)
    return streaming.read(exchange, after) if query.stream(exchange) else _poll(exchange)


def delete(exchange: Exchange) -> Answer:
    """Delete a response."""
    response_id = exchange.values["response_id"]
    exchange.core.responses.delete(exchange.caller, response_id, request_id=exchange.request_id)
    return json_object({"id": response_id, "object": "response", "deleted": True})


def cancel(exchange: Exchange) -> Answer:
    """Cancel a background response."""
    response_id = exchange.values["response_id"]
    return json_text(exchange.core.responses.cancel(exchange.caller, response_id, request_id=exchange.request_id))


def _poll(exchange: Exchange) -> Answer:
    responses, response_id = exchange.core.responses, exchange.values["response_id"]
    document, ended = responses.get(exchange.caller, response_id)
    wait_s = None if ended else query.wait_s(exchange)
    waited = wait_s is not None and _wait(exchange, response_id, wait_s)
    if waited:
        document, ended = responses.get(exchange.caller, response_id)
    headers = {} if ended else {"openai-poll-after-ms": POLL_AFTER_MS}
    if waited:
        headers["Preference-Applied"] = f"wait={wait_s}"
    return with_etag(Answer(document.encode(), headers=tuple(headers.items())), exchange)


def _wait(exchange: Exchange, response_id: str, for_s: float) -> bool:
    """Wait for the end of a response; returns False if no wait slot is free, so that the client must poll."""
    try:
        slot = exchange.core.waiting.place()
    except (errors.Busy, errors.Stopping):
        return False
    try:
        slot.wait(response_id, for_s)
    finally:
        slot.leave()
    return True
