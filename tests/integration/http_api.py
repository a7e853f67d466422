"""The HTTP edge in a test's own process: requests in, answers out, and what they left in Postgres."""

import json
from pathlib import Path
from typing import Any

import psycopg
from werkzeug.test import TestResponse

from app import create_app
from core.bootstrap import Core

MODELS = """
[models.scripted]
base_url = "http://127.0.0.1:9/v1"
[models."meta/llama-3"]
base_url = "http://127.0.0.1:9/v1"
"""

GOOD: dict[str, Any] = {"model": "scripted", "input": "hi", "background": True}

# Words of ours, of libraries or of Python that no client should have to read.
_INSIDE = ("pydantic", "psycopg", "werkzeug", "traceback", "dictionary", "nonetype", "instance of", "after validation")


class Api:
    """A client of the whole application over a real core."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.app = create_app(core)
        self.client = self.app.test_client()
        self.key = core.keys.create()
        assert core.settings.database_url is not None
        self._url = core.settings.database_url.get_secret_value()

    def ask(self, method: str, path: str, *, key: str | None = None, **request: Any) -> TestResponse:
        """One request, with the key of the project `default` unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.key}"} | request.pop("headers", {})
        return self.client.open(path, method=method, headers=headers, **request)

    def post(self, body: bytes, **request: Any) -> TestResponse:
        """Create from these very bytes."""
        return self.ask("POST", "/v1/responses", data=body, **{"content_type": "application/json", **request})

    def create(self, *, key: str | None = None, **changes: Any) -> TestResponse:
        """Create from a good request with these changes."""
        return self.post(json.dumps(GOOD | changes).encode(), key=key)

    def created(self, **changes: Any) -> dict[str, Any]:
        """The document of a create that must succeed."""
        answer = self.create(**changes)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def get(self, response_id: str, **request: Any) -> TestResponse:
        return self.ask("GET", f"/v1/responses/{response_id}", **request)

    def cancel(self, response_id: str, **request: Any) -> TestResponse:
        return self.ask("POST", f"/v1/responses/{response_id}/cancel", **request)

    def stored(self) -> tuple[Any, ...]:
        """How many rows there are in all that a create writes."""
        counts = ", ".join(
            f"(select count(*) from {table})" for table in ("responses", "response_events", "attempts", "projects")
        )
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute(f"select {counts}").fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row


def error_of(
    answer: TestResponse, status: int, code: str | None, param: str | None = None, kind: str = "invalid_request_error"
) -> str:
    """Assert that an answer is this error, in the contract's envelope and in words a person can use; its message."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    body = answer.get_json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert {name: body["error"][name] for name in ("type", "code", "param")} == {
        "type": kind,
        "code": code,
        "param": param,
    }
    message = body["error"]["message"]
    assert message.endswith(".")
    assert len(message) < 400
    assert not [word for word in _INSIDE if word in message.lower()], message
    return str(message)


def configuration(folder: Path) -> Path:
    """A configuration file with two models that nobody will be asked for."""
    path = folder / "backburner.toml"
    path.write_text(MODELS)
    return path
