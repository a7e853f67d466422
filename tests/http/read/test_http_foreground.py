"""A request that creates a foreground response waits for its end and returns it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.bootstrap import POLL_THREADS, open_core
from core.runs.ends import Outcome, failed_outcome
from core.settings import Settings
from tests.harness.engine import COMPLETED, register_worker
from tests.harness.waiting import until
from tests.http.http_api import Api, check_document, check_error
from tests.http.statuses import INCOMPLETE_OUTCOME
from tests.http.waiting_requests import waiting_request
from worker.models.protocol import ToolCall


@pytest.mark.parametrize(("outcome", "status"), [(COMPLETED, "completed"), (INCOMPLETE_OUTCOME, "incomplete")])
def test_a_foreground_request_waits_and_returns_the_ended_response(
    worker_api: Api, outcome: Outcome, status: str
) -> None:
    with waiting_request(worker_api) as (response_id, future):
        assert not future.done()
        worker_api.run_response(response_id, "Hello", outcome=outcome)

    body = check_document(future.result(), status)
    assert body["id"] == response_id
    assert body["background"] is False
    assert body["output"][0]["content"][0]["text"] == "Hello"
    assert worker_api.get_response(response_id).get_json() == body


@pytest.mark.parametrize("background", [None, False])
def test_a_request_without_background_waits(worker_api: Api, background: bool | None) -> None:
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(worker_api.post_response, background=background, user="foreground")
        query = "select id from responses where document::json ->> 'user' = 'foreground' and finished_at is null"
        ((response_id,),) = until(lambda: worker_api.sql(query))
        worker_api.run_response(response_id)

    assert check_document(future.result(), "completed")["background"] is False


def test_a_foreground_answer_may_contain_tool_calls(worker_api: Api) -> None:
    with waiting_request(worker_api, tools=[{"type": "function", "name": "weather"}]) as (response_id, future):
        worker_api.run_response(
            response_id, None, ToolCall("call_1", "weather", "{}"), ToolCall("call_2", "weather", "[]")
        )

    output = check_document(future.result(), "completed")["output"]
    assert [(item["type"], item["call_id"], item["arguments"]) for item in output] == [
        ("function_call", "call_1", "{}"),
        ("function_call", "call_2", "[]"),
    ]


@pytest.mark.parametrize(
    ("code", "status", "error_type"),
    [
        ("server_error", 500, "server_error"),
        ("rate_limit_exceeded", 429, "rate_limit_error"),
        ("invalid_prompt", 400, "invalid_request_error"),
        ("failed_to_download_image", 400, "invalid_request_error"),
        ("invalid_image_url", 400, "invalid_request_error"),
    ],
)
def test_a_failure_before_the_first_byte_is_an_http_error(
    worker_api: Api, code: str, status: int, error_type: str
) -> None:
    with waiting_request(worker_api) as (response_id, future):
        worker_api.run_response(
            response_id, None, outcome=failed_outcome(code, "The model server refused the request.")
        )

    message = check_error(future.result(), status, code, error_type=error_type)
    assert message == "The model server refused the request."
    assert future.result().headers["x-should-retry"] == "false"
    check_document(worker_api.get_response(response_id), "failed")


def test_a_foreground_response_cannot_be_cancelled_by_its_id(worker_api: Api) -> None:
    with waiting_request(worker_api) as (response_id, future):
        message = check_error(worker_api.cancel_response(response_id), 400, "invalid_value", "response_id")
        worker_api.run_response(response_id)

    assert message == "Cannot cancel a synchronous response."
    check_document(future.result(), "completed")
    check_error(worker_api.cancel_response(response_id), 400, "invalid_value", "response_id")


def test_a_slow_answer_begins_with_whitespace_and_is_valid_json(worker_api: Api) -> None:
    with waiting_request(worker_api) as (response_id, future):
        answer = until(lambda: future.done() and future.result(), timeout_s=5)  # the answer has begun
        worker_api.run_response(response_id)

    assert answer.mimetype == "application/json"
    assert answer.text.startswith(" ")
    assert json.loads(answer.text)["status"] == "completed"


def test_an_unstored_response_is_returned_once_and_cannot_be_retrieved(worker_api: Api) -> None:
    row_counts = worker_api.count_rows()
    items = [{"id": "unstored", "role": "user", "content": "secret"}]
    requests_by_id = (
        worker_api.get_response,
        worker_api.delete_response,
        worker_api.cancel_response,
        worker_api.list_input_items,
    )
    with waiting_request(worker_api, store=False, input=items) as (response_id, future):
        for request_by_id in requests_by_id:
            check_error(request_by_id(response_id), 404, None, "response_id")
        assert response_id not in worker_api.list_responses().text
        worker_api.run_response(response_id)

    body = check_document(future.result(), "completed")
    assert body["store"] is False
    assert worker_api.count_rows() == row_counts
    for request_by_id in requests_by_id:
        check_error(request_by_id(response_id), 404, None, "response_id")
    for changes, code, param in (
        ({"previous_response_id": response_id}, "previous_response_not_found", "previous_response_id"),
        ({"input": [{"id": "unstored"}]}, "invalid_value", "input[0].id"),
        ({"input": [{"id": body["output"][0]["id"]}]}, "invalid_value", "input[0].id"),
    ):
        check_error(worker_api.post_response(**changes), 400, code, param)


def test_an_unstored_response_may_have_a_stored_parent(worker_api: Api) -> None:
    parent = worker_api.create_ended_response("1", input="one")
    with waiting_request(worker_api, store=False, previous_response_id=parent["id"]) as (response_id, future):
        attempt = worker_api.run_response(response_id)

    assert [item["content"][0]["text"] for item in attempt.context] == ["one", "1", "hi"]
    assert check_document(future.result(), "completed")["previous_response_id"] == parent["id"]


def test_an_invalid_foreground_request_does_not_wait(worker_api: Api) -> None:
    row_counts = worker_api.count_rows()
    for changes, code, param in (
        ({"temperature": 3}, "decimal_above_max_value", "temperature"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found", "previous_response_id"),
        ({"background_options": {"completion_window": "2h"}}, "invalid_value", "background_options.completion_window"),
    ):
        check_error(worker_api.post_response(background=False, **changes), 400, code, param)
    assert worker_api.count_rows() == row_counts


def test_a_foreground_request_without_a_free_wait_slot_gets_503(settings: Settings) -> None:
    small_settings = settings.model_copy(update={"api_threads": POLL_THREADS + 1})
    with open_core(small_settings, connections=4) as core:
        api = Api(core)
        register_worker(core)
        with waiting_request(api) as (response_id, future):
            row_counts = api.count_rows()
            rejected_answer = api.post_response(background=False)
            check_error(rejected_answer, 503, "server_busy", error_type="server_error")
            assert int(rejected_answer.headers["Retry-After"]) > 0
            assert api.count_rows() == row_counts
            # A poll that cannot wait is answered immediately.
            poll_answer = api.get_response(response_id, headers={"Prefer": "wait=60"})
            assert poll_answer.get_json()["status"] == "queued"
            assert "Preference-Applied" not in poll_answer.headers
            assert api.create_response()["status"] == "queued"
            api.run_response(response_id)

        check_document(future.result(), "completed")
        with waiting_request(api) as (second_id, future):
            api.run_response(second_id)
        check_document(future.result(), "completed")
