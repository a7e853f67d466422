"""Polls with `If-None-Match`, and polls that wait for the end of a response (`Prefer: wait`)."""

import threading
import time

import pytest

from tests.http.http_api import Api, check_document, check_error
from tests.http.statuses import ALL_STATUSES, TERMINAL_STATUSES, move_to_status


@pytest.mark.parametrize("status", ALL_STATUSES)
def test_a_poll_of_an_unchanged_response_gets_304_without_a_body(worker_api: Api, status: str) -> None:
    response_id = worker_api.create_response()["id"]
    move_to_status(worker_api, status, response_id)
    etag = worker_api.get_response(response_id).headers["ETag"]

    for condition in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = worker_api.get_response(response_id, headers={"If-None-Match": condition})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert ("openai-poll-after-ms" in answer.headers) == (status not in TERMINAL_STATUSES)


def test_a_poll_of_a_changed_response_returns_the_document(worker_api: Api) -> None:
    response_id = worker_api.create_response()["id"]
    etags = [worker_api.get_response(response_id).headers["ETag"]]
    for status in ("in_progress", "cancelled"):
        move_to_status(worker_api, status, response_id)
        answer = worker_api.get_response(response_id, headers={"If-None-Match": etags[-1]})
        check_document(answer, status)
        etags.append(answer.headers["ETag"])

    assert len(set(etags)) == 3


@pytest.mark.parametrize(
    "header",
    [
        {"If-None-Match": "garbage"},
        {"If-None-Match": '"'},
        {"If-None-Match": 'W/"'},
        {"If-Match": '"other"'},
        {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Range": "bytes=0-9"},
    ],
    ids=str,
)
def test_an_invalid_or_unsupported_condition_is_ignored(worker_api: Api, header: dict[str, str]) -> None:
    document = worker_api.create_response()

    assert check_document(worker_api.get_response(document["id"], headers=header), "queued") == document


def test_a_conditional_poll_of_a_foreign_response_gets_404(worker_api: Api, other_key: str) -> None:
    response_id = worker_api.create_response()["id"]
    etag = worker_api.get_response(response_id).headers["ETag"]

    for condition in (etag, "*"):
        check_error(
            worker_api.get_response(response_id, key=other_key, headers={"If-None-Match": condition}),
            404,
            None,
            "response_id",
        )


def test_a_waiting_poll_is_answered_when_the_response_ends(worker_api: Api) -> None:
    response_id = worker_api.create_response()["id"]
    threading.Timer(0.3, worker_api.run_response, [response_id]).start()
    started_at = time.monotonic()

    answer = worker_api.get_response(response_id, headers={"Prefer": "wait=30"})

    assert check_document(answer, "completed")
    assert time.monotonic() - started_at < 3
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert "openai-poll-after-ms" not in answer.headers


@pytest.mark.parametrize("status", TERMINAL_STATUSES)
def test_a_poll_of_an_ended_response_does_not_wait(worker_api: Api, status: str) -> None:
    response_id = worker_api.create_response()["id"]
    move_to_status(worker_api, status, response_id)
    started_at = time.monotonic()

    answer = worker_api.get_response(response_id, headers={"Prefer": "wait=60"})

    check_document(answer, status)
    assert time.monotonic() - started_at < 1
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    "preference",
    [
        "wait",
        "wait=",
        "wait=0",
        "wait=-1",
        "wait=x",
        "wait=1.5",
        'wait="1"',
        "respond-async",
        "=",
        "waits=1",
        "wait=" + "9" * 5000,
    ],
)
def test_an_invalid_preference_is_ignored(worker_api: Api, preference: str) -> None:
    document = worker_api.create_response()
    started_at = time.monotonic()

    answer = worker_api.get_response(document["id"], headers={"Prefer": preference})

    assert check_document(answer, "queued") == document
    assert time.monotonic() - started_at < 1
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("preference", ["wait=1", "respond-async, Wait = 1", "wait=1; q=x, wait=1"])
def test_a_poll_waits_at_most_the_preferred_time(worker_api: Api, preference: str) -> None:
    document = worker_api.create_response()
    started_at = time.monotonic()

    answer = worker_api.get_response(document["id"], headers={"Prefer": preference})

    assert check_document(answer, "queued") == document
    assert 0.9 < time.monotonic() - started_at < 3
    assert answer.headers["Preference-Applied"] == "wait=1"


def test_a_waiting_poll_is_answered_when_the_response_is_deleted(worker_api: Api) -> None:
    response_id = worker_api.create_response()["id"]

    def cancel_and_delete() -> None:
        worker_api.cancel_response(response_id)
        worker_api.delete_response(response_id)

    threading.Timer(0.2, cancel_and_delete).start()
    answer = worker_api.get_response(response_id, headers={"Prefer": "wait=30"})

    # The poll may end after the cancellation or after the deletion.
    if answer.status_code == 404:
        check_error(answer, 404, None, "response_id")
    else:
        check_document(answer, "cancelled")


def test_a_poll_of_an_unknown_response_does_not_wait(worker_api: Api) -> None:
    started_at = time.monotonic()

    check_error(worker_api.get_response("resp_" + "0" * 48, headers={"Prefer": "wait=30"}), 404, None, "response_id")

    assert time.monotonic() - started_at < 1
