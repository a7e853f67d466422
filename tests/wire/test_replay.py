"""Logs rebuilt from final objects are legal, have the original length, and add up to the same output."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from core.wire import item_events, replay, transcript
from core.wire.item_events import PARTS, PartPath

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CITED = {"type": "url_citation", "url": "https://example.com", "title": "x", "start_index": 0, "end_index": 1}
texts = st.text(max_size=12)
deltas = st.lists(texts.filter(bool), max_size=5)
ENDS = ["completed", "incomplete", "failed", "cancelled"]


def document(status: str, output: list[dict], *, background: bool = True) -> dict[str, Any]:
    """The fields of a response object from which a log is built."""
    return {"id": "resp_1", "object": "response", "status": status, "background": background, "output": output}


def call(text: str, *, custom: bool) -> list[dict]:
    key = "input" if custom else "arguments"
    item = {
        "type": "custom_tool_call" if custom else "function_call",
        "id": "call_1",
        "call_id": "call_1",
        "name": "f",
        key: text,
        "status": "completed",
    }
    return item_events.tool_call(item, 0)


parts = st.tuples(st.sampled_from(sorted(PARTS)), deltas, st.integers(0, 2), st.booleans())
calls = st.builds(lambda text, custom: call(text, custom=custom), texts, st.booleans())


@st.composite
def grown(draw: st.DrawFn) -> list[dict]:
    """The events of a message or reasoning item, as a run writes them."""
    kind = draw(st.sampled_from(["message", "reasoning"]))
    events = [item_events.open_item(item_events.empty_item(kind, "item_1"), 0)]
    for part, said, annotations, logprobs in draw(st.lists(parts, max_size=3)):
        if PARTS[part].item != kind:
            continue
        listed = PARTS[part].listed
        place = PartPath("item_1", 0, part, len(transcript.fold(events).output[0][listed]))
        events.append(item_events.open_part(place))
        for text in said:
            own = [{"token": text, "bytes": [], "logprob": -1.0, "top_logprobs": []}] if logprobs else []
            events.append(item_events.delta(place, text, own))
        if part == "output_text":
            events += [item_events.annotation(place, one, CITED) for one in range(annotations)]
        events += item_events.close_part(place, transcript.fold(events).output[0][listed][place.index])
    (item,) = transcript.fold(events).output
    return events + item_events.close_item(item, 0, (), draw(st.sampled_from(["completed", "incomplete"])))


@st.composite
def logs(draw: st.DrawFn) -> list[dict]:
    """A complete log, as a run writes it."""
    events: list[dict] = []
    for index, item in enumerate(draw(st.lists(st.one_of(grown(), calls), max_size=4))):
        events += [event | {"output_index": index} for event in item]
    status, background = draw(st.sampled_from(ENDS)), draw(st.booleans())
    first = document("queued", [], background=background)
    opening = [{"type": "response.created", "response": first}]
    if background:
        opening.append(transcript.lifecycle(first))
    if events or draw(st.booleans()):
        opening.append(transcript.lifecycle(first | {"status": "in_progress"}))
    final = first | {"status": status, "output": transcript.fold(events).output}
    return transcript.number([*opening, *events, transcript.lifecycle(final)], 0)


def rebuilt(log: list[dict]) -> list[dict]:
    return replay.rebuild(log[0]["response"], log[-1]["response"], len(log))


@given(logs())
def test_a_rebuilt_log_folds_to_the_output_and_is_as_long_as_the_first_one(log: list[dict]) -> None:
    again = rebuilt(log)

    assert transcript.fold(again).output == log[-1]["response"]["output"]
    assert not transcript.fold(again).open
    assert [event["sequence_number"] for event in again] == list(range(len(log)))
    assert again[-1] == log[-1]
    opening = sum("response" in event for event in log) - 1
    assert again[:opening] == log[:opening]


@given(logs())
def test_a_rebuilt_log_has_the_same_events_in_the_same_order_but_for_the_deltas(log: list[dict]) -> None:
    def order(events: list[dict]) -> list[str]:
        return [event["type"] for event in events if not event["type"].endswith("_text.delta")]

    def places(events: list[dict]) -> list[tuple]:
        return [(event["type"], event.get("item"), event.get("part")) for event in events if "part" in event]

    log = [event for event in log if event["type"] != "response.refusal.delta"]
    again = [event for event in rebuilt(log) if event["type"] != "response.refusal.delta"]

    # Contents precede summaries, whereas a run may alternate between them.
    assert sorted(order(again)) == sorted(order(log))
    assert sorted(map(str, places(again))) == sorted(map(str, places(log)))


@given(logs())
def test_the_deltas_of_a_rebuilt_log_have_the_text_and_its_logprobs_once(log: list[dict]) -> None:
    def said(events: list[dict]) -> dict[tuple, tuple[str, list]]:
        found: dict[tuple, tuple[str, list]] = {}
        for event in events:
            if event["type"].endswith(".delta"):
                listed = "summary" if "summary_index" in event else "content"
                place = (event["output_index"], listed, event.get(f"{listed}_index"))
                text, logprobs = found.get(place, ("", []))
                found[place] = (text + event["delta"], logprobs + event.get("logprobs", []))
        return found

    assert said(rebuilt(log)) == said(log)


@given(logs(), st.integers(-1, 80))
def test_who_resumes_behind_the_opening_gets_the_end_and_no_text_twice(log: list[dict], after: int) -> None:
    opening = sum("response" in event for event in log) - 1

    rest = replay.resumed(rebuilt(log), len(log), after)

    if after >= len(log) - 1:
        assert rest == []
    elif after < opening:
        assert rest == rebuilt(log)[after + 1 :]
    else:
        assert rest == [log[-1]]


def test_the_official_client_knows_every_rebuilt_event() -> None:
    place = PartPath("item_1", 0, "output_text", 0)
    events = [
        item_events.open_item(item_events.empty_item("message", "item_1"), 0),
        item_events.open_part(place),
        item_events.delta(place, "Hello"),
    ]
    folded = transcript.fold(events)
    transcript.close_items(folded, "incomplete")
    output = [*folded.output, transcript.fold(call("{}", custom=False)).output[0]]

    again = replay.rebuild(document("queued", []), document("failed", output), 20)

    assert len(again) == 20
    for event in again:
        if "response" not in event:
            assert EVENT.validate_python(event).type == event["type"]
