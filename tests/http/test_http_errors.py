"""Every error, whatever its cause, is returned in the envelope; every reply has a request ID."""

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
from tests.http.http_api import GOOD, Api, error_of

UNKNOWN = "resp_" + "0" * 48


def every(of: type[errors.Error]) -> Iterator[type[errors.Error]]:
    for cls in of.__subclasses__():
        if cls.__module__ == errors.__name__:
            yield cls
        yield from every(cls)


# Raised at startup or in a worker; a request that meets one nevertheless gets a 500.
NOT_IN_REQUESTS = {
    errors.BadSettings,
    errors.SchemaMismatch,
    errors.ModelServerFailed,
    errors.NotSealed,
    errors.StoreRefused,
}


@pytest.mark.parametrize("cls", list(every(errors.Error)), ids=lambda cls: cls.__name__)
def test_every_domain_error_has_a_status_and_leaves_in_the_envelope(core_app: Api, cls: type[errors.Error]) -> None:
    known = [parent for parent in cls.__mro__ if parent in STATUS and parent is not errors.Error]
    assert known or NOT_IN_REQUESTS & set(cls.__mro__), f"{cls.__name__} needs a status in app/errors.py"
    status, kind = STATUS[known[0]] if known else (500, "server_error")

    def raises() -> None:
        error = cls("It says host=10.0.0.1.")
        error.param, error.code = "place", "some_code"
        raise error

    core_app.app.add_url_rule("/raises", view_func=raises)
    answer = core_app.client.get("/raises")

    says = error_of(answer, status, "some_code", "place", kind)
    # Internal details belong in the log only; a busy or stopping server may state its reason.
    assert ("10.0.0.1" in says) == (status < 500 or cls in {errors.Busy, errors.Stopping})
    assert ("Retry-After" in answer.headers) == (status in {429, 503})


@pytest.fixture
def core_app(api: Api) -> Api:
    """An application for one test, to which the test may add routes."""
    return Api(api.core)


def test_a_bug_is_a_500_that_tells_the_client_nothing_and_the_log_all(
    core_app: Api, caplog: pytest.LogCaptureFixture
) -> None:
    def bug() -> None:
        raise ZeroDivisionError("secret")

    core_app.app.add_url_rule("/bug", view_func=bug)
    with caplog.at_level(logging.ERROR):
        answer = core_app.ask("GET", "/bug")

    says = error_of(answer, 500, None, kind="server_error")
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert says == "The server had an error while processing your request."
    (record,) = [record for record in caplog.records if record.name == "app.errors"]
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError
    assert record.request == answer.headers["x-request-id"]


def test_a_500_of_flasks_own_is_the_servers_error(core_app: Api) -> None:
    core_app.app.add_url_rule("/nothing", view_func=lambda: None)  # Flask refuses a view that returns None

    error_of(core_app.ask("GET", "/nothing"), 500, None, kind="server_error")


@pytest.mark.parametrize(
    "path",
    ["/", "/nope", "/v1", "/v1/nope", "/v1/responses/a/b", "/v1/responses//cancel", "/%00/%ff", "/" + "x" * 5000],
)
def test_a_path_that_leads_nowhere_is_404_in_the_envelope(api: Api, path: str) -> None:
    assert error_of(api.ask("GET", path), 404, None).startswith("Invalid URL (GET /")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/responses", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("PUT", "/v1/responses", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("PATCH", f"/v1/responses/{UNKNOWN}", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", f"/v1/responses/{UNKNOWN}", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", "/v1/responses/input_tokens", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", f"/v1/responses/{UNKNOWN}/input_items", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", f"/v1/responses/{UNKNOWN}/input_items", {"GET", "HEAD", "OPTIONS"}),
        ("GET", f"/v1/responses/{UNKNOWN}/cancel", {"POST", "OPTIONS"}),
        ("POST", "/v1/models", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/healthz", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/v1/responses", {"GET", "HEAD", "POST", "OPTIONS"}),
    ],
)
def test_a_method_that_is_not_allowed_is_405_and_says_which_are(
    api: Api, method: str, path: str, allowed: set[str]
) -> None:
    answer = api.ask(method, path)

    assert error_of(answer, 405, None) == f"{method} is not allowed on {path}."
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_every_answer_has_a_request_id_of_its_own(api: Api) -> None:
    created = api.created()["id"]
    answers = [
        api.create(),
        api.get(created),
        api.cancel(created),
        api.get(UNKNOWN),
        api.get(created, headers={"If-None-Match": "*"}),
        api.items(created),
        api.listed(),
        api.delete(created),
        api.post(b"{"),
        api.ask("GET", "/v1/models"),
        api.ask("GET", "/nope"),
        api.ask("PUT", "/v1/models"),
        api.ask("OPTIONS", "/v1/models"),
        api.ask("HEAD", "/v1/models"),
        api.client.get("/v1/models"),
        api.client.get("/healthz"),
    ]

    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_a_query_that_makes_no_sense_is_refused_and_one_that_changes_nothing_is_not(api: Api) -> None:
    path = f"/v1/responses/{api.created()['id']}"

    error_of(api.ask("GET", path, query_string={"stream": "maybe"}), 400, "invalid_value", "stream")
    for wrong in ("x", "1.5", "", "1e3", "0x1"):
        answer = api.ask("GET", path, query_string={"stream": "true", "starting_after": wrong})
        error_of(answer, 400, "invalid_value", "starting_after")
    logprobs = "message.output_text.logprobs"
    for harmless in ({"stream": "false"}, {"include[]": logprobs}, {"include": logprobs}, {"beta": "true"}, {"x": "%"}):
        assert api.ask("GET", path, query_string=harmless).status_code == 200


def test_without_postgres_everything_says_503_and_when_to_come_back_and_names_no_host(settings: Settings) -> None:
    nowhere = SecretStr(f"postgresql://somebody:hidden@127.0.0.1:{ports.free()}/nothing")
    with (
        open_core(settings.model_copy(update={"database_url": nowhere}), connections=4) as core,
        ThreadPoolExecutor(10) as threads,
    ):
        app = create_app(core)

        def ask(method: str, path: str) -> TestResponse:
            return app.test_client().open(path, method=method, json=GOOD, headers={"Authorization": "Bearer any"})

        asked = {
            path: threads.submit(ask, method, path)
            for method, path in [
                ("POST", "/v1/responses"),
                ("GET", f"/v1/responses/{UNKNOWN}"),
                ("POST", f"/v1/responses/{UNKNOWN}/cancel"),
                ("DELETE", f"/v1/responses/{UNKNOWN}?"),
                ("GET", f"/v1/responses/{UNKNOWN}/input_items"),
                ("GET", "/v1/responses?"),
                ("GET", "/v1/models"),
                ("GET", "/readyz"),
                ("GET", "/healthz"),
            ]
        }
        answers = {path: future.result() for path, future in asked.items()}

    assert answers.pop("/healthz").status_code == 200
    ready = answers.pop("/readyz")
    assert (ready.status_code, ready.get_json()) == (
        503,
        {"status": "not ready", "reason": "Postgres cannot be reached."},
    )
    for answer in answers.values():
        error_of(answer, 503, "store_unavailable", kind="server_error")
        assert int(answer.headers["Retry-After"]) > 0
        assert not [word for word in ("127.0.0.1", "somebody", "nothing", "hidden") if word in answer.text]


def test_without_valkey_a_response_is_taken_all_the_same_and_readiness_says_so(settings: Settings) -> None:
    nowhere = SecretStr(f"redis://127.0.0.1:{ports.free()}/0")
    with open_core(settings.model_copy(update={"redis_url": nowhere}), connections=4) as core:
        api = Api(core)
        core.workers.stamp("w1", hostname="here", pid=1, slots=10)

        assert api.created()["status"] == "queued"
        assert api.cancel(api.created()["id"]).get_json()["status"] == "cancelled"
        ready = api.client.get("/readyz")

    assert (ready.status_code, ready.get_json()["redis"]) == (200, "unreachable")
