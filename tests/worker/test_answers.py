"""A worker turns a model server's outputs into items in legal order, with a log that adds up to the object."""

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
from tests.harness.engine import caller, claim, submit, worker
from worker.models.protocol import (
    Annotated,
    ItemDone,
    Output,
    PartDone,
    ReasoningDelta,
    RefusalDelta,
    SummaryDelta,
    TextDelta,
    ToolCall,
)
from worker.run import resume
from worker.run.output import OutputWriter
from worker.run.run import Run

CITED = {"type": "url_citation", "url": "https://example.com", "title": "x", "start_index": 0, "end_index": 1}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def said(core: Core, *outputs: Output, **asked: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Run a response with these outputs; return the final items and the types of their events."""
    worker(core)
    attempt = claim(core, submit(core, caller(core), **asked))
    run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
    run.emit([transcript.lifecycle(response.running(jsonio.loads(attempt.document), []))])
    answer = OutputWriter(run, core.seals)
    for output in outputs:
        answer.add(output)
    assert core.attempts.end(attempt, answer.outcome(), run.freeze())
    with core.attempts._database.connection() as connection:
        log = [jsonio.loads(line) for line in events_sql.read(connection, attempt.response_id)]
    for event in log:
        EVENT.validate_python(event)
    folded = transcript.fold(log)
    assert not folded.open
    assert folded.output == log[-1]["response"]["output"]
    kinds = [event["type"].removeprefix("response.") for event in log]
    assert kinds[:3] == ["created", "queued", "in_progress"]
    assert kinds[-1] == "completed"
    return folded.output, kinds[3:-1]


def test_reasoning_comes_before_the_text_as_an_item_of_its_own(core: Core) -> None:
    (reasoning, message), kinds = said(core, ReasoningDelta("hm, "), ReasoningDelta("yes"), TextDelta("Yes."))

    assert reasoning["type"] == "reasoning"
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm, yes"}]
    assert reasoning["status"] == message["status"] == "completed"
    assert message["content"][0]["text"] == "Yes."
    assert kinds == [
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


def test_a_refusal_is_a_part_of_the_message_it_interrupts(core: Core) -> None:
    (message,), _ = said(core, TextDelta("Well, "), RefusalDelta("I will "), RefusalDelta("not."))

    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][1]["refusal"] == "I will not."


def test_summaries_are_parts_one_after_the_other(core: Core) -> None:
    (reasoning, _), kinds = said(
        core, SummaryDelta("One."), PartDone(), SummaryDelta("Two."), ItemDone(), TextDelta("a")
    )

    assert [part["text"] for part in reasoning["summary"]] == ["One.", "Two."]
    assert kinds.count("reasoning_summary_part.done") == 2


def test_what_was_said_to_be_whole_is_not_added_to(core: Core) -> None:
    items, _ = said(core, TextDelta("a"), ItemDone(), TextDelta("b"), PartDone(), TextDelta("c"))

    assert [[part["text"] for part in item["content"]] for item in items] == [["a"], ["b", "c"]]


def test_annotations_and_logprobs_end_in_the_text_they_are_of(core: Core) -> None:
    one = {"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}
    outputs = (TextDelta("a", (one,)), Annotated(CITED), TextDelta("a", (one,)), Annotated(CITED))
    (message,), _ = said(core, *outputs, include=["message.output_text.logprobs"])

    (part,) = message["content"]
    assert part == {"type": "output_text", "text": "aa", "annotations": [CITED, CITED], "logprobs": [one, one]}


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({}, None),
        ({"include": ["message.output_text.logprobs"]}, 0),
        ({"top_logprobs": 1}, 1),
        ({"top_logprobs": 20, "include": ["message.output_text.logprobs"]}, 2),
    ],
)
def test_of_log_probabilities_there_are_as_many_as_were_asked_for(
    core: Core, asked: dict[str, Any], kept: int | None
) -> None:
    others = [{"token": token, "bytes": [97], "logprob": -0.5} for token in "ab"]
    one = {"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": others}

    (message,), _ = said(core, TextDelta("a", (one,)), **asked)

    logprobs = message["content"][0]["logprobs"]
    assert logprobs == ([] if kept is None else [one | {"top_logprobs": others[:kept]}])


def test_tool_calls_stand_between_texts_where_they_were_made(core: Core) -> None:
    items, _ = said(core, TextDelta("a"), ToolCall("call_1", "f", "{}"), ToolCall("call_2", "g", "{}"), TextDelta("b"))

    assert [item["type"] for item in items] == ["message", "function_call", "function_call", "message"]


def test_a_model_that_says_nothing_answers_with_an_empty_message(core: Core) -> None:
    (message,), _ = said(core)

    assert message["content"] == [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]


PROSE = "Once upon a time there was a lighthouse by the sea, and "
MODEL = ModelConfig.model_validate({"base_url": "http://127.0.0.1:9/v1"})


def gone_on(core: Core, *open_item: dict[str, Any]) -> tuple[OutputWriter, Run]:
    """The output of a run that continues what a lost worker committed."""
    worker(core)
    attempt = claim(core, submit(core, caller(core)))
    attempt = replace(attempt, partial_output=transcript.fold(open_item), tokens=9)
    run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
    answer = OutputWriter(run, core.seals)
    found = resume.plan(attempt, MODEL)
    assert isinstance(found, resume.Plan)
    answer.go_on(found)
    answer.begin()
    return answer, run


def deltas(run: Run) -> str:
    return "".join(json.loads(line).get("delta", "") for line in run.freeze().lines)


def test_what_a_server_repeated_before_it_failed_is_not_mixed_with_what_the_next_says(core: Core) -> None:
    answer, run = gone_on(core, *engine.said("msg_1", 0, [PROSE]))

    answer.add(TextDelta(PROSE[:40]))  # then the connection breaks
    answer.begin()
    answer.add(TextDelta(PROSE + "a keeper."))

    assert answer.outcome().status == "completed"
    assert deltas(run) == "a keeper."


def test_a_server_that_thinks_anew_instead_of_going_on_is_not_believed(core: Core) -> None:
    answer, run = gone_on(core, *engine.said("msg_1", 0, [PROSE]))

    with pytest.raises(errors.Refused) as refused:
        answer.add(ReasoningDelta("a keeper."))

    assert refused.value.code == "invalid_prompt"
    assert not run.dirty


def test_a_thought_that_was_cut_short_is_no_output_of_the_next_run(core: Core) -> None:
    place = item_events.PartPath("rs_1", 0, "reasoning_text", 0)
    answer, run = gone_on(
        core,
        item_events.open_item(item_events.empty_item("reasoning", "rs_1"), 0),
        item_events.open_part(place),
        item_events.delta(place, "hm"),
    )

    assert run.dirty, "the thought is closed"
    assert not answer.grown, "but the model server may still be asked again"
