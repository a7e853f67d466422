"""Simple HTTP requests with the standard library, and the URLs of servers on this machine."""

import http.client
import json
import urllib.error
import urllib.request

from core.jsonio import JsonObject

# No connection, an invalid URL, or an answer that is not HTTP or not JSON.
_FAILURES = (OSError, ValueError, http.client.HTTPException)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, because it would send the API key to another server."""

    def redirect_request(self, *_: object) -> None:
        return None


# Ignore the proxy variables in the environment, because they would also apply to 127.0.0.1.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_OPENER_WITH_KEY = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)


def origin(host: str, port: int) -> str:
    """The URL of a server on this machine that listens on `host`."""
    address = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def status(url: str, *, key: str | None = None, method: str = "GET") -> int | None:
    """The HTTP status of a request without a body; None if there is no response within 2 s."""
    opener = _OPENER_WITH_KEY if key else _OPENER
    try:
        answer = opener.open(_build_request(url, key, method), timeout=2)
    except urllib.error.HTTPError as error:
        answer = error
    except _FAILURES:
        return None
    with answer:
        return int(answer.status)


def fetch_object(url: str) -> JsonObject | None:
    """The JSON object at the URL; None if it is not answered with 200 and an object within 2 s."""
    try:
        with _OPENER.open(_build_request(url, None), timeout=2) as answer:
            document = json.load(answer)
    except _FAILURES:
        return None
    return document if isinstance(document, dict) else None


def call(method: str, url: str, *, key: str, body: JsonObject | None = None) -> JsonObject:
    """Send a request and return the JSON object in the response body, even for an error status.

    Raises:
        OSError: the server cannot be reached or does not answer within 30 s.
        ValueError: the body is not JSON.
    """
    request = _build_request(url, key, method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        answer = _OPENER_WITH_KEY.open(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        document: JsonObject = json.load(answer)
    return document


def _build_request(url: str, key: str | None, method: str = "GET") -> urllib.request.Request:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # The URL is a constant, or the catalog has checked that its scheme is HTTP(S).
    return urllib.request.Request(url, headers=headers, method=method)  # noqa: S310
