"""The fold of an event log, on logs of every shape."""

import json

from hypothesis import given
from hypothesis import strategies as st

from core import transcript

texts = st.text(max_size=20)


def message(deltas: list[str], index: int = 0) -> list[dict]:
    return [
        *transcript.open_message(f"msg_{index}", index),
        *[transcript.text_delta(f"msg_{index}", index, 0, delta) for delta in deltas],
    ]


@given(st.lists(texts))
def test_the_text_of_an_open_message_is_its_deltas_joined(deltas: list[str]) -> None:
    folded = transcript.fold(message(deltas))

    assert folded.output[0]["content"][0]["text"] == "".join(deltas)
    assert folded.output[0]["status"] == "in_progress"
    assert folded.open == {0}


@given(st.lists(texts), st.sampled_from(["completed", "incomplete"]))
def test_closing_and_folding_again_gives_the_same_output(deltas: list[str], status: str) -> None:
    events = message(deltas)
    folded = transcript.fold(events)
    closing = transcript.close_items(folded, status)

    again = transcript.fold([*events, *closing])

    assert again.output == folded.output
    assert again.output[0]["status"] == status
    assert not again.open
    assert [event["type"].removeprefix("response.") for event in closing] == [
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]


def test_what_was_closed_is_not_closed_again() -> None:
    folded = transcript.fold(message(["a"]))
    transcript.close_items(folded, "completed")

    assert transcript.close_items(folded, "completed") == []


def test_two_messages_keep_their_own_texts() -> None:
    first, second = message(["a", "b"]), message(["c"], index=1)
    closed = transcript.close_items(transcript.fold(first), "completed")

    folded = transcript.fold([*first, *closed, *second])

    assert [item["content"][0]["text"] for item in folded.output] == ["ab", "c"]
    assert folded.open == {1}


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
