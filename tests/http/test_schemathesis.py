"""Tests every operation of the OpenAPI document with boundary values and with random requests."""

from functools import partial
from typing import Any

import pytest
import schemathesis

from core import ids
from tests import fuzz
from tests.harness.engine import register_worker
from tests.http.http_api import Api
from tests.http.statuses import move_to_status

EXAMPLES_PER_OPERATION = 10


def create_response_with_status(api: Api, status: str) -> str:
    """Create a response and move it to a status; return its ID."""
    register_worker(api.core, slots=10_000)  # renew the registration, because nothing is dispatched without free slots
    response_id = str(api.create_response()["id"])
    move_to_status(api, status, response_id)
    assert api.get_response(response_id).get_json()["status"] == status
    return response_id


def create_prompt(api: Api) -> str:
    """Create a prompt; return its ID."""
    body = {"name": ids.new_id("name"), "template": {"instructions": "Be brief."}}
    return str(api.send_request("POST", "/v1/prompts", json=body).get_json()["id"])


def create_key(api: Api) -> tuple[str, str]:
    """Create a key of the project `default`; return the IDs of the project and of the key."""
    project_id = api.core.keys.project("default")
    answer = api.send_request("POST", f"/v1/projects/{project_id}/api_keys", json={}, key=api.admin_key)
    return project_id, str(answer.get_json()["id"])


def test_random_requests_get_documented_answers_and_never_5xx(api: Api) -> None:
    schema = schemathesis.openapi.from_wsgi(
        "/openapi.json", api.app, config=fuzz.config(api.admin_key, examples=EXAMPLES_PER_OPERATION)
    )
    targets = fuzz.Targets(
        partial(create_response_with_status, api),
        partial(create_prompt, api),
        partial(create_key, api),
        foreground=False,
    )
    report = fuzz.run(schema, targets)

    print(report)
    assert report.failures == {}
    assert report.request_count > 300
    for label, statuses in report.status_counts.items():
        assert statuses.keys() & {200, 304}, label


@pytest.mark.parametrize(
    ("parameter", "value", "status"),
    [
        ("tool_choice", {"type": {}}, 400),
        ("tool_choice", {"type": "allowed_tools", "mode": "auto", "tools": [{"type": []}]}, 400),
        ("text", {"format": {"type": "json_object"}}, 200),
        ("input", [{"role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}], 200),
    ],
)
def test_a_request_that_once_got_a_wrong_status_gets_the_right_status(
    api: Api, parameter: str, value: Any, status: int
) -> None:
    assert api.post_response(**{parameter: value}).status_code == status
