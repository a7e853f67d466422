"""Chunks of Chat Completions read as outputs, in the dialect of any server."""

import json
from typing import Any

import pytest

from core import errors
from core.config.catalog import ModelConfig
from core.wire.request import CreateResponse
from tests.contract import tools
from worker.models.chat_completions.chunks import Chunks
from worker.models.protocol import (
    Annotated,
    Finished,
    Output,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    Thinking,
    ToolCall,
    Used,
)

LOGPROBS = {"include": ["message.output_text.logprobs"]}


def chunks(format: str = "field", **fields: Any) -> Chunks:
    model = ModelConfig.model_validate({"base_url": "http://localhost/v1", "reasoning_format": format})
    return Chunks(model, CreateResponse.model_validate({"model": "m", "input": "hi", **tools.OFFERED, **fields}))


def choice(finish: str | None = None, logprobs: Any = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}]}


def read(*events: dict[str, Any], reader: Chunks | None = None) -> list[Output]:
    """The outputs read from these chunks and the end of the stream."""
    reader = reader or chunks()
    outputs = [output for event in events for output in reader.read(event)]
    return [*outputs, *reader.end(marked=True)]


def calls(*pieces: Any) -> list[ToolCall]:
    outputs = read(*(choice(tool_calls=[piece]) for piece in pieces))
    return [output for output in outputs if isinstance(output, ToolCall)]


def piece(index: int | None, call_id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": call_id, "function": {k: v for k, v in function.items() if v is not None}}


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_thoughts_are_read_under_either_name_and_once(key: str) -> None:
    assert read(choice(**{key: "Hm."}), choice(content="Yes")) == [
        ReasoningDelta("Hm."),
        TextDelta("Yes"),
        Finished(None),
    ]
    assert read(choice(reasoning="Hm.", reasoning_content="Hm."))[:-1] == [ReasoningDelta("Hm.")]


def test_content_in_parts_is_read_by_their_types() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "Yes"},
        {"type": "reference", "reference_ids": [1]},
    ]

    assert read(choice(content=parts))[:-1] == [ReasoningDelta("Hm."), TextDelta("Yes")]


def test_refusals_annotations_and_usage_are_read() -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "https://example.com", "end_index": -5}}
    flat = {"type": "url_citation", "url": "https://example.com", "title": "", "start_index": 0, "end_index": 0}
    counted = {
        "prompt_tokens": 5,
        "completion_tokens": 3.0,
        "prompt_tokens_details": {"cached_tokens": 99},
        "completion_tokens_details": {"reasoning_tokens": None},
    }

    assert read(choice(refusal="No.")) == [RefusalDelta("No."), Finished(None)]
    assert read(choice(annotations=[cited, {"type": "url_citation"}, 5]))[:-1] == [Annotated(flat)]
    assert read(choice(content="a") | {"usage": counted})[1] == Used(5, 3, cached_tokens=5, reasoning_tokens=0)


@pytest.mark.parametrize(
    "usage",
    [5, [], {}, {"prompt_tokens": 1}, {"prompt_tokens": -1, "completion_tokens": 1}]
    + [{"prompt_tokens": value, "completion_tokens": 1} for value in (True, "1", 1.5, float("nan"), 2**60, None)],
)
def test_counts_that_make_no_sense_are_left_out(usage: Any) -> None:
    assert read(choice(content="a") | {"usage": usage}) == [TextDelta("a"), Finished(None)]


@pytest.mark.parametrize(
    ("word", "reason"),
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
def test_a_reason_is_read_in_every_servers_words(word: str, reason: str) -> None:
    assert read(choice(word, content="a"))[-1] == Finished(reason)


@pytest.mark.parametrize("word", ["abort", "error", "cancelled", "what"])
def test_an_answer_that_was_given_up_is_no_answer(word: str) -> None:
    with pytest.raises(errors.Refused, match="aborted"):
        read(choice(word))


def test_a_reason_of_null_in_words_is_none_yet() -> None:
    assert read(choice("null", content="a"), choice("stop", content="b")) == [
        TextDelta("a"),
        TextDelta("b"),
        Finished("stop"),
    ]


@pytest.mark.parametrize(
    "pieces",
    [
        [piece(0, "c1", "f", ""), piece(0, arguments="{}")],
        [piece(0, "c1", "f", "{}")],
        [piece(0, "c1", "f"), piece(0, "c1", "f", "{}")],
        [piece(None, "c1", "f", "{"), piece(None, arguments="}")],
        [piece(-3, "c1", "f", {})],
        [piece(0, name="f"), piece(0, "c1", arguments="{}")],
    ],
)
def test_a_call_is_put_together_however_it_is_cut(pieces: list[Any]) -> None:
    (call,) = calls(*pieces)

    assert (call.call_id, call.name, call.arguments or "{}") == ("c1", "f", "{}")


def test_a_name_in_pieces_is_joined_if_that_is_what_was_offered() -> None:
    reader = chunks(tools=[tools.FUNCTION | {"name": "get_weather"}])
    found = read(
        choice(tool_calls=[piece(0, "c1", "get_")]), choice(tool_calls=[piece(0, name="weather")]), reader=reader
    )

    assert ToolCall("c1", "get_weather", "") in found


def test_parallel_calls_are_told_apart_by_number_or_by_id() -> None:
    two = [ToolCall("c1", "f", "1"), ToolCall("c2", "c", "2")]

    assert calls(piece(0, "c1", "f", "1"), piece(1, "c2", "c", "2")) == two
    assert calls(piece(1, "c2", "c", "2"), piece(0, "c1", "f", "1")) == two
    assert calls(piece(None, "c1", "f", "1"), piece(None, "c2", "c", "2")) == two
    assert calls(piece(0, "c1", "f", "1"), piece(0, "c2", "c", "2")) == two
    assert [call.call_id for call in calls(piece(0, "c1", "f"), piece(1, "c1", "f"))] == ["c1", ""]


def test_the_first_servers_only_call_is_read() -> None:
    found = read(choice(function_call={"name": "f", "arguments": "{"}), choice(function_call={"arguments": "}"}))

    assert found == [Thinking(), Thinking(), ToolCall("", "f", "{}"), Finished(None)]


def test_log_probabilities_go_with_the_text_they_are_of() -> None:
    def of(token: str, **more: Any) -> dict[str, Any]:
        return {"content": [{"token": token, **more}]}

    outputs = read(
        choice(logprobs=of("Hm", logprob=-1), reasoning="Hm"),
        choice(logprobs=of("\udcf0", logprob=float("-inf")), content=""),
        choice(logprobs=of("x", logprob="?", bytes=[300], top_logprobs=[{"token": "y"}]), content="x"),
        choice("stop", logprobs=of("end", logprob=-0.5, bytes=[1, 2])),
        reader=chunks(**LOGPROBS),
    )

    texts = [output for output in outputs if isinstance(output, TextDelta)]
    assert [(text.text, [one["token"] for one in text.logprobs]) for text in texts] == [
        ("x", ["\udcf0", "x"]),
        ("", ["end"]),
    ]
    assert [one["logprob"] for text in texts for one in text.logprobs] == [-9999.0, -9999.0, -0.5]
    assert [one["bytes"] for text in texts for one in text.logprobs] == [[63], [120], [1, 2]]
    assert {key for text in texts for one in text.logprobs for key in one} == {
        "token",
        "bytes",
        "logprob",
        "top_logprobs",
    }
    assert read(choice(logprobs=of("x"), content="x"))[0] == TextDelta("x")


def thought_and_said(outputs: list[Output]) -> tuple[str, str]:
    return (
        "".join(output.text for output in outputs if isinstance(output, ReasoningDelta)),
        "".join(output.text for output in outputs if isinstance(output, TextDelta)),
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("format", "text", "thought", "said"),
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
def test_think_tags_are_found_wherever_the_chunks_end(
    format: str, text: str, thought: str, said: str, size: int
) -> None:
    cut = [text[at : at + size] for at in range(0, len(text), size)]

    assert thought_and_said(read(*(choice(content=one) for one in cut), reader=chunks(format))) == (thought, said)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "x", "code": 429}}, errors.Unavailable),
        ({"error": {"message": "x", "type": "overloaded_error"}}, errors.Unavailable),
        ({"error": {"message": "x", "code": "invalid_prompt"}}, errors.Refused),
        ({"error": "x"}, errors.Erred),
        ({"object": "error", "message": "x", "code": 400}, errors.Refused),
        ({"detail": "x"}, errors.Erred),
        ({"choices": [5]}, errors.Refused),
        ({"choices": [{"delta": {"content": 5}}]}, errors.Refused),
        ({"choices": {"0": 1}}, errors.Refused),
    ],
)
def test_a_failure_is_told_from_an_answer(event: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        chunks().read(event)

    assert type(raised.value) is kind


def test_a_connection_that_ends_is_no_end_unless_the_server_said_so() -> None:
    for events, whole in (([], False), ([choice(content="a")], False), ([choice("stop")], True)):
        reader = chunks()
        for event in events:
            reader.read(event)
        if whole:
            assert reader.end(marked=False) == [Finished("stop")]
        else:
            with pytest.raises(errors.Erred):
                reader.end(marked=False)


def test_an_answer_in_one_piece_needs_no_reason() -> None:
    reader = chunks()
    message = {"role": "assistant", "content": "a", "tool_calls": [piece(0, "c1", "f", "{}")]}
    outputs = reader.complete_outputs(json.loads(json.dumps({"choices": [{"message": message}]})))

    assert [*outputs, *reader.end(marked=False)] == [
        TextDelta("a"),
        Thinking(),
        ToolCall("c1", "f", "{}"),
        Finished(None),
    ]
