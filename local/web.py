"""Plain HTTP from the standard library, for asking servers on this machine how they are."""

import json
import urllib.error
import urllib.request
from typing import Any

# No proxy: the environment may name one, and it would be asked for 127.0.0.1.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def origin(host: str, port: int) -> str:
    """The URL at which a server that listens on `host` is reached from this machine."""
    near = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"


def status(url: str, *, key: str | None = None) -> int | None:
    """The HTTP status a GET is answered with; None where nobody answers in time."""
    try:
        with _OPENER.open(_request(url, key), timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, ValueError):
        return None


def call(method: str, url: str, *, key: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object a call is answered with, that of an error status too.

    Raises:
        OSError: nobody answers.
        ValueError: the answer is not JSON.
    """
    request = _request(url, key, method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with _OPENER.open(request, timeout=30) as answer:
            parsed: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            parsed = json.load(error)
    return parsed


def _request(url: str, key: str | None, method: str = "GET") -> urllib.request.Request:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # Ours, or one the catalog has checked to be http.
    return urllib.request.Request(url, headers=headers, method=method)  # noqa: S310
