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
        self._connection.close()

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The object a POST is answered with.

        Raises:
            RuntimeError: the status is another than 200.
        """
        self._connection.request("POST", f"/v1{path}", orjson.dumps(body or {}), self._headers)
        answer = self._connection.getresponse()
        read = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"POST {path} was answered {answer.status}: {read[:300]!r}")
        found: dict[str, Any] = orjson.loads(read)
        return found
