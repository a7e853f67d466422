"""Idempotency-Key: repeated requests create one response."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.http.http_api import VALID_REQUEST, Api, check_document, check_error
from tests.http.waiting_requests import waiting_request

KEY_HEADER = "Idempotency-Key"


def test_a_repeated_request_returns_the_existing_response(worker_api: Api) -> None:
    first_response = worker_api.post_response(headers={KEY_HEADER: "repeat"}).get_json()
    response_count = worker_api.count_responses()

    repeated_answer = worker_api.post_response(headers={KEY_HEADER: "repeat"})
    assert check_document(repeated_answer, "queued") == first_response
    worker_api.run_response(first_response["id"])
    late_answer = worker_api.post_response(headers={KEY_HEADER: "repeat"})

    assert check_document(late_answer, "completed")["id"] == first_response["id"]
    assert worker_api.count_responses() == response_count


def test_bodies_that_differ_only_in_the_order_of_their_fields_are_equal(worker_api: Api) -> None:
    reordered_body = json.dumps(dict(reversed(VALID_REQUEST.items())), indent=2).encode()

    first_response = worker_api.post_response(headers={KEY_HEADER: "reordered"}).get_json()

    assert worker_api.post_body(reordered_body, headers={KEY_HEADER: "reordered"}).get_json() == first_response


@pytest.mark.parametrize(
    "changes", [{"input": "ho"}, {"metadata": {}}, {"background": None}, {"store": True}, {"unheard_of": 1}]
)
def test_a_key_with_a_different_body_is_rejected(worker_api: Api, changes: dict) -> None:
    worker_api.post_response(headers={KEY_HEADER: "other body"})
    row_counts = worker_api.count_rows()

    check_error(worker_api.post_response(headers={KEY_HEADER: "other body"}, **changes), 400, "idempotency_key_reuse")

    assert worker_api.count_rows() == row_counts


def test_the_same_key_in_another_project_is_independent(worker_api: Api, other_key: str) -> None:
    first_response = worker_api.post_response(headers={KEY_HEADER: "shared"}).get_json()

    foreign_answer = worker_api.post_response(headers={KEY_HEADER: "shared"}, key=other_key, input="ho")

    assert check_document(foreign_answer, "queued")["id"] != first_response["id"]


@pytest.mark.parametrize("key", ["k" * 256, "a\0b", "a\tb", "\x7f"])
def test_an_overlong_or_unprintable_key_is_rejected(worker_api: Api, key: str) -> None:
    row_counts = worker_api.count_rows()

    message = check_error(worker_api.post_response(headers={KEY_HEADER: key}), 400, "invalid_value")

    assert message == "An Idempotency-Key must have 1 to 255 printable characters."
    assert worker_api.count_rows() == row_counts


@pytest.mark.parametrize("key", ["k" * 255, "' or 1=1 --", "%00", "a b", "a=1;b"])
def test_a_key_may_be_any_printable_ascii_text_without_commas(worker_api: Api, key: str) -> None:
    first_response = worker_api.post_response(headers={KEY_HEADER: key}).get_json()

    assert worker_api.post_response(headers={KEY_HEADER: key}).get_json()["id"] == first_response["id"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"temperature": 9}, 400),
        ({"previous_response_id": "resp_" + "0" * 48}, 400),
        ({"input": [{"id": "nothing"}]}, 400),
        ({"service_tier": "no-limit"}, 403),
    ],
)
def test_the_key_of_a_rejected_request_can_be_used_again(worker_api: Api, changes: dict, status: int) -> None:
    row_counts = worker_api.count_rows()
    key = f"refused {sorted(changes)}"
    assert worker_api.post_response(headers={KEY_HEADER: key}, **changes).status_code == status
    assert worker_api.count_rows() == row_counts

    assert worker_api.post_response(headers={KEY_HEADER: key}).status_code == 200


def test_concurrent_requests_with_one_key_create_one_response(worker_api: Api) -> None:
    response_count = worker_api.count_responses()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: worker_api.post_response(headers={KEY_HEADER: "race"}), range(24)))

    assert len({check_document(answer, "queued")["id"] for answer in answers}) == 1
    assert worker_api.count_responses() == response_count + 1


def test_a_repeated_foreground_request_waits_for_the_same_response(worker_api: Api) -> None:
    with (
        waiting_request(worker_api, headers={KEY_HEADER: "foreground"}) as (response_id, first_future),
        ThreadPoolExecutor(1) as threads,
    ):
        ((user,),) = worker_api.sql("select document::json ->> 'user' from responses where id = %s", response_id)
        request = {"headers": {KEY_HEADER: "foreground"}, "background": False, "user": user}
        second_future = threads.submit(worker_api.post_response, **request)
        worker_api.run_response(response_id)
        third_answer = worker_api.post_response(**request)

    assert (
        check_document(first_future.result(), "completed")
        == second_future.result().get_json()
        == third_answer.get_json()
    )


def test_a_key_expires_after_a_day(worker_api: Api) -> None:
    first_response = worker_api.post_response(headers={KEY_HEADER: "old"}).get_json()
    worker_api.sql("update idempotency_keys set created_at = now() - interval '25 hours' where key = 'old'")

    second_response = worker_api.post_response(headers={KEY_HEADER: "old"}, input="ho").get_json()

    assert second_response["id"] != first_response["id"]
    assert worker_api.post_response(headers={KEY_HEADER: "old"}, input="ho").get_json()["id"] == second_response["id"]


def test_a_repeated_request_after_the_deletion_of_its_response_gets_404(worker_api: Api) -> None:
    response_id = worker_api.post_response(headers={KEY_HEADER: "deleted"}).get_json()["id"]
    worker_api.run_response(response_id)
    worker_api.delete_response(response_id)
    row_counts = worker_api.count_rows()

    check_error(worker_api.post_response(headers={KEY_HEADER: "deleted"}), 404, None, "response_id")

    assert worker_api.count_rows() == row_counts


def test_an_unstored_foreground_response_is_returned_to_repeated_requests_until_its_deletion(worker_api: Api) -> None:
    with waiting_request(worker_api, store=False, headers={KEY_HEADER: "forgotten"}) as (response_id, first_future):
        worker_api.run_response(response_id)
    check_document(first_future.result(), "completed")
    user = first_future.result().get_json()["user"]

    repeated_answer = worker_api.post_response(
        store=False, background=False, user=user, headers={KEY_HEADER: "forgotten"}
    )
    worker_api.sql("delete from responses where id = %s", response_id)  # as the sweeper does one minute after the end
    late_answer = worker_api.post_response(store=False, background=False, user=user, headers={KEY_HEADER: "forgotten"})

    assert repeated_answer.get_json() == first_future.result().get_json()
    message = check_error(late_answer, 404, None, "response_id")
    assert message == f"Response with id '{response_id}' was deleted."
