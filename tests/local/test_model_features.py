"""Everything the packaged model supports is available through Backburner."""

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
from tests.harness.waiting import ended
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
    port = ports.free()
    config = folder / "backburner.toml"
    config.write_text(f'[models.small]\nbase_url = "{model.base_url(port)}"\nupstream_model = "{model.NAME}"\n')
    home = Home.at(folder / "model")
    with (
        child.running(model.part(home, port), home),
        Stack(folder / "home", new_database(postgres_url, template), config, _model_server) as stack,
        stack.up().client() as client,
    ):
        yield client


def answer(client: openai.OpenAI, said: str, **fields: Any) -> openai.types.responses.Response:
    asked = client.responses.create(
        model="small", input=said, background=True, temperature=0, **{"max_output_tokens": 64} | fields
    )
    return ended(client, asked.id, within_s=60)


def test_the_packaged_model_answers_in_text(client: openai.OpenAI) -> None:
    found = answer(client, "Say hello.")

    assert found.status in {"completed", "incomplete"}
    assert found.output_text.strip()
    assert found.usage is not None
    assert found.usage.output_tokens > 0
    assert found.usage.input_tokens > 0


def test_the_packaged_model_keeps_to_a_schema(client: openai.OpenAI) -> None:
    shape = {"format": {"type": "json_schema", "name": "weather", "schema": SCHEMA, "strict": True}}
    found = answer(client, "It rains in Bern. Answer in JSON.", text=shape, max_output_tokens=200)

    assert found.status == "completed"
    said = json.loads(found.output_text)
    assert isinstance(said["town"], str)
    assert isinstance(said["rains"], bool)
    assert len(said) == 2


def test_the_packaged_model_gives_log_probabilities(client: openai.OpenAI) -> None:
    found = answer(client, "Say hello.", include=["message.output_text.logprobs"], max_output_tokens=16)

    tokens = found.model_dump()["output"][0]["content"][0]["logprobs"]
    joined = b"".join(bytes(token["bytes"]) for token in tokens).decode()
    assert joined.startswith(found.output_text)
    assert all(math.isfinite(token["logprob"]) and token["logprob"] <= 0 for token in tokens)
