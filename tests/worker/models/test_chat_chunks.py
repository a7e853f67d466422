"""Conversion of Chat Completions chunks from various servers to outputs."""

from typing import Any

import pytest

from core import errors
from core.config.catalog import ModelConfig
from core.wire.request import CreateResponse
from tests.contract import tools
from worker.models.chat_completions.chunks import ChunkReader
from worker.models.protocol import (
    Annotation,
    AnswerEnd,
    HiddenProgress,
    Output,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenUsage,
    ToolCall,
)

LOGPROBS = {"include": ["message.output_text.logprobs"]}


def create_reader(reasoning_format: str = "field", **fields: Any) -> ChunkReader:
    model = ModelConfig.model_validate({"base_url": "http://localhost/v1", "reasoning_format": reasoning_format})
    return ChunkReader(
        model, CreateResponse.model_validate({"model": "m", "input": "hi", **tools.TOOL_FIELDS, **fields})
    )


def chunk(finish_reason: str | None = None, logprobs: Any = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}]}


def read_outputs(*events: dict[str, Any], reader: ChunkReader | None = None) -> list[Output]:
    """Return the outputs for these chunks and for the end of the stream."""
    reader = reader or create_reader()
    outputs = [output for event in events for output in reader.read(event)]
    return [*outputs, *reader.end(has_end_marker=True)]


def read_tool_calls(*pieces: Any) -> list[ToolCall]:
    outputs = read_outputs(*(chunk(tool_calls=[piece]) for piece in pieces))
    return [output for output in outputs if isinstance(output, ToolCall)]


def call_piece(index: int | None, call_id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    function = {"name": name, "arguments": arguments}
    return {
        "index": index,
        "id": call_id,
        "function": {name: value for name, value in function.items() if value is not None},
    }


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_read_once_from_either_of_its_two_fields(key: str) -> None:
    assert read_outputs(chunk(**{key: "Hm."}), chunk(content="Yes")) == [
        ReasoningDelta("Hm."),
        TextDelta("Yes"),
        AnswerEnd(None),
    ]
    assert read_outputs(chunk(reasoning="Hm.", reasoning_content="Hm."))[:-1] == [ReasoningDelta("Hm.")]


def test_content_as_a_list_of_parts_is_read_by_part_type() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "Yes"},
        {"type": "reference", "reference_ids": [1]},
    ]

    assert read_outputs(chunk(content=parts))[:-1] == [ReasoningDelta("Hm."), TextDelta("Yes")]


def test_refusals_annotations_and_usage_are_read() -> None:
    nested_annotation = {"type": "url_citation", "url_citation": {"url": "https://example.com", "end_index": -5}}
    annotation = {"type": "url_citation", "url": "https://example.com", "title": "", "start_index": 0, "end_index": 0}
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 3.0,
        "prompt_tokens_details": {"cached_tokens": 99},
        "completion_tokens_details": {"reasoning_tokens": None},
    }

    assert read_outputs(chunk(refusal="No.")) == [RefusalDelta("No."), AnswerEnd(None)]
    assert read_outputs(chunk(annotations=[nested_annotation, {"type": "url_citation"}, 5]))[:-1] == [
        Annotation(annotation)
    ]
    assert read_outputs(chunk(content="a") | {"usage": usage})[1] == TokenUsage(
        5, 3, cached_tokens=5, reasoning_tokens=0
    )


@pytest.mark.parametrize(
    "usage",
    [5, [], {}, {"prompt_tokens": 1}, {"prompt_tokens": -1, "completion_tokens": 1}]
    + [{"prompt_tokens": value, "completion_tokens": 1} for value in (True, "1", 1.5, float("nan"), 2**60, None)],
)
def test_implausible_token_counts_are_ignored(usage: Any) -> None:
    assert read_outputs(chunk(content="a") | {"usage": usage}) == [TextDelta("a"), AnswerEnd(None)]


@pytest.mark.parametrize(
    ("server_reason", "reason"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("safety", "content_filter"),
    ],
)
def test_finish_reasons_of_all_servers_are_recognized(server_reason: str, reason: str) -> None:
    assert read_outputs(chunk(server_reason, content="a"))[-1] == AnswerEnd(reason)


@pytest.mark.parametrize("server_reason", ["abort", "error", "cancelled", "unknown"])
def test_an_aborted_answer_raises_an_error(server_reason: str) -> None:
    with pytest.raises(errors.PermanentError, match="aborted"):
        read_outputs(chunk(server_reason))


def test_the_finish_reason_null_as_a_string_does_not_end_the_answer() -> None:
    assert read_outputs(chunk("null", content="a"), chunk("stop", content="b")) == [
        TextDelta("a"),
        TextDelta("b"),
        AnswerEnd("stop"),
    ]


@pytest.mark.parametrize(
    "pieces",
    [
        [call_piece(0, "c1", "f", ""), call_piece(0, arguments="{}")],
        [call_piece(0, "c1", "f", "{}")],
        [call_piece(0, "c1", "f"), call_piece(0, "c1", "f", "{}")],
        [call_piece(None, "c1", "f", "{"), call_piece(None, arguments="}")],
        [call_piece(-3, "c1", "f", {})],
        [call_piece(0, name="f"), call_piece(0, "c1", arguments="{}")],
    ],
)
def test_a_tool_call_is_assembled_from_any_division_into_pieces(pieces: list[Any]) -> None:
    (call,) = read_tool_calls(*pieces)

    assert (call.call_id, call.name, call.arguments or "{}") == ("c1", "f", "{}")


def test_a_name_in_pieces_is_joined_if_the_result_is_an_offered_tool() -> None:
    reader = create_reader(tools=[tools.FUNCTION | {"name": "get_weather"}])
    outputs = read_outputs(
        chunk(tool_calls=[call_piece(0, "c1", "get_")]),
        chunk(tool_calls=[call_piece(0, name="weather")]),
        reader=reader,
    )

    assert ToolCall("c1", "get_weather", "") in outputs


def test_parallel_calls_are_distinguished_by_index_or_by_id() -> None:
    expected_calls = [ToolCall("c1", "f", "1"), ToolCall("c2", "c", "2")]

    assert read_tool_calls(call_piece(0, "c1", "f", "1"), call_piece(1, "c2", "c", "2")) == expected_calls
    assert read_tool_calls(call_piece(1, "c2", "c", "2"), call_piece(0, "c1", "f", "1")) == expected_calls
    assert read_tool_calls(call_piece(None, "c1", "f", "1"), call_piece(None, "c2", "c", "2")) == expected_calls
    for invalid_index in (float("inf"), float("nan"), "first", [], {}):
        pieces = call_piece(invalid_index, "c1", "f", "1"), call_piece(invalid_index, "c2", "c", "2")
        assert read_tool_calls(*pieces) == expected_calls
    assert read_tool_calls(call_piece(0, "c1", "f", "1"), call_piece(0, "c2", "c", "2")) == expected_calls
    assert [call.call_id for call in read_tool_calls(call_piece(0, "c1", "f"), call_piece(1, "c1", "f"))] == ["c1", ""]


def test_the_deprecated_function_call_field_is_read() -> None:
    outputs = read_outputs(
        chunk(function_call={"name": "f", "arguments": "{"}), chunk(function_call={"arguments": "}"})
    )

    assert outputs == [HiddenProgress(), HiddenProgress(), ToolCall("", "f", "{}"), AnswerEnd(None)]


def test_log_probabilities_belong_to_the_text_of_their_tokens() -> None:
    def logprobs_of(token: str, **fields: Any) -> dict[str, Any]:
        return {"content": [{"token": token, **fields}]}

    outputs = read_outputs(
        chunk(logprobs=logprobs_of("Hm", logprob=-1), reasoning="Hm"),
        chunk(logprobs=logprobs_of("\udcf0", logprob=float("-inf")), content=""),
        chunk(logprobs=logprobs_of("x", logprob="?", bytes=[300], top_logprobs=[{"token": "y"}]), content="x"),
        chunk("stop", logprobs=logprobs_of("end", logprob=-0.5, bytes=[1, 2])),
        reader=create_reader(**LOGPROBS),
    )

    texts = [output for output in outputs if isinstance(output, TextDelta)]
    assert [(text.text, [logprob["token"] for logprob in text.logprobs]) for text in texts] == [
        ("x", ["\udcf0", "x"]),
        ("", ["end"]),
    ]
    assert [logprob["logprob"] for text in texts for logprob in text.logprobs] == [-9999.0, -9999.0, -0.5]
    assert [logprob["bytes"] for text in texts for logprob in text.logprobs] == [[63], [120], [1, 2]]
    assert {key for text in texts for logprob in text.logprobs for key in logprob} == {
        "token",
        "bytes",
        "logprob",
        "top_logprobs",
    }
    assert read_outputs(chunk(logprobs=logprobs_of("x"), content="x"))[0] == TextDelta("x")


def join_texts(outputs: list[Output]) -> tuple[str, str]:
    """Return the reasoning and the output text."""
    return (
        "".join(output.text for output in outputs if isinstance(output, ReasoningDelta)),
        "".join(output.text for output in outputs if isinstance(output, TextDelta)),
    )


@pytest.mark.parametrize("chunk_length", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("reasoning_format", "text", "reasoning", "output_text"),
    [
        ("think_tags", "<think>\nHm < 3.\n</think>\n\nYes <b>", "Hm < 3.", "Yes <b>"),
        ("think_tags", " \n<think>a</think>b", "a", "b"),
        ("think_tags", "<think>\n\n</think>\n\nYes", "", "Yes"),
        ("think_tags", "<think>never closed </thi", "never closed </thi", ""),
        ("think_tags", "  No <think>tag</think>", "", "  No <think>tag</think>"),
        ("think_tags", "<th", "", "<th"),
        ("open_tag", "Hm.</think>Yes </think>", "Hm.", "Yes </think>"),
        ("open_tag", "<think>Hm.</think>Yes", "Hm.", "Yes"),
        ("open_tag", "Hm.", "Hm.", ""),
        ("field", "<think>a</think>b", "", "<think>a</think>b"),
    ],
)
def test_think_tags_are_recognized_at_any_chunk_boundary(
    reasoning_format: str, text: str, reasoning: str, output_text: str, chunk_length: int
) -> None:
    chunks = [chunk(content=text[start : start + chunk_length]) for start in range(0, len(text), chunk_length)]

    outputs = read_outputs(*chunks, reader=create_reader(reasoning_format))

    assert join_texts(outputs) == (reasoning, output_text)


@pytest.mark.parametrize(
    ("event", "error_class"),
    [
        ({"error": {"message": "x", "code": 429}}, errors.ModelServerUnavailable),
        ({"error": {"message": "x", "type": "overloaded_error"}}, errors.ModelServerUnavailable),
        ({"error": {"message": "x", "code": "invalid_prompt"}}, errors.PermanentError),
        ({"error": "x"}, errors.TransientError),
        ({"object": "error", "message": "x", "code": 400}, errors.PermanentError),
        ({"detail": "x"}, errors.TransientError),
        ({"choices": [5]}, errors.PermanentError),
        ({"choices": [{"delta": {"content": 5}}]}, errors.PermanentError),
        ({"choices": {"0": 1}}, errors.PermanentError),
    ],
)
def test_a_failure_raises_the_corresponding_error(event: dict[str, Any], error_class: type[Exception]) -> None:
    with pytest.raises(error_class) as raised:
        create_reader().read(event)

    assert type(raised.value) is error_class


def test_the_end_of_a_connection_completes_an_answer_only_after_a_finish_reason() -> None:
    for events, is_complete in (([], False), ([chunk(content="a")], False), ([chunk("stop")], True)):
        reader = create_reader()
        for event in events:
            reader.read(event)
        if is_complete:
            assert reader.end(has_end_marker=False) == [AnswerEnd("stop")]
        else:
            with pytest.raises(errors.TransientError):
                reader.end(has_end_marker=False)


def test_an_answer_as_one_document_needs_no_finish_reason() -> None:
    reader = create_reader()
    message = {"role": "assistant", "content": "a", "tool_calls": [call_piece(0, "c1", "f", "{}")]}
    outputs = reader.read_document({"choices": [{"message": message}]})

    assert [*outputs, *reader.end(has_end_marker=False)] == [
        TextDelta("a"),
        HiddenProgress(),
        ToolCall("c1", "f", "{}"),
        AnswerEnd(None),
    ]
