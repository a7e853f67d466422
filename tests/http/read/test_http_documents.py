"""The response object at each of its six statuses, and the client's two ways to change it: create and cancel."""

import json

import pytest

from core.bootstrap import Core
from core.runs.attempts import HandBack
from core.runs.ends import failed
from core.wire.item_events import PartPath, delta
from tests.harness.engine import COMPLETED, batch, claim, opening, worker
from tests.http.http_api import KEYS, Api, checked, error_of
from tests.http.statuses import ALL, ENDED, driven_to

POLL_AFTER = "openai-poll-after-ms"

TEXT = PartPath("msg_1", 0, "output_text", 0)


@pytest.fixture
def api(core: Core) -> Api:
    """The application on a database of one test, with a live worker."""
    worker(core)
    return Api(core)


@pytest.mark.parametrize("status", ALL)
def test_a_response_has_every_key_and_the_right_values_at_every_status(api: Api, status: str) -> None:
    created = checked(api.create(metadata={"team": "a"}, temperature=0.5, instructions="Be brief."), "queued")
    driven_to(api, status, created["id"])

    answer = api.get(created["id"])
    body = checked(answer, status)

    assert (POLL_AFTER in answer.headers) == (status in {"queued", "in_progress"})
    assert isinstance(body["created_at"], int)
    assert isinstance(body["completed_at"], int) == (status == "completed")
    assert (body["error"] is not None) == (status == "failed")
    assert (body["incomplete_details"] is not None) == (status == "incomplete")
    assert (body["usage"] is not None) == (status in {"completed", "incomplete"})
    # Only these fields may differ from the accepted response.
    changing = {"status", "completed_at", "error", "incomplete_details", "usage", "output"}
    assert {name: body[name] for name in KEYS - changing} == {name: created[name] for name in KEYS - changing}


@pytest.mark.parametrize(
    ("status", "item_status", "text"),
    [("in_progress", "in_progress", "Hel"), ("completed", "completed", "Hello"), ("incomplete", "incomplete", "Hello")],
)
def test_the_output_of_a_response_is_one_message_of_the_committed_text(
    api: Api, status: str, item_status: str, text: str
) -> None:
    created = api.created()["id"]
    driven_to(api, status, created)

    (item,) = checked(api.get(created), status)["output"]

    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", item_status)
    assert item["content"] == [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]


def test_how_a_response_ended_is_told_in_the_contracts_words(api: Api) -> None:
    ids = {status: api.created()["id"] for status in ENDED}
    for status, response_id in ids.items():
        driven_to(api, status, response_id)
    bodies = {status: api.get(response_id).get_json() for status, response_id in ids.items()}

    assert bodies["completed"]["usage"] == {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 3,
    }
    assert bodies["completed"]["completed_at"] >= bodies["completed"]["created_at"]
    assert bodies["incomplete"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert bodies["failed"]["error"] == {
        "code": "server_error",
        "message": "The model server was silent for too long.",
    }
    assert bodies["cancelled"]["output"] == []


def test_a_more_precise_code_than_the_contracts_list_has_is_the_errors_type(api: Api) -> None:
    response_id = api.created()["id"]
    attempt = claim(api.core, response_id)
    too_long = failed("invalid_prompt", "It is too long.", kind="context_length_exceeded")

    assert api.core.attempts.end(attempt, too_long, opening(attempt))

    error = checked(api.get(response_id), "failed")["error"]
    assert error == {"code": "invalid_prompt", "message": "It is too long.", "type": "context_length_exceeded"}


def test_a_create_answers_queued_even_with_free_workers_and_states_the_defaults(api: Api) -> None:
    body = checked(api.create(), "queued")

    assert body["object"] == "response"
    assert body["background"] is True
    assert body["store"] is True
    assert body["output"] == []
    assert (body["model"], body["service_tier"]) == ("scripted", "default")
    assert (body["temperature"], body["top_p"]) == (1, 1)
    assert (body["frequency_penalty"], body["presence_penalty"], body["top_logprobs"]) == (0, 0, 0)
    assert (body["tools"], body["tool_choice"], body["parallel_tool_calls"]) == ([], "auto", True)
    assert (body["metadata"], body["truncation"]) == ({}, "disabled")
    assert body["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert body["reasoning"] == {"effort": None, "summary": None}
    assert checked(api.get(body["id"]), "queued") == body
    assert api.core.attempts.claim(body["id"], "w1") is not None


def test_ids_are_unguessable_and_never_the_same(api: Api) -> None:
    ids = [api.created()["id"] for _ in range(50)]

    assert len(set(ids)) == 50
    assert all(one.startswith("resp_") and len(one) == 53 for one in ids)
    assert len({one[-36:] for one in ids}) == 50


def test_a_clients_own_object_may_be_sent_back_as_a_request(api: Api) -> None:
    first = api.created(metadata={"a": "b"}, max_output_tokens=99)

    again = api.post(json.dumps({**first, "input": "hi"}).encode())

    body = checked(again, "queued")
    assert {name: body[name] for name in KEYS - {"id", "created_at"}} == {
        name: first[name] for name in KEYS - {"id", "created_at"}
    }


def test_a_get_of_a_running_response_shows_each_committed_text_and_none_that_is_not(api: Api) -> None:
    created = api.created()["id"]
    attempt = claim(api.core, created)
    assert checked(api.get(created), "in_progress")["output"] == []

    first = opening(attempt, "One")
    assert api.core.attempts.record([first]).done
    assert checked(api.get(created), "in_progress")["output"][0]["content"][0]["text"] == "One"

    more = batch(attempt, [delta(TEXT, " two"), delta(TEXT, " three")], first.next_seq)
    assert checked(api.get(created), "in_progress")["output"][0]["content"][0]["text"] == "One"
    assert api.core.attempts.record([more]).done
    assert checked(api.get(created), "in_progress")["output"][0]["content"][0]["text"] == "One two three"


def test_a_response_a_worker_gave_back_is_queued_again_as_if_never_taken(api: Api) -> None:
    created = api.created()
    assert api.core.attempts.hand_back(claim(api.core, created["id"]), HandBack("The worker is stopping."))

    assert checked(api.get(created["id"]), "queued") == created


def test_a_queued_response_is_cancelled_at_once_and_never_runs(api: Api) -> None:
    created = api.created()["id"]

    body = checked(api.cancel(created), "cancelled")

    assert body["output"] == []
    assert checked(api.get(created), "cancelled") == body
    assert api.core.attempts.claim(created, "w1") is None


def test_a_running_response_is_cancelled_at_once_with_its_partial_text_and_its_worker_writes_no_more(api: Api) -> None:
    created = api.created()["id"]
    attempt = claim(api.core, created)
    first = opening(attempt, "Hel")
    assert api.core.attempts.record([first]).done

    body = checked(api.cancel(created), "cancelled")

    assert body["output"][0]["status"] == "incomplete"
    assert body["output"][0]["content"][0]["text"] == "Hel"
    late = batch(attempt, [delta(TEXT, "lo")], first.next_seq)
    assert api.core.attempts.record([late]).done == set()
    assert not api.core.attempts.end(attempt, COMPLETED, late)
    assert checked(api.get(created), "cancelled") == body


@pytest.mark.parametrize("status", ENDED)
def test_a_cancel_of_what_has_ended_answers_200_and_changes_nothing_however_often(api: Api, status: str) -> None:
    created = api.created()["id"]
    driven_to(api, status, created)
    before, stored = checked(api.get(created), status), api.stored()

    for _ in range(2):
        answer = api.cancel(created)
        assert checked(answer, status) == before
        assert POLL_AFTER not in answer.headers

    assert checked(api.get(created), status) == before
    assert api.stored() == stored


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"{", b"\xff", b'{"id": "resp_"}'])
def test_a_cancel_does_not_look_at_its_body(api: Api, body: bytes) -> None:
    checked(api.cancel(api.created()["id"], data=body), "cancelled")


def test_a_cancel_of_an_unknown_response_is_404(api: Api) -> None:
    unknown = "resp_" + "0" * 48

    says = error_of(api.cancel(unknown), 404, None, "response_id")

    assert says == f"Response with id '{unknown}' not found."


@pytest.mark.parametrize("status", ALL)
def test_a_head_of_a_response_says_what_a_get_would(api: Api, status: str) -> None:
    created = api.created()["id"]
    driven_to(api, status, created)

    head, get = api.ask("HEAD", f"/v1/responses/{created}"), api.get(created)

    assert head.data == b""
    assert head.status_code == get.status_code
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert (POLL_AFTER in head.headers) == (POLL_AFTER in get.headers)
