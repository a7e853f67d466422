"""Router for the two busiest endpoints: for a poll, Flask takes twice as much time as the SQL statement does."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.endpoints.table import TABLE
from app.http import Endpoint
from core import ids

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_PATH = "/v1/responses"
_ENDPOINTS = {(endpoint.method, endpoint.rule): endpoint for endpoint in TABLE}
_CREATE_ENDPOINT = _ENDPOINTS["POST", _PATH]
_POLL_ENDPOINT = _ENDPOINTS["GET", f"{_PATH}/<response_id>"]


def match(environ: "WSGIEnvironment") -> tuple[Endpoint, Mapping[str, str]] | None:
    """The endpoint of a request and the values of its placeholders; None if Flask must route the request.

    Paths that Flask interprets differently (percent escapes, a trailing slash) are routed by Flask.
    """
    path: str = environ["PATH_INFO"]
    method: str = environ["REQUEST_METHOD"]
    if method == "GET" and path.startswith(f"{_PATH}/"):
        response_id = path[len(_PATH) + 1 :]
        return (_POLL_ENDPOINT, {"response_id": response_id}) if ids.is_response_id(response_id) else None
    return (_CREATE_ENDPOINT, {}) if method == "POST" and path == _PATH else None
