"""Foreground creates wait until their response ends, and return it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.bootstrap import THREADS_FOR_POLLS, open_core
from core.runs.ends import Outcome, failed
from core.settings import Settings
from tests.harness.engine import worker
from tests.harness.waiting import until
from tests.http.asking import asking
from tests.http.http_api import Api, checked, error_of
from tests.http.statuses import CUT
from worker.models.protocol import ToolCall


@pytest.mark.parametrize(("outcome", "status"), [(None, "completed"), (CUT, "incomplete")])
def test_a_foreground_create_waits_and_answers_with_the_ended_response(
    running: Api, outcome: Outcome | None, status: str
) -> None:
    with asking(running) as (response_id, answer):
        assert not answer.done()
        running.run(response_id, "Hello", **({"outcome": outcome} if outcome else {}))

    body = checked(answer.result(), status)
    assert body["id"] == response_id
    assert body["background"] is False
    assert body["output"][0]["content"][0]["text"] == "Hello"
    assert running.get(response_id).get_json() == body


@pytest.mark.parametrize("absent", [None, False])
def test_without_background_a_create_waits(running: Api, absent: bool | None) -> None:
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(running.create, background=absent, user="nobody says")
        query = "select id from responses where document::json ->> 'user' = 'nobody says' and finished_at is null"
        ((response_id,),) = until(lambda: running.sql(query))
        running.run(response_id)

    assert checked(answer.result(), "completed")["background"] is False


def test_a_foreground_answer_may_be_a_tools_call(running: Api) -> None:
    with asking(running, tools=[{"type": "function", "name": "weather"}]) as (response_id, answer):
        running.run(response_id, None, ToolCall("call_1", "weather", "{}"), ToolCall("call_2", "weather", "[]"))

    output = checked(answer.result(), "completed")["output"]
    assert [(item["type"], item["call_id"], item["arguments"]) for item in output] == [
        ("function_call", "call_1", "{}"),
        ("function_call", "call_2", "[]"),
    ]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("server_error", 500, "server_error"),
        ("rate_limit_exceeded", 429, "rate_limit_error"),
        ("invalid_prompt", 400, "invalid_request_error"),
        ("failed_to_download_image", 400, "invalid_request_error"),
        ("invalid_image_url", 400, "invalid_request_error"),
    ],
)
def test_a_foreground_response_that_fails_before_its_answer_began_is_an_http_error(
    running: Api, code: str, status: int, kind: str
) -> None:
    with asking(running) as (response_id, answer):
        running.run(response_id, None, outcome=failed(code, "The model server said no."))

    says = error_of(answer.result(), status, code, kind=kind)
    assert says == "The model server said no."
    assert answer.result().headers["x-should-retry"] == "false"
    checked(running.get(response_id), "failed")


def test_a_foreground_response_is_not_cancelled_by_its_id(running: Api) -> None:
    with asking(running) as (response_id, answer):
        says = error_of(running.cancel(response_id), 400, "invalid_value", "response_id")
        running.run(response_id)

    assert says == "Cannot cancel a synchronous response."
    checked(answer.result(), "completed")
    error_of(running.cancel(response_id), 400, "invalid_value", "response_id")


def test_an_answer_that_takes_long_begins_with_blanks_and_is_json_all_the_same(running: Api) -> None:
    with asking(running) as (response_id, answer):
        slow = until(lambda: answer.done() and answer.result(), within_s=5)  # the reply has begun
        running.run(response_id)

    assert slow.mimetype == "application/json"
    assert slow.text.startswith(" ")
    assert json.loads(slow.text)["status"] == "completed"


def test_a_response_that_is_not_stored_is_answered_once_and_then_known_to_nobody(running: Api) -> None:
    before = running.stored()
    sent = [{"id": "unstored", "role": "user", "content": "secret"}]
    with asking(running, store=False, input=sent) as (response_id, answer):
        for ask in (running.get, running.delete, running.cancel, running.items):
            error_of(ask(response_id), 404, None, "response_id")
        assert response_id not in running.listed().text
        running.run(response_id)

    body = checked(answer.result(), "completed")
    assert body["store"] is False
    assert running.stored() == before
    for ask in (running.get, running.delete, running.cancel, running.items):
        error_of(ask(response_id), 404, None, "response_id")
    for changes, code, param in (
        ({"previous_response_id": response_id}, "previous_response_not_found", "previous_response_id"),
        ({"input": [{"id": "unstored"}]}, "invalid_value", "input[0].id"),
        ({"input": [{"id": body["output"][0]["id"]}]}, "invalid_value", "input[0].id"),
    ):
        error_of(running.create(**changes), 400, code, param)


def test_a_response_that_is_not_stored_may_build_on_one_that_is(running: Api) -> None:
    parent = running.ended("1", input="one")
    with asking(running, store=False, previous_response_id=parent["id"]) as (response_id, answer):
        attempt = running.run(response_id)

    assert [item["content"][0]["text"] for item in attempt.context] == ["one", "1", "hi"]
    assert checked(answer.result(), "completed")["previous_response_id"] == parent["id"]


def test_an_invalid_foreground_create_does_not_wait(running: Api) -> None:
    before = running.stored()
    for changes, code, param in (
        ({"temperature": 3}, "decimal_above_max_value", "temperature"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found", "previous_response_id"),
        ({"background_options": {"completion_window": "2h"}}, "invalid_value", "background_options.completion_window"),
    ):
        error_of(running.create(background=False, **changes), 400, code, param)
    assert running.stored() == before


def test_when_all_places_to_wait_in_are_taken_a_foreground_create_is_told_to_come_back(settings: Settings) -> None:
    narrow = settings.model_copy(update={"api_threads": THREADS_FOR_POLLS + 1})
    with open_core(narrow, connections=4) as core:
        api = Api(core)
        worker(core)
        with asking(api) as (response_id, answer):
            before = api.stored()
            refused = api.create(background=False)
            error_of(refused, 503, "server_busy", kind="server_error")
            assert int(refused.headers["Retry-After"]) > 0
            assert api.stored() == before
            # A poll that cannot wait is answered immediately.
            polled = api.get(response_id, headers={"Prefer": "wait=60"})
            assert polled.get_json()["status"] == "queued"
            assert "Preference-Applied" not in polled.headers
            assert api.created()["status"] == "queued"
            api.run(response_id)

        checked(answer.result(), "completed")
        with asking(api) as (again, answer):
            api.run(again)
        checked(answer.result(), "completed")
