"""A client that sends sequential requests over a persistent connection, so that each request can be timed."""

import http.client
from typing import Any, Self

import orjson


class Client:
    """Client of the API of a deployment."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._connection.close()

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a POST, without a request body if `body` is None, and return the object in the response.

        Raises:
            RuntimeError: the status is not 200.
        """
        return self._send_for_object("POST", path, body)

    def get(self, path: str) -> dict[str, Any]:
        """Send a GET and return the object in the response. Raises the same errors as `post`."""
        return self._send_for_object("GET", path)

    def delete(self, path: str) -> dict[str, Any]:
        """Send a DELETE and return the object in the response. Raises the same errors as `post`."""
        return self._send_for_object("DELETE", path)

    def stream(self, path: str, body: dict[str, Any]) -> bytes:
        """Send a POST and return the complete body of the stream. Raises the same errors as `post`."""
        return self._send("POST", path, body)

    def _send_for_object(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        document: dict[str, Any] = orjson.loads(self._send(method, path, body))
        return document

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        data = None if body is None else orjson.dumps(body)
        self._connection.request(method, f"/v1{path}", data, self._headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {path} returned {response.status}: {content[:300]!r}")
        return content
