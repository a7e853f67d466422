"""Polls: replies when nothing has changed, and how long polls may wait."""

import threading
import time

import pytest

from tests.http.http_api import Api, checked, error_of
from tests.http.statuses import ALL, ENDED, driven_to


@pytest.mark.parametrize("status", ALL)
def test_a_poll_of_what_did_not_change_is_304_without_a_body(running: Api, status: str) -> None:
    created = running.created()["id"]
    driven_to(running, status, created)
    etag = running.get(created).headers["ETag"]

    for asked in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = running.get(created, headers={"If-None-Match": asked})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert ("openai-poll-after-ms" in answer.headers) == (status not in ENDED)


def test_a_poll_of_what_changed_is_answered_in_full(running: Api) -> None:
    created = running.created()["id"]
    etags = [running.get(created).headers["ETag"]]
    for status in ("in_progress", "cancelled"):
        driven_to(running, status, created)
        answer = running.get(created, headers={"If-None-Match": etags[-1]})
        checked(answer, status)
        etags.append(answer.headers["ETag"])

    assert len(set(etags)) == 3


@pytest.mark.parametrize(
    "header",
    [
        {"If-None-Match": "garbage"},
        {"If-None-Match": ""},
        {"If-None-Match": '"'},
        {"If-None-Match": 'W/"'},
        {"If-None-Match": ",,,"},
        {"If-None-Match": "é" * 1000},
        {"If-Match": '"other"'},
        {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
        {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Range": "bytes=0-9"},
    ],
    ids=str,
)
def test_a_condition_that_says_nothing_here_is_no_condition(running: Api, header: dict[str, str]) -> None:
    created = running.created()

    assert checked(running.get(created["id"], headers=header), "queued") == created


def test_a_condition_does_not_tell_of_another_projects_response(running: Api, other: str) -> None:
    created = running.created()["id"]
    etag = running.get(created).headers["ETag"]

    for asked in (etag, "*"):
        error_of(running.get(created, key=other, headers={"If-None-Match": asked}), 404, None, "response_id")


def test_a_poll_that_would_rather_wait_is_answered_as_soon_as_the_response_has_ended(running: Api) -> None:
    created = running.created()["id"]
    threading.Timer(0.3, running.run, [created]).start()
    asked_at = time.monotonic()

    answer = running.get(created, headers={"Prefer": "wait=30"})

    assert checked(answer, "completed")
    assert time.monotonic() - asked_at < 3
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert "openai-poll-after-ms" not in answer.headers


@pytest.mark.parametrize("status", ENDED)
def test_a_poll_of_what_has_ended_never_waits(running: Api, status: str) -> None:
    created = running.created()["id"]
    driven_to(running, status, created)
    asked_at = time.monotonic()

    answer = running.get(created, headers={"Prefer": "wait=60"})

    checked(answer, status)
    assert time.monotonic() - asked_at < 1
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    "asked",
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
        ",,",
        "waits=1",
        "é=1",
        "wait=" + "9" * 5000,
    ],
)
def test_a_preference_that_makes_no_sense_is_no_preference(running: Api, asked: str) -> None:
    created = running.created()
    asked_at = time.monotonic()

    answer = running.get(created["id"], headers={"Prefer": asked})

    assert checked(answer, "queued") == created
    assert time.monotonic() - asked_at < 1
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("asked", ["wait=1", "respond-async, Wait = 1", "wait=1; q=x, wait=1"])
def test_a_poll_waits_no_longer_than_it_would_like_to(running: Api, asked: str) -> None:
    created = running.created()
    asked_at = time.monotonic()

    answer = running.get(created["id"], headers={"Prefer": asked})

    assert checked(answer, "queued") == created
    assert 0.9 < time.monotonic() - asked_at < 3
    assert answer.headers["Preference-Applied"] == "wait=1"


def test_a_poll_that_waits_for_what_is_deleted_meanwhile_is_told_so(running: Api) -> None:
    created = running.created()["id"]

    def cancel_and_delete() -> None:
        running.cancel(created)
        running.delete(created)

    threading.Timer(0.2, cancel_and_delete).start()
    answer = running.get(created, headers={"Prefer": "wait=30"})

    # Whichever came first, the reply is consistent.
    if answer.status_code == 404:
        error_of(answer, 404, None, "response_id")
    else:
        checked(answer, "cancelled")


def test_a_preference_does_not_make_an_unknown_response_known(running: Api) -> None:
    asked_at = time.monotonic()

    error_of(running.get("resp_" + "0" * 48, headers={"Prefer": "wait=30"}), 404, None, "response_id")

    assert time.monotonic() - asked_at < 1
