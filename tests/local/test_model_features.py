"""The features of the packaged model (text, schemas, log probabilities) are available through Backburner."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from local import ports
from local.home import Home
from local.processes import child
from local.servers import model
from tests.conftest import new_database
from tests.harness.stack import Stack
from tests.harness.waiting import wait_for_end
from tests.model_server import ModelServer

SCHEMA = {
    "type": "object",
    "properties": {"town": {"type": "string", "maxLength": 20}, "rains": {"type": "boolean"}},
    "required": ["town", "rains"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(
    postgres_url: str, template: str, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[openai.OpenAI]:
    """The official client of a stack with the packaged model."""
    folder: Path = tmp_path_factory.mktemp("packaged")
    port = ports.free_port()
    config = folder / "backburner.toml"
    config.write_text(f'[models.small]\nbase_url = "{model.base_url(port)}"\nupstream_model = "{model.NAME}"\n')
    home = Home.at(folder / "model")
    with (
        child.running(model.build_part(home, port), home),
        Stack(folder / "home", new_database(postgres_url, template), config, _model_server) as stack,
        stack.up().client() as client,
    ):
        yield client


def wait_for_answer(client: openai.OpenAI, prompt: str, **fields: Any) -> openai.types.responses.Response:
    response = client.responses.create(
        model="small", input=prompt, background=True, temperature=0, **{"max_output_tokens": 64} | fields
    )
    return wait_for_end(client, response.id, timeout_s=60)


def test_the_packaged_model_answers_in_text(client: openai.OpenAI) -> None:
    response = wait_for_answer(client, "Say hello.")

    assert response.status in {"completed", "incomplete"}
    assert response.output_text.strip()
    assert response.usage is not None
    assert response.usage.output_tokens > 0
    assert response.usage.input_tokens > 0


def test_the_packaged_model_keeps_to_a_schema(client: openai.OpenAI) -> None:
    text_format = {"format": {"type": "json_schema", "name": "weather", "schema": SCHEMA, "strict": True}}
    response = wait_for_answer(client, "It rains in Bern. Answer in JSON.", text=text_format, max_output_tokens=200)

    assert response.status == "completed"
    weather = json.loads(response.output_text)
    assert isinstance(weather["town"], str)
    assert isinstance(weather["rains"], bool)
    assert len(weather) == 2


def test_the_packaged_model_gives_log_probabilities(client: openai.OpenAI) -> None:
    response = wait_for_answer(client, "Say hello.", include=["message.output_text.logprobs"], max_output_tokens=16)

    tokens = response.model_dump()["output"][0]["content"][0]["logprobs"]
    joined_text = b"".join(bytes(token["bytes"]) for token in tokens).decode()
    assert joined_text.startswith(response.output_text)
    assert all(math.isfinite(token["logprob"]) and token["logprob"] <= 0 for token in tokens)
