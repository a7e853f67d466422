"""Authentication: every path under /v1 requires a valid key, and a key gives no access to other projects."""

import re
from collections.abc import Iterator

import pytest
from werkzeug.routing import Rule

from tests.contract import ENDPOINTS
from tests.http.http_api import VALID_REQUEST, Api, check_error

UNKNOWN_ID = "resp_" + "0" * 48


def list_routes(api: Api) -> Iterator[tuple[str, str]]:
    """Every method and path of the application under /v1, with example values for the arguments of the paths."""
    for rule in api.app.url_map.iter_rules():
        if rule.rule.startswith("/v1"):
            for method in rule.methods or ():
                yield method, _example_path(rule)


def _example_path(rule: Rule) -> str:
    path = rule.rule
    for name in rule.arguments:
        path = path.replace(f"<{name}>", UNKNOWN_ID).replace(f"<path:{name}>", "scripted")
    assert "<" not in path, f"no example value for an argument of {path}"
    return path


def test_every_route_under_v1_rejects_requests_without_a_key(api: Api) -> None:
    routes = list(list_routes(api))
    row_counts = api.count_rows()

    for method, path in routes:
        answer = api.client.open(path, method=method, json=VALID_REQUEST)
        assert answer.status_code == 401, f"{method} {path}"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        if method != "HEAD":
            check_error(answer, 401, "invalid_api_key")

    assert {path for _, path in routes} >= {"/v1/responses", "/v1/models", f"/v1/responses/{UNKNOWN_ID}/cancel"}
    assert api.count_rows() == row_counts


def test_the_contract_lists_exactly_the_endpoints_under_v1(api: Api) -> None:
    endpoint_names = {
        f"{method} {re.sub('<[^>]*>', '{id}', rule.rule)}"
        for rule in api.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/v1")
    }

    assert endpoint_names == {endpoint.name for endpoint in ENDPOINTS}


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/nope", "/v1/responses/", "//v1/models", "/v1//models", "/v1/models/", "/v1/responses/a/b/c"],
)
def test_every_spelling_of_a_path_under_v1_requires_a_key(api: Api, path: str) -> None:
    # Pass the path separately, because the test client interprets a leading `//` as a host name.
    check_error(api.client.get("/", environ_overrides={"PATH_INFO": path}), 401, "invalid_api_key")


@pytest.mark.parametrize(
    "path", ["/./v1/models", "/V1/models", "/v1models", "/v1;x/models", "/x/../v1/models", "/ /v1/models"]
)
def test_a_path_that_resembles_v1_is_not_found(api: Api, path: str) -> None:
    check_error(api.client.get("/", environ_overrides={"PATH_INFO": path}), 404, None)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_checks_need_no_key(api: Api, path: str) -> None:
    answer = api.client.get(path)

    assert answer.status_code == 200
    assert answer.get_json()["status"] == "ok"
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer     ",
        "Bearer unknown",
        "Bearer sk-bb-" + "A" * 43,
        "Bearer sk-bb-\0",
        "Bearer é",
        "Bearer \x80\xff",
        "Bearer " + "a" * 100_000,
        "Basic {key}",
        "Token {key}",
        "{key}",
        "Bearer{key}",
        "Bearer: {key}",
        "Bearer {key}x",
        "Bearer {key} {key}",
        "Bearer {KEY}",
        "Bearer {key},Bearer {key}",
    ],
)
def test_an_invalid_key_or_header_is_rejected(api: Api, header: str) -> None:
    row_counts = api.count_rows()
    authorization = header.replace("{key}", api.key).replace("{KEY}", api.key.upper())

    message = check_error(
        api.client.post("/v1/responses", json=VALID_REQUEST, headers={"Authorization": authorization}),
        401,
        "invalid_api_key",
    )

    assert api.key not in message
    assert api.count_rows() == row_counts


@pytest.mark.parametrize("header", ["Bearer {key}", "bearer {key}", "BEARER  {key} "])
def test_a_valid_key_is_accepted_with_any_spelling_of_its_scheme(api: Api, header: str) -> None:
    authorization = header.replace("{key}", api.key)

    assert api.client.get("/v1/models", headers={"Authorization": authorization}).status_code == 200


def test_a_revoked_key_is_rejected_at_its_next_request(api: Api) -> None:
    key = api.core.keys.create()
    assert api.post_response(key=key).status_code == 200
    (key_row,) = [row for row in api.core.keys.list_keys() if row.hint == key[-4:]]

    api.core.keys.revoke(key_row.id)

    row_counts = api.count_rows()
    check_error(api.post_response(key=key), 401, "invalid_api_key")
    assert api.count_rows() == row_counts


def test_keys_of_the_same_project_share_its_responses(api: Api) -> None:
    response = api.create_response()

    assert api.get_response(response["id"], key=api.core.keys.create()).get_json() == response


def test_a_foreign_response_gets_the_same_answer_as_an_unknown_response(api: Api, other_key: str) -> None:
    response_id = api.create_response()["id"]

    for request_by_id in (api.get_response, api.cancel_response, api.delete_response, api.list_input_items):
        foreign_answer, unknown_answer = (
            request_by_id(response_id, key=other_key),
            request_by_id(UNKNOWN_ID, key=other_key),
        )
        assert check_error(foreign_answer, 404, None, "response_id") == f"Response with id '{response_id}' not found."
        assert foreign_answer.text.replace(response_id, UNKNOWN_ID) == unknown_answer.text
        assert set(foreign_answer.headers.keys()) == set(unknown_answer.headers.keys())

    assert api.get_response(response_id).get_json()["status"] == "queued"


@pytest.mark.parametrize(
    "response_id",
    [
        "x",
        "resp_",
        "%00",
        "resp_%00" + "0" * 47,
        "resp_" + "0" * 48 + "%00",
        "resp_" + "0" * 48 + "%0a",
        "resp_" + "g" * 48,
        "RESP_" + "0" * 48,
        "%ff%fe",
        "%ed%a0%80",
        "%F0%9F%98%80",
        "' or 1=1 --",
        "%25s",
        "x" * 5000,
    ],
)
def test_a_malformed_id_is_not_found(api: Api, response_id: str) -> None:
    for request_by_id in (api.get_response, api.cancel_response, api.delete_response, api.list_input_items):
        message = check_error(request_by_id(response_id), 404, None, "response_id")
        assert message.startswith("Response with id '")
        assert message.endswith("' not found.")
