"""The two requests that clients send most, polls and creates in the background, answered ahead of Flask.

Its routing, contexts and hooks cost a poll twice what the look at Postgres does.
"""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.http import generate_etag

from app import auth, cors, parsing, rate_limits, request_ids
from app.rights import NEEDS
from core import ids
from core.bootstrap import Core
from core.tenants.keys import Caller
from core.tenants.rights import Right

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH = "/v1/responses"
_READ, _WRITE = NEEDS["GET", f"{_PATH}/<response_id>"], NEEDS["POST", _PATH]
# With any of these a request asks for more, and is Flask's.
_MORE = (
    *("HTTP_ORIGIN", "HTTP_OPENAI_PROJECT", "HTTP_IF_NONE_MATCH", "HTTP_PREFER", "HTTP_IDEMPOTENCY_KEY"),
    *("HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_UPGRADE"),
)
_BODY = 64 * 1024  # bytes; larger ones may be on their way for long, and cost more than Flask does
# How long a client does well to wait between two polls; SDKs that know the header honour it.
POLL_AFTER_MS = "1000"

Headers = list[tuple[str, str]]
DirectAnswer = tuple[bytes, Headers]


def polled(document: str, *, ended: bool) -> DirectAnswer:
    """The answer to a poll."""
    body = document.encode()
    more = [] if ended else [("openai-poll-after-ms", POLL_AFTER_MS)]
    return body, [("Content-Type", "application/json"), ("ETag", f'"{generate_etag(body)}"'), *more]


class Direct:
    """Answers the plainest of requests as the routes would; everything else is the application's.

    Whatever cannot be answered with a document, errors too, is left to it. A Host that is no name, which Flask refuses,
    is not looked at.
    """

    def __init__(self, app: Flask, core: Core) -> None:
        self._app = app
        self._core = core
        self._most = min(_BODY, core.settings.body_limit_bytes)
        self._always = cors.always(core.settings.allowed_origins)
        self._others: WSGIApplication = app.wsgi_app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """A WSGI application."""
        try:
            answer = self._answer(environ)
        except Exception as error:  # noqa: BLE001  whatever it is, the application's handlers have the answer
            return self._failed(environ, start_response, error)
        if answer is None:
            return self._others(environ, start_response)
        body, headers = answer
        length, named = ("Content-Length", str(len(body))), (request_ids.HEADER, request_ids.new())
        start_response("200 OK", [*headers, length, *self._always, named])
        return [body]

    def _answer(self, environ: "WSGIEnvironment") -> DirectAnswer | None:
        """The answer, where this is one of the requests that are answered here."""
        path: str = environ["PATH_INFO"]
        if not path.startswith(_PATH) or environ.get("QUERY_STRING") or any(name in environ for name in _MORE):
            return None
        if environ["REQUEST_METHOD"] == "GET" and path.startswith(f"{_PATH}/"):
            return self._polled(environ, path[len(_PATH) + 1 :])
        if environ["REQUEST_METHOD"] == "POST" and path == _PATH:
            return self._created(environ)
        return None

    def _caller(self, environ: "WSGIEnvironment", right: Right) -> Caller | None:
        """Who asks, where the key may do this."""
        caller = self._core.keys.caller(auth.bearer(environ.get("HTTP_AUTHORIZATION")))
        return caller if right in caller.rights else None

    def _polled(self, environ: "WSGIEnvironment", response_id: str) -> DirectAnswer | None:
        if not ids.is_response_id(response_id) or (caller := self._caller(environ, _READ)) is None:
            return None
        document, ended = self._core.responses.get(caller, response_id)
        return polled(document, ended=ended)

    def _created(self, environ: "WSGIEnvironment") -> DirectAnswer | None:
        length = environ.get("CONTENT_LENGTH", "")
        if environ.get("CONTENT_TYPE") != "application/json" or not length.isdecimal() or int(length) > self._most:
            return None
        if (caller := self._caller(environ, _WRITE)) is None:
            return None
        with self._core.waiting.upload():
            raw = environ["wsgi.input"].read(int(length))
        environ["wsgi.input"] = io.BytesIO(raw)  # for the application, should it be its request after all
        if len(raw) < int(length):
            return None
        body = parsing.decoded(raw)
        if body.get("background") is not True or body.get("stream"):
            return None
        asked = parsing.create_response(body, strict=self._core.settings.strict_params)
        created = self._core.creation.create(caller, asked)
        document = created.document or self._core.responses.get(caller, created.id)[0]
        left = rate_limits.headers(created.allowance) if created.allowance else {}
        return document.encode(), [("Content-Type", "application/json"), *left.items()]

    def _failed(self, environ: "WSGIEnvironment", start_response: "StartResponse", error: Exception) -> Iterable[bytes]:
        with self._app.request_context(environ):
            request_ids.start()
            answer = self._app.finalize_request(self._app.handle_user_exception(error))
            return answer(environ, start_response)
