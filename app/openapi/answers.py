"""The answers of operations in the OpenAPI document: headers, errors by status, and bodies."""

from typing import NamedTuple

from app.openapi.schemas import REF
from core.jsonio import JsonObject

_HEADERS = {
    "x-request-id": ("string", "Identifies the request in the server's log."),
    "ETag": (
        "string",
        "Send it as `If-None-Match` with the next poll, which gets 304 if the response has not changed.",
    ),
    "openai-poll-after-ms": (
        "integer",
        "Milliseconds to wait before the next poll. Present until the response has ended.",
    ),
    "Preference-Applied": ("string", "The wait that was applied, such as `wait=10`."),
    "Retry-After": ("integer", "Time to wait before a retry, in seconds."),
    "retry-after-ms": ("integer", "Time to wait before a retry, in milliseconds."),
    "x-ratelimit-limit-requests": ("integer", "Responses of the model that the project may create per minute."),
    "x-ratelimit-remaining-requests": ("integer", "Responses of the model that the project may create now."),
    "x-ratelimit-reset-requests": ("string", "Time until the request limit is fully available again, such as `20s`."),
    "x-ratelimit-limit-tokens": ("integer", "Tokens of the model that the project may use per minute."),
    "x-ratelimit-remaining-tokens": ("integer", "Tokens of the model that the project may use now."),
    "x-ratelimit-reset-tokens": ("string", "Time until the token limit is fully available again, such as `20s`."),
    "x-ratelimit-over-limit": (
        "string",
        "`yes` if the request exceeds the limit, so that its response uses spare capacity.",
    ),
    "WWW-Authenticate": ("string", "`Bearer`."),
    "x-should-retry": (
        "string",
        "`false` if a retry is pointless, for example because the server has already retried.",
    ),
}
# Headers of every answer to a create request, if the project has limits.
RATE_LIMIT_HEADERS = tuple(name for name in _HEADERS if name.startswith("x-ratelimit-"))


class _ErrorAnswer(NamedTuple):
    component_name: str
    description: str
    header_names: tuple[str, ...]


_ERRORS: dict[int, _ErrorAnswer] = {
    400: _ErrorAnswer("BadRequest", "The request is invalid. Nothing was stored.", ("x-should-retry",)),
    401: _ErrorAnswer("Unauthorized", "The API key is missing, unknown or revoked.", ("WWW-Authenticate",)),
    403: _ErrorAnswer("Forbidden", "The API key is valid but lacks the required right.", ()),
    404: _ErrorAnswer(
        "NotFound", "The object or the project does not exist, or the API key has no access to the project.", ()
    ),
    413: _ErrorAnswer("TooLarge", "The request body exceeds the server's size limit.", ()),
    429: _ErrorAnswer(
        "TooManyRequests",
        "A limit of the project was exceeded, or the model server is at capacity.",
        ("Retry-After", "retry-after-ms", "x-should-retry", *RATE_LIMIT_HEADERS),
    ),
    500: _ErrorAnswer("ServerError", "The server or the model server failed.", ("x-should-retry",)),
    503: _ErrorAnswer(
        "Unavailable",
        "The database is unavailable, too many requests are waiting or are large, or the server is shutting down.",
        ("Retry-After",),
    ),
}


def header_components() -> JsonObject:
    """The component of each response header, by name."""
    return {
        name: {"description": description, "schema": {"type": json_type}}
        for name, (json_type, description) in _HEADERS.items()
    }


def error_components() -> JsonObject:
    """The component of each error answer, by name."""
    return {
        error.component_name: json_answer("ErrorEnvelope", error.description, *error.header_names)
        for error in _ERRORS.values()
    }


def error_references(*statuses: int) -> JsonObject:
    """References to the error answers of an operation, by status."""
    return {str(status): {"$ref": f"#/components/responses/{_ERRORS[status].component_name}"} for status in statuses}


def json_answer(schema: str, description: str, *header_names: str) -> JsonObject:
    """An answer with a JSON body and the given headers, in addition to `x-request-id`."""
    return body_answer("application/json", {"$ref": REF + schema}, description, *header_names)


def body_answer(media_type: str, schema: JsonObject, description: str, *header_names: str) -> JsonObject:
    """An answer with a body of the given media type and the given headers, in addition to `x-request-id`."""
    return empty_answer(description, *header_names) | {"content": {media_type: {"schema": schema}}}


def with_event_stream(answer: JsonObject) -> JsonObject:
    """The answer, extended by the event stream that is returned if `stream` is true."""
    events = (
        "With `stream: true`, server-sent events. The name of each event is its `type`. `sequence_number` counts events"
        " from 0 without gaps. `data: [DONE]` follows the last event. Lines beginning with `:` are keep-alive comments."
    )
    content = answer["content"] | {"text/event-stream": {"schema": {"type": "object", "description": events}}}
    return answer | {"content": content}


def empty_answer(description: str, *header_names: str) -> JsonObject:
    """An answer without a body."""
    references = {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", *header_names)}
    return {"description": description, "headers": references}
