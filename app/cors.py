"""Cross-origin requests: browsers may send them only from the origins in `BACKBURNER_CORS_ORIGINS`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Request headers that scripts may send in addition to those that are always allowed.
_REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, OpenAI-Organization, OpenAI-Project, Prefer"
)
_METHODS = "GET, POST, DELETE"
# Response headers that scripts may read in addition to those that are always readable.
_EXPOSED_HEADERS = "ETag, openai-poll-after-ms, Preference-Applied, Retry-After, x-request-id, x-should-retry"
_ANY_ORIGIN = "*"
MAX_AGE_S = "600"

Headers = list[tuple[str, str]]


class Cors:
    """Headers of answers to cross-origin requests. Cookies are never allowed, because clients send keys in a header."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    def headers(self, environ: "WSGIEnvironment") -> Headers:
        """The cross-origin headers to add to every answer."""
        if not self._origins:
            return []
        allowed_origin = self._allowed_origin(environ)
        if allowed_origin is None:
            return [("Vary", "Origin")]
        return [
            ("Vary", "Origin"),
            ("Access-Control-Allow-Origin", allowed_origin),
            ("Access-Control-Expose-Headers", _EXPOSED_HEADERS),
        ]

    def preflight_headers(self, environ: "WSGIEnvironment") -> Headers | None:
        """The headers of the answer to a preflight request; None for all other requests and origins.

        No API key is required, because browsers send preflight requests without one.
        """
        if environ["REQUEST_METHOD"] != "OPTIONS" or "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ:
            return None
        if self._allowed_origin(environ) is None:
            return None
        return [
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", _REQUEST_HEADERS),
            ("Access-Control-Max-Age", MAX_AGE_S),
        ]

    def _allowed_origin(self, environ: "WSGIEnvironment") -> str | None:
        """The value of Access-Control-Allow-Origin; None if the origin is not allowed."""
        origin: str | None = environ.get("HTTP_ORIGIN")
        if origin is None or not self._origins & {origin, _ANY_ORIGIN}:
            return None
        return _ANY_ORIGIN if _ANY_ORIGIN in self._origins else origin
