"""The Responses API of a model server: the request sent to it, and its events read as outputs."""

import json
from typing import Any

import pytest

from core import errors
from core.config.catalog import ModelConfig
from core.wire.items import normal
from core.wire.request import CreateResponse
from tests.contract import tools
from worker.models.protocol import (
    Annotated,
    Finished,
    ItemDone,
    Output,
    PartDone,
    ReasoningDelta,
    RefusalDelta,
    SummaryDelta,
    TextDelta,
    Thinking,
    ToolCall,
    Used,
)
from worker.models.responses import request
from worker.models.responses.events import Events

CITED = {"type": "url_citation", "url": "https://example.com/", "title": "E", "start_index": 0, "end_index": 2}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Yes", "annotations": [CITED]}]}
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "So."}], "encrypted_content": "x"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "c2", "name": "c", "input": '{"input": 5}'}
USAGE = {"input_tokens": 3, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}}


def asked(**fields: Any) -> CreateResponse:
    return CreateResponse.model_validate({"model": "m", "input": "hi", **fields})


def body(supports: tuple[str, ...] = (), context: tuple[Any, ...] = (), **fields: Any) -> dict[str, Any]:
    model = ModelConfig.model_validate({"base_url": "http://localhost/v1", "supports": supports})
    items = [normal(item) for item in asked(input=list(context)).input or ()] if context else []
    return request.body(model, "theirs", asked(**fields), items)


def delta(kind: str, text: str, output_index: int = 0, **place: int) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": output_index, **place, "delta": text}


def done(item: dict[str, Any], output_index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": output_index, "item": item}


def end(status: str = "completed", **response: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": {"status": status, "output": [], **response}}


def read(*events: dict[str, Any]) -> list[Output]:
    reader = Events(asked())
    outputs = [output for event in events for output in reader.read(event)]
    return [*outputs, *reader.end(marked=False)]


def test_a_plain_request_says_no_more_than_it_must() -> None:
    assert body() == {
        "model": "theirs",
        "input": [],
        "stream": True,
        "store": False,
        "temperature": 1,
        "top_p": 1,
    }


def test_a_model_that_reasons_is_told_nothing_of_sampling_but_what_was_asked() -> None:
    assert not {"temperature", "top_p"} & body(supports=("reasoning",)).keys()
    assert body(supports=("reasoning",), temperature=0.5)["temperature"] == 0.5


def test_tools_and_choices_are_passed_on_but_for_hosted_ones() -> None:
    sent = body(**tools.OFFERED, tool_choice={"type": "custom", "name": "c"})

    assert [tool["type"] for tool in sent["tools"]] == ["function", "custom"]
    assert sent["tool_choice"] == {"type": "custom", "name": "c"}
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [tools.FUNCTION]}
    sent = body(**tools.OFFERED, tool_choice=allowed)
    assert ([tool["name"] for tool in sent["tools"]], sent["tool_choice"]) == (["f"], "required")
    assert "tools" not in body(**tools.OFFERED, tool_choice="none")


def test_items_lose_what_is_ours_and_reasoning_goes_only_to_who_wants_it() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    empty = {"type": "reasoning", "id": "rs_2", "summary": []}
    hosted = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    sent = body(("reasoning",), context=(thought, empty, hosted, CALL | {"id": "fc_1"}))

    assert sent["input"] == [{"type": "reasoning", "summary": [], "encrypted_content": "x"}, CALL]
    assert body(context=(thought,))["input"] == []


def test_deltas_are_read_by_their_kind_and_parts_by_their_place() -> None:
    assert read(
        delta("reasoning_summary_text", "So.", summary_index=0),
        delta("reasoning_summary_text", "Then.", summary_index=1),
        done(THOUGHT),
        delta("output_text", "Ye", 1, content_index=0),
        delta("output_text", "s", 1, content_index=0),
        {"type": "response.output_text.annotation.added", "output_index": 1, "content_index": 0, "annotation": CITED},
        {"type": "response.content_part.done", "output_index": 1, "content_index": 0},
        delta("refusal", "No.", 1, content_index=1),
        done(MESSAGE, 1),
        delta("reasoning_text", "Hm.", 2, content_index=0),
        end(usage=USAGE),
    ) == [
        SummaryDelta("So."),
        PartDone(),
        SummaryDelta("Then."),
        ItemDone("x"),
        TextDelta("Ye"),
        TextDelta("s"),
        Annotated(CITED),
        PartDone(),
        PartDone(),
        RefusalDelta("No."),
        ItemDone(),
        ReasoningDelta("Hm."),
        Used(3, 2, reasoning_tokens=1),
        Finished("stop"),
    ]


def test_an_item_that_did_not_grow_is_read_whole() -> None:
    whole = [
        SummaryDelta("So."),
        PartDone(),
        ItemDone("x"),
        TextDelta("Yes"),
        Annotated(CITED),
        PartDone(),
        ItemDone(),
    ]

    assert read(done(THOUGHT), done(MESSAGE, 1), end())[:-1] == whole
    assert read(end(output=[THOUGHT, MESSAGE]))[:-1] == whole
    assert read(done(THOUGHT), done(MESSAGE, 1), end(output=[THOUGHT, MESSAGE]))[:-1] == whole


def test_an_item_whose_end_was_not_said_ends_where_the_next_begins() -> None:
    found = read(delta("output_text", "a", 0, content_index=0), delta("output_text", "b", 1, content_index=0), end())

    assert found == [TextDelta("a"), ItemDone(), TextDelta("b"), Finished("stop")]


def test_calls_are_read_whole_and_once_and_custom_input_stays_what_it_is() -> None:
    found = read(
        {"type": "response.function_call_arguments.delta", "delta": "{"},
        done(CALL),
        done(CUSTOM_CALL, 1),
        end(output=[CALL, CUSTOM_CALL]),
    )

    assert [output for output in found if output != Thinking()] == [
        ToolCall("c1", "f", "{}"),
        ToolCall("c2", "c", json.dumps({"input": '{"input": 5}'}, separators=(",", ":"))),
        Finished("stop"),
    ]
    assert ToolCall("c1", "f", "{}") in read(delta("output_text", "a", content_index=0), end(output=[CALL]))


def test_no_call_is_given_before_the_turn_has_ended_and_none_of_a_turn_that_was_cut_off() -> None:
    reader = Events(asked())
    assert reader.read(done(CALL)) == [Thinking()]
    assert ToolCall("c1", "f", "{}") in reader.read(end())
    cut = end("incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert [output for output in read(done(CALL), cut) if isinstance(output, ToolCall)] == []


@pytest.mark.parametrize(
    ("why", "reason"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("what", None)]
)
def test_an_incomplete_response_says_why(why: str, reason: str | None) -> None:
    event = end("incomplete", incomplete_details={"reason": why})
    if reason is None:
        with pytest.raises(errors.Refused, match="aborted"):
            read(event)
    else:
        assert read(event) == [Finished(reason)]


@pytest.mark.parametrize(
    ("event", "kind", "code"),
    [
        (end("failed", error={"code": "server_error", "message": "x"}), errors.Erred, "server_error"),
        (end("failed", error={"code": "rate_limit_exceeded", "message": "x"}), errors.Unavailable, None),
        (end("failed", error={"code": "invalid_image", "message": "x"}), errors.Refused, "invalid_image"),
        (end("failed"), errors.Erred, "server_error"),
        (end("cancelled"), errors.Refused, "server_error"),
        ({"type": "error", "code": "x", "message": "y"}, errors.Erred, "server_error"),
        (
            {"type": "error", "message": "maximum context length", "code": 400},
            errors.ContextExceeded,
            "invalid_prompt",
        ),
        ({"error": {"message": "x"}}, errors.Erred, "server_error"),
        ({"type": "response.output_text.delta", "delta": 5}, errors.Refused, "server_error"),
        ({"type": "response.output_item.done", "item": None}, errors.Refused, "server_error"),
        ([], errors.Refused, "server_error"),
    ],
)
def test_a_failure_is_told_from_an_answer(event: Any, kind: type[errors.ModelServerFailed], code: str | None) -> None:
    with pytest.raises(errors.ModelServerFailed) as raised:
        read(event)

    assert type(raised.value) is kind
    assert raised.value.code == (code or "rate_limit_exceeded")


def test_a_stream_that_stops_is_no_end() -> None:
    with pytest.raises(errors.Erred):
        read(delta("output_text", "a", content_index=0))


def test_a_response_in_one_piece_is_read_as_its_last_event() -> None:
    reader = Events(asked())
    outputs = reader.complete_outputs(
        {"object": "response", "status": "completed", "output": [MESSAGE], "usage": USAGE}
    )

    assert outputs[0] == TextDelta("Yes")
    assert reader.end(marked=False) == [Finished("stop")]
    for wrong in ({"error": {"message": "x"}}, {"hello": 1}, [1]):
        with pytest.raises(errors.ModelServerFailed):
            Events(asked()).complete_outputs(wrong)
