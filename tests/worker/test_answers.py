"""A worker converts the outputs of a model server to items with valid events, which fold to the final output."""

import json
from dataclasses import replace
from typing import Any

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from core import errors, jsonio
from core.bootstrap import Core
from core.config.catalog import ModelConfig
from core.runs import events_sql
from core.wire import item_events, response, transcript
from tests.harness import engine
from tests.harness.engine import claim, create_caller, register_worker, submit
from worker.models.protocol import (
    Annotation,
    ItemEnd,
    Output,
    PartEnd,
    ReasoningDelta,
    RefusalDelta,
    SummaryDelta,
    TextDelta,
    ToolCall,
)
from worker.run import resume
from worker.run.output import OutputWriter
from worker.run.run import Run

CITATION = {"type": "url_citation", "url": "https://example.com", "title": "x", "start_index": 0, "end_index": 1}
EVENT_ADAPTER: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def run_with_outputs(core: Core, *outputs: Output, **request_fields: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Run a response with these outputs; return the final items and the types of the events that describe them.

    Every event must be valid, and the fold of the event log must equal the final output.
    """
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core), **request_fields))
    run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
    run.emit([transcript.lifecycle(response.running_document(jsonio.loads(attempt.document), []))])
    writer = OutputWriter(run, core.seals, limit_bytes=core.settings.output_limit_bytes)
    for output in outputs:
        writer.add(output)
    assert core.attempts.end(attempt, writer.outcome(), run.freeze_batch())
    with core.attempts._database.connection() as connection:
        log = [jsonio.loads(line) for line in events_sql.read_log(connection, attempt.response_id)]
    for event in log:
        EVENT_ADAPTER.validate_python(event)
    folded_transcript = transcript.fold(log)
    assert not folded_transcript.open
    assert folded_transcript.output == log[-1]["response"]["output"]
    event_types = [event["type"].removeprefix("response.") for event in log]
    assert event_types[:3] == ["created", "queued", "in_progress"]
    assert event_types[-1] == "completed"
    return folded_transcript.output, event_types[3:-1]


def test_reasoning_becomes_a_separate_item_before_the_text(core: Core) -> None:
    (reasoning, message), event_types = run_with_outputs(
        core, ReasoningDelta("hm, "), ReasoningDelta("yes"), TextDelta("Yes.")
    )

    assert reasoning["type"] == "reasoning"
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm, yes"}]
    assert reasoning["status"] == message["status"] == "completed"
    assert message["content"][0]["text"] == "Yes."
    assert event_types == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]


def test_a_refusal_becomes_a_part_of_the_message_that_it_interrupts(core: Core) -> None:
    (message,), _ = run_with_outputs(core, TextDelta("Well, "), RefusalDelta("I will "), RefusalDelta("not."))

    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][1]["refusal"] == "I will not."


def test_each_summary_becomes_a_separate_part(core: Core) -> None:
    (reasoning, _), event_types = run_with_outputs(
        core, SummaryDelta("One."), PartEnd(), SummaryDelta("Two."), ItemEnd(), TextDelta("a")
    )

    assert [part["text"] for part in reasoning["summary"]] == ["One.", "Two."]
    assert event_types.count("reasoning_summary_part.done") == 2


def test_text_after_the_end_of_a_part_or_item_starts_a_new_part_or_item(core: Core) -> None:
    items, _ = run_with_outputs(core, TextDelta("a"), ItemEnd(), TextDelta("b"), PartEnd(), TextDelta("c"))

    assert [[part["text"] for part in item["content"]] for item in items] == [["a"], ["b", "c"]]


def test_annotations_and_log_probabilities_become_part_of_their_text(core: Core) -> None:
    logprob = {"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}
    outputs = (TextDelta("a", (logprob,)), Annotation(CITATION), TextDelta("a", (logprob,)), Annotation(CITATION))
    (message,), _ = run_with_outputs(core, *outputs, include=["message.output_text.logprobs"])

    (part,) = message["content"]
    assert part == {
        "type": "output_text",
        "text": "aa",
        "annotations": [CITATION, CITATION],
        "logprobs": [logprob, logprob],
    }


@pytest.mark.parametrize(
    ("request_fields", "alternative_count"),
    [
        ({}, None),
        ({"include": ["message.output_text.logprobs"]}, 0),
        ({"top_logprobs": 1}, 1),
        ({"top_logprobs": 20, "include": ["message.output_text.logprobs"]}, 2),
    ],
)
def test_only_the_requested_log_probabilities_are_returned(
    core: Core, request_fields: dict[str, Any], alternative_count: int | None
) -> None:
    top_logprobs = [{"token": token, "bytes": [97], "logprob": -0.5} for token in "ab"]
    logprob = {"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": top_logprobs}

    (message,), _ = run_with_outputs(core, TextDelta("a", (logprob,)), **request_fields)

    logprobs = message["content"][0]["logprobs"]
    assert logprobs == (
        [] if alternative_count is None else [logprob | {"top_logprobs": top_logprobs[:alternative_count]}]
    )


def test_tool_calls_keep_their_position_between_texts(core: Core) -> None:
    items, _ = run_with_outputs(
        core, TextDelta("a"), ToolCall("call_1", "f", "{}"), ToolCall("call_2", "g", "{}"), TextDelta("b")
    )

    assert [item["type"] for item in items] == ["message", "function_call", "function_call", "message"]


def test_an_answer_without_output_becomes_an_empty_message(core: Core) -> None:
    (message,), _ = run_with_outputs(core)

    assert message["content"] == [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]


PARTIAL_TEXT = "Once upon a time there was a lighthouse by the sea, and "
MODEL = ModelConfig.model_validate({"base_url": "http://127.0.0.1:9/v1"})


def begin_continuation(core: Core, *committed_events: dict[str, Any]) -> tuple[OutputWriter, Run]:
    """Return the output writer of a run that continues the output of a lost worker, and the run."""
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    attempt = replace(attempt, partial_output=transcript.fold(committed_events), partial_output_tokens=9)
    run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
    writer = OutputWriter(run, core.seals, limit_bytes=core.settings.output_limit_bytes)
    plan = resume.plan_attempt(attempt, MODEL)
    assert isinstance(plan, resume.Plan)
    writer.continue_from(plan)
    writer.prepare_request()
    return writer, run


def join_deltas(run: Run) -> str:
    return "".join(json.loads(line).get("delta", "") for line in run.freeze_batch().lines)


def test_an_unfinished_echo_of_a_failed_server_does_not_affect_the_next_answer(core: Core) -> None:
    writer, run = begin_continuation(core, *engine.message_events("msg_1", 0, [PARTIAL_TEXT]))

    writer.add(TextDelta(PARTIAL_TEXT[:40]))  # then the connection breaks
    writer.prepare_request()
    writer.add(TextDelta(PARTIAL_TEXT + "a keeper."))

    assert writer.outcome().status == "completed"
    assert join_deltas(run) == "a keeper."


def test_reasoning_instead_of_a_continuation_fails_the_response(core: Core) -> None:
    writer, run = begin_continuation(core, *engine.message_events("msg_1", 0, [PARTIAL_TEXT]))

    with pytest.raises(errors.PermanentError) as raised:
        writer.add(ReasoningDelta("a keeper."))

    assert raised.value.code == "invalid_prompt"
    assert not run.has_pending_events


def test_closing_a_truncated_reasoning_item_is_not_output_of_the_next_run(core: Core) -> None:
    part_path = item_events.PartPath("rs_1", 0, "reasoning_text", 0)
    writer, run = begin_continuation(
        core,
        item_events.open_item(item_events.empty_item("reasoning", "rs_1"), 0),
        item_events.open_part(part_path),
        item_events.delta(part_path, "hm"),
    )

    assert run.has_pending_events, "the reasoning item was not closed"
    assert not writer.has_output, "a retry must still be possible"
