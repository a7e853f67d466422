"""A client of the HTTP API in the test's own process, with access to what requests stored in Postgres."""

import json
from pathlib import Path
from typing import Any

import psycopg
from openai.types.responses import Response
from openresponses_types.types import ResponseResource
from werkzeug.test import TestResponse

from app import create_app
from core import jsonio
from core.bootstrap import Core
from core.runs.attempts import Attempt
from core.runs.ends import Outcome
from core.tenants import rights
from core.wire import response, transcript
from tests.harness.engine import COMPLETED, claim
from worker.models.protocol import TextDelta, ToolCall
from worker.run.output import OutputWriter
from worker.run.run import Run

MODELS = """
[models.scripted]
base_url = "http://127.0.0.1:9/v1"
[models."meta/llama-3"]
base_url = "http://127.0.0.1:9/v1"
"""

GOOD: dict[str, Any] = {"model": "scripted", "input": "hi", "background": True}

# Internal words of ours, of libraries or of Python that must not appear in error messages.
_INSIDE = ("pydantic", "psycopg", "werkzeug", "traceback", "dictionary", "nonetype", "instance of", "after validation")


class Api:
    """A client of the whole application on a real core."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.app = create_app(core)
        self.client = self.app.test_client()
        self.key = core.keys.create()
        self.admin = core.keys.create(rights.ALL)
        assert core.settings.database_url is not None
        self._url = core.settings.database_url.get_secret_value()

    def ask(self, method: str, path: str, *, key: str | None = None, **request: Any) -> TestResponse:
        """Send one request, with the key of the project `default` unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.key}"} | request.pop("headers", {})
        return self.client.open(path, method=method, headers=headers, **request)

    def post(self, body: bytes, **request: Any) -> TestResponse:
        """POST exactly this body to `/v1/responses`."""
        return self.ask("POST", "/v1/responses", data=body, **{"content_type": "application/json", **request})

    def create(self, *, key: str | None = None, headers: dict[str, str] | None = None, **changes: Any) -> TestResponse:
        """Create a response from a valid request with these changes."""
        return self.post(json.dumps(GOOD | changes).encode(), key=key, headers=headers or {})

    def created(self, **changes: Any) -> dict[str, Any]:
        """Create a response, which must succeed; return its document."""
        answer = self.create(**changes)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def ended(
        self, text: str | None = "Hello", *calls: ToolCall, key: str | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Create a response and run it to its end as a worker does.

        Args:
            text: the model's output text; None for none.
            calls: tool calls after the text.

        Returns:
            The final document.
        """
        response_id = self.created(key=key, **changes)["id"]
        self.run(response_id, text, *calls)
        return self.get(response_id, key=key).get_json()

    def run(
        self, response_id: str, text: str | None = "Hello", *calls: ToolCall, outcome: Outcome = COMPLETED
    ) -> Attempt:
        """Run a queued response to `outcome` as a worker does; return the attempt that the worker claimed."""
        attempt = claim(self.core, response_id)
        log = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
        answer = OutputWriter(log, self.core.seals)
        log.emit([transcript.lifecycle(response.running(jsonio.loads(attempt.document), []))])
        if text is not None:
            answer.add(TextDelta(text))
        for call in calls:
            answer.add(call)
        assert self.core.attempts.end(attempt, outcome, log.freeze())
        return attempt

    def get(self, response_id: str, **request: Any) -> TestResponse:
        return self.ask("GET", f"/v1/responses/{response_id}", **request)

    def delete(self, response_id: str, **request: Any) -> TestResponse:
        return self.ask("DELETE", f"/v1/responses/{response_id}", **request)

    def items(self, response_id: str, *, key: str | None = None, **query: Any) -> TestResponse:
        """List the input items of a response, in context order unless the query says otherwise."""
        query = {"order": "asc", "limit": 100} | query
        return self.ask("GET", f"/v1/responses/{response_id}/input_items", key=key, query_string=query)

    def listed(self, *, key: str | None = None, **query: Any) -> TestResponse:
        return self.ask("GET", "/v1/responses", key=key, query_string=query)

    def cancel(self, response_id: str, **request: Any) -> TestResponse:
        return self.ask("POST", f"/v1/responses/{response_id}/cancel", **request)

    def stored(self) -> tuple[Any, ...]:
        """The number of rows in each table that a create writes."""
        counts = ", ".join(
            f"(select count(*) from {table})"
            for table in (
                "responses",
                "response_events",
                "attempts",
                "projects",
                "items",
                "idempotency_keys",
                "prompts",
                "api_keys",
                "api_key_projects",
            )
        )
        return self.sql(f"select {counts}")[0]

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement in Postgres; return its rows."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


def error_of(
    answer: TestResponse, status: int, code: str | None, param: str | None = None, kind: str = "invalid_request_error"
) -> str:
    """Assert that a reply is this error, in the contract's envelope and without internal words; return its message."""
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
    """Write a configuration file with two models whose server does not exist; no test calls it."""
    path = folder / "backburner.toml"
    path.write_text(MODELS)
    return path


# The keys of Open Responses, and two more that OpenAI sends.
KEYS = frozenset(ResponseResource.model_fields) | {"prompt_cache_retention", "user"}


def checked(answer: TestResponse, status: str, *, open_responses: bool = True) -> dict[str, Any]:
    """Assert that both published schemas accept a reply's document; return the document.

    Args:
        open_responses: whether Open Responses has every field in it; of tools, it knows functions only.
    """
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert body.keys() - {"prompt_cache_options", "prompt"} == KEYS
    assert body["status"] == status
    Response.model_validate_json(answer.data, strict=True)
    if open_responses:
        ResponseResource.model_validate_json(answer.data, strict=True)
    return body
