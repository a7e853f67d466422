"""The document of a response at each status, and after the requests that create and cancel it."""

import json

import pytest

from core.bootstrap import Core
from core.runs.attempt import HandBack
from core.runs.ends import failed_outcome
from core.wire.item_events import PartPath, delta
from tests.harness.engine import COMPLETED, batch, claim, opening_batch, register_worker
from tests.http.http_api import DOCUMENT_KEYS, Api, check_document, check_error
from tests.http.statuses import ALL_STATUSES, TERMINAL_STATUSES, move_to_status

POLL_AFTER_HEADER = "openai-poll-after-ms"

TEXT_PATH = PartPath("msg_1", 0, "output_text", 0)


@pytest.fixture
def api(core: Core) -> Api:
    """A client of the application, on a database of one test, with a registered worker."""
    register_worker(core)
    return Api(core)


@pytest.mark.parametrize("status", ALL_STATUSES)
def test_a_response_has_every_key_and_the_right_values_at_every_status(api: Api, status: str) -> None:
    new_document = check_document(
        api.post_response(metadata={"team": "a"}, temperature=0.5, instructions="Be brief."), "queued"
    )
    move_to_status(api, status, new_document["id"])

    answer = api.get_response(new_document["id"])
    body = check_document(answer, status)

    assert (POLL_AFTER_HEADER in answer.headers) == (status in {"queued", "in_progress"})
    assert isinstance(body["created_at"], int)
    assert isinstance(body["completed_at"], int) == (status == "completed")
    assert (body["error"] is not None) == (status == "failed")
    assert (body["incomplete_details"] is not None) == (status == "incomplete")
    assert (body["usage"] is not None) == (status in {"completed", "incomplete"})
    # Only these fields may differ from the document of the new response.
    changing_fields = {"status", "completed_at", "error", "incomplete_details", "usage", "output"}
    assert {name: body[name] for name in DOCUMENT_KEYS - changing_fields} == {
        name: new_document[name] for name in DOCUMENT_KEYS - changing_fields
    }


@pytest.mark.parametrize(
    ("status", "item_status", "text"),
    [("in_progress", "in_progress", "Hel"), ("completed", "completed", "Hello"), ("incomplete", "incomplete", "Hello")],
)
def test_the_output_is_one_message_with_the_committed_text(api: Api, status: str, item_status: str, text: str) -> None:
    response_id = api.create_response()["id"]
    move_to_status(api, status, response_id)

    (item,) = check_document(api.get_response(response_id), status)["output"]

    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", item_status)
    assert item["content"] == [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]


def test_the_fields_about_the_end_of_a_response_follow_the_contract(api: Api) -> None:
    ids = {status: api.create_response()["id"] for status in TERMINAL_STATUSES}
    for status, response_id in ids.items():
        move_to_status(api, status, response_id)
    bodies = {status: api.get_response(response_id).get_json() for status, response_id in ids.items()}

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


def test_an_error_code_outside_the_contract_is_the_type_of_the_error(api: Api) -> None:
    response_id = api.create_response()["id"]
    attempt = claim(api.core, response_id)
    outcome = failed_outcome("invalid_prompt", "It is too long.", kind="context_length_exceeded")

    assert api.core.attempts.end(attempt, outcome, opening_batch(attempt))

    error = check_document(api.get_response(response_id), "failed")["error"]
    assert error == {"code": "invalid_prompt", "message": "It is too long.", "type": "context_length_exceeded"}


def test_a_new_response_is_queued_and_contains_the_defaults(api: Api) -> None:
    body = check_document(api.post_response(), "queued")

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
    assert check_document(api.get_response(body["id"]), "queued") == body
    assert api.core.attempts.claim(body["id"], "w1") is not None


def test_the_ids_of_responses_are_long_and_unique(api: Api) -> None:
    ids = [api.create_response()["id"] for _ in range(50)]

    assert len(set(ids)) == 50
    assert all(response_id.startswith("resp_") and len(response_id) == 53 for response_id in ids)
    assert len({response_id[-36:] for response_id in ids}) == 50


def test_a_document_is_accepted_as_a_request(api: Api) -> None:
    first_document = api.create_response(metadata={"a": "b"}, max_output_tokens=99)

    second_answer = api.post_body(json.dumps({**first_document, "input": "hi"}).encode())

    body = check_document(second_answer, "queued")
    assert {name: body[name] for name in DOCUMENT_KEYS - {"id", "created_at"}} == {
        name: first_document[name] for name in DOCUMENT_KEYS - {"id", "created_at"}
    }


def test_a_poll_of_a_running_response_returns_exactly_the_committed_text(api: Api) -> None:
    response_id = api.create_response()["id"]
    attempt = claim(api.core, response_id)
    assert check_document(api.get_response(response_id), "in_progress")["output"] == []

    def read_text() -> str:
        document = check_document(api.get_response(response_id), "in_progress")
        return document["output"][0]["content"][0]["text"]

    first_batch = opening_batch(attempt, "One")
    assert api.core.attempts.append_events([first_batch]).succeeded_ids
    assert read_text() == "One"

    second_batch = batch(attempt, [delta(TEXT_PATH, " two"), delta(TEXT_PATH, " three")], first_batch.next_seq)
    assert read_text() == "One"
    assert api.core.attempts.append_events([second_batch]).succeeded_ids
    assert read_text() == "One two three"


def test_a_response_that_a_worker_hands_back_is_queued_unchanged(api: Api) -> None:
    new_document = api.create_response()
    assert api.core.attempts.hand_back(claim(api.core, new_document["id"]), HandBack("The worker is stopping."))

    assert check_document(api.get_response(new_document["id"]), "queued") == new_document


def test_a_queued_response_is_cancelled_immediately_and_never_runs(api: Api) -> None:
    response_id = api.create_response()["id"]

    body = check_document(api.cancel_response(response_id), "cancelled")

    assert body["output"] == []
    assert check_document(api.get_response(response_id), "cancelled") == body
    assert api.core.attempts.claim(response_id, "w1") is None


def test_a_cancelled_response_has_its_partial_text_and_rejects_later_writes(api: Api) -> None:
    response_id = api.create_response()["id"]
    attempt = claim(api.core, response_id)
    first_batch = opening_batch(attempt, "Hel")
    assert api.core.attempts.append_events([first_batch]).succeeded_ids

    body = check_document(api.cancel_response(response_id), "cancelled")

    assert body["output"][0]["status"] == "incomplete"
    assert body["output"][0]["content"][0]["text"] == "Hel"
    late_batch = batch(attempt, [delta(TEXT_PATH, "lo")], first_batch.next_seq)
    assert api.core.attempts.append_events([late_batch]).succeeded_ids == set()
    assert not api.core.attempts.end(attempt, COMPLETED, late_batch)
    assert check_document(api.get_response(response_id), "cancelled") == body


@pytest.mark.parametrize("status", TERMINAL_STATUSES)
def test_a_cancel_request_after_the_end_gets_200_and_changes_nothing(api: Api, status: str) -> None:
    response_id = api.create_response()["id"]
    move_to_status(api, status, response_id)
    document, row_counts = check_document(api.get_response(response_id), status), api.count_rows()

    for _ in range(2):
        answer = api.cancel_response(response_id)
        assert check_document(answer, status) == document
        assert POLL_AFTER_HEADER not in answer.headers

    assert check_document(api.get_response(response_id), status) == document
    assert api.count_rows() == row_counts


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"{", b"\xff", b'{"id": "resp_"}'])
def test_the_body_of_a_cancel_request_is_ignored(api: Api, body: bytes) -> None:
    check_document(api.cancel_response(api.create_response()["id"], data=body), "cancelled")


def test_a_cancel_request_for_an_unknown_response_gets_404(api: Api) -> None:
    unknown_id = "resp_" + "0" * 48

    message = check_error(api.cancel_response(unknown_id), 404, None, "response_id")

    assert message == f"Response with id '{unknown_id}' not found."


@pytest.mark.parametrize("status", ALL_STATUSES)
def test_a_head_request_has_the_headers_of_a_get_request(api: Api, status: str) -> None:
    response_id = api.create_response()["id"]
    move_to_status(api, status, response_id)

    head_answer, get_answer = api.send_request("HEAD", f"/v1/responses/{response_id}"), api.get_response(response_id)

    assert head_answer.data == b""
    assert head_answer.status_code == get_answer.status_code
    assert head_answer.headers["Content-Length"] == get_answer.headers["Content-Length"]
    assert (POLL_AFTER_HEADER in head_answer.headers) == (POLL_AFTER_HEADER in get_answer.headers)
