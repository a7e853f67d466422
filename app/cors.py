"""Cross-origin requests: browsers may send them from the origins in `BACKBURNER_CORS_ORIGINS`, and from no others."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Request headers that scripts may send in addition to those that are always allowed.
_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, OpenAI-Organization, OpenAI-Project, Prefer"
_METHODS = "GET, POST, DELETE"
# Response headers that scripts may read in addition to those that are always readable.
_EXPOSED = "ETag, openai-poll-after-ms, Preference-Applied, Retry-After, x-request-id, x-should-retry"
_ANY = "*"
MAX_AGE_S = "600"

Headers = list[tuple[str, str]]


class Cors:
    """The headers of cross-origin requests. Cookies are never allowed, because keys are sent in a header."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._origins = origins

    def headers(self, environ: "WSGIEnvironment") -> Headers:
        """The headers to add to the answer to any request."""
        if not self._origins:
            return []
        allowed = self._allowed(environ)
        if allowed is None:
            return [("Vary", "Origin")]
        return [
            ("Vary", "Origin"),
            ("Access-Control-Allow-Origin", allowed),
            ("Access-Control-Expose-Headers", _EXPOSED),
        ]

    def preflight(self, environ: "WSGIEnvironment") -> Headers | None:
        """The headers of the answer to a preflight request; None if it is not one, or the origin is not allowed.

        Browsers send preflights without a key.
        """
        if environ["REQUEST_METHOD"] != "OPTIONS" or "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ:
            return None
        if self._allowed(environ) is None:
            return None
        return [
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", _HEADERS),
            ("Access-Control-Max-Age", MAX_AGE_S),
        ]

    def _allowed(self, environ: "WSGIEnvironment") -> str | None:
        origin: str | None = environ.get("HTTP_ORIGIN")
        if origin is None or not self._origins & {origin, _ANY}:
            return None
        return _ANY if _ANY in self._origins else origin
