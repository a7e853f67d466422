"""Sends requests that Schemathesis generates from the OpenAPI document, and checks every reply."""

import json
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis import engine, hooks
from schemathesis.engine.events import EngineEvent, FatalError, NonFatalError, ScenarioFinished

from core.wire.status import Status, is_terminal

MODEL = "scripted"
# Checks of every reply: no reply is a 5xx, every reply is documented, and invalid requests are rejected.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "envelope_conformance",
)
# Labels of operations.
CREATE = "POST /v1/responses"
LIST = "GET /v1/responses"
GET = "GET /v1/responses/{response_id}"
GET_MODEL = "GET /v1/models/{name}"
DELETE = "DELETE /v1/responses/{response_id}"
DELETE_PROMPT = "DELETE /v1/prompts/{prompt_id}"
DELETE_KEY = "DELETE /v1/projects/{project_id}/api_keys/{key_id}"
LIST_PROMPTS = "GET /v1/prompts"
LIST_PROJECTS = "GET /v1/projects"
LIST_KEYS = "GET /v1/projects/{project_id}/api_keys"


@schemathesis.check
def envelope_conformance(_context: Any, response: Any, _case: Any) -> None:
    """Assert that a reply has a request ID and that an error has the four keys of the error object."""
    assert response.headers["x-request-id"][0].startswith("req_")
    if response.status_code >= 400:
        body = json.loads(response.content)
        assert body.keys() == {"error"}
        assert body["error"].keys() == {"message", "type", "param", "code"}
        assert body["error"]["message"]


@dataclass
class Report:
    """The number of requests by operation and status, and the failed checks.

    Args:
        status_counts: the number of requests by the label of the operation and the status; status 0 is a lost reply.
        failures: descriptions of failed checks and errors, by title.
    """

    status_counts: dict[str, Counter[int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def request_count(self) -> int:
        return sum(statuses.total() for statuses in self.status_counts.values())

    def __str__(self) -> str:
        lines = [
            f"  {label}: " + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
            for label, statuses in sorted(self.status_counts.items())
        ]
        return "\n".join([f"{self.request_count} requests", *lines])

    def add(self, event: EngineEvent) -> None:
        """Add the replies and failures that an event of the Schemathesis engine reports."""
        if isinstance(event, NonFatalError):
            self.failures[str(event.label)] = repr(event.value)
        if isinstance(event, FatalError):
            self.failures["the run"] = repr(event.exception)
        if not isinstance(event, ScenarioFinished):
            return
        statuses = self.status_counts.setdefault(str(event.label), Counter())
        for case_id, interaction in event.recorder.interactions.items():
            statuses[interaction.response.status_code if interaction.response else 0] += 1
            for check in event.recorder.checks.get(case_id, ()):
                if failure_info := check.failure_info:
                    title = f"{event.label}: {failure_info.failure.title}"
                    self.failures[title] = f"{failure_info.failure.message}\n{failure_info.code_sample}"


class Targets:
    """Replaces generated IDs with the IDs of existing objects, including two responses of every status.

    Args:
        make_response: creates a response with the given status; returns its ID.
        make_prompt: creates a prompt without variables and without a model; returns its ID.
        make_key: creates a key; returns the ID of its project and its own ID.
        foreground: whether create requests may wait for the end of their response.
    """

    def __init__(
        self,
        make_response: Callable[[str], str],
        make_prompt: Callable[[], str],
        make_key: Callable[[], tuple[str, str]],
        *,
        foreground: bool,
    ) -> None:
        self._make_response = make_response
        self._make_key = make_key
        self._project, self._key = make_key()
        self._make_prompt = make_prompt
        self._prompt = make_prompt()
        self._foreground = foreground
        self._responses = [(status, make_response(status)) for status in [*Status, *Status]]

    def insert_ids(self, case: Any) -> None:
        """Replace most of the generated IDs in a case; equal cases get the same IDs, so that a run is reproducible."""
        parameters = case.path_parameters
        if isinstance(parameters, dict) and "response_id" in parameters:
            parameters["response_id"] = self._response_id(parameters["response_id"])
        if isinstance(parameters, dict) and zlib.crc32(repr(parameters).encode()) % 8:
            if "prompt_id" in parameters:
                parameters["prompt_id"] = self._prompt
            if "version" in parameters:
                parameters["version"] = "1"
            if "project_id" in parameters:
                parameters["project_id"] = self._project
            if "key_id" in parameters:
                parameters["key_id"] = self._key
        if case.operation.label == GET_MODEL and zlib.crc32(repr(parameters).encode()) % 2:
            parameters["name"] = MODEL
        if isinstance(case.query, dict) and isinstance(case.query.get("after"), str):
            list_members = {LIST_PROMPTS: self._prompt, LIST_PROJECTS: self._project, LIST_KEYS: self._key}
            case.query["after"] = list_members.get(case.operation.label) or self._response_id(case.query["after"])
        if case.operation.label == GET and isinstance(case.query, dict) and _is_true(case.query.get("stream")):
            # The stream of a response that no worker runs would not end.
            parameters["response_id"] = next(
                response_id for status, response_id in self._responses if is_terminal(status)
            )
        if "Prefer" in case.headers:
            # The wait in the example of the OpenAPI document would take too long.
            case.headers["Prefer"] = case.headers["Prefer"].replace("wait=10", "wait=1")
        if case.operation.label == CREATE and isinstance(case.body, dict):
            should_be_valid = case.meta is not None and case.meta.generation.mode.is_positive
            self._complete_create(case.body, should_be_valid=should_be_valid)

    def _complete_create(self, body: dict[str, Any], *, should_be_valid: bool) -> None:
        """Replace the IDs in the body of a create request; if necessary, change it so that it ends without a worker."""
        if isinstance(body.get("model"), str) and len(body["model"]) <= 256:
            body["model"] = MODEL
            body.setdefault("input", "Hello.")
        if isinstance(body.get("prompt"), dict) and isinstance(body["prompt"].get("id"), str):
            body["prompt"]["id"] = self._prompt
        if isinstance(body.get("previous_response_id"), str):
            body["previous_response_id"] = self._response_id(body["previous_response_id"])
        if not self._foreground and body.get("background") in (None, False):
            body["background"] = True
        if not self._foreground and body.get("stream") is True:
            body["stream"] = False  # without a worker, the stream would not end
        if should_be_valid and zlib.crc32(json.dumps(body).encode()) % 4:
            # These parameters require other parameters; most random requests that contain them are therefore rejected.
            for name in ("background_options", "previous_response_id", "prompt", "stream_options", "tool_choice"):
                body.pop(name, None)

    def _response_id(self, generated_id: Any) -> Any:
        """The ID of an existing response, or in one of eight cases the generated ID, to test unknown IDs too."""
        checksum = zlib.crc32(repr(generated_id).encode())
        if checksum % 8 == 0:
            return generated_id
        _, response_id = self._responses[checksum // 8 % len(self._responses)]
        return response_id

    def replace_deleted(self, case: Any) -> None:
        """Create a replacement for the response, prompt or key that a case has deleted."""
        if case.operation.label == DELETE_PROMPT:
            self._prompt = self._make_prompt()
            return
        if case.operation.label == DELETE_KEY:
            self._project, self._key = self._make_key()
            return
        deleted_id = case.path_parameters["response_id"]
        for index, (status, response_id) in enumerate(self._responses):
            if response_id == deleted_id:
                self._responses[index] = (status, self._make_response(status))


def _is_true(value: Any) -> bool:
    """Whether the API interprets this value in a query string as true."""
    return str(value).lower() in {"true", "1"}


def config(key: str, *, examples: int, seed: int = 1) -> schemathesis.Config:
    """The configuration of a reproducible run: boundary values, and up to `examples` random cases per operation."""
    return schemathesis.Config.from_dict(
        {
            "seed": seed,
            "headers": {"Authorization": f"Bearer {key}"},
            "continue-on-failure": True,
            "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
            "generation": {"max-examples": examples, "database": "none", "deterministic": True, "no-shrink": True},
            # No value of `metadata[…]` in a query string is invalid, because every value is a string.
            "operations": [{"include-name": LIST, "checks": {"negative_data_rejection": {"enabled": False}}}],
            "phases": {
                "stateful": {"enabled": False},
                # IDs from earlier replies would make each run different; `Targets` supplies IDs instead.
                "coverage": {"extra-data-sources": {"responses": False}},
                "fuzzing": {"extra-data-sources": {"responses": False}},
            },
        }
    )


def run(schema: Any, targets: Targets) -> Report:
    """Send every case and check every reply; return the report."""

    @schemathesis.hook("before_call")
    def insert_ids(_context: Any, case: Any, _kwargs: Any) -> None:
        targets.insert_ids(case)

    @schemathesis.hook("after_call")
    def replace_deleted(_context: Any, case: Any, response: Any) -> None:
        if case.operation.label in {DELETE, DELETE_PROMPT, DELETE_KEY} and response.status_code == 200:
            targets.replace_deleted(case)

    report = Report()
    try:
        for event in engine.from_schema(schema).execute():
            report.add(event)
    finally:
        hooks.unregister(insert_ids)
        hooks.unregister(replace_deleted)
    return report
