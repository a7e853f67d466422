"""Requests that the fast router matches get the same answers as requests that Flask routes."""

from typing import Any

import flask
import pytest
from werkzeug.test import TestResponse

from core.bootstrap import Core
from core.tenants import rights
from tests.harness.engine import register_worker
from tests.http.http_api import VALID_REQUEST, Api, check_error
from tests.http.statuses import ALL_STATUSES, move_to_status

# A trailing slash does not change the meaning of a path, but the fast router leaves such a request to Flask.
TRAILING_SLASH = "/"
POLL_PATH, CREATE_PATH = "/v1/responses/{}", "/v1/responses"
UNKNOWN_ID = POLL_PATH.format("resp_" + "0" * 48)


@pytest.fixture
def api(core: Core) -> Api:
    """The application on a database of one test, with a live worker."""
    register_worker(core)
    return Api(core)


class RouteCounter:
    """Counts the requests that Flask routes."""

    def __init__(self, app: flask.Flask) -> None:
        self.count = 0
        flask.request_started.connect(self._count_request, app)

    def _count_request(self, _: flask.Flask, **__: Any) -> None:
        self.count += 1


def comparable_answer(answer: TestResponse, *, ignored_fields: tuple[str, ...] = ()) -> tuple[int, dict[str, str], Any]:
    """The status, the headers and the body of an answer, without values that differ between any two answers."""
    headers = dict(answer.headers)
    assert headers.pop("x-request-id").startswith("req_")
    body = answer.get_json()
    return answer.status_code, headers, {key: value for key, value in body.items() if key not in ignored_fields}


def status_and_headers(answer: TestResponse) -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer, without the ID of the request."""
    headers = dict(answer.headers)
    assert headers.pop("x-request-id").startswith("req_")
    return answer.status_code, headers


@pytest.mark.parametrize("status", ALL_STATUSES)
def test_a_plain_poll_gets_the_same_answer_as_through_flask(api: Api, status: str) -> None:
    response_id = api.create_response()["id"]
    move_to_status(api, status, response_id)
    counter = RouteCounter(api.app)

    direct_answer = api.get_response(response_id)
    assert counter.count == 0
    routed_answer = api.get_response(response_id + TRAILING_SLASH)

    assert counter.count == 1
    assert direct_answer.data == routed_answer.data
    assert direct_answer.get_json()["status"] == status
    assert comparable_answer(direct_answer) == comparable_answer(routed_answer)


def test_a_plain_create_request_gets_the_same_answer_as_through_flask(api: Api) -> None:
    counter = RouteCounter(api.app)

    direct_answer = api.post_response(metadata={"a": "ü"}, input="\N{SNOWMAN}" * 100)
    assert counter.count == 0
    routed_answer = api.send_request(
        "POST",
        CREATE_PATH + TRAILING_SLASH,
        json=VALID_REQUEST | {"metadata": {"a": "ü"}, "input": "\N{SNOWMAN}" * 100},
    )

    assert counter.count == 1
    ignored_fields = ("id", "created_at")
    assert comparable_answer(direct_answer, ignored_fields=ignored_fields) == comparable_answer(
        routed_answer, ignored_fields=ignored_fields
    )
    first_rows, second_rows = (
        api.sql("select request from responses where id = %s", answer.get_json()["id"])
        for answer in (direct_answer, routed_answer)
    )
    assert len(first_rows[0][0]) == len(second_rows[0][0])


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", UNKNOWN_ID, {}),
        ("GET", UNKNOWN_ID, {"key": "sk-bb-unknown"}),
        ("GET", UNKNOWN_ID, {"headers": {"Authorization": "Basic abc"}}),
        ("GET", UNKNOWN_ID, {"key": "writes"}),
        ("POST", CREATE_PATH, {"key": "reads", "json": VALID_REQUEST}),
        ("POST", CREATE_PATH, {"key": "sk-bb-unknown", "json": VALID_REQUEST}),
        ("POST", CREATE_PATH, {"json": VALID_REQUEST | {"model": "none"}}),
        ("POST", CREATE_PATH, {"json": VALID_REQUEST | {"temperature": "hot"}}),
        ("POST", CREATE_PATH, {"json": VALID_REQUEST | {"service_tier": "priority"}}),
        ("POST", CREATE_PATH, {"json": VALID_REQUEST | {"previous_response_id": "resp_none"}}),
        ("POST", CREATE_PATH, {"json": VALID_REQUEST | {"stream": "yes"}}),
        ("POST", CREATE_PATH, {"json": VALID_REQUEST | {"background": "yes"}}),
        ("POST", CREATE_PATH, {"json": VALID_REQUEST | {"store": False}}),
        ("POST", CREATE_PATH, {"json": [VALID_REQUEST]}),
        ("POST", CREATE_PATH, {"data": b'{"model": ', "content_type": "application/json"}),
        ("POST", CREATE_PATH, {"data": b"", "content_type": "application/json"}),
        ("POST", CREATE_PATH, {"data": b'"\xff"', "content_type": "application/json"}),
        ("POST", CREATE_PATH, {"data": b'{"input":' + b"[" * 5000, "content_type": "application/json"}),
    ],
    ids=str,
)
def test_an_invalid_request_gets_the_same_answer_as_through_flask(
    api: Api, method: str, path: str, options: dict[str, Any]
) -> None:
    keys = {"reads": api.core.keys.create({rights.Right.READ}), "writes": api.core.keys.create({rights.Right.WRITE})}
    key = keys.get(options.get("key", ""), options.get("key"))
    headers = options.get("headers", {})
    direct_answer = api.send_request(method, path, **options | {"key": key, "headers": headers})
    routed_answer = api.send_request(method, path + TRAILING_SLASH, **options | {"key": key, "headers": headers})

    ignored_fields = ("id", "created_at") if direct_answer.status_code == 200 else ()
    assert comparable_answer(direct_answer, ignored_fields=ignored_fields) == comparable_answer(
        routed_answer, ignored_fields=ignored_fields
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/responsesx{}", 404),
        ("GET", "/v1/responses{}", 404),
        ("GET", "/v1/responses//{}", 404),
        ("GET", "/v1/responses/x/{}", 404),
        ("GET", "/v1/responses/{}/", 200),
        ("HEAD", POLL_PATH, 200),
        ("POST", POLL_PATH, 405),
        ("PUT", POLL_PATH, 405),
    ],
)
def test_flask_routes_all_other_paths_and_methods(api: Api, method: str, path: str, status: int) -> None:
    response_id = api.create_response()["id"]
    counter = RouteCounter(api.app)

    assert api.send_request(method, path.format(response_id)).status_code == status
    assert counter.count == 1


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?stream=false", {}, 200),
        ("?include=nothing", {}, 400),
        ("?ai_project_id=none", {}, 404),
        ("", {"Prefer": "wait=1"}, 200),
        ("", {"If-None-Match": "*"}, 304),
        ("", {"If-None-Match": '"another"'}, 200),
        ("", {"Origin": "https://pages.test", "X-Forwarded-For": "10.0.0.1"}, 200),
        ("", {"OpenAI-Project": "none"}, 404),
        ("", {"OpenAI-Project": "default", "Accept-Encoding": "gzip"}, 200),
    ],
    ids=str,
)
def test_a_poll_with_a_query_or_headers_gets_the_same_answer_as_through_flask(
    api: Api, query: str, headers: dict[str, str], status: int
) -> None:
    response_id = api.create_response()["id"]
    counter = RouteCounter(api.app)

    direct_answer = api.send_request("GET", POLL_PATH.format(response_id) + query, headers=headers)
    assert (direct_answer.status_code, counter.count) == (status, 0)
    routed_answer = api.send_request("GET", POLL_PATH.format(response_id) + TRAILING_SLASH + query, headers=headers)

    assert counter.count == 1
    assert direct_answer.data == routed_answer.data
    assert status_and_headers(direct_answer) == status_and_headers(routed_answer)


def test_an_idempotent_request_gets_the_same_answer_as_through_flask(api: Api) -> None:
    counter = RouteCounter(api.app)
    headers = {"Idempotency-Key": "a key", "Origin": "https://pages.test"}

    direct_answer = api.post_response(headers=headers)
    assert counter.count == 0
    routed_answer = api.send_request("POST", CREATE_PATH + TRAILING_SLASH, json=VALID_REQUEST, headers=headers)

    assert counter.count == 1
    assert direct_answer.data == routed_answer.data
    assert status_and_headers(direct_answer) == status_and_headers(routed_answer)


@pytest.mark.parametrize(
    "changes", [{"background": False, "stream": True}, {"background": True, "stream": True}], ids=str
)
def test_a_request_for_a_stream_is_answered_with_a_stream(api: Api, changes: dict[str, Any]) -> None:
    answer = api.post_response(**changes)

    assert answer.mimetype == "text/event-stream"
    answer.close()


def test_a_truncated_body_is_rejected_and_nothing_is_stored(api: Api) -> None:
    row_counts = api.count_rows()

    answer = api.post_body(b'{"model": "scripted"', environ_overrides={"CONTENT_LENGTH": "500"})

    check_error(answer, 400, "invalid_value")
    assert api.count_rows() == row_counts
