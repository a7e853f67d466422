"""A client of the HTTP API that runs in the process of the test and can read the rows in Postgres."""

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
from core.runs.attempt import Attempt
from core.runs.ends import Outcome
from core.tenants import rights
from core.wire import response, transcript
from tests.harness.engine import COMPLETED, claim
from worker.models.protocol import TextDelta, ToolCall
from worker.run.output import OutputWriter
from worker.run.run import Run

CONFIGURATION = """
[models.scripted]
base_url = "http://127.0.0.1:9/v1"
[models."meta/llama-3"]
base_url = "http://127.0.0.1:9/v1"
"""

VALID_REQUEST: dict[str, Any] = {"model": "scripted", "input": "hi", "background": True}

# Names of libraries and terms of Python that must not appear in error messages.
_INTERNAL_WORDS = (
    "pydantic",
    "psycopg",
    "werkzeug",
    "traceback",
    "dictionary",
    "nonetype",
    "instance of",
    "after validation",
)


class Api:
    """A client of the complete application, with a real core."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.app = create_app(core)
        self.client = self.app.test_client()
        self.key = core.keys.create()
        self.admin_key = core.keys.create(rights.ALL_RIGHTS)
        assert core.settings.database_url is not None
        self._database_url = core.settings.database_url.get_secret_value()

    def send_request(self, method: str, path: str, *, key: str | None = None, **request: Any) -> TestResponse:
        """Send one request, by default with the key of the project `default`.

        Args:
            request: arguments of `werkzeug.test.Client.open`.
        """
        headers = {"Authorization": f"Bearer {key or self.key}"} | request.pop("headers", {})
        return self.client.open(path, method=method, headers=headers, **request)

    def post_body(self, body: bytes, **request: Any) -> TestResponse:
        """POST the unchanged bytes to `/v1/responses`."""
        request.setdefault("content_type", "application/json")
        return self.send_request("POST", "/v1/responses", data=body, **request)

    def post_response(
        self, *, key: str | None = None, headers: dict[str, str] | None = None, **changes: Any
    ) -> TestResponse:
        """POST a valid request with the given changes to `/v1/responses`; return the answer."""
        return self.post_body(json.dumps(VALID_REQUEST | changes).encode(), key=key, headers=headers or {})

    def create_response(self, **changes: Any) -> dict[str, Any]:
        """Create a response from a valid request with the given changes; return its document."""
        answer = self.post_response(**changes)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def create_ended_response(
        self, text: str | None = "Hello", *calls: ToolCall, key: str | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Create a response and run it to its end, as a worker does.

        Args:
            text: the model's output text; None for an output without text.
            calls: tool calls after the text.

        Returns:
            The final document.
        """
        response_id = self.create_response(key=key, **changes)["id"]
        self.run_response(response_id, text, *calls)
        return self.get_response(response_id, key=key).get_json()

    def run_response(
        self, response_id: str, text: str | None = "Hello", *calls: ToolCall, outcome: Outcome = COMPLETED
    ) -> Attempt:
        """Run a queued response to `outcome`, as a worker does; return the attempt."""
        attempt = claim(self.core, response_id)
        run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
        writer = OutputWriter(run, self.core.seals, limit_bytes=self.core.settings.output_limit_bytes)
        run.emit([transcript.lifecycle(response.running_document(jsonio.loads(attempt.document), []))])
        if text is not None:
            writer.add(TextDelta(text))
        for call in calls:
            writer.add(call)
        assert self.core.attempts.end(attempt, outcome, run.freeze_batch())
        return attempt

    def get_response(self, response_id: str, **request: Any) -> TestResponse:
        return self.send_request("GET", f"/v1/responses/{response_id}", **request)

    def delete_response(self, response_id: str, **request: Any) -> TestResponse:
        return self.send_request("DELETE", f"/v1/responses/{response_id}", **request)

    def list_input_items(self, response_id: str, *, key: str | None = None, **query: Any) -> TestResponse:
        """List the input items of a response, by default in the order of the context."""
        query = {"order": "asc", "limit": 100} | query
        return self.send_request("GET", f"/v1/responses/{response_id}/input_items", key=key, query_string=query)

    def list_responses(self, *, key: str | None = None, **query: Any) -> TestResponse:
        return self.send_request("GET", "/v1/responses", key=key, query_string=query)

    def cancel_response(self, response_id: str, **request: Any) -> TestResponse:
        return self.send_request("POST", f"/v1/responses/{response_id}/cancel", **request)

    def count_rows(self) -> tuple[Any, ...]:
        """Count the rows of the tables in which requests store responses, prompts, projects and keys."""
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

    def count_responses(self) -> int:
        ((count,),) = self.sql("select count(*) from responses")
        return int(count)

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement in Postgres; return its rows."""
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


def check_error(
    answer: TestResponse,
    status: int,
    code: str | None,
    param: str | None = None,
    error_type: str = "invalid_request_error",
) -> str:
    """Assert that an answer is this error, in the API's format and without internal words; return its message."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    body = answer.get_json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert {name: body["error"][name] for name in ("type", "code", "param")} == {
        "type": error_type,
        "code": code,
        "param": param,
    }
    message = body["error"]["message"]
    assert message.endswith(".")
    assert len(message) < 400
    assert not [word for word in _INTERNAL_WORDS if word in message.lower()], message
    return str(message)


def write_configuration(folder: Path) -> Path:
    """Write a configuration file with two models; no server runs at their address, because no test needs one."""
    path = folder / "backburner.toml"
    path.write_text(CONFIGURATION)
    return path


# The keys of a document: those of Open Responses, and two additional keys of OpenAI's API.
DOCUMENT_KEYS = frozenset(ResponseResource.model_fields) | {"prompt_cache_retention", "user"}


def check_document(answer: TestResponse, status: str, *, open_responses: bool = True) -> dict[str, Any]:
    """Assert that an answer is a document that is valid for both published schemas; return the document.

    Args:
        open_responses: whether to check the schema of Open Responses; its only tools are functions.
    """
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert body.keys() - {"prompt_cache_options", "prompt"} == DOCUMENT_KEYS
    assert body["status"] == status
    Response.model_validate_json(answer.data, strict=True)
    if open_responses:
        ResponseResource.model_validate_json(answer.data, strict=True)
    return body
