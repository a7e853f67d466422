"""The transcripts of event logs with every kind of item and part."""

import json
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from core.wire import item_events, transcript
from core.wire.item_events import PARTS, PartPath

texts = st.text(max_size=20)
LOGPROB = {"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}


def open_item_events(part_type: str, deltas: list[str], index: int = 0) -> list[dict]:
    """The events of an item with one open part."""
    path = PartPath(f"item_{index}", index, part_type, 0)
    return [
        item_events.open_item(item_events.empty_item(PARTS[part_type].item_type, f"item_{index}"), index),
        item_events.open_part(path),
        *[item_events.delta(path, delta) for delta in deltas],
    ]


def message_events(deltas: list[str], index: int = 0) -> list[dict]:
    return open_item_events("output_text", deltas, index)


@given(st.sampled_from(sorted(PARTS)), st.lists(texts))
def test_the_text_of_an_open_part_is_its_deltas_joined(part_type: str, deltas: list[str]) -> None:
    log_transcript = transcript.fold(open_item_events(part_type, deltas))

    kind = PARTS[part_type]
    assert log_transcript.output[0][kind.list_field][0][kind.text_field] == "".join(deltas)
    assert log_transcript.output[0]["status"] == "in_progress"
    assert list(log_transcript.open) == [0]


@given(st.sampled_from(sorted(PARTS)), st.lists(texts), st.sampled_from(["completed", "incomplete"]))
def test_a_log_with_its_closing_events_folds_to_the_closed_output(
    part_type: str, deltas: list[str], status: str
) -> None:
    events = open_item_events(part_type, deltas)
    log_transcript = transcript.fold(events)
    closing_events = transcript.close_items(log_transcript, status)

    second_transcript = transcript.fold([*events, *closing_events])

    assert second_transcript.output == log_transcript.output
    assert second_transcript.output[0]["status"] == status
    assert not second_transcript.open
    kind = PARTS[part_type]
    assert [event["type"].removeprefix("response.") for event in closing_events] == [
        f"{kind.text_event}.done",
        f"{kind.part_event}.done",
        "output_item.done",
    ]


@given(st.lists(st.tuples(st.sampled_from(["output_text", "refusal"]), st.lists(texts)), max_size=5))
def test_the_parts_of_a_message_are_folded_in_order(
    parts: list[tuple[str, list[str]]],
) -> None:
    events = [item_events.open_item(item_events.empty_item("message", "msg_1"), 0)]
    fold = transcript.Fold()
    fold.add(events[0])
    for index, (part_type, deltas) in enumerate(parts):
        path = PartPath("msg_1", 0, part_type, index)
        open_events = [item_events.open_part(path), *[item_events.delta(path, delta) for delta in deltas]]
        for event in open_events:
            fold.add(event)
        close_events = item_events.close_part(path, fold.transcript().output[0]["content"][index])
        for event in close_events:
            fold.add(event)
        events += [*open_events, *close_events]
    (end,) = item_events.close_item(deepcopy(fold.transcript().output[0]), 0, (), "completed")

    log_transcript = transcript.fold([*events, end])

    content = log_transcript.output[0]["content"]
    assert [part["type"] for part in content] == [part_type for part_type, _ in parts]
    assert ["".join(deltas) for _, deltas in parts] == [part[PARTS[part["type"]].text_field] for part in content]
    assert not log_transcript.open


def test_reasoning_text_and_summaries_are_separate_lists() -> None:
    content_path, summary_path = PartPath("rs_1", 0, "reasoning_text", 0), PartPath("rs_1", 0, "summary_text", 0)
    events = [
        item_events.open_item(item_events.empty_item("reasoning", "rs_1"), 0),
        item_events.open_part(content_path),
        item_events.delta(content_path, "hm"),
        item_events.open_part(summary_path),
        item_events.delta(summary_path, "It thinks."),
    ]

    log_transcript = transcript.fold(events)
    closing_events = transcript.close_items(log_transcript, "incomplete")

    assert log_transcript.output[0] == {
        "type": "reasoning",
        "id": "rs_1",
        "status": "incomplete",
        "summary": [{"type": "summary_text", "text": "It thinks."}],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
    assert transcript.fold([*events, *closing_events]).output == log_transcript.output
    assert [event["type"].removeprefix("response.") for event in closing_events] == [
        "reasoning_text.done",
        "content_part.done",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]


def test_logprobs_and_annotations_are_added_to_the_part_of_their_event() -> None:
    path = PartPath("msg_1", 0, "output_text", 0)
    citation = {"type": "url_citation", "url": "https://example.com", "title": "x", "start_index": 0, "end_index": 1}
    events = [
        item_events.open_item(item_events.empty_item("message", "msg_1"), 0),
        item_events.open_part(path),
        item_events.delta(path, "a", [LOGPROB]),
        item_events.annotation(path, 0, citation),
        item_events.delta(path, "a", [LOGPROB]),
    ]

    log_transcript = transcript.fold(events)
    closing_events = transcript.close_items(log_transcript, "completed")

    (part,) = log_transcript.output[0]["content"]
    assert part == {"type": "output_text", "text": "aa", "annotations": [citation], "logprobs": [LOGPROB, LOGPROB]}
    assert closing_events[0]["logprobs"] == [LOGPROB, LOGPROB]
    assert transcript.fold([*events, *closing_events]).output == log_transcript.output


def test_an_open_tool_call_is_closed_with_its_partial_arguments() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
    events = item_events.tool_call(call | {"status": "completed"}, 0)

    log_transcript = transcript.fold(events[:2])
    closing_events = transcript.close_items(log_transcript, "incomplete")

    assert log_transcript.output == [call | {"status": "incomplete"}]
    assert [event["type"] for event in closing_events] == [
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert transcript.fold(events).output == [call | {"status": "completed"}]


def test_a_closed_item_is_not_closed_again() -> None:
    log_transcript = transcript.fold(message_events(["a"]))
    transcript.close_items(log_transcript, "completed")

    assert transcript.close_items(log_transcript, "completed") == []


def test_two_messages_have_separate_texts() -> None:
    first_message, second_message = message_events(["a", "b"]), message_events(["c"], index=1)
    closing_events = transcript.close_items(transcript.fold(first_message), "completed")

    log_transcript = transcript.fold([*first_message, *closing_events, *second_message])

    assert [item["content"][0]["text"] for item in log_transcript.output] == ["ab", "c"]
    assert list(log_transcript.open) == [1]


def test_a_fold_does_not_change_its_events() -> None:
    events = message_events(["a", "b"])
    serialized_events = json.dumps(events)

    transcript.close_items(transcript.fold(events), "completed")

    assert json.dumps(events) == serialized_events


def test_sequence_numbers_start_at_the_given_number() -> None:
    events = transcript.number(message_events(["a"]), 7)

    assert [event["sequence_number"] for event in events] == [7, 8, 9]
    assert list(events[0])[:2] == ["type", "sequence_number"]


def test_the_log_of_a_cancelled_response_ends_with_response_failed() -> None:
    assert transcript.lifecycle({"status": "cancelled"})["type"] == "response.failed"
    assert transcript.lifecycle({"status": "completed"})["type"] == "response.completed"
