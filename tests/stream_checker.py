"""Checks of event streams and event logs, and a reader that checks a stream as it arrives."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from core.config.tiers import Tier
from core.wire import transcript
from core.wire.item_events import PARTS

Event = dict[str, Any]

TERMINAL = {"response.completed", "response.incomplete", "response.failed"}
_EVENT_ADAPTER: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_PART_TYPE_BY_DONE_EVENT = {f"response.{kind.text_event}.done": name for name, kind in PARTS.items()}
_PART_TYPE_BY_DELTA_EVENT = {f"response.{kind.text_event}.delta": name for name, kind in PARTS.items()}


def check_complete_log(events: list[Event], document: Event | None = None) -> None:
    """Assert that these are all events of an ended response, and that the final document contains their fold."""
    assert events[-1]["type"] in TERMINAL, events[-1]["type"]
    check_log_start(events)
    final_document = events[-1]["response"]
    fold = transcript.fold(events)
    assert not fold.open
    assert fold.output == final_document["output"]
    # Two checks that do not use our own fold: the items of the `done` events, and the official client's accumulator.
    done_items = {
        event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"
    }
    assert [done_items[index] for index in sorted(done_items)] == final_document["output"]
    accumulator: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        accumulator.handle_event(_EVENT_ADAPTER.validate_python(_with_known_tier(event)))
    if document is not None:
        assert final_document == document


def check_log_start(events: list[Event]) -> None:
    """Assert that these are one or more events from the beginning of an event log."""
    check_continuation(events, after=-1)
    assert events[0]["type"] == "response.created"
    if events[0]["response"]["background"]:
        opening_types = ["response.created", "response.queued", "response.in_progress"]
    else:
        opening_types = ["response.created", "response.in_progress"]
    types = [event["type"] for event in events if event["type"] not in TERMINAL]
    assert types[: len(opening_types)] == opening_types[: len(types)], types[:4]
    assert not set(opening_types) & set(types[len(opening_types) :])
    ids = {event["response"]["id"] for event in events if "response" in event}
    assert len(ids) == 1
    _check_items(events)


def check_continuation(events: list[Event], after: int) -> None:
    """Assert that these events follow number `after` and that each conforms to the official client's schema."""
    assert [event["sequence_number"] for event in events] == list(range(after + 1, after + 1 + len(events)))
    for event in events:
        _EVENT_ADAPTER.validate_python(_with_known_tier(event))
    assert not [event["type"] for event in events[:-1] if event["type"] in TERMINAL]


def _with_known_tier(event: Event) -> Event:
    """The event with the tier `default` in place of a tier that is not in the official schema."""
    response = event.get("response", {})
    if response.get("service_tier") not in {Tier.NO_LIMIT, Tier.OVER_LIMIT}:
        return event
    return event | {"response": response | {"service_tier": "default"}}


def _check_items(events: list[Event]) -> None:
    """Assert that each item and part opens before its deltas, closes once with their sum, and keeps its ID."""
    ids: dict[int, str] = {}
    closed_items: set[int] = set()
    texts: dict[tuple[int, str, int], str] = {}  # by part, from the deltas that have arrived
    open_parts: set[tuple[int, str, int]] = set()
    for event in events:
        event_type = event["type"]
        if "output_index" not in event:
            continue
        index = event["output_index"]
        if event_type == "response.output_item.added":
            assert index == len(ids)
            ids[index] = event["item"]["id"]
            continue
        assert index in ids
        assert index not in closed_items
        assert event.get("item_id", ids[index]) == ids[index]
        if event_type == "response.output_item.done":
            assert event["item"]["id"] == ids[index]
            assert index not in {output_index for output_index, _, _ in open_parts}
            closed_items.add(index)
        elif event_type in {"response.content_part.added", "response.reasoning_summary_part.added"}:
            path = _part_path(event, event["part"]["type"])
            assert path not in texts
            open_parts.add(path)
            texts[path] = ""
        elif event_type in _PART_TYPE_BY_DELTA_EVENT:
            path = _part_path(event, _PART_TYPE_BY_DELTA_EVENT[event_type])
            assert path in open_parts
            texts[path] += event["delta"]
        elif event_type in _PART_TYPE_BY_DONE_EVENT:
            part_type = _PART_TYPE_BY_DONE_EVENT[event_type]
            assert event[PARTS[part_type].text_field] == texts[_part_path(event, part_type)]
        elif event_type in {"response.content_part.done", "response.reasoning_summary_part.done"}:
            part_type = event["part"]["type"]
            path = _part_path(event, part_type)
            open_parts.remove(path)
            assert event["part"][PARTS[part_type].text_field] == texts[path]


def _part_path(event: Event, part_type: str) -> tuple[int, str, int]:
    """The output index, the type and the index of the part that an event belongs to."""
    return event["output_index"], part_type, event[PARTS[part_type].index]


class StreamRefusedError(AssertionError):
    """The API refused the request for a stream."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body!r}")
        self.status = status


class Reader:
    """Reads a stream as it arrives, and checks the frame of each event.

    Args:
        reply: the reply with the stream, before its body is read.
        after: the sequence number after which the stream should begin; -1 for the complete stream.
    """

    def __init__(self, reply: http.client.HTTPResponse, after: int) -> None:
        self._reply = reply
        self._after = after
        self.events: list[Event] = []  # without an `error` event, which is not part of the event log
        self.raw = b""  # the bytes of `events`
        self.pings = 0
        self.done = False  # whether `[DONE]` has arrived
        self.error: Event | None = None

    def __iter__(self) -> Iterator[Event]:
        """Yield the events until the connection ends."""
        while True:
            try:
                first_line = self._reply.readline()
            except (http.client.HTTPException, OSError):
                return
            if not first_line:
                return
            if first_line.startswith(b":"):
                self.pings += 1
                assert self._reply.readline() == b"\n"
                continue
            if first_line == b"data: [DONE]\n":
                self.done = True
                continue
            if first_line == b"\n":
                continue
            data_line, last_line = self._reply.readline(), self._reply.readline()
            if last_line != b"\n":
                return  # the connection ended within a frame
            event = json.loads(data_line.removeprefix(b"data: "))
            assert first_line == f"event: {event['type']}\n".encode()
            assert not self.done
            if event["type"] == "error":
                self.error = event
                assert event["error"]["code"] == event["code"]
                continue
            self.events.append(event)
            self.raw += first_line + data_line + last_line
            yield event

    def read(self, count: int | None = None) -> list[Event]:
        """Read until there are `count` events, or to the end; check and return all events that have been read."""
        if count != 0:
            for _ in self:
                if count is not None and len(self.events) >= count:
                    break
        check_continuation(self.events, self._after)
        if self._after == -1 and self.events:
            check_log_start(self.events)
        if self.done and self._after == -1:
            check_complete_log(self.events)
        return self.events


@contextmanager
def open_event_stream(
    port: int,
    key: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    after: int = -1,
    timeout_s: float = 30,
    idempotency_key: str | None = None,
) -> Iterator[Reader]:
    """Open a stream: POST to `path` if there is a body, otherwise GET.

    Raises:
        StreamRefusedError: the API replied with an error.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    try:
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        reply = connection.getresponse()
        if reply.status != 200:
            raise StreamRefusedError(reply.status, reply.read())
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        assert reply.headers["Cache-Control"] == "no-cache"
        assert reply.headers["X-Accel-Buffering"] == "no"
        yield Reader(reply, after)
    finally:
        connection.close()
