"""Bearer keys: before every route under /v1, who is calling."""

from flask import Flask, g, request

from core import errors
from core.keys import Caller, Keys


def install(app: Flask, keys: Keys) -> None:
    """Let nothing under /v1 be reached without a good key."""

    @app.before_request
    def authenticate() -> None:
        if request.path == "/v1" or request.path.startswith("/v1/"):
            g.caller = keys.caller(_bearer(request.headers.get("Authorization")))


def _bearer(header: str | None) -> str:
    if header is None:
        raise errors.InvalidKey("You didn't provide an API key: send it as `Authorization: Bearer <key>`.")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise errors.InvalidKey("The Authorization header must read `Bearer <key>`.")
    return secret.strip()


def caller() -> Caller:
    """Who is calling; routes under /v1 only."""
    found: Caller = g.caller
    return found
