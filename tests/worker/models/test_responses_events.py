"""Requests to a model server with the Responses API, and conversion of its events to outputs."""

import json
from typing import Any

import pytest

from core import errors
from core.config.catalog import ModelConfig
from core.wire.items import normalize_item
from core.wire.request import CreateResponse
from tests.contract import tools
from worker.models.protocol import (
    Annotation,
    AnswerEnd,
    HiddenProgress,
    ItemEnd,
    Output,
    PartEnd,
    ReasoningDelta,
    RefusalDelta,
    SummaryDelta,
    TextDelta,
    TokenUsage,
    ToolCall,
)
from worker.models.responses import request
from worker.models.responses.events import EventReader

CITATION = {"type": "url_citation", "url": "https://example.com/", "title": "E", "start_index": 0, "end_index": 2}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Yes", "annotations": [CITATION]}]}
REASONING = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "So."}], "encrypted_content": "x"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "c2", "name": "c", "input": '{"input": 5}'}
USAGE = {"input_tokens": 3, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}}


def create_request(**fields: Any) -> CreateResponse:
    return CreateResponse.model_validate({"model": "m", "input": "hi", **fields})


def request_body(supports: tuple[str, ...] = (), context: tuple[Any, ...] = (), **fields: Any) -> dict[str, Any]:
    model = ModelConfig.model_validate({"base_url": "http://localhost/v1", "supports": supports})
    items = [normalize_item(item) for item in create_request(input=list(context)).input or ()] if context else []
    return request.request_body(model, "theirs", create_request(**fields), items)


def delta(name: str, text: str, output_index: int = 0, **indexes: int) -> dict[str, Any]:
    return {"type": f"response.{name}.delta", "output_index": output_index, **indexes, "delta": text}


def item_done(item: dict[str, Any], output_index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": output_index, "item": item}


def response_end(status: str = "completed", **response: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": {"status": status, "output": [], **response}}


def read_outputs(*events: dict[str, Any]) -> list[Output]:
    reader = EventReader(create_request())
    outputs = [output for event in events for output in reader.read(event)]
    return [*outputs, *reader.end(has_end_marker=False)]


def test_a_plain_request_has_only_the_required_fields() -> None:
    assert request_body() == {
        "model": "theirs",
        "input": [],
        "stream": True,
        "store": False,
        "temperature": 1,
        "top_p": 1,
    }


def test_a_reasoning_model_receives_only_requested_sampling_parameters() -> None:
    assert not {"temperature", "top_p"} & request_body(supports=("reasoning",)).keys()
    assert request_body(supports=("reasoning",), temperature=0.5)["temperature"] == 0.5


def test_tools_and_the_tool_choice_are_passed_on_without_hosted_tools() -> None:
    body = request_body(**tools.TOOL_FIELDS, tool_choice={"type": "custom", "name": "c"})

    assert [tool["type"] for tool in body["tools"]] == ["function", "custom"]
    assert body["tool_choice"] == {"type": "custom", "name": "c"}
    tool_choice = {"type": "allowed_tools", "mode": "required", "tools": [tools.FUNCTION]}
    body = request_body(**tools.TOOL_FIELDS, tool_choice=tool_choice)
    assert ([tool["name"] for tool in body["tools"]], body["tool_choice"]) == (["f"], "required")
    assert "tools" not in request_body(**tools.TOOL_FIELDS, tool_choice="none")


def test_items_are_sent_without_our_ids_and_reasoning_only_to_reasoning_models() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    empty_reasoning = {"type": "reasoning", "id": "rs_2", "summary": []}
    hosted_call = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    body = request_body(("reasoning",), context=(reasoning, empty_reasoning, hosted_call, CALL | {"id": "fc_1"}))

    assert body["input"] == [{"type": "reasoning", "summary": [], "encrypted_content": "x"}, CALL]
    assert request_body(context=(reasoning,))["input"] == []


def test_deltas_are_converted_by_type_and_assigned_to_parts_by_index() -> None:
    assert read_outputs(
        delta("reasoning_summary_text", "So.", summary_index=0),
        delta("reasoning_summary_text", "Then.", summary_index=1),
        item_done(REASONING),
        delta("output_text", "Ye", 1, content_index=0),
        delta("output_text", "s", 1, content_index=0),
        {
            "type": "response.output_text.annotation.added",
            "output_index": 1,
            "content_index": 0,
            "annotation": CITATION,
        },
        {"type": "response.content_part.done", "output_index": 1, "content_index": 0},
        delta("refusal", "No.", 1, content_index=1),
        item_done(MESSAGE, 1),
        delta("reasoning_text", "Hm.", 2, content_index=0),
        response_end(usage=USAGE),
    ) == [
        SummaryDelta("So."),
        PartEnd(),
        SummaryDelta("Then."),
        ItemEnd("x"),
        TextDelta("Ye"),
        TextDelta("s"),
        Annotation(CITATION),
        PartEnd(),
        PartEnd(),
        RefusalDelta("No."),
        ItemEnd(),
        ReasoningDelta("Hm."),
        TokenUsage(3, 2, reasoning_tokens=1),
        AnswerEnd("stop"),
    ]


def test_an_item_without_deltas_is_read_from_its_last_event() -> None:
    expected_outputs = [
        SummaryDelta("So."),
        PartEnd(),
        ItemEnd("x"),
        TextDelta("Yes"),
        Annotation(CITATION),
        PartEnd(),
        ItemEnd(),
    ]

    assert read_outputs(item_done(REASONING), item_done(MESSAGE, 1), response_end())[:-1] == expected_outputs
    assert read_outputs(response_end(output=[REASONING, MESSAGE]))[:-1] == expected_outputs
    outputs = read_outputs(item_done(REASONING), item_done(MESSAGE, 1), response_end(output=[REASONING, MESSAGE]))
    assert outputs[:-1] == expected_outputs


def test_an_item_without_an_end_event_ends_when_the_next_item_begins() -> None:
    outputs = read_outputs(
        delta("output_text", "a", 0, content_index=0), delta("output_text", "b", 1, content_index=0), response_end()
    )

    assert outputs == [TextDelta("a"), ItemEnd(), TextDelta("b"), AnswerEnd("stop")]


def test_tool_calls_are_read_once_and_custom_input_is_unchanged() -> None:
    outputs = read_outputs(
        {"type": "response.function_call_arguments.delta", "delta": "{"},
        item_done(CALL),
        item_done(CUSTOM_CALL, 1),
        response_end(output=[CALL, CUSTOM_CALL]),
    )

    assert [output for output in outputs if output != HiddenProgress()] == [
        ToolCall("c1", "f", "{}"),
        ToolCall("c2", "c", json.dumps({"input": '{"input": 5}'}, separators=(",", ":"))),
        AnswerEnd("stop"),
    ]
    assert ToolCall("c1", "f", "{}") in read_outputs(
        delta("output_text", "a", content_index=0), response_end(output=[CALL])
    )


def test_tool_calls_are_returned_at_the_end_of_a_response_unless_it_is_truncated() -> None:
    reader = EventReader(create_request())
    assert reader.read(item_done(CALL)) == [HiddenProgress()]
    assert ToolCall("c1", "f", "{}") in reader.read(response_end())
    truncated_end = response_end("incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert [output for output in read_outputs(item_done(CALL), truncated_end) if isinstance(output, ToolCall)] == []


@pytest.mark.parametrize(
    ("incomplete_reason", "finish_reason"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("unknown", None)],
)
def test_an_incomplete_response_has_a_finish_reason(incomplete_reason: str, finish_reason: str | None) -> None:
    event = response_end("incomplete", incomplete_details={"reason": incomplete_reason})
    if finish_reason is None:
        with pytest.raises(errors.PermanentError, match="aborted"):
            read_outputs(event)
    else:
        assert read_outputs(event) == [AnswerEnd(finish_reason)]


@pytest.mark.parametrize(
    ("event", "error_class", "code"),
    [
        (response_end("failed", error={"code": "server_error", "message": "x"}), errors.TransientError, "server_error"),
        (
            response_end("failed", error={"code": "rate_limit_exceeded", "message": "x"}),
            errors.ModelServerUnavailable,
            "rate_limit_exceeded",
        ),
        (
            response_end("failed", error={"code": "invalid_image", "message": "x"}),
            errors.PermanentError,
            "invalid_image",
        ),
        (response_end("failed"), errors.TransientError, "server_error"),
        (response_end("cancelled"), errors.PermanentError, "server_error"),
        ({"type": "error", "code": "x", "message": "y"}, errors.TransientError, "server_error"),
        (
            {"type": "error", "message": "maximum context length", "code": 400},
            errors.ContextExceeded,
            "invalid_prompt",
        ),
        ({"error": {"message": "x"}}, errors.TransientError, "server_error"),
        ({"type": "response.output_text.delta", "delta": 5}, errors.PermanentError, "server_error"),
        ({"type": "response.output_item.done", "item": None}, errors.PermanentError, "server_error"),
        ([], errors.PermanentError, "server_error"),
    ],
)
def test_a_failure_raises_the_corresponding_error(
    event: Any, error_class: type[errors.ModelServerError], code: str
) -> None:
    with pytest.raises(errors.ModelServerError) as raised:
        read_outputs(event)

    assert type(raised.value) is error_class
    assert raised.value.code == code


def test_a_stream_without_a_last_event_raises_an_error() -> None:
    with pytest.raises(errors.TransientError):
        read_outputs(delta("output_text", "a", content_index=0))


def test_a_response_as_one_document_is_read_like_a_last_event() -> None:
    reader = EventReader(create_request())
    outputs = reader.read_document({"object": "response", "status": "completed", "output": [MESSAGE], "usage": USAGE})

    assert outputs[0] == TextDelta("Yes")
    assert reader.end(has_end_marker=False) == [AnswerEnd("stop")]
    for document in ({"error": {"message": "x"}}, {"hello": 1}, [1]):
        with pytest.raises(errors.ModelServerError):
            EventReader(create_request()).read_document(document)
