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

# A trailing slash does not change the meaning of a path, but the fast router does not match a path that ends with one.
TRAILING_SLASH = "/"
POLL_PATH, CREATE_PATH = "/v1/responses/{}", "/v1/responses"
UNKNOWN_POLL_PATH = POLL_PATH.format("resp_" + "0" * 48)


@pytest.fixture
def api(core: Core) -> Api:
    """A client of the application, on a database of one test, with a registered worker."""
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
    """The status, the headers and the body of an answer, without the ID of the request.

    Args:
        ignored_fields: further fields of the body that differ between any two answers.
    """
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

    fast_answer = api.get_response(response_id)
    assert counter.count == 0
    flask_answer = api.get_response(response_id + TRAILING_SLASH)

    assert counter.count == 1
    assert fast_answer.data == flask_answer.data
    assert fast_answer.get_json()["status"] == status
    assert comparable_answer(fast_answer) == comparable_answer(flask_answer)


def test_a_plain_create_request_gets_the_same_answer_as_through_flask(api: Api) -> None:
    counter = RouteCounter(api.app)

    fast_answer = api.post_response(metadata={"a": "ü"}, input="\N{SNOWMAN}" * 100)
    assert counter.count == 0
    flask_answer = api.send_request(
        "POST",
        CREATE_PATH + TRAILING_SLASH,
        json=VALID_REQUEST | {"metadata": {"a": "ü"}, "input": "\N{SNOWMAN}" * 100},
    )

    assert counter.count == 1
    ignored_fields = ("id", "created_at")
    assert comparable_answer(fast_answer, ignored_fields=ignored_fields) == comparable_answer(
        flask_answer, ignored_fields=ignored_fields
    )
    ((fast_request,),), ((flask_request,),) = (
        api.sql("select request from responses where id = %s", answer.get_json()["id"])
        for answer in (fast_answer, flask_answer)
    )
    # The stored requests differ only in the random IDs of their items, which have a fixed length.
    assert len(fast_request) == len(flask_request)


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", UNKNOWN_POLL_PATH, {}),
        ("GET", UNKNOWN_POLL_PATH, {"key": "sk-bb-unknown"}),
        ("GET", UNKNOWN_POLL_PATH, {"headers": {"Authorization": "Basic abc"}}),
        ("GET", UNKNOWN_POLL_PATH, {"key": "write-only"}),
        ("POST", CREATE_PATH, {"key": "read-only", "json": VALID_REQUEST}),
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
def test_a_rejected_or_downgraded_request_gets_the_same_answer_as_through_flask(
    api: Api, method: str, path: str, options: dict[str, Any]
) -> None:
    limited_keys = {
        "read-only": api.core.keys.create({rights.Right.READ}),
        "write-only": api.core.keys.create({rights.Right.WRITE}),
    }
    key = options.get("key")
    request = options | {"key": limited_keys.get(key, key)}
    fast_answer = api.send_request(method, path, **request)
    flask_answer = api.send_request(method, path + TRAILING_SLASH, **request)

    ignored_fields = ("id", "created_at") if fast_answer.status_code == 200 else ()
    assert comparable_answer(fast_answer, ignored_fields=ignored_fields) == comparable_answer(
        flask_answer, ignored_fields=ignored_fields
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

    fast_answer = api.send_request("GET", POLL_PATH.format(response_id) + query, headers=headers)
    assert (fast_answer.status_code, counter.count) == (status, 0)
    flask_answer = api.send_request("GET", POLL_PATH.format(response_id) + TRAILING_SLASH + query, headers=headers)

    assert counter.count == 1
    assert fast_answer.data == flask_answer.data
    assert status_and_headers(fast_answer) == status_and_headers(flask_answer)


def test_an_idempotent_request_gets_the_same_answer_as_through_flask(api: Api) -> None:
    counter = RouteCounter(api.app)
    headers = {"Idempotency-Key": "a key", "Origin": "https://pages.test"}

    fast_answer = api.post_response(headers=headers)
    assert counter.count == 0
    flask_answer = api.send_request("POST", CREATE_PATH + TRAILING_SLASH, json=VALID_REQUEST, headers=headers)

    assert counter.count == 1
    assert fast_answer.data == flask_answer.data
    assert status_and_headers(fast_answer) == status_and_headers(flask_answer)


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
