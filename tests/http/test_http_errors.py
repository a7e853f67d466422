"""All errors have the same format, and all answers have a request ID."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr
from werkzeug.test import TestResponse

from app import create_app
from app.errors import STATUS
from core import errors
from core.bootstrap import open_core
from core.settings import Settings
from local import ports
from tests.http.http_api import VALID_REQUEST, Api, check_error

UNKNOWN_ID = "resp_" + "0" * 48


def subclasses_of(base_class: type[errors.Error]) -> Iterator[type[errors.Error]]:
    for error_class in base_class.__subclasses__():
        if error_class.__module__ == errors.__name__:
            yield error_class
        yield from subclasses_of(error_class)


# These errors occur at startup or in workers; a request would get status 500.
STARTUP_AND_WORKER_ERRORS = {
    errors.BadSettings,
    errors.SchemaMismatch,
    errors.ModelServerError,
    errors.SealError,
    errors.StoreDataError,
}


@pytest.mark.parametrize("error_class", list(subclasses_of(errors.Error)), ids=lambda error_class: error_class.__name__)
def test_every_domain_error_has_a_status_and_the_error_format(
    extensible_api: Api, error_class: type[errors.Error]
) -> None:
    mapped_classes = [parent for parent in error_class.__mro__ if parent in STATUS and parent is not errors.Error]
    assert mapped_classes or STARTUP_AND_WORKER_ERRORS & set(error_class.__mro__), (
        f"{error_class.__name__} needs a status in app/errors.py"
    )
    status, error_type = STATUS[mapped_classes[0]] if mapped_classes else (500, "server_error")

    def raise_error() -> None:
        error = error_class("The host is 10.0.0.1.")
        error.param, error.code = "some_param", "some_code"
        raise error

    extensible_api.app.add_url_rule("/error", view_func=raise_error)
    answer = extensible_api.client.get("/error")

    message = check_error(answer, status, "some_code", "some_param", error_type)
    # Details of a server error appear only in the log, except that a busy or stopping server states its reason.
    assert ("10.0.0.1" in message) == (status < 500 or error_class in {errors.ServerBusy, errors.ServerStopping})
    assert ("Retry-After" in answer.headers) == (status in {429, 503})


@pytest.fixture
def extensible_api(api: Api) -> Api:
    """A client of an application for one test, to which the test may add routes."""
    return Api(api.core)


def test_an_unexpected_error_is_answered_with_500_and_details_appear_only_in_the_log(
    extensible_api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    def raise_bug() -> None:
        raise ZeroDivisionError("secret")

    extensible_api.app.add_url_rule("/bug", view_func=raise_bug)
    with caplog.at_level(logging.ERROR):
        answer = extensible_api.send_request("GET", "/bug")

    message = check_error(answer, 500, None, error_type="server_error")
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert message == "The server had an error while processing your request."
    (record,) = [record for record in caplog.records if record.name == "app.errors"]
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError
    assert record.request == answer.headers["x-request-id"]


def test_an_error_in_flask_is_answered_with_500(extensible_api: Api) -> None:
    extensible_api.app.add_url_rule("/nothing", view_func=lambda: None)  # Flask rejects a view that returns None

    check_error(extensible_api.send_request("GET", "/nothing"), 500, None, error_type="server_error")


@pytest.mark.parametrize(
    "path",
    ["/", "/nope", "/v1", "/v1/nope", "/v1/responses/a/b", "/v1/responses//cancel", "/%00/%ff", "/" + "x" * 5000],
)
def test_a_request_for_an_unknown_path_gets_404_in_the_error_format(api: Api, path: str) -> None:
    assert check_error(api.send_request("GET", path), 404, None).startswith("Invalid URL (GET /")


@pytest.mark.parametrize(
    ("method", "path", "allowed_methods"),
    [
        ("DELETE", "/v1/responses", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("PUT", "/v1/responses", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("PATCH", f"/v1/responses/{UNKNOWN_ID}", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", f"/v1/responses/{UNKNOWN_ID}", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", "/v1/responses/input_tokens", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", f"/v1/responses/{UNKNOWN_ID}/input_items", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", f"/v1/responses/{UNKNOWN_ID}/input_items", {"GET", "HEAD", "OPTIONS"}),
        ("GET", f"/v1/responses/{UNKNOWN_ID}/cancel", {"POST", "OPTIONS"}),
        ("POST", "/v1/models", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/v1/responses", {"GET", "HEAD", "POST", "OPTIONS"}),
    ],
)
def test_a_request_with_another_method_gets_405_with_the_allowed_methods(
    api: Api, method: str, path: str, allowed_methods: set[str]
) -> None:
    answer = api.send_request(method, path)

    assert check_error(answer, 405, None) == f"{method} is not allowed on {path}."
    assert set(answer.headers["Allow"].split(", ")) == allowed_methods


def test_every_answer_has_a_unique_request_id(api: Api) -> None:
    response_id = api.create_response()["id"]
    answers = [
        api.post_response(),
        api.get_response(response_id),
        api.cancel_response(response_id),
        api.get_response(UNKNOWN_ID),
        api.get_response(response_id, headers={"If-None-Match": "*"}),
        api.list_input_items(response_id),
        api.list_responses(),
        api.delete_response(response_id),
        api.post_body(b"{"),
        api.send_request("GET", "/v1/models"),
        api.send_request("GET", "/nope"),
        api.send_request("PUT", "/v1/models"),
        api.send_request("OPTIONS", "/v1/models"),
        api.send_request("HEAD", "/v1/models"),
        api.client.get("/v1/models"),
        api.client.get("/healthz"),
    ]

    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_an_invalid_query_is_rejected_and_an_unknown_parameter_is_ignored(api: Api) -> None:
    path = f"/v1/responses/{api.create_response()['id']}"

    check_error(api.send_request("GET", path, query_string={"stream": "maybe"}), 400, "invalid_value", "stream")
    for invalid_value in ("x", "1.5", "", "1e3", "0x1"):
        answer = api.send_request("GET", path, query_string={"stream": "true", "starting_after": invalid_value})
        check_error(answer, 400, "invalid_value", "starting_after")
    logprobs = "message.output_text.logprobs"
    for query in ({"stream": "false"}, {"include[]": logprobs}, {"include": logprobs}, {"beta": "true"}, {"x": "%"}):
        assert api.send_request("GET", path, query_string=query).status_code == 200


def test_without_postgres_every_request_under_v1_gets_503_with_retry_after(settings: Settings) -> None:
    unreachable_url = SecretStr(f"postgresql://somebody:hidden@127.0.0.1:{ports.free_port()}/nothing")
    with (
        open_core(settings.model_copy(update={"database_url": unreachable_url}), connections=4) as core,
        ThreadPoolExecutor(10) as threads,
    ):
        app = create_app(core)

        def send_request(method: str, path: str) -> TestResponse:
            return app.test_client().open(
                path, method=method, json=VALID_REQUEST, headers={"Authorization": "Bearer any"}
            )

        futures = {
            path: threads.submit(send_request, method, path)
            for method, path in [
                ("POST", "/v1/responses"),
                ("GET", f"/v1/responses/{UNKNOWN_ID}"),
                ("POST", f"/v1/responses/{UNKNOWN_ID}/cancel"),
                ("DELETE", f"/v1/responses/{UNKNOWN_ID}?"),
                ("GET", f"/v1/responses/{UNKNOWN_ID}/input_items"),
                ("GET", "/v1/responses?"),
                ("GET", "/v1/models"),
                ("GET", "/readyz"),
                ("GET", "/healthz"),
            ]
        }
        answers = {path: future.result() for path, future in futures.items()}

    assert answers.pop("/healthz").status_code == 200
    readiness = answers.pop("/readyz")
    assert (readiness.status_code, readiness.get_json()) == (
        503,
        {"status": "not ready", "reason": "Postgres cannot be reached."},
    )
    for answer in answers.values():
        check_error(answer, 503, "store_unavailable", error_type="server_error")
        assert int(answer.headers["Retry-After"]) > 0
        assert not [word for word in ("127.0.0.1", "somebody", "nothing", "hidden") if word in answer.text]


def test_a_response_is_accepted_without_valkey(settings: Settings) -> None:
    unreachable_url = SecretStr(f"redis://127.0.0.1:{ports.free_port()}/0")
    with open_core(settings.model_copy(update={"redis_url": unreachable_url}), connections=4) as core:
        api = Api(core)
        core.workers.register("w1", hostname="here", pid=1, slots=10)

        assert api.create_response()["status"] == "queued"
        assert api.cancel_response(api.create_response()["id"]).get_json()["status"] == "cancelled"
        readiness = api.client.get("/readyz")

    assert (readiness.status_code, readiness.get_json()["redis"]) == (200, "unreachable")
