"""Streams over HTTP: parameters, rejections, and the events that a reader receives."""

import json
from typing import Any

import pytest

from tests.http.http_api import Api, check_error
from tests.stream_checker import check_complete_log


def parse_stream(frames: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The events in a stream's bytes, and whether the stream ended with `[DONE]`."""
    event_frames = frames.decode().removesuffix("\n\n").split("\n\n")
    is_complete = event_frames[-1] == "data: [DONE]"
    if is_complete:
        event_frames.pop()
    return [json.loads(frame.partition("\ndata: ")[2]) for frame in event_frames], is_complete


@pytest.mark.parametrize("starting_after", ["abc", "1.5", "", "0x1", "1 2"])
def test_a_starting_after_that_is_not_an_integer_is_rejected(worker_api: Api, starting_after: str) -> None:
    body = worker_api.create_ended_response()

    answer = worker_api.get_response(body["id"], query_string={"stream": "true", "starting_after": starting_after})

    check_error(answer, 400, "invalid_value", "starting_after")


def test_the_stream_of_an_ended_response_can_start_at_any_event(worker_api: Api) -> None:
    body = worker_api.create_ended_response("Hello")
    answer = worker_api.get_response(body["id"], query_string={"stream": "true"})
    events, is_complete = parse_stream(answer.data)

    assert is_complete
    check_complete_log(events, body)
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.mimetype == "text/event-stream"
    for after in (-5, -1, 0, 3, len(events) - 2, len(events) - 1, len(events), 10**40):
        resumed_answer = worker_api.get_response(body["id"], query_string={"stream": "true", "starting_after": after})
        assert parse_stream(resumed_answer.data) == (events[max(after, -1) + 1 :], True)


def test_a_stream_request_for_an_unknown_deleted_or_foreign_response_gets_404(worker_api: Api, other_key: str) -> None:
    deleted_id, foreign_id = (
        worker_api.create_ended_response()["id"],
        worker_api.create_ended_response(key=other_key)["id"],
    )
    worker_api.delete_response(deleted_id)

    for response_id in (deleted_id, foreign_id, "resp_1"):
        stream_answer = worker_api.get_response(response_id, query_string={"stream": "true", "starting_after": 3})
        message = check_error(stream_answer, 404, None, "response_id")
        assert message == worker_api.get_response(response_id).get_json()["error"]["message"]


def test_stream_options_require_a_stream_and_have_no_effect(worker_api: Api) -> None:
    check_error(
        worker_api.post_response(stream_options={"include_obfuscation": True}), 400, "invalid_value", "stream_options"
    )
    answer = worker_api.post_response(stream=True, stream_options={"include_obfuscation": True})
    first_chunk = next(iter(answer.response))
    events, _ = parse_stream(first_chunk if isinstance(first_chunk, bytes) else first_chunk.encode())
    response_id = events[0]["response"]["id"]
    worker_api.run_response(response_id)
    answer.close()

    assert b"obfuscation" not in worker_api.get_response(response_id, query_string={"stream": "true"}).data


def test_an_invalid_request_for_a_stream_is_an_http_error(worker_api: Api) -> None:
    row_counts = worker_api.count_rows()
    check_error(worker_api.post_response(stream=True, temperature=3), 400, "decimal_above_max_value", "temperature")
    assert worker_api.count_rows() == row_counts
