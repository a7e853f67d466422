"""What operations answer: headers, errors by their status, and bodies."""

from typing import Any

from app.openapi.schemas import REF

_HEADERS = {
    "x-request-id": ("string", "Names this request in this server's log."),
    "ETag": ("string", "Send it as `If-None-Match` with the next poll."),
    "openai-poll-after-ms": (
        "integer",
        "How long to wait before the next poll; only while the response has not ended.",
    ),
    "Preference-Applied": ("string", "The wait that was granted, such as `wait=10`."),
    "Retry-After": ("integer", "Seconds to wait before trying again."),
    "retry-after-ms": ("integer", "The same in milliseconds."),
    "x-ratelimit-limit-requests": ("integer", "Requests that the project may create a minute."),
    "x-ratelimit-remaining-requests": ("integer", "Requests that it may create now."),
    "x-ratelimit-reset-requests": ("string", "When all of them are there again, such as `20s`."),
    "x-ratelimit-limit-tokens": ("integer", "Tokens that the project may use a minute."),
    "x-ratelimit-remaining-tokens": ("integer", "Tokens that it may use now."),
    "x-ratelimit-reset-tokens": ("string", "When all of them are there again, such as `20s`."),
    "x-ratelimit-over-limit": ("string", "`yes` where the response is beyond the limit, from spare capacity."),
    "WWW-Authenticate": ("string", "`Bearer`."),
    "x-should-retry": ("string", "`false` where trying again is of no use, because the server did already."),
}
# Of every answer to a create, where the project has such limits.
METERED = tuple(name for name in _HEADERS if name.startswith("x-ratelimit-"))
_ERRORS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    400: ("BadRequest", "The request is wrong in a way its sender can mend; nothing was stored.", ("x-should-retry",)),
    401: ("Unauthorized", "There is no key, or it is unknown or revoked.", ("WWW-Authenticate",)),
    403: ("Forbidden", "The key is good but may not do this.", ()),
    404: ("NotFound", "There is no such thing in the key's project, or no such project.", ()),
    413: ("TooLarge", "The body is over this server's limit.", ()),
    429: (
        "TooManyRequests",
        "A limit was reached.",
        ("Retry-After", "retry-after-ms", "x-should-retry", *METERED),
    ),
    500: ("ServerError", "The server, or the model server behind it, failed.", ("x-should-retry",)),
    503: ("Unavailable", "The database cannot be reached, or nobody more can wait here.", ("Retry-After",)),
}


def headers() -> dict[str, Any]:
    """Every header of an answer, by its name."""
    return {name: {"description": words, "schema": {"type": kind}} for name, (kind, words) in _HEADERS.items()}


def errors() -> dict[str, Any]:
    """Every error, by its name."""
    return {name: json("ErrorEnvelope", words, *carried) for name, words, carried in _ERRORS.values()}


def error(*statuses: int) -> dict[str, Any]:
    """The errors an operation can answer with."""
    return {str(status): {"$ref": f"#/components/responses/{_ERRORS[status][0]}"} for status in statuses}


def json(schema: str, words: str, *carried: str) -> dict[str, Any]:
    """An answer with a JSON body, and these headers besides the usual."""
    return response_body("application/json", {"$ref": REF + schema}, words, *carried)


def response_body(media_type: str, schema: dict[str, Any], words: str, *carried: str) -> dict[str, Any]:
    """An answer with a body of a media type, and these headers besides the usual."""
    return empty(words, *carried) | {"content": {media_type: {"schema": schema}}}


def streamed(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, which is a stream of events where `stream` is true."""
    events = (
        "With `stream: true`: server-sent events, each with its `type` as its name, numbered from 0 without gaps by"
        " `sequence_number`, and `data: [DONE]` behind the last one. Lines that begin with `:` are signs of life."
    )
    content = answer["content"] | {"text/event-stream": {"schema": {"type": "object", "description": events}}}
    return answer | {"content": content}


def empty(words: str, *carried: str) -> dict[str, Any]:
    """An answer without a body."""
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", *carried)}
    return {"description": words, "headers": named}
