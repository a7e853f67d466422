"""Streams over HTTP: parameters, refusals, and the events that a reader receives."""

import json
from typing import Any

import pytest

from tests.http.http_api import Api, error_of
from tests.stream_checker import check


def parsed(frames: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The events in a stream's bytes, and whether the stream ended with `[DONE]`."""
    *events, end = frames.decode().removesuffix("\n\n").split("\n\n")
    whole = end == "data: [DONE]"
    return [json.loads(one.partition("\ndata: ")[2]) for one in (events if whole else [*events, end])], whole


@pytest.mark.parametrize("wrong", ["abc", "1.5", "", "0x1", "1 2"])
def test_a_starting_after_that_is_no_integer_is_refused(running: Api, wrong: str) -> None:
    body = running.ended()

    answer = running.get(body["id"], query_string={"stream": "true", "starting_after": wrong})

    error_of(answer, 400, "invalid_value", "starting_after")


def test_a_finished_response_is_streamed_again_from_any_event(running: Api) -> None:
    body = running.ended("Hello")
    first = running.get(body["id"], query_string={"stream": "true"})
    events, done = parsed(first.data)

    assert done
    check(events, body)
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["X-Accel-Buffering"] == "no"
    assert first.mimetype == "text/event-stream"
    for after in (-5, -1, 0, 3, len(events) - 2, len(events) - 1, len(events), 10**40):
        again = running.get(body["id"], query_string={"stream": "true", "starting_after": after})
        assert parsed(again.data) == (events[max(after, -1) + 1 :], True)


def test_a_stream_of_an_unknown_a_deleted_or_a_foreign_response_is_404(running: Api, other: str) -> None:
    deleted, foreign = running.ended()["id"], running.ended(key=other)["id"]
    running.delete(deleted)

    for response_id in (deleted, foreign, "resp_1"):
        streamed = running.get(response_id, query_string={"stream": "true", "starting_after": 3})
        says = error_of(streamed, 404, None, "response_id")
        assert says == running.get(response_id).get_json()["error"]["message"]


def test_stream_options_without_a_stream_are_refused_and_ask_for_no_padding(running: Api) -> None:
    error_of(running.create(stream_options={"include_obfuscation": True}), 400, "invalid_value", "stream_options")
    answer = running.create(stream=True, stream_options={"include_obfuscation": True})
    head = next(iter(answer.response))
    events, _ = parsed(head if isinstance(head, bytes) else head.encode())
    response_id = events[0]["response"]["id"]
    running.run(response_id)
    answer.close()

    assert b"obfuscation" not in running.get(response_id, query_string={"stream": "true"}).data


def test_an_invalid_create_with_stream_is_a_plain_http_error(running: Api) -> None:
    before = running.stored()
    error_of(running.create(stream=True, temperature=3), 400, "decimal_above_max_value", "temperature")
    assert running.stored() == before
