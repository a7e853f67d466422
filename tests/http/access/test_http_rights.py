"""The right that each route requires, and the project in which a request acts."""

from itertools import count

import pytest
from werkzeug.test import TestResponse

from app.endpoints.table import TABLE
from core.tenants.keys import Keys
from core.tenants.rights import DEFAULT_RIGHTS, Right
from tests.http.http_api import VALID_REQUEST, Api, check_error

REQUIRED_RIGHTS = {(row.method, row.rule): row.right for row in TABLE if row.right is not None}

_numbers = count()
EXAMPLE_VALUES = {
    "response_id": "resp_" + "0" * 48,
    "prompt_id": "pmpt_" + "0" * 48,
    "project_id": "proj_" + "0" * 48,
    "key_id": "key_" + "0" * 48,
    "version": "1",
    "path:name": "scripted",
}


def example_path(rule: str) -> str:
    for name, example in EXAMPLE_VALUES.items():
        rule = rule.replace(f"<{name}>", example)
    assert "<" not in rule
    return rule


@pytest.fixture
def project_names(api: Api) -> tuple[str, str]:
    """The names of two existing projects."""
    names = f"a{next(_numbers)}", f"b{next(_numbers)}"
    for name in names:
        api.core.keys.create(project=name)
    return names


def test_exactly_the_routes_under_v1_require_a_right(api: Api) -> None:
    routes = {
        (method, rule.rule)
        for rule in api.app.url_map.iter_rules()
        if rule.rule.startswith("/v1")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert routes == REQUIRED_RIGHTS.keys()


@pytest.mark.parametrize(("method", "rule"), sorted(REQUIRED_RIGHTS), ids=str)
def test_a_key_without_the_required_right_is_rejected_with_the_name_of_the_right(
    api: Api, method: str, rule: str
) -> None:
    required_right = REQUIRED_RIGHTS[method, rule]
    key_without_right, key_with_right = (
        api.core.keys.create(set(Right) - {required_right}),
        api.core.keys.create({required_right}),
    )
    row_counts = api.count_rows()

    message = check_error(
        api.send_request(method, example_path(rule), key=key_without_right, json=VALID_REQUEST),
        403,
        "permission_denied",
        None,
        "permission_error",
    )
    assert f"'{required_right}'" in message
    if method == "GET":
        assert api.send_request("HEAD", example_path(rule), key=key_without_right).status_code == 403
    assert api.count_rows() == row_counts
    assert api.send_request(method, example_path(rule), key=key_with_right, data=b"{").status_code in {200, 400, 404}


@pytest.mark.parametrize(
    ("requested_rights", "expected_rights"),
    [((), DEFAULT_RIGHTS), (("no-limit",), DEFAULT_RIGHTS | {"no-limit"}), (("read",), {"read"})],
)
def test_a_key_has_its_explicit_rights_or_the_default_rights(
    api: Api, requested_rights: tuple[str, ...], expected_rights: set[str]
) -> None:
    key = api.core.keys.create(requested_rights)

    assert api.core.keys.caller(key).rights == expected_rights


def create_in_project(api: Api, key: str, *, query: str | None = None, header: str | None = None) -> TestResponse:
    """Send a request that creates a response in the project that the query or the header designates."""
    headers = {} if header is None else {"OpenAI-Project": header}
    query_string = {} if query is None else {"ai_project_id": query}
    return api.send_request(
        "POST", "/v1/responses", key=key, json=VALID_REQUEST, headers=headers, query_string=query_string
    )


def test_a_request_acts_in_the_project_that_its_query_or_header_designates(
    api: Api, project_names: tuple[str, str]
) -> None:
    own_name, additional_name = project_names
    key = api.core.keys.create(project=own_name, additional_projects=[additional_name])
    ids = {name: api.core.keys.project(name) for name in project_names}

    for project, designation in (
        (own_name, {}),
        (own_name, {"query": ""}),
        (own_name, {"query": own_name}),
        (own_name, {"header": ids[own_name]}),
        (additional_name, {"query": additional_name}),
        (additional_name, {"query": ids[additional_name]}),
        (additional_name, {"header": additional_name}),
        (additional_name, {"header": ids[additional_name], "query": additional_name}),
    ):
        response_id = create_in_project(api, key, **designation).get_json()["id"]
        assert api.sql("select project_id from responses where id = %s", response_id) == [(ids[project],)], designation
        query_string = {"ai_project_id": project}
        assert api.get_response(response_id, key=key, query_string=query_string).status_code == 200
        other_query = {"ai_project_id": additional_name if project == own_name else own_name}
        check_error(api.get_response(response_id, key=key, query_string=other_query), 404, None, "response_id")


def test_a_forbidden_project_gets_the_same_answer_as_an_unknown_project(
    api: Api, project_names: tuple[str, str]
) -> None:
    own_name, foreign_name = project_names
    key = api.core.keys.create(set(Right), own_name)
    row_counts = api.count_rows()

    for name, unknown_name in ((foreign_name, "nobody"), (api.core.keys.project(foreign_name), "proj_" + "0" * 48)):
        for designation, param in (("query", "ai_project_id"), ("header", "OpenAI-Project")):
            foreign_answer = create_in_project(api, key, **{designation: name})
            unknown_answer = create_in_project(api, key, **{designation: unknown_name})
            for answer in (foreign_answer, unknown_answer):
                check_error(answer, 404, "project_not_found", param)
            assert foreign_answer.text.replace(name, unknown_name) == unknown_answer.text
            assert set(foreign_answer.headers.keys()) == set(unknown_answer.headers.keys())
    assert api.count_rows() == row_counts


def test_a_request_with_two_projects_is_rejected_with_the_parameter(api: Api, project_names: tuple[str, str]) -> None:
    own_name, additional_name = project_names
    key = api.core.keys.create(project=own_name, additional_projects=[additional_name])
    row_counts = api.count_rows()

    for designation in (
        {"query": own_name, "header": additional_name},
        {"query": additional_name, "header": own_name},
        {"query": own_name, "header": "nobody"},
        {"query": "default", "header": own_name},
    ):
        check_error(create_in_project(api, key, **designation), 400, "invalid_value", "ai_project_id")
    answer = api.send_request(
        "POST", f"/v1/responses?ai_project_id={own_name}&ai_project_id={additional_name}", key=key, json=VALID_REQUEST
    )
    check_error(answer, 400, "invalid_value", "ai_project_id")
    assert api.count_rows() == row_counts


def test_a_cached_key_can_use_an_added_project_immediately(api: Api, project_names: tuple[str, str]) -> None:
    cached_keys = Keys(api.core.keys._database, cache_s=5)
    own_name, additional_name = project_names
    key = api.core.keys.create(project=own_name)
    caller = cached_keys.caller(key)

    api.sql(
        "insert into api_key_projects (key_id, project_id) values (%s, %s)",
        caller.key_id,
        api.core.keys.project(additional_name),
    )

    assert cached_keys.caller(key, {"ai_project_id": additional_name}).project == additional_name


def test_a_route_outside_the_table_of_endpoints_fails(api: Api) -> None:
    extended_api = Api(api.core)
    extended_api.app.add_url_rule("/v1/new", view_func=lambda: "served")

    answer = extended_api.send_request("GET", "/v1/new", key=api.admin_key)

    assert answer.status_code == 500
    assert "served" not in answer.text
