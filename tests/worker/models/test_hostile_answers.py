"""A hostile model server costs a bounded amount of memory and time, and its answer gets an error that names the cause."""

import time
from typing import Any

import orjson
import pytest

from core import errors
from core.config.catalog import ModelConfig
from core.wire.base import TEXT_LIMIT
from core.wire.request import CreateResponse
from worker.models import failures
from worker.models.chat_completions.chunks import ChunkReader
from worker.models.protocol import ReasoningDelta, TextDelta
from worker.models.responses.events import EventReader
from worker.models.sse import LINE_LIMIT_BYTES, EventParser

DEEP_JSON = b"[" * 1000 + b"]" * 1000  # the parser accepts 1024 levels
DEEP_LIST: Any = orjson.loads(DEEP_JSON)


def create_reader(reasoning_format: str = "field", **fields: Any) -> ChunkReader:
    model = ModelConfig.model_validate({"base_url": "http://localhost/v1", "reasoning_format": reasoning_format})
    return ChunkReader(model, CreateResponse.model_validate({"model": "m", "input": "hi", **fields}))


def chunk(delta: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **fields}]}


def test_json_in_very_many_lines_is_read_in_linear_time() -> None:
    line_count = 400_000
    body = b'data: ["a"\n' + b"data: ,1\n" * line_count + b"data: ]\n\n"
    started_at = time.monotonic()
    (event,) = EventParser().feed(body)

    assert len(event) == line_count + 1
    assert time.monotonic() - started_at < 5


def test_json_in_very_many_lines_is_rejected_at_the_limit_of_a_line() -> None:
    body = b'data: ["a"\n' + b"data: ,1\n" * LINE_LIMIT_BYTES
    with pytest.raises(errors.PermanentError):
        list(EventParser().feed(body))


def test_invalid_json_in_many_lines_is_rejected_at_the_end_of_its_event() -> None:
    with pytest.raises(errors.PermanentError):
        list(EventParser().feed(b"data: {no\n" * 20 + b"\n"))


@pytest.mark.parametrize("date", ["Mon, 01 Jan {} 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +{}"])
def test_a_backoff_until_an_impossible_date_is_ignored(date: str) -> None:
    assert failures.retry_after_s({"Retry-After": date.format("9" * 20)}) is None


@pytest.mark.parametrize("status", [400, 500])
def test_an_error_that_is_nested_too_deeply_is_reported(status: int) -> None:
    for body in (DEEP_JSON, b'{"error":{"message":' + DEEP_JSON + b',"code":' + DEEP_JSON + b"}}"):
        assert "nested too deeply" in str(failures.answer_error(status, body, {}))
    assert "nested too deeply" in str(failures.event_error({"error": {"type": DEEP_LIST, "message": DEEP_LIST}}))


@pytest.mark.parametrize("field", ["refusal", "finish_reason"])
def test_a_chunk_that_is_nested_too_deeply_is_rejected(field: str) -> None:
    event = chunk({"refusal": DEEP_LIST}) if field == "refusal" else chunk({}, finish_reason=DEEP_LIST)
    with pytest.raises(errors.PermanentError, match="not a chat completion"):
        create_reader().read(event)


def test_an_event_that_is_nested_too_deeply_is_rejected() -> None:
    reader = EventReader(CreateResponse.model_validate({"model": "m", "input": "hi"}))
    call = {"type": "function_call", "call_id": DEEP_LIST, "name": "f"}
    with pytest.raises(errors.PermanentError, match="not a Responses API event"):
        reader.read({"type": "response.completed", "response": {"output": [call]}})


def test_the_names_of_a_tool_call_are_limited() -> None:
    reader = create_reader()
    piece = {"index": 0, "id": "c", "function": {"name": "n" * 1_000_000}}
    with pytest.raises(errors.PermanentError, match="more tool calls"):
        for _ in range(TEXT_LIMIT // 1_000_000 + 1):
            reader.read(chunk({"tool_calls": [piece]}))


def test_the_arguments_of_all_tool_calls_are_limited() -> None:
    reader = EventReader(CreateResponse.model_validate({"model": "m", "input": "hi"}))
    with pytest.raises(errors.PermanentError, match="more tool calls"):
        for number in range(TEXT_LIMIT // 1_000_000 + 1):
            call = {"type": "function_call", "call_id": f"c{number}", "name": "f", "arguments": " " * 1_000_000}
            reader.read({"type": "response.output_item.done", "output_index": number, "item": call})


def test_log_probabilities_without_their_text_are_limited() -> None:
    reader = create_reader(include=["message.output_text.logprobs"])
    logprobs = {"content": [{"token": "t", "logprob": -1, "bytes": [116]}] * 100}
    with pytest.raises(errors.PermanentError, match="log probabilities"):
        for _ in range(100):
            reader.read(chunk({"content": ""}, logprobs=logprobs))


@pytest.mark.parametrize("start", ["", "<think>a"])
def test_endless_whitespace_before_a_tag_becomes_output(start: str) -> None:
    reader = create_reader("think_tags")
    outputs = reader.read(chunk({"content": start}))
    for _ in range(100):
        outputs += reader.read(chunk({"content": " " * 1000}))

    text = "".join(output.text for output in outputs if isinstance(output, TextDelta | ReasoningDelta))
    assert len(text) >= 95_000
