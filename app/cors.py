"""Browsers of other origins: nothing is allowed to them but what `BACKBURNER_CORS_ORIGINS` names."""

from flask import Flask, Response, request

# Of a request: what clients send besides what every browser may.
_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-None-Match, OpenAI-Organization, OpenAI-Project, Prefer"
_METHODS = "GET, POST, DELETE"
# Of an answer: what scripts may read besides what they always may.
_EXPOSED = "ETag, openai-poll-after-ms, Preference-Applied, Retry-After, x-request-id, x-should-retry"
_ANY = "*"
MAX_AGE_S = "600"


def always(origins: frozenset[str]) -> list[tuple[str, str]]:
    """Headers of every answer, whoever asked."""
    return [("Vary", "Origin")] if origins else []


def install(app: Flask, origins: frozenset[str]) -> None:
    """Let pages of these origins ask; keys come in a header, so that no cookie is ever allowed along.

    Must be installed before the check of keys: a browser asks first, and without one, whether it may.
    """
    if not origins:
        return

    def allowed() -> str | None:
        origin = request.headers.get("Origin")
        if origin is None or not origins & {origin, _ANY}:
            return None
        return _ANY if _ANY in origins else origin

    @app.before_request
    def preflight() -> Response | None:
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asks or allowed() is None:
            return None
        answer = Response(status=204)
        answer.headers["Access-Control-Allow-Methods"] = _METHODS
        answer.headers["Access-Control-Allow-Headers"] = _HEADERS
        answer.headers["Access-Control-Max-Age"] = MAX_AGE_S
        return answer

    @app.after_request
    def allow(answer: Response) -> Response:
        answer.vary.add("Origin")
        if (origin := allowed()) is not None:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Expose-Headers"] = _EXPOSED
        return answer
