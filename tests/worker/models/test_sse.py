"""The body of a model server yields the same events wherever it is cut; retry times are parsed as seconds."""

import time
from email.utils import formatdate

import pytest

from core import errors
from worker.models import failures
from worker.models.sse import DONE, LINE_LIMIT, Events

EVENTS = [{"a": "é\n"}, {"b": [1, 2]}]
PLAIN = 'data: {"a":"é\\n"}\n\ndata: {"b":[1,2]}\n\ndata: [DONE]\n\n'


def read(body: bytes, size: int) -> list[object]:
    events = Events()
    found = [event for at in range(0, len(body), size) for event in events.feed(body[at : at + size])]
    return [*found, *events.close()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n\n", "\n"),
        PLAIN.replace("data: ", "data:"),
        PLAIN.replace("[1,2]", "[1,\ndata: 2]"),
        "\ufeff: hello\nid: 1\nretry: 3\nevent: x\n" + PLAIN,
        PLAIN.removesuffix("\n\n"),
    ],
)
def test_events_are_the_same_however_the_body_is_written_and_cut(text: str, size: int) -> None:
    assert read(text.encode(), size) == [*EVENTS, DONE]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_document_without_events_is_read_whole(size: int) -> None:
    assert read(b' \n{"a":\n\n "data: x"}\n', size) == [{"a": "data: x"}]


@pytest.mark.parametrize("body", [b"event: error\ndata: {}\n\n", b"error: {}\n\n"])
def test_an_error_by_its_events_name_is_told_from_an_answer(body: bytes) -> None:
    assert read(body + b'data: {"a":1}\n\n', 1000) == [{"error": {}}, {"a": 1}]


def test_json_that_is_nearly_right_is_read() -> None:
    (found,) = read(b'data: {"a":"\\ud83d\\ude00 \\ud83d \xff \\u0000","b":NaN,"c":"\t"}\n\n', 1000)

    assert found["a"] == "\U0001f600 \ufffd \ufffd \0"
    assert found["b"] != found["b"]
    assert found["c"] == "\t"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"data: {no\n\n",
        b"data: {}{}\n\n",
        b"data: " + b"[" * 5000 + b"]" * 5000 + b"\n\n",
        b"data: " + b"x" * (LINE_LIMIT + 1),
        b"{no",
    ],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(errors.Refused):
        read(body, 65536)


def test_what_is_cut_off_at_the_end_is_left_out() -> None:
    assert read(b'data: {"a":1}\n\ndata: {"b"', 1000) == [{"a": 1}]


def test_the_time_to_stay_away_is_read_in_seconds_or_as_a_date() -> None:
    assert failures.retry_after_s({"Retry-After": "2.5"}) == 2.5
    assert failures.retry_after_s({"Retry-After": "-1"}) == 0
    assert failures.retry_after_s({"Retry-After": "9", "retry-after-ms": "1500"}) == 1.5
    assert failures.retry_after_s({}) is None
    assert failures.retry_after_s({"Retry-After": "soon"}) is None
    until = failures.retry_after_s({"Retry-After": formatdate(time.time() + 30, usegmt=True)})
    assert until is not None
    assert 25 < until <= 30
