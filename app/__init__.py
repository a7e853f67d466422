"""The HTTP API: each endpoint parses a request, calls one use case and renders the answer."""

from collections.abc import Callable

import flask
from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from app.auth import authenticate
from app.edge import REQUEST_ID, Edge, respond
from app.endpoints.table import TABLE
from app.errors import answer_error
from app.http import Answer, Endpoint, Exchange
from core.bootstrap import Core


def create_app(core: Core) -> Flask:
    """Create the application: Flask with every endpoint of the table, wrapped in the WSGI edge."""
    app = Flask("backburner", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # merging would answer `//` with a redirect page
    for endpoint in TABLE:
        name = f"{endpoint.method} {endpoint.rule}".replace(".", "_")
        app.add_url_rule(endpoint.rule, name, _flask_view(core, endpoint), methods=[endpoint.method])
    _handle_unmatched_requests(app, core)
    wsgi = app.wsgi_app
    if proxy_count := core.settings.trusted_proxies:
        # By default, X-Forwarded-* headers are ignored, because clients can forge them.
        wsgi = ProxyFix(wsgi, x_for=proxy_count, x_proto=proxy_count, x_host=proxy_count, x_prefix=proxy_count)
    app.wsgi_app = Edge(wsgi, core)  # type: ignore[method-assign]
    return app


def _flask_view(core: Core, endpoint: Endpoint) -> Callable[..., flask.Response]:
    def view(**values: str) -> flask.Response:
        return _flask_response(respond(endpoint, _current_exchange(core, values)))

    return view


def _handle_unmatched_requests(app: Flask, core: Core) -> None:
    """Handle requests without an endpoint: unknown paths, other methods, OPTIONS. Under /v1, they also need a key."""
    rules = {endpoint.rule for endpoint in TABLE}

    @app.before_request
    def authenticate_unmatched_request() -> None:
        in_v1 = request.path == "/v1" or request.path.startswith("/v1/")
        if in_v1 and (request.url_rule is None or request.method == "OPTIONS"):
            authenticate(_current_exchange(core, {}))
        elif in_v1 and request.url_rule is not None and request.url_rule.rule not in rules:
            raise LookupError(
                f"{request.url_rule.rule} is not in the table of endpoints, so its right is never checked"
            )

    @app.errorhandler(Exception)
    def answer_exception(error: Exception) -> flask.Response:
        return _flask_response(answer_error(error, _current_exchange(core, {})))


def _current_exchange(core: Core, values: dict[str, str]) -> Exchange:
    return Exchange(request.environ, core, values, request.environ[REQUEST_ID])


def _flask_response(answer: Answer) -> flask.Response:
    return flask.Response(answer.body, answer.status, answer.headers, content_type=answer.content_type)
