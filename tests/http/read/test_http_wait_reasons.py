"""Polls with `wait_reason=true` return why a response is queued, and nothing about workers, servers or other projects."""

import psycopg
import pytest
from openai.types.responses import Response
from openresponses_types.types import ResponseResource

from core.bootstrap import Core
from core.settings import Settings
from tests.harness.engine import UNAVAILABLE, claim, create_caller, register_worker, sql, submit
from tests.harness.waiting import until
from tests.http.http_api import Api, check_document, check_error
from tests.http.statuses import ALL_STATUSES, move_to_status

OPTION = {"wait_reason": "true"}


@pytest.fixture
def own_api(core: Core) -> Api:
    """The application on a database of its own."""
    return Api(core)


def wait_for_reason(api: Api, response_id: str, reason: str) -> None:
    """Wait until polls return this reason: they share a state that may be a second old."""
    until(lambda: api.get_response(response_id, query_string=OPTION).get_json()["wait_reason"] == reason)


def test_a_poll_with_the_option_returns_why_the_response_is_queued(own_api: Api) -> None:
    response_id = own_api.create_response()["id"]
    document = check_document(own_api.get_response(response_id), "queued")

    answer = own_api.get_response(response_id, query_string=OPTION)

    assert answer.get_json() == document | {"wait_reason": "no_worker"}
    assert answer.headers["openai-poll-after-ms"]
    assert Response.model_validate_json(answer.data, strict=True).to_dict()["wait_reason"] == "no_worker"
    ResponseResource.model_validate_json(answer.data, strict=True)
    for query in ({}, {"wait_reason": "false"}, {"wait_reason": ""}, {"stream": "false"}):
        assert own_api.get_response(response_id, query_string=query).get_json() == document
    register_worker(own_api.core)
    wait_for_reason(own_api, response_id, "turn")


@pytest.mark.parametrize("status", [status for status in ALL_STATUSES if status != "queued"])
def test_a_poll_of_a_response_that_is_not_queued_ignores_the_option(worker_api: Api, status: str) -> None:
    response_id = worker_api.create_response()["id"]
    move_to_status(worker_api, status, response_id)

    answer = worker_api.get_response(response_id, query_string=OPTION)

    assert answer.data == worker_api.get_response(response_id).data
    check_document(answer, status)


def test_an_invalid_value_of_the_option_is_rejected(api: Api) -> None:
    response_id = api.create_response()["id"]

    for query in ({"wait_reason": "why"}, {"wait_reason": "why", "stream": "true"}):
        check_error(api.get_response(response_id, query_string=query), 400, "invalid_value", "wait_reason")


def test_a_poll_that_waits_for_the_end_returns_the_reason_after_the_wait(own_api: Api) -> None:
    response_id = own_api.create_response()["id"]

    answer = own_api.get_response(response_id, query_string=OPTION, headers={"Prefer": "wait=1"})

    assert answer.get_json()["wait_reason"] == "no_worker"
    assert answer.headers["Preference-Applied"] == "wait=1"


def test_the_etag_changes_with_the_reason(own_api: Api) -> None:
    response_id = own_api.create_response()["id"]
    etag = own_api.get_response(response_id, query_string=OPTION).headers["ETag"]
    condition = {"If-None-Match": etag}

    assert own_api.get_response(response_id, query_string=OPTION, headers=condition).status_code == 304
    register_worker(own_api.core)
    until(lambda: own_api.get_response(response_id, query_string=OPTION, headers=condition).status_code == 200)


def test_the_reason_reveals_nothing_about_other_projects_workers_or_servers(own_api: Api, settings: Settings) -> None:
    core = own_api.core
    register_worker(core, "worker-secret", slots=3)
    secret_project = create_caller(core, "secret-project")
    foreign_ids = [submit(core, secret_project, model="narrow") for _ in range(2)]
    assert core.attempts.hand_back(claim(core, submit(core, secret_project)), UNAVAILABLE)
    secrets = [secret_project.project_id, "secret", "here", UNAVAILABLE.cause, *foreign_ids]

    for model, reason in (("narrow", "model_capacity"), ("scripted", "model_unavailable")):
        response_id = own_api.create_response(model=model)["id"]
        document = own_api.get_response(response_id).get_json()
        wait_for_reason(own_api, response_id, reason)
        answer = own_api.get_response(response_id, query_string=OPTION)
        assert answer.get_json() == document | {"wait_reason": reason}
        assert not [secret for secret in secrets if secret in answer.text or secret in str(answer.headers)]
    # If the other project occupies all slots, the reason is the same as if this project did.
    sql(settings, "delete from circuits")
    sql(settings, "update workers set slots = 2")
    response_id = own_api.create_response()["id"]
    wait_for_reason(own_api, response_id, "capacity")


def test_the_option_does_not_reveal_a_response_of_another_project(worker_api: Api, other_key: str) -> None:
    response_id = worker_api.create_response()["id"]

    for query in ({}, OPTION):
        answer = worker_api.get_response(response_id, key=other_key, query_string=query)
        check_error(answer, 404, None, "response_id")


def test_a_poll_without_the_option_does_not_read_the_state_of_the_queue(own_api: Api, settings: Settings) -> None:
    response_id = own_api.create_response()["id"]
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("lock table workers, circuits, fair_shares in access exclusive mode")

        for query in ({}, {"stream": "false"}):
            check_document(own_api.get_response(response_id, query_string=query), "queued")
        assert own_api.get_response(response_id, query_string=OPTION).status_code == 503
