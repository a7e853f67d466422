"""A client for one request after the other over a kept connection, where the time of each matters."""

import http.client
from typing import Any, Self

import orjson


class Client:
    """Calls the API of a deployment."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call makes another."""
        self._connection.close()

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The object a POST is answered with, which has no body where none is given.

        Raises:
            RuntimeError: the status is another than 200.
        """
        return self._object("POST", path, body)

    def get(self, path: str) -> dict[str, Any]:
        """The object a GET is answered with; raises as `post` does."""
        return self._object("GET", path)

    def delete(self, path: str) -> dict[str, Any]:
        """The object a DELETE is answered with; raises as `post` does."""
        return self._object("DELETE", path)

    def stream(self, path: str, body: dict[str, Any]) -> bytes:
        """All that a POST is answered with, until its end; raises as `post` does."""
        return self._call("POST", path, body)

    def _object(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self._call(method, path, body))
        return found

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        data = None if body is None else orjson.dumps(body)
        self._connection.request(method, f"/v1{path}", data, self._headers)
        answer = self._connection.getresponse()
        read = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {read[:300]!r}")
        return read
