"""Every operation of the OpenAPI document, sent to a real API process with a worker."""

from typing import Any

import openai
import pytest
import schemathesis

from core import ids
from tests import fuzz
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

EXAMPLES = 150


def scripts(models: ModelServer) -> dict[str, dict[str, str]]:
    """Requests by the status that their response reaches or stays in."""
    endless = models.script(tokens=100, delay_s=1)
    return {
        "queued": {"model": "absent", "input": "Nobody serves this."},
        "in_progress": {"model": "scripted", "input": endless},
        "completed": {"model": "scripted", "input": "Hello."},
        "incomplete": {"model": "scripted", "input": models.script(tokens=2, finish="length")},
        "failed": {"model": "scripted", "input": models.script(status=400)},
        "cancelled": {"model": "scripted", "input": endless},
    }


@pytest.mark.long
def test_whatever_is_sent_to_real_processes_is_answered_as_documented_and_never_with_5xx(
    stack: Stack, models: ModelServer
) -> None:
    stack.up()
    with stack.client() as client:

        def made(status: str) -> str:
            created = client.responses.create(**scripts(models)[status], background=True)
            if status == "cancelled":
                client.responses.cancel(created.id)
            until(lambda: _is(client, created.id, status))
            return created.id

        def made_prompt() -> str:
            body = {"name": ids.new("name"), "template": {"instructions": "Be brief."}}
            return str(client.post("/prompts", body=body, cast_to=dict[str, Any])["id"])

        def made_key() -> tuple[str, str]:
            project = client.get("/projects?order=asc", cast_to=dict[str, Any])["data"][0]
            made = client.post(f"/projects/{project['id']}/api_keys", body={}, cast_to=dict[str, Any])
            return project["id"], made["id"]

        schema = schemathesis.openapi.from_url(
            f"http://127.0.0.1:{stack.port}/openapi.json", config=fuzz.config(stack.key, examples=EXAMPLES)
        )
        report = fuzz.run(schema, fuzz.Targets(made, made_prompt, made_key, foreground=True))

    print(report)
    assert report.failures == {}
    assert report.total > 2000


def _is(client: openai.OpenAI, response_id: str, status: str) -> bool:
    found = client.responses.retrieve(response_id).status
    # A model whose server is unreachable is tried from time to time.
    return found == status or (status == "queued" and found == "in_progress")
