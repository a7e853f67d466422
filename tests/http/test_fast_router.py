"""Requests that the fast router matches ahead of Flask: the answers are the same as Flask's."""

from typing import Any

import flask
import pytest
from werkzeug.test import TestResponse

from core.bootstrap import Core
from core.tenants import rights
from tests.harness.engine import worker
from tests.http.http_api import GOOD, Api, error_of
from tests.http.statuses import ALL, driven_to

BY_ROUTE = "/"  # at the end of a path, means the same and is left to Flask
POLL, CREATE = "/v1/responses/{}", "/v1/responses"
UNKNOWN = POLL.format("resp_" + "0" * 48)


@pytest.fixture
def api(core: Core) -> Api:
    """The application on a database of one test, with a live worker."""
    worker(core)
    return Api(core)


class Routed:
    """Counts the requests that reach a route."""

    def __init__(self, app: flask.Flask) -> None:
        self.count = 0
        flask.request_started.connect(self._note, app)

    def _note(self, _: flask.Flask, **__: Any) -> None:
        self.count += 1


def shown(answer: TestResponse, *, changing: tuple[str, ...] = ()) -> tuple[int, dict[str, str], Any]:
    """A reply as seen by a client, without fields that differ between any two replies."""
    headers = dict(answer.headers)
    assert headers.pop("x-request-id").startswith("req_")
    body = answer.get_json()
    return answer.status_code, headers, {key: value for key, value in body.items() if key not in changing}


def seen(answer: TestResponse) -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer, except for the request's ID."""
    headers = dict(answer.headers)
    assert headers.pop("x-request-id").startswith("req_")
    return answer.status_code, headers


@pytest.mark.parametrize("status", ALL)
def test_a_plain_poll_is_answered_as_its_route_would(api: Api, status: str) -> None:
    response_id = api.created()["id"]
    driven_to(api, status, response_id)
    routed = Routed(api.app)

    plain = api.get(response_id)
    assert routed.count == 0
    by_route = api.get(response_id + BY_ROUTE)

    assert routed.count == 1
    assert plain.data == by_route.data
    assert plain.get_json()["status"] == status
    assert shown(plain) == shown(by_route)


def test_a_plain_create_is_answered_as_its_route_would(api: Api) -> None:
    routed = Routed(api.app)

    plain = api.create(metadata={"a": "ü"}, input="\N{SNOWMAN}" * 100)
    assert routed.count == 0
    by_route = api.ask("POST", CREATE + BY_ROUTE, json=GOOD | {"metadata": {"a": "ü"}, "input": "\N{SNOWMAN}" * 100})

    assert routed.count == 1
    changing = ("id", "created_at")
    assert shown(plain, changing=changing) == shown(by_route, changing=changing)
    first, second = (
        api.sql("select request from responses where id = %s", one.get_json()["id"]) for one in (plain, by_route)
    )
    assert len(first[0][0]) == len(second[0][0])


@pytest.mark.parametrize(
    ("method", "path", "request_"),
    [
        ("GET", UNKNOWN, {}),
        ("GET", UNKNOWN, {"key": "sk-bb-unknown"}),
        ("GET", UNKNOWN, {"headers": {"Authorization": "Basic abc"}}),
        ("GET", UNKNOWN, {"key": "writes"}),
        ("POST", CREATE, {"key": "reads", "json": GOOD}),
        ("POST", CREATE, {"key": "sk-bb-unknown", "json": GOOD}),
        ("POST", CREATE, {"json": GOOD | {"model": "none"}}),
        ("POST", CREATE, {"json": GOOD | {"temperature": "hot"}}),
        ("POST", CREATE, {"json": GOOD | {"service_tier": "priority"}}),
        ("POST", CREATE, {"json": GOOD | {"previous_response_id": "resp_none"}}),
        ("POST", CREATE, {"json": GOOD | {"stream": "yes"}}),
        ("POST", CREATE, {"json": GOOD | {"background": "yes"}}),
        ("POST", CREATE, {"json": GOOD | {"store": False}}),
        ("POST", CREATE, {"json": [GOOD]}),
        ("POST", CREATE, {"data": b'{"model": ', "content_type": "application/json"}),
        ("POST", CREATE, {"data": b"", "content_type": "application/json"}),
        ("POST", CREATE, {"data": b'"\xff"', "content_type": "application/json"}),
        ("POST", CREATE, {"data": b'{"input":' + b"[" * 5000, "content_type": "application/json"}),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_plain_request_is_answered_as_its_route_would(
    api: Api, method: str, path: str, request_: dict[str, Any]
) -> None:
    keys = {"reads": api.core.keys.create({rights.Right.READ}), "writes": api.core.keys.create({rights.Right.WRITE})}
    key = keys.get(request_.get("key", ""), request_.get("key"))
    headers = request_.get("headers", {})
    plain = api.ask(method, path, **request_ | {"key": key, "headers": headers})
    by_route = api.ask(method, path + BY_ROUTE, **request_ | {"key": key, "headers": headers})

    changing = ("id", "created_at") if plain.status_code == 200 else ()
    assert shown(plain, changing=changing) == shown(by_route, changing=changing)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/responsesx{}", 404),
        ("GET", "/v1/responses{}", 404),
        ("GET", "/v1/responses//{}", 404),
        ("GET", "/v1/responses/x/{}", 404),
        ("GET", "/v1/responses/{}/", 200),
        ("HEAD", POLL, 200),
        ("POST", POLL, 405),
        ("PUT", POLL, 405),
    ],
)
def test_what_is_no_plain_request_is_left_to_the_routes(api: Api, method: str, path: str, status: int) -> None:
    response_id = api.created()["id"]
    routed = Routed(api.app)

    assert api.ask(method, path.format(response_id)).status_code == status
    assert routed.count == 1


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
def test_a_poll_with_a_query_or_headers_is_answered_as_its_route_would(
    api: Api, query: str, headers: dict[str, str], status: int
) -> None:
    response_id = api.created()["id"]
    routed = Routed(api.app)

    plain = api.ask("GET", POLL.format(response_id) + query, headers=headers)
    assert (plain.status_code, routed.count) == (status, 0)
    by_route = api.ask("GET", POLL.format(response_id) + BY_ROUTE + query, headers=headers)

    assert routed.count == 1
    assert plain.data == by_route.data
    assert seen(plain) == seen(by_route)


def test_a_create_with_a_key_is_answered_once_whichever_way_it_is_routed(api: Api) -> None:
    routed = Routed(api.app)
    headers = {"Idempotency-Key": "a key", "Origin": "https://pages.test"}

    plain = api.create(headers=headers)
    assert routed.count == 0
    by_route = api.ask("POST", CREATE + BY_ROUTE, json=GOOD, headers=headers)

    assert routed.count == 1
    assert plain.data == by_route.data
    assert seen(plain) == seen(by_route)


@pytest.mark.parametrize(
    "changes", [{"background": False, "stream": True}, {"background": True, "stream": True}], ids=str
)
def test_a_stream_is_left_to_the_routes_with_its_whole_body(api: Api, changes: dict[str, Any]) -> None:
    answer = api.create(**changes)

    assert answer.mimetype == "text/event-stream"
    answer.close()


def test_a_body_that_ends_too_soon_is_refused_and_creates_nothing(api: Api) -> None:
    before = api.stored()

    answer = api.post(b'{"model": "scripted"', environ_overrides={"CONTENT_LENGTH": "500"})

    error_of(answer, 400, "invalid_value")
    assert api.stored() == before
