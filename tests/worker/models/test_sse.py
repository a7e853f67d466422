"""The parsed events of a body do not depend on its division into chunks; retry times are parsed as seconds."""

import time
from email.utils import formatdate

import pytest

from core import errors
from worker.models import failures
from worker.models.sse import DONE, LINE_LIMIT_BYTES, EventParser

EVENTS = [{"a": "é\n"}, {"b": [1, 2]}]
BODY = 'data: {"a":"é\\n"}\n\ndata: {"b":[1,2]}\n\ndata: [DONE]\n\n'


def read_events(body: bytes, chunk_size: int) -> list[object]:
    parser = EventParser()
    events = [
        event for start in range(0, len(body), chunk_size) for event in parser.feed(body[start : start + chunk_size])
    ]
    return [*events, *parser.close()]


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "text",
    [
        BODY,
        BODY.replace("\n", "\r\n"),
        BODY.replace("\n\n", "\n"),
        BODY.replace("data: ", "data:"),
        BODY.replace("[1,2]", "[1,\ndata: 2]"),
        "\ufeff: hello\nid: 1\nretry: 3\nevent: x\n" + BODY,
        BODY.removesuffix("\n\n"),
    ],
)
def test_events_are_the_same_for_every_notation_and_division_of_the_body(text: str, chunk_size: int) -> None:
    assert read_events(text.encode(), chunk_size) == [*EVENTS, DONE]


@pytest.mark.parametrize("chunk_size", [1, 5, 1000])
def test_a_json_document_instead_of_events_is_one_event(chunk_size: int) -> None:
    assert read_events(b' \n{"a":\n\n "data: x"}\n', chunk_size) == [{"a": "data: x"}]


@pytest.mark.parametrize("body", [b"event: error\ndata: {}\n\n", b"error: {}\n\n"])
def test_an_event_or_a_line_with_the_name_error_is_an_error(body: bytes) -> None:
    assert read_events(body + b'data: {"a":1}\n\n', 1000) == [{"error": {}}, {"a": 1}]


def test_slightly_invalid_json_is_accepted() -> None:
    (event,) = read_events(b'data: {"a":"\\ud83d\\ude00 \\ud83d \xff \\u0000","b":NaN,"c":"\t"}\n\n', 1000)

    assert event["a"] == "\U0001f600 \ufffd \ufffd \0"
    assert event["b"] != event["b"]
    assert event["c"] == "\t"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"data: {no\n\n",
        b"data: {}{}\n\n",
        b"data: " + b"[" * 5000 + b"]" * 5000 + b"\n\n",
        b"data: " + b"x" * (LINE_LIMIT_BYTES + 1),
        b"{no",
    ],
)
def test_an_invalid_body_raises_an_error(body: bytes) -> None:
    with pytest.raises(errors.PermanentError):
        read_events(body, 65536)


def test_a_truncated_event_at_the_end_is_dropped() -> None:
    assert read_events(b'data: {"a":1}\n\ndata: {"b"', 1000) == [{"a": 1}]


def test_a_requested_backoff_is_parsed_from_seconds_or_a_date() -> None:
    assert failures.retry_after_s({"Retry-After": "2.5"}) == 2.5
    assert failures.retry_after_s({"Retry-After": "-1"}) == 0
    assert failures.retry_after_s({"Retry-After": "9", "retry-after-ms": "1500"}) == 1.5
    assert failures.retry_after_s({}) is None
    assert failures.retry_after_s({"Retry-After": "soon"}) is None
    backoff_s = failures.retry_after_s({"Retry-After": formatdate(time.time() + 30, usegmt=True)})
    assert backoff_s is not None
    assert 25 < backoff_s <= 30
