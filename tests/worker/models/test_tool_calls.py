"""Tool calls of a real model server: in any number of pieces, a worker reads them completely or not at all."""

import asyncio
from typing import Any

import aiohttp
import pytest

from core import errors
from core.config.catalog import ModelConfig
from core.runs.attempts import Attempt
from core.wire.items import user_message
from core.wire.request import CreateResponse
from core.wire.transcript import Transcript
from tests.contract import tools
from tests.model_server import ModelServer
from worker.models.chat_completions.server import ChatCompletions
from worker.models.protocol import Finished, Output, TextDelta, ToolCall, Used

ONE = {"id": "call_1", "name": "f", "arguments": '{"town": "Bern"}'}
TWO = {"id": "call_2", "name": "c", "arguments": '{"input": "go"}'}


def answer(models: ModelServer, script: str, **fields: Any) -> list[Output]:
    """The outputs that a worker reads from the model server's reply, with texts joined."""
    request = CreateResponse.model_validate({"model": "scripted", "input": script, **tools.OFFERED, **fields})
    attempt = Attempt(
        response_id="resp_1",
        project_id="proj_1",
        number=1,
        model="scripted",
        request=request,
        context=[user_message(script)],
        document="{}",
        left_s=10,
        next_seq=0,
        announced=False,
        partial_output=Transcript(),
        tokens=0,
        waits=0,
    )
    model = ModelConfig.model_validate({"base_url": models.base_url, "timeouts": {"first_token": 10, "idle": 2}})

    async def ask() -> list[Output]:
        async with aiohttp.ClientSession() as session:
            return [output async for output in ChatCompletions(session).stream(model, attempt, models.base_url)]

    return asyncio.run(ask())


def calls(outputs: list[Output]) -> list[ToolCall]:
    return [output for output in outputs if isinstance(output, ToolCall)]


@pytest.mark.parametrize("whole", [False, True])
def test_a_tool_call_is_read_whole_however_it_is_cut(models: ModelServer, whole: bool) -> None:
    outputs = answer(models, models.script(tool_calls=[ONE, TWO], whole=whole))

    assert calls(outputs) == [ToolCall("call_1", "f", ONE["arguments"]), ToolCall("call_2", "c", TWO["arguments"])]
    assert not [output for output in outputs if isinstance(output, TextDelta)]
    assert outputs[-1] == Finished("tool_calls")
    assert [output for output in outputs if isinstance(output, Used)]


def test_text_before_a_tool_call_is_read_first(models: ModelServer) -> None:
    outputs = answer(models, models.script(text="Let me see.", tool_calls=[ONE]))

    texts = [output.text for output in outputs if isinstance(output, TextDelta)]
    assert "".join(texts) == "Let me see."
    assert outputs.index(calls(outputs)[0]) > max(at for at, one in enumerate(outputs) if isinstance(one, TextDelta))


@pytest.mark.parametrize("finish", ["stop", "tool_calls", None])
def test_a_tool_call_counts_whatever_word_its_server_ends_with(models: ModelServer, finish: str | None) -> None:
    assert len(calls(answer(models, models.script(tool_calls=[ONE], finish=finish)))) == 1


def test_a_tool_call_that_is_cut_off_by_the_limit_is_not_shown(models: ModelServer) -> None:
    long = ONE | {"arguments": "x" * 30}
    outputs = answer(models, models.script(text="a " * 14, tool_calls=[long]), max_output_tokens=16)

    assert calls(outputs) == []
    assert Finished("length") in outputs


def test_a_tool_call_whose_connection_breaks_is_not_shown(models: ModelServer) -> None:
    with pytest.raises(errors.ModelServerFailed):
        answer(models, models.script(tool_calls=[ONE], drop_after=2))


def test_the_model_server_gets_the_messages_and_the_tools(models: ModelServer) -> None:
    script = models.script(tag="tools", tool_calls=[ONE])
    answer(models, script, tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False)

    (seen,) = models.stats("tools")["by_tag"]["tools"]
    assert seen["body"]["messages"] == [{"role": "user", "content": script}]
    assert [tool["function"]["name"] for tool in seen["body"]["tools"]] == ["f", "c"]
    assert seen["body"]["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert seen["body"]["parallel_tool_calls"] is False
    assert seen["how"] == "finished"
