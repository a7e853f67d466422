"""A log rebuilt from a final object has the original length, folds to the same output, and contains valid events."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from core.wire import item_events, replay, transcript
from core.wire.item_events import PARTS, PartPath

EVENT_ADAPTER: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CITATION = {"type": "url_citation", "url": "https://example.com", "title": "x", "start_index": 0, "end_index": 1}
texts = st.text(max_size=12)
deltas = st.lists(texts.filter(bool), max_size=5)
TERMINAL_STATUSES = ["completed", "incomplete", "failed", "cancelled"]


def document(status: str, output: list[dict], *, background: bool = True) -> dict[str, Any]:
    """A response object with only the fields that are needed to rebuild a log."""
    return {"id": "resp_1", "object": "response", "status": status, "background": background, "output": output}


def tool_call_events(text: str, *, is_custom: bool) -> list[dict]:
    """The events of a complete tool call with this text as its arguments or its input."""
    key = "input" if is_custom else "arguments"
    item = {
        "type": "custom_tool_call" if is_custom else "function_call",
        "id": "call_1",
        "call_id": "call_1",
        "name": "f",
        key: text,
        "status": "completed",
    }
    return item_events.tool_call(item, 0)


# The type, the deltas and the number of annotations of a part, and whether the deltas have log probabilities.
parts = st.tuples(st.sampled_from(sorted(PARTS)), deltas, st.integers(0, 2), st.booleans())
tool_calls = st.builds(lambda text, is_custom: tool_call_events(text, is_custom=is_custom), texts, st.booleans())


@st.composite
def item_logs(draw: st.DrawFn) -> list[dict]:
    """The events of a message or reasoning item, in the order in which a run writes them."""
    item_type = draw(st.sampled_from(["message", "reasoning"]))
    events = [item_events.open_item(item_events.empty_item(item_type, "item_1"), 0)]
    for part_type, part_deltas, annotation_count, has_logprobs in draw(st.lists(parts, max_size=3)):
        if PARTS[part_type].item_type != item_type:
            continue
        list_name = PARTS[part_type].list_field
        path = PartPath("item_1", 0, part_type, len(transcript.fold(events).output[0][list_name]))
        events.append(item_events.open_part(path))
        for text in part_deltas:
            logprobs = [{"token": text, "bytes": [], "logprob": -1.0, "top_logprobs": []}] if has_logprobs else []
            events.append(item_events.delta(path, text, logprobs))
        if part_type == "output_text":
            events += [item_events.annotation(path, index, CITATION) for index in range(annotation_count)]
        events += item_events.close_part(path, transcript.fold(events).output[0][list_name][path.index])
    (item,) = transcript.fold(events).output
    return events + item_events.close_item(item, 0, (), draw(st.sampled_from(["completed", "incomplete"])))


@st.composite
def logs(draw: st.DrawFn) -> list[dict]:
    """The complete log of an ended response."""
    events: list[dict] = []
    for index, item_log in enumerate(draw(st.lists(st.one_of(item_logs(), tool_calls), max_size=4))):
        events += [event | {"output_index": index} for event in item_log]
    status, background = draw(st.sampled_from(TERMINAL_STATUSES)), draw(st.booleans())
    first_document = document("queued", [], background=background)
    opening_events = [{"type": "response.created", "response": first_document}]
    if background:
        opening_events.append(transcript.lifecycle(first_document))
    if events or draw(st.booleans()):
        opening_events.append(transcript.lifecycle(first_document | {"status": "in_progress"}))
    final_document = first_document | {"status": status, "output": transcript.fold(events).output}
    return transcript.number([*opening_events, *events, transcript.lifecycle(final_document)], 0)


def rebuild_log(log: list[dict]) -> list[dict]:
    return replay.rebuild(log[0]["response"], log[-1]["response"], len(log))


@given(logs())
def test_a_rebuilt_log_folds_to_the_output_and_is_as_long_as_the_original(log: list[dict]) -> None:
    rebuilt_log = rebuild_log(log)

    assert transcript.fold(rebuilt_log).output == log[-1]["response"]["output"]
    assert not transcript.fold(rebuilt_log).open
    assert [event["sequence_number"] for event in rebuilt_log] == list(range(len(log)))
    assert rebuilt_log[-1] == log[-1]
    opening_count = sum("response" in event for event in log) - 1
    assert rebuilt_log[:opening_count] == log[:opening_count]


@given(logs())
def test_a_rebuilt_log_has_the_event_types_and_parts_of_the_original_apart_from_text_deltas(log: list[dict]) -> None:
    def types_without_text_deltas(events: list[dict]) -> list[str]:
        return [event["type"] for event in events if not event["type"].endswith("_text.delta")]

    def events_with_parts(events: list[dict]) -> list[tuple]:
        return [(event["type"], event.get("item"), event.get("part")) for event in events if "part" in event]

    log = [event for event in log if event["type"] != "response.refusal.delta"]
    rebuilt_log = [event for event in rebuild_log(log) if event["type"] != "response.refusal.delta"]

    # Sorted, because all contents precede the summaries in a rebuilt log, whereas a run may alternate between them.
    assert sorted(types_without_text_deltas(rebuilt_log)) == sorted(types_without_text_deltas(log))
    assert sorted(map(str, events_with_parts(rebuilt_log))) == sorted(map(str, events_with_parts(log)))


@given(logs())
def test_the_deltas_of_a_rebuilt_log_join_to_the_texts_and_logprobs_of_the_original(log: list[dict]) -> None:
    def join_deltas(events: list[dict]) -> dict[tuple, tuple[str, list]]:
        texts_and_logprobs: dict[tuple, tuple[str, list]] = {}
        for event in events:
            if event["type"].endswith(".delta"):
                list_name = "summary" if "summary_index" in event else "content"
                position = (event["output_index"], list_name, event.get(f"{list_name}_index"))
                text, logprobs = texts_and_logprobs.get(position, ("", []))
                texts_and_logprobs[position] = (text + event["delta"], logprobs + event.get("logprobs", []))
        return texts_and_logprobs

    assert join_deltas(rebuild_log(log)) == join_deltas(log)


@given(logs(), st.integers(-1, 80))
def test_a_stream_resumed_after_the_opening_events_contains_only_the_last_event(
    log: list[dict], last_received_seq: int
) -> None:
    opening_count = sum("response" in event for event in log) - 1

    events = replay.remaining_events(rebuild_log(log), len(log), last_received_seq)

    if last_received_seq >= len(log) - 1:
        assert events == []
    elif last_received_seq < opening_count:
        assert events == rebuild_log(log)[last_received_seq + 1 :]
    else:
        assert events == [log[-1]]


def test_the_item_events_of_a_rebuilt_log_are_valid_for_the_official_client() -> None:
    path = PartPath("item_1", 0, "output_text", 0)
    events = [
        item_events.open_item(item_events.empty_item("message", "item_1"), 0),
        item_events.open_part(path),
        item_events.delta(path, "Hello"),
    ]
    log_transcript = transcript.fold(events)
    transcript.close_items(log_transcript, "incomplete")
    output = [*log_transcript.output, transcript.fold(tool_call_events("{}", is_custom=False)).output[0]]

    rebuilt_log = replay.rebuild(document("queued", []), document("failed", output), 20)

    assert len(rebuilt_log) == 20
    for event in rebuilt_log:
        if "response" not in event:
            assert EVENT_ADAPTER.validate_python(event).type == event["type"]
