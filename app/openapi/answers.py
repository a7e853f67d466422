"""The answers of operations in the OpenAPI document: headers, errors by status, and bodies."""

from typing import Any

from app.openapi.schemas import REF

_HEADERS = {
    "x-request-id": ("string", "Identifies the request in the server's log."),
    "ETag": ("string", "Pass it as `If-None-Match` with the next poll."),
    "openai-poll-after-ms": (
        "integer",
        "Milliseconds to wait before the next poll. Present until the response has ended.",
    ),
    "Preference-Applied": ("string", "The wait that was applied, such as `wait=10`."),
    "Retry-After": ("integer", "Seconds to wait before retrying."),
    "retry-after-ms": ("integer", "Milliseconds to wait before retrying."),
    "x-ratelimit-limit-requests": ("integer", "Requests that the project may create per minute."),
    "x-ratelimit-remaining-requests": ("integer", "Requests that the project may create now."),
    "x-ratelimit-reset-requests": ("string", "Time until the request limit is fully available again, such as `20s`."),
    "x-ratelimit-limit-tokens": ("integer", "Tokens that the project may use per minute."),
    "x-ratelimit-remaining-tokens": ("integer", "Tokens that the project may use now."),
    "x-ratelimit-reset-tokens": ("string", "Time until the token limit is fully available again, such as `20s`."),
    "x-ratelimit-over-limit": ("string", "`yes` if the response exceeds the limit and uses spare capacity."),
    "WWW-Authenticate": ("string", "`Bearer`."),
    "x-should-retry": (
        "string",
        "`false` if a retry is pointless, for example because the server has already retried.",
    ),
}
# Sent with every answer to a create, if the project has such limits.
METERED = tuple(name for name in _HEADERS if name.startswith("x-ratelimit-"))
_ERRORS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    400: ("BadRequest", "The request is invalid. Nothing was stored.", ("x-should-retry",)),
    401: ("Unauthorized", "The API key is missing, unknown or revoked.", ("WWW-Authenticate",)),
    403: ("Forbidden", "The API key is valid but lacks the required right.", ()),
    404: ("NotFound", "The object or the project does not exist, or the API key has no access to the project.", ()),
    413: ("TooLarge", "The request body exceeds the server's size limit.", ()),
    429: (
        "TooManyRequests",
        "A limit of the project was exceeded, or the model server is at capacity.",
        ("Retry-After", "retry-after-ms", "x-should-retry", *METERED),
    ),
    500: ("ServerError", "The server or the model server failed.", ("x-should-retry",)),
    503: (
        "Unavailable",
        "The database is unavailable, too many requests are waiting, or the server is shutting down.",
        ("Retry-After",),
    ),
}


def headers() -> dict[str, Any]:
    """All headers of answers, by name."""
    return {name: {"description": words, "schema": {"type": kind}} for name, (kind, words) in _HEADERS.items()}


def errors() -> dict[str, Any]:
    """All errors, by name."""
    return {name: json("ErrorEnvelope", words, *carried) for name, words, carried in _ERRORS.values()}


def error(*statuses: int) -> dict[str, Any]:
    """The errors that an operation can return, by status."""
    return {str(status): {"$ref": f"#/components/responses/{_ERRORS[status][0]}"} for status in statuses}


def json(schema: str, words: str, *carried: str) -> dict[str, Any]:
    """An answer with a JSON body and, besides `x-request-id`, these headers."""
    return response_body("application/json", {"$ref": REF + schema}, words, *carried)


def response_body(media_type: str, schema: dict[str, Any], words: str, *carried: str) -> dict[str, Any]:
    """An answer with a body of this media type and, besides `x-request-id`, these headers."""
    return empty(words, *carried) | {"content": {media_type: {"schema": schema}}}


def streamed(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, or an event stream if `stream` is true."""
    events = (
        "With `stream: true`, server-sent events. The name of each event is its `type`. `sequence_number` counts events"
        " from 0 without gaps. `data: [DONE]` follows the last event. Lines beginning with `:` are keep-alive comments."
    )
    content = answer["content"] | {"text/event-stream": {"schema": {"type": "object", "description": events}}}
    return answer | {"content": content}


def empty(words: str, *carried: str) -> dict[str, Any]:
    """An answer without a body."""
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", *carried)}
    return {"description": words, "headers": named}
