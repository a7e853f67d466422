"""Schemathesis over the OpenAPI document: what it sends here, and what must hold of every answer."""

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
# What the document refuses is refused; whatever is answered, the document has it; nothing is answered with 5xx.
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
    """Every answer has an ID, and every error is the envelope with its four keys."""
    assert response.headers["x-request-id"][0].startswith("req_")
    if response.status_code >= 400:
        body = json.loads(response.content)
        assert body.keys() == {"error"}
        assert body["error"].keys() == {"message", "type", "param", "code"}
        assert body["error"]["message"]


@dataclass
class Report:
    """What was sent and what came of it."""

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
        """Count what an event tells of."""
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
    """Gives arbitrary requests a meaning: a model that exists, and responses that do, two of every status.

    Args:
        make: makes a response with a status; its ID.
        make_prompt: makes a prompt that needs no variables and names no model; its ID.
        make_key: makes a key of one project; the project's ID and the key's.
        foreground: whether a create may wait for its answer.
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
        """Point a case at what exists; one case always at the same place."""
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
            # A stream of a response that nobody runs would not end.
            parameters["response_id"] = next(one for status, one in self._responses if is_terminal(status))
        if "Prefer" in case.headers:
            case.headers["Prefer"] = case.headers["Prefer"].replace("wait=10", "wait=1")  # the document's example
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
            body["stream"] = False  # it would not end where nobody runs it
        if good and zlib.crc32(json.dumps(body).encode()) % 4:
            # What needs another parameter seldom finds it by chance.
            for name in ("background_options", "previous_response_id", "prompt", "stream_options", "tool_choice"):
                body.pop(name, None)

    def _one_of(self, made_up: Any) -> Any:
        """The ID of a response, for seven of eight that were made up."""
        chance = zlib.crc32(repr(made_up).encode())
        return made_up if chance % 8 == 0 else self._responses[chance // 8 % len(self._responses)][1]

    def replace(self, case: Any) -> None:
        """Make another response or prompt for one that a case has deleted."""
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
    """Whether the API takes this for true, once it stands in a query string."""
    return str(value).lower() in {"true", "1"}


def config(key: str, *, examples: int, seed: int = 1) -> schemathesis.Config:
    """The same run each time: every parameter's bounds, then so many examples of chance for each operation."""
    return schemathesis.Config.from_dict(
        {
            "seed": seed,
            "headers": {"Authorization": f"Bearer {key}"},
            "continue-on-failure": True,
            "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
            "generation": {"max-examples": examples, "database": "none", "deterministic": True, "no-shrink": True},
            # In a query string whatever stands in `metadata[…]` is a text, and so good.
            "operations": [{"include-name": LIST, "checks": {"negative_data_rejection": {"enabled": False}}}],
            "phases": {
                "stateful": {"enabled": False},
                # IDs of earlier answers differ from run to run; `Targets` has some.
                "coverage": {"extra-data-sources": {"responses": False}},
                "fuzzing": {"extra-data-sources": {"responses": False}},
            },
        }
    )


def run(schema: Any, targets: Targets) -> Report:
    """Send every case and check every answer."""

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
