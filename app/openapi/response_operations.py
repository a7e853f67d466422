"""The operations on responses in the OpenAPI document."""

from typing import get_args

from app import parsing, query
from app.openapi import answers
from app.openapi.parts import (
    AFTER,
    LIMIT,
    ORDER,
    authenticated_operation,
    json_success,
    parameter,
    request_body,
    string_schema,
)
from core.jsonio import JsonObject
from core.wire.request import Include
from core.wire.status import Status

_POLL_HEADERS = ("ETag", "openai-poll-after-ms", "Preference-Applied")
_REQUEST_EXAMPLE = {"model": "smollm2-135m", "input": "Say hello.", "max_output_tokens": 100, "background": True}
_RESPONSE_ID = parameter("path", "response_id", "The response's `id`.", string_schema(), required=True)
_INCLUDE = parameter(
    "query",
    "include[]",
    "Optional fields of input items. Data URLs of images are null unless requested here; all other fields depend "
    "on the `include` with which the response was created.",
    {"type": "array", "items": string_schema(enum=sorted(get_args(Include)))},
    style="form",
    explode=True,
)
_STREAM = parameter(
    "query",
    "stream",
    "Stream the events of a background response instead of returning its object: past events first, then new ones.",
    {"type": "boolean", "default": False},
)
_STARTING_AFTER = parameter(
    "query",
    "starting_after",
    "With `stream`, the `sequence_number` of the last event received. Only later events are sent.",
    {"type": "integer"},
)
_OBFUSCATION = parameter("query", "include_obfuscation", "Has no effect: events are never padded.", {"type": "boolean"})
_WAIT_REASON = parameter(
    "query",
    "wait_reason",
    "Add `wait_reason` to the object while the response is queued. The reason may be a second old.",
    {"type": "boolean", "default": False},
)
_PREFER = parameter(
    "header",
    "Prefer",
    "With `wait=10`, the server waits up to 10 seconds for the response to end. The maximum is "
    f"{query.WAIT_LIMIT_S} seconds.",
    string_schema(examples=["wait=10"]),
)
_IF_NONE_MATCH = parameter(
    "header", "If-None-Match", "The `ETag` of the last poll. If nothing has changed, 304 is returned.", string_schema()
)
_IDEMPOTENCY_KEY = parameter(
    "header",
    "Idempotency-Key",
    "Printable ASCII characters except commas. For 24 hours, a request with the same key and body returns the same "
    "response; a request with the same key and a different body gets 400.",
    string_schema(minLength=1, maxLength=parsing.MAX_IDEMPOTENCY_KEY_LENGTH),
)
_STATUS = parameter("query", "status", "Only responses with this status.", string_schema(enum=list(Status)))
_MODEL = parameter("query", "model", "Only responses of this model.", string_schema())
_METADATA = parameter(
    "query",
    "metadata",
    "Only responses with all of these pairs in their metadata, such as `metadata[team]=search`.",
    {"type": "object", "additionalProperties": string_schema()},
    style="deepObject",
    explode=True,
)


def paths() -> JsonObject:
    """All operations on responses by path and method."""
    return _collection_operations() | _single_response_operations() | _subresource_operations()


def _collection_operations() -> JsonObject:
    return {
        "/v1/responses": {
            "post": authenticated_operation(
                "createResponse",
                "Responses",
                "Create a response",
                _IDEMPOTENCY_KEY,
                description="With `background: true`, the response is returned immediately with status `queued`."
                " Otherwise, the request waits and returns the final response; whitespace before the JSON keeps"
                " the connection alive. If the client disconnects, the response is cancelled, unless the request has an"
                " `Idempotency-Key`, with which the client can repeat it. If the response is deleted while the request"
                " waits, the request returns 404.",
                requestBody=request_body("CreateResponse", _REQUEST_EXAMPLE),
                successes={
                    "200": answers.with_event_stream(
                        answers.json_answer("Response", "Response created.", *answers.RATE_LIMIT_HEADERS)
                    )
                },
                error_statuses=(400, 403, 404, 413, 429),
            ),
            "get": authenticated_operation(
                "listResponses",
                "Responses",
                "List the project's responses",
                *(LIMIT, ORDER, AFTER, _STATUS, _MODEL, _METADATA),
                successes=json_success("ResponseList", "A page of responses."),
                error_statuses=(400,),
            ),
        },
    }


def _single_response_operations() -> JsonObject:
    not_modified = {
        "304": answers.empty_answer("Nothing has changed since the poll that returned this ETag.", *_POLL_HEADERS)
    }
    return {
        "/v1/responses/{response_id}": {
            "get": authenticated_operation(
                "getResponse",
                "Responses",
                "Poll a response, wait for it to end, or stream its events",
                *(_RESPONSE_ID, _INCLUDE, _STREAM, _STARTING_AFTER, _OBFUSCATION, _WAIT_REASON),
                *(_PREFER, _IF_NONE_MATCH),
                successes={
                    "200": answers.with_event_stream(
                        answers.json_answer("Response", "The current response.", *_POLL_HEADERS)
                    )
                }
                | not_modified,
                error_statuses=(400, 404),
            ),
            "delete": authenticated_operation(
                "deleteResponse",
                "Responses",
                "Delete a response that has ended",
                _RESPONSE_ID,
                successes=json_success("DeletedResponse", "Response deleted."),
                error_statuses=(400, 404),
            ),
        },
    }


def _subresource_operations() -> JsonObject:
    return {
        "/v1/responses/{response_id}/cancel": {
            "post": authenticated_operation(
                "cancelResponse",
                "Responses",
                "Cancel a background response",
                _RESPONSE_ID,
                description="Takes effect immediately and is final. A response that has already ended does not change.",
                successes=json_success("Response", "The response was cancelled, or had already ended."),
                error_statuses=(400, 404),
            ),
        },
        "/v1/responses/{response_id}/input_items": {
            "get": authenticated_operation(
                "listInputItems",
                "Responses",
                "List the input items of a response",
                *(_RESPONSE_ID, LIMIT, ORDER, AFTER, _INCLUDE),
                successes=json_success(
                    "ItemList", "A page of input items: the inherited context, and the request's own input."
                ),
                error_statuses=(400, 404),
            ),
        },
    }
