"""A worker reads the tool calls of the scripted model server completely or not at all, in any number of pieces."""

import asyncio
from typing import Any

import aiohttp
import pytest

from core import errors
from core.config.catalog import ModelConfig
from core.runs.attempt import Attempt
from core.wire.items import user_message
from core.wire.request import CreateResponse
from core.wire.transcript import Transcript
from tests.contract import tools
from tests.model_server import ModelServer
from worker.models.chat_completions.server import ChatCompletions
from worker.models.protocol import AnswerEnd, Output, TextDelta, TokenUsage, ToolCall

FIRST_CALL = {"id": "call_1", "name": "f", "arguments": '{"town": "Bern"}'}
SECOND_CALL = {"id": "call_2", "name": "c", "arguments": '{"input": "go"}'}


def read_outputs(models: ModelServer, script: str, **fields: Any) -> list[Output]:
    """Return the outputs that a worker reads from the reply of the model server."""
    request = CreateResponse.model_validate({"model": "scripted", "input": script, **tools.TOOL_FIELDS, **fields})
    attempt = Attempt(
        response_id="resp_1",
        project_id="proj_1",
        number=1,
        model="scripted",
        request=request,
        context=[user_message(script)],
        document="{}",
        remaining_s=10,
        next_seq=0,
        has_in_progress_event=False,
        partial_output=Transcript(),
        partial_output_tokens=0,
        wait_count=0,
    )
    model = ModelConfig.model_validate({"base_url": models.base_url, "timeouts": {"first_token": 10, "idle": 2}})

    async def read_stream() -> list[Output]:
        async with aiohttp.ClientSession() as session:
            return [output async for output in ChatCompletions(session).stream(model, attempt, models.base_url)]

    return asyncio.run(read_stream())


def select_tool_calls(outputs: list[Output]) -> list[ToolCall]:
    return [output for output in outputs if isinstance(output, ToolCall)]


@pytest.mark.parametrize("in_one_piece", [False, True])
def test_tool_calls_are_read_completely_in_one_piece_or_several(models: ModelServer, in_one_piece: bool) -> None:
    outputs = read_outputs(models, models.script(tool_calls=[FIRST_CALL, SECOND_CALL], unsplit_tool_calls=in_one_piece))

    assert select_tool_calls(outputs) == [
        ToolCall("call_1", "f", FIRST_CALL["arguments"]),
        ToolCall("call_2", "c", SECOND_CALL["arguments"]),
    ]
    assert not [output for output in outputs if isinstance(output, TextDelta)]
    assert outputs[-1] == AnswerEnd("tool_calls")
    assert [output for output in outputs if isinstance(output, TokenUsage)]


def test_text_before_a_tool_call_is_read_first(models: ModelServer) -> None:
    outputs = read_outputs(models, models.script(text="Let me see.", tool_calls=[FIRST_CALL]))

    texts = [output for output in outputs if isinstance(output, TextDelta)]
    assert "".join(text.text for text in texts) == "Let me see."
    (tool_call,) = select_tool_calls(outputs)
    assert outputs.index(texts[-1]) < outputs.index(tool_call)


@pytest.mark.parametrize("finish", ["stop", "tool_calls", None])
def test_a_tool_call_is_read_with_any_finish_reason(models: ModelServer, finish: str | None) -> None:
    assert len(select_tool_calls(read_outputs(models, models.script(tool_calls=[FIRST_CALL], finish=finish)))) == 1


def test_a_tool_call_that_the_token_limit_truncates_is_dropped(models: ModelServer) -> None:
    long_call = FIRST_CALL | {"arguments": "x" * 30}
    outputs = read_outputs(models, models.script(text="a " * 14, tool_calls=[long_call]), max_output_tokens=16)

    assert select_tool_calls(outputs) == []
    assert AnswerEnd("length") in outputs


def test_a_broken_connection_during_a_tool_call_raises_an_error(models: ModelServer) -> None:
    with pytest.raises(errors.ModelServerError):
        read_outputs(models, models.script(tool_calls=[FIRST_CALL], drop_after_tokens=2))


def test_the_model_server_receives_the_messages_and_the_tools(models: ModelServer) -> None:
    script = models.script(tag="tools", tool_calls=[FIRST_CALL])
    read_outputs(models, script, tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False)

    (record,) = models.stats("tools")["by_tag"]["tools"]
    assert record["body"]["messages"] == [{"role": "user", "content": script}]
    assert [tool["function"]["name"] for tool in record["body"]["tools"]] == ["f", "c"]
    assert record["body"]["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert record["body"]["parallel_tool_calls"] is False
    assert record["outcome"] == "finished"
