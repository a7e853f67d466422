"""Contexts that are too long for the model are truncated or rejected, on servers with and without a tokenizer."""

from typing import Any

import openai
import pytest

from tests.harness.stack import Stack
from tests.harness.waiting import wait_for_end
from tests.model_server import ModelServer

CONTEXT_TOKENS = 200
MAX_OUTPUT_TOKENS = 16
TURN_COUNT = 10
TURN_ITEMS = 4  # the items of one turn
TURN_TOKENS = 41
SERVERS: dict[str, dict[str, Any]] = {
    "a server with vLLM's tokenizer": {"tokenizer": "vllm", "context_error": "no numbers"},
    "a server with llama.cpp's tokenizer": {"tokenizer": "llama.cpp", "context_error": "no numbers"},
    "a server with vLLM's numbers": {"context_error": "vllm"},
    "a server with llama.cpp's numbers": {"context_error": "llama.cpp"},
    "a server without numbers": {"context_error": "no numbers"},
}


def turn(number: int) -> list[dict[str, Any]]:
    """A question of 20 words, a call with its output, and an answer of 20 words."""
    call = {"call_id": f"call_{number}"}
    return [
        {"role": "user", "content": f"{number} " * 20},
        {"type": "function_call", "name": "f", "arguments": "{}", **call},
        {"type": "function_call_output", "output": "done", **call},
        {"role": "assistant", "content": f"{number} " * 20},
    ]


def history(script: str) -> list[dict[str, Any]]:
    """A developer message, ten turns, and the script as the last message."""
    turns = [item for number in range(TURN_COUNT) for item in turn(number)]
    return [{"role": "developer", "content": "Be brief."}, *turns, {"role": "user", "content": script}]


@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_auto_drops_the_oldest_turns_and_records_them(
    stack: Stack, models: ModelServer, server: dict[str, Any]
) -> None:
    stack.up()  # a new worker, because a worker caches how its servers count tokens
    script = models.script(tag="cut", text="Yes.", context=CONTEXT_TOKENS, **server)
    with stack.client() as client:
        created_response = client.responses.create(
            model="scripted",
            input=history(script),
            truncation="auto",
            background=True,
            max_output_tokens=MAX_OUTPUT_TOKENS,
        )
        response = wait_for_end(client, created_response.id, timeout_s=20)
        input_items = list(client.responses.input_items.list(created_response.id, limit=100, order="asc"))

    assert (response.status, response.truncation, response.output_text) == ("completed", "auto", "Yes.")
    assert len(input_items) == 1 + TURN_COUNT * TURN_ITEMS + 1  # all items of the request, although some were dropped
    messages = models.stats("cut")["by_tag"]["cut"][-1]["body"]["messages"]
    assert messages[0]["content"] == "Be brief."
    assert messages[-1]["content"] == script
    assert messages[1]["role"] == "user"
    calls = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
    assert calls == [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert len(messages) == 1 + TURN_ITEMS * len(calls) + 1
    if "tokenizer" in server or server["context_error"] != "no numbers":
        assert calls == [f"call_{number}" for number in range(TURN_COUNT - len(calls), TURN_COUNT)]
        assert 1 <= len(calls) <= 4
    if "tokenizer" in server:
        # As many turns as fit beside two words of instructions, the script and the output.
        assert len(calls) == (CONTEXT_TOKENS - MAX_OUTPUT_TOKENS - 2 - len(script.split())) // TURN_TOKENS
        assert len(models.stats("cut")["by_tag"]["cut"]) == 2
    ((dropped_ids,),) = stack.sql("select dropped from attempts where response_id = %s", created_response.id)
    assert dropped_ids == [item.id for item in input_items[1 : 1 + TURN_ITEMS * (TURN_COUNT - len(calls))]]


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("truncation", ["disabled", "auto"])
def test_a_context_that_cannot_fit_fails_with_context_length_exceeded(
    shared_stack: Stack, models: ModelServer, background: bool, truncation: str
) -> None:
    script = models.script(tag="long", text="Yes.", context=2, context_error="llama.cpp")
    request: dict[str, Any] = {"model": "scripted", "input": history(script), "truncation": truncation}
    with shared_stack.client() as client:
        if background:
            response = wait_for_end(client, client.responses.create(**request, background=True).id, timeout_s=20)
            assert response.status == "failed"
            assert response.error is not None
            assert response.error.code == "invalid_prompt"
            assert response.error.type == "context_length_exceeded"
            assert "exceeds the available context size" in response.error.message
        else:
            with pytest.raises(openai.BadRequestError) as caught:
                client.responses.create(**request)
            assert caught.value.code == "context_length_exceeded"
    request_count = len(models.stats("long")["by_tag"]["long"])
    if truncation == "disabled":
        assert request_count == 1
    else:
        assert 2 <= request_count <= 6


def test_an_unknown_truncation_is_rejected(shared_stack: Stack) -> None:
    with shared_stack.client() as client, pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="scripted", input="hi", truncation="oldest")  # type: ignore[arg-type]

    assert caught.value.param == "truncation"
