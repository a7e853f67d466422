"""Random requests for every operation of the OpenAPI document, sent to a real API process with a worker."""

from typing import Any

import openai
import pytest
import schemathesis

from core import ids
from tests import fuzz
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

EXAMPLE_COUNT = 150  # random requests per operation


def request_bodies(models: ModelServer) -> dict[str, dict[str, str]]:
    """Bodies of create requests, by the status that their responses have when the random requests begin."""
    long_script = models.script(tokens=100, delay_s=1)
    return {
        "queued": {"model": "absent", "input": "Nobody serves this."},
        "in_progress": {"model": "scripted", "input": long_script},
        "completed": {"model": "scripted", "input": "Hello."},
        "incomplete": {"model": "scripted", "input": models.script(tokens=2, finish="length")},
        "failed": {"model": "scripted", "input": models.script(status=400)},
        "cancelled": {"model": "scripted", "input": long_script},
    }


@pytest.mark.long
def test_real_processes_answer_every_request_as_documented_and_never_with_5xx(
    stack: Stack, models: ModelServer
) -> None:
    stack.up()
    with stack.client() as client:

        def create_response(status: str) -> str:
            response = client.responses.create(**request_bodies(models)[status], background=True)
            if status == "cancelled":
                client.responses.cancel(response.id)
            until(lambda: _has_status(client, response.id, status))
            return response.id

        def create_prompt() -> str:
            body = {"name": ids.new_id("name"), "template": {"instructions": "Be brief."}}
            return str(client.post("/prompts", body=body, cast_to=dict[str, Any])["id"])

        def create_key() -> tuple[str, str]:
            project = client.get("/projects?order=asc", cast_to=dict[str, Any])["data"][0]
            key = client.post(f"/projects/{project['id']}/api_keys", body={}, cast_to=dict[str, Any])
            return project["id"], key["id"]

        schema = schemathesis.openapi.from_url(
            f"http://127.0.0.1:{stack.port}/openapi.json", config=fuzz.config(stack.key, examples=EXAMPLE_COUNT)
        )
        report = fuzz.run(schema, fuzz.Targets(create_response, create_prompt, create_key, foreground=True))

    print(report)
    assert report.failures == {}
    assert report.request_count > 2000


def _has_status(client: openai.OpenAI, response_id: str, status: str) -> bool:
    current_status = client.responses.retrieve(response_id).status
    # A response for an unreachable model server is `in_progress` during each attempt.
    return current_status == status or (status == "queued" and current_status == "in_progress")
