"""The fold of an event log, on logs of every shape."""

import json
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from core.wire import item_events, transcript
from core.wire.item_events import PARTS, PartPath

texts = st.text(max_size=20)
LOGPROB = {"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}


def opened(part: str, deltas: list[str], index: int = 0) -> list[dict]:
    """The events of an item with one open part of this type."""
    place = PartPath(f"item_{index}", index, part, 0)
    return [
        item_events.open_item(item_events.empty_item(PARTS[part].item, f"item_{index}"), index),
        item_events.open_part(place),
        *[item_events.delta(place, delta) for delta in deltas],
    ]


def message(deltas: list[str], index: int = 0) -> list[dict]:
    return opened("output_text", deltas, index)


@given(st.sampled_from(sorted(PARTS)), st.lists(texts))
def test_the_text_of_an_open_part_is_its_deltas_joined(part: str, deltas: list[str]) -> None:
    folded = transcript.fold(opened(part, deltas))

    kind = PARTS[part]
    assert folded.output[0][kind.listed][0][kind.text] == "".join(deltas)
    assert folded.output[0]["status"] == "in_progress"
    assert list(folded.open) == [0]


@given(st.sampled_from(sorted(PARTS)), st.lists(texts), st.sampled_from(["completed", "incomplete"]))
def test_closing_and_folding_again_gives_the_same_output(part: str, deltas: list[str], status: str) -> None:
    events = opened(part, deltas)
    folded = transcript.fold(events)
    closing = transcript.close_items(folded, status)

    again = transcript.fold([*events, *closing])

    assert again.output == folded.output
    assert again.output[0]["status"] == status
    assert not again.open
    kind = PARTS[part]
    assert [event["type"].removeprefix("response.") for event in closing] == [
        f"{kind.deltas}.done",
        f"{kind.part}.done",
        "output_item.done",
    ]


@given(st.lists(st.tuples(st.sampled_from(["output_text", "refusal"]), st.lists(texts)), max_size=5))
def test_a_message_of_several_parts_has_each_of_them_closed_before_the_next_opens(
    parts: list[tuple[str, list[str]]],
) -> None:
    events = [item_events.open_item(item_events.empty_item("message", "msg_1"), 0)]
    folding = transcript.Fold()
    folding.add(events[0])
    for index, (part, deltas) in enumerate(parts):
        place = PartPath("msg_1", 0, part, index)
        grown = [item_events.open_part(place), *[item_events.delta(place, delta) for delta in deltas]]
        for event in grown:
            folding.add(event)
        closed = item_events.close_part(place, folding.transcript().output[0]["content"][index])
        for event in closed:
            folding.add(event)
        events += [*grown, *closed]
    (end,) = item_events.close_item(deepcopy(folding.transcript().output[0]), 0, (), "completed")

    folded = transcript.fold([*events, end])

    content = folded.output[0]["content"]
    assert [part["type"] for part in content] == [part for part, _ in parts]
    assert ["".join(deltas) for _, deltas in parts] == [part[PARTS[part["type"]].text] for part in content]
    assert not folded.open


def test_reasoning_keeps_its_summaries_apart_from_its_own_words() -> None:
    words, summary = PartPath("rs_1", 0, "reasoning_text", 0), PartPath("rs_1", 0, "summary_text", 0)
    events = [
        item_events.open_item(item_events.empty_item("reasoning", "rs_1"), 0),
        item_events.open_part(words),
        item_events.delta(words, "hm"),
        item_events.open_part(summary),
        item_events.delta(summary, "It thinks."),
    ]

    folded = transcript.fold(events)
    closing = transcript.close_items(folded, "incomplete")

    assert folded.output[0] == {
        "type": "reasoning",
        "id": "rs_1",
        "status": "incomplete",
        "summary": [{"type": "summary_text", "text": "It thinks."}],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
    assert transcript.fold([*events, *closing]).output == folded.output
    assert [event["type"].removeprefix("response.") for event in closing] == [
        "reasoning_text.done",
        "content_part.done",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]


def test_logprobs_and_annotations_are_of_the_text_they_came_with() -> None:
    place = PartPath("msg_1", 0, "output_text", 0)
    cited = {"type": "url_citation", "url": "https://example.com", "title": "x", "start_index": 0, "end_index": 1}
    events = [
        item_events.open_item(item_events.empty_item("message", "msg_1"), 0),
        item_events.open_part(place),
        item_events.delta(place, "a", [LOGPROB]),
        item_events.annotation(place, 0, cited),
        item_events.delta(place, "a", [LOGPROB]),
    ]

    folded = transcript.fold(events)
    closing = transcript.close_items(folded, "completed")

    (part,) = folded.output[0]["content"]
    assert part == {"type": "output_text", "text": "aa", "annotations": [cited], "logprobs": [LOGPROB, LOGPROB]}
    assert closing[0]["logprobs"] == [LOGPROB, LOGPROB]
    assert transcript.fold([*events, *closing]).output == folded.output


def test_an_open_tool_call_is_closed_with_what_it_has() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
    whole = item_events.tool_call(call | {"status": "completed"}, 0)

    folded = transcript.fold(whole[:2])
    closing = transcript.close_items(folded, "incomplete")

    assert folded.output == [call | {"status": "incomplete"}]
    assert [event["type"] for event in closing] == [
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert transcript.fold(whole).output == [call | {"status": "completed"}]


def test_what_was_closed_is_not_closed_again() -> None:
    folded = transcript.fold(message(["a"]))
    transcript.close_items(folded, "completed")

    assert transcript.close_items(folded, "completed") == []


def test_two_messages_keep_their_own_texts() -> None:
    first, second = message(["a", "b"]), message(["c"], index=1)
    closed = transcript.close_items(transcript.fold(first), "completed")

    folded = transcript.fold([*first, *closed, *second])

    assert [item["content"][0]["text"] for item in folded.output] == ["ab", "c"]
    assert list(folded.open) == [1]


def test_folding_changes_no_event() -> None:
    events = message(["a", "b"])
    before = json.dumps(events)

    transcript.close_items(transcript.fold(events), "completed")

    assert json.dumps(events) == before


def test_sequence_numbers_go_on_from_the_first_given() -> None:
    numbered = transcript.number(message(["a"]), 7)

    assert [event["sequence_number"] for event in numbered] == [7, 8, 9]
    assert list(numbered[0])[:2] == ["type", "sequence_number"]


def test_a_cancelled_responses_log_ends_with_failed_because_there_is_no_cancelled_event() -> None:
    assert transcript.lifecycle({"status": "cancelled"})["type"] == "response.failed"
    assert transcript.lifecycle({"status": "completed"})["type"] == "response.completed"
