"""Invariants of event streams and logs, and a reader that checks each stream while a test reads it."""

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
_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_PART_DONE = {f"response.{kind.deltas}.done": name for name, kind in PARTS.items()}
_DELTAS = {f"response.{kind.deltas}.delta": name for name, kind in PARTS.items()}


def check(events: list[Event], document: Event | None = None) -> None:
    """Assert that these are all events of an ended response and that they add up to `document`."""
    assert events[-1]["type"] in TERMINAL, events[-1]["type"]
    check_begun(events)
    final = events[-1]["response"]
    folded = transcript.fold(events)
    assert not folded.open
    assert folded.output == final["output"]
    # Independent of our own fold: the items of the `done` events, and the client's accumulator over all events.
    done = {event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
    assert [done[index] for index in sorted(done)] == final["output"]
    accumulated: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        accumulated.handle_event(_EVENT.validate_python(_known(event)))
    if document is not None:
        assert final == document


def check_begun(events: list[Event]) -> None:
    """Assert that these are the first events of a response, of any number."""
    check_rest(events, after=-1)
    kinds = [event["type"] for event in events]
    assert kinds[0] == "response.created"
    background = events[0]["response"]["background"]
    head = ["response.created", *(["response.queued"] if background else []), "response.in_progress"]
    ran = [kind for kind in kinds if kind not in TERMINAL]
    assert ran[: len(head)] == head[: len(ran)], ran[:4]
    assert not set(head) & set(ran[len(head) :])
    ids = {event["response"]["id"] for event in events if "response" in event}
    assert len(ids) == 1
    _check_items(events)


def check_rest(events: list[Event], after: int) -> None:
    """Assert that these events follow number `after` and that each is valid by the clients' schema."""
    assert [event["sequence_number"] for event in events] == list(range(after + 1, after + 1 + len(events)))
    for event in events:
        _EVENT.validate_python(_known(event))
    assert not [event["type"] for event in events[:-1] if event["type"] in TERMINAL]


def _known(event: Event) -> Event:
    """Replace a tier of ours with one that the clients' schema knows: clients do not validate the tier."""
    response = event.get("response", {})
    if response.get("service_tier") not in {Tier.NO_LIMIT, Tier.OVER_LIMIT}:
        return event
    return event | {"response": response | {"service_tier": "default"}}


def _check_items(events: list[Event]) -> None:
    """Assert that each item and part opens before its deltas, closes once with their sum, and keeps its ID."""
    ids: dict[int, str] = {}
    done: set[int] = set()
    grown: dict[tuple[int, str, int], str] = {}
    open_parts: set[tuple[int, str, int]] = set()
    for event in events:
        kind = event["type"]
        if "output_index" not in event:
            continue
        index = event["output_index"]
        if kind == "response.output_item.added":
            assert index == len(ids)
            ids[index] = event["item"]["id"]
            continue
        assert index in ids
        assert index not in done
        assert event.get("item_id", ids[index]) == ids[index]
        if kind == "response.output_item.done":
            assert event["item"]["id"] == ids[index]
            assert not {place for place in open_parts if place[0] == index}
            done.add(index)
        elif kind in {"response.content_part.added", "response.reasoning_summary_part.added"}:
            place = _place(event, event["part"]["type"])
            assert place not in grown
            open_parts.add(place)
            grown[place] = ""
        elif kind in _DELTAS:
            place = _place(event, _DELTAS[kind])
            assert place in open_parts
            grown[place] += event["delta"]
        elif kind in _PART_DONE:
            part = _PART_DONE[kind]
            assert event[PARTS[part].text] == grown[_place(event, part)]
        elif kind in {"response.content_part.done", "response.reasoning_summary_part.done"}:
            part = event["part"]["type"]
            place = _place(event, part)
            open_parts.remove(place)
            assert event["part"][PARTS[part].text] == grown[place]


def _place(event: Event, part: str) -> tuple[int, str, int]:
    return event["output_index"], part, event[PARTS[part].index]


class Refused(AssertionError):
    """The request for a stream was refused."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body!r}")
        self.status = status


class Reader:
    """Reads one stream as it arrives and checks each frame before it yields the event."""

    def __init__(self, answer: http.client.HTTPResponse, after: int) -> None:
        self._answer = answer
        self._after = after
        self.events: list[Event] = []
        self.raw = b""
        self.pings = 0
        self.done = False
        self.error: Event | None = None

    def __iter__(self) -> Iterator[Event]:
        """Yield the events until the connection ends."""
        while True:
            try:
                first = self._answer.readline()
            except (http.client.HTTPException, OSError):
                return
            if not first:
                return
            if first.startswith(b":"):
                self.pings += 1
                assert self._answer.readline() == b"\n"
                continue
            if first == b"data: [DONE]\n":
                self.done = True
                continue
            if first == b"\n":
                continue
            second, third = self._answer.readline(), self._answer.readline()
            if third != b"\n":
                return  # cut off in the middle of a frame
            event = json.loads(second.removeprefix(b"data: "))
            assert first == f"event: {event['type']}\n".encode()
            assert not self.done
            if event["type"] == "error":
                self.error = event
                assert event["error"]["code"] == event["code"]
                continue
            self.events.append(event)
            self.raw += first + second + third
            yield event

    def read(self, count: int | None = None) -> list[Event]:
        """Read `count` events, or all, and check what has been read."""
        if count != 0:
            for _ in self:
                if count is not None and len(self.events) >= count:
                    break
        check_rest(self.events, self._after)
        if self._after == -1 and self.events:
            check_begun(self.events)
        if self.done and self._after == -1:
            check(self.events)
        return self.events


@contextmanager
def reading(
    port: int,
    key: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    after: int = -1,
    timeout_s: float = 30,
    idempotency_key: str | None = None,
) -> Iterator[Reader]:
    """Open a stream of the API at the port: a create with `body`, or GET of `path`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    try:
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise Refused(answer.status, answer.read())
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["X-Accel-Buffering"] == "no"
        yield Reader(answer, after)
    finally:
        connection.close()
