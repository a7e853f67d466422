"""Schemathesis over the OpenAPI document: the requests to send, and what must hold for every reply."""

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
# Requests that the document rejects are rejected; each reply is documented; no reply is a 5xx.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "the_envelope",
)
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
def the_envelope(_context: Any, response: Any, _case: Any) -> None:
    """Every reply has a request ID, and every error is the envelope with its four keys."""
    assert response.headers["x-request-id"][0].startswith("req_")
    if response.status_code >= 400:
        body = json.loads(response.content)
        assert body.keys() == {"error"}
        assert body["error"].keys() == {"message", "type", "param", "code"}
        assert body["error"]["message"]


@dataclass
class Report:
    """The number of requests by operation and status, and the failed checks."""

    cases: dict[str, Counter[int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(statuses.total() for statuses in self.cases.values())

    def __str__(self) -> str:
        each = [
            f"  {label}: " + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
            for label, statuses in sorted(self.cases.items())
        ]
        return "\n".join([f"{self.total} cases", *each])

    def add(self, event: EngineEvent) -> None:
        """Count what an engine event reports."""
        if isinstance(event, NonFatalError):
            self.failures[str(event.label)] = repr(event.value)
        if isinstance(event, FatalError):
            self.failures["the run"] = repr(event.exception)
        if not isinstance(event, ScenarioFinished):
            return
        statuses = self.cases.setdefault(str(event.label), Counter())
        for case_id, interaction in event.recorder.interactions.items():
            statuses[interaction.response.status_code if interaction.response else 0] += 1
            for check in event.recorder.checks.get(case_id, ()):
                if found := check.failure_info:
                    title = f"{event.label}: {found.failure.title}"
                    self.failures[title] = f"{found.failure.message}\n{found.code_sample}"


class Targets:
    """Makes arbitrary requests meaningful: they name an existing model, and existing responses, two of every status.

    Args:
        make: creates a response with the given status; returns its ID.
        make_prompt: creates a prompt that needs no variables and names no model; returns its ID.
        make_key: creates a key of one project; returns the project's ID and the key's.
        foreground: whether a create may wait for its reply.
    """

    def __init__(
        self,
        make: Callable[[str], str],
        make_prompt: Callable[[], str],
        make_key: Callable[[], tuple[str, str]],
        *,
        foreground: bool,
    ) -> None:
        self._make = make
        self._make_key = make_key
        self._project, self._key = make_key()
        self._make_prompt = make_prompt
        self._prompt = make_prompt()
        self._foreground = foreground
        self._responses = [(status, make(status)) for status in [*Status, *Status]]

    def aim(self, case: Any) -> None:
        """Point a case at existing objects; the same case always gets the same ones."""
        parameters = case.path_parameters
        if isinstance(parameters, dict) and "response_id" in parameters:
            parameters["response_id"] = self._one_of(parameters["response_id"])
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
            there = {LIST_PROMPTS: self._prompt, LIST_PROJECTS: self._project, LIST_KEYS: self._key}
            case.query["after"] = there.get(case.operation.label) or self._one_of(case.query["after"])
        if case.operation.label == GET and isinstance(case.query, dict) and _true(case.query.get("stream")):
            # The stream of a response that no worker runs would not end.
            parameters["response_id"] = next(one for status, one in self._responses if is_terminal(status))
        if "Prefer" in case.headers:
            case.headers["Prefer"] = case.headers["Prefer"].replace("wait=10", "wait=1")  # the example in the document
        if case.operation.label == CREATE and isinstance(case.body, dict):
            self._aim_create(case.body, good=case.meta is not None and case.meta.generation.mode.is_positive)

    def _aim_create(self, body: dict[str, Any], *, good: bool) -> None:
        if isinstance(body.get("model"), str) and len(body["model"]) <= 256:
            body["model"] = MODEL
            body.setdefault("input", "Hello.")
        if isinstance(body.get("prompt"), dict) and isinstance(body["prompt"].get("id"), str):
            body["prompt"]["id"] = self._prompt
        if isinstance(body.get("previous_response_id"), str):
            body["previous_response_id"] = self._one_of(body["previous_response_id"])
        if not self._foreground and body.get("background") in (None, False):
            body["background"] = True
        if not self._foreground and body.get("stream") is True:
            body["stream"] = False  # the stream would not end where no worker runs the response
        if good and zlib.crc32(json.dumps(body).encode()) % 4:
            # Random requests seldom satisfy parameters that require another one.
            for name in ("background_options", "previous_response_id", "prompt", "stream_options", "tool_choice"):
                body.pop(name, None)

    def _one_of(self, made_up: Any) -> Any:
        """Replace seven of eight made-up IDs with the ID of a response."""
        chance = zlib.crc32(repr(made_up).encode())
        return made_up if chance % 8 == 0 else self._responses[chance // 8 % len(self._responses)][1]

    def replace(self, case: Any) -> None:
        """Create a replacement for the response, prompt or key that a case deleted."""
        if case.operation.label == DELETE_PROMPT:
            self._prompt = self._make_prompt()
            return
        if case.operation.label == DELETE_KEY:
            self._project, self._key = self._make_key()
            return
        gone = case.path_parameters["response_id"]
        for place, (status, response_id) in enumerate(self._responses):
            if response_id == gone:
                self._responses[place] = (status, self._make(status))


def _true(value: Any) -> bool:
    """Whether the API reads this value as true in a query string."""
    return str(value).lower() in {"true", "1"}


def config(key: str, *, examples: int, seed: int = 1) -> schemathesis.Config:
    """A reproducible run: the bounds of every parameter, then `examples` random cases per operation."""
    return schemathesis.Config.from_dict(
        {
            "seed": seed,
            "headers": {"Authorization": f"Bearer {key}"},
            "continue-on-failure": True,
            "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
            "generation": {"max-examples": examples, "database": "none", "deterministic": True, "no-shrink": True},
            # In a query string, any value of `metadata[…]` is a string and therefore valid.
            "operations": [{"include-name": LIST, "checks": {"negative_data_rejection": {"enabled": False}}}],
            "phases": {
                "stateful": {"enabled": False},
                # IDs from earlier replies differ from run to run; `Targets` supplies IDs.
                "coverage": {"extra-data-sources": {"responses": False}},
                "fuzzing": {"extra-data-sources": {"responses": False}},
            },
        }
    )


def run(schema: Any, targets: Targets) -> Report:
    """Send every case and check every reply."""

    @schemathesis.hook("before_call")
    def aim(_context: Any, case: Any, _kwargs: Any) -> None:
        targets.aim(case)

    @schemathesis.hook("after_call")
    def look(_context: Any, case: Any, response: Any) -> None:
        if case.operation.label in {DELETE, DELETE_PROMPT, DELETE_KEY} and response.status_code == 200:
            targets.replace(case)

    report = Report()
    try:
        for event in engine.from_schema(schema).execute():
            report.add(event)
    finally:
        hooks.unregister(aim)
        hooks.unregister(look)
    return report
