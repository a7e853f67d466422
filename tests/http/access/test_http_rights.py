"""Which project a key acts for, and what it may do there."""

from collections.abc import Iterator
from itertools import count

import pytest
from werkzeug.test import TestResponse

from app.endpoints.table import TABLE
from core.tenants.rights import USUAL, Right
from tests.http.http_api import GOOD, Api, error_of

NEEDS = {(row.method, row.rule): row.right for row in TABLE if row.right is not None}

_numbers = count()
IDS = {
    "response_id": "resp_" + "0" * 48,
    "prompt_id": "pmpt_" + "0" * 48,
    "project_id": "proj_" + "0" * 48,
    "key_id": "key_" + "0" * 48,
    "version": "1",
    "path:name": "scripted",
}


def path_of(rule: str) -> str:
    for name, example in IDS.items():
        rule = rule.replace(f"<{name}>", example)
    assert "<" not in rule
    return rule


@pytest.fixture
def names(api: Api) -> Iterator[tuple[str, str]]:
    """The names of two existing projects."""
    pair = f"a{next(_numbers)}", f"b{next(_numbers)}"
    for name in pair:
        api.core.keys.create(project=name)
    yield pair


def test_every_route_under_v1_has_a_right_and_no_other_has(api: Api) -> None:
    served = {
        (method, rule.rule)
        for rule in api.app.url_map.iter_rules()
        if rule.rule.startswith("/v1")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert served == NEEDS.keys()


@pytest.mark.parametrize(("method", "rule"), sorted(NEEDS), ids=lambda part: part)
def test_a_key_without_the_right_for_a_route_is_told_which_and_changes_nothing(
    api: Api, method: str, rule: str
) -> None:
    needed = NEEDS[method, rule]
    weak, just = api.core.keys.create(set(Right) - {needed}), api.core.keys.create({needed})
    before = api.stored()

    says = error_of(
        api.ask(method, path_of(rule), key=weak, json=GOOD), 403, "permission_denied", None, "permission_error"
    )
    assert f"'{needed}'" in says
    if method == "GET":
        assert api.ask("HEAD", path_of(rule), key=weak).status_code == 403
    assert api.stored() == before
    assert api.ask(method, path_of(rule), key=just, data=b"{").status_code in {200, 400, 404}


@pytest.mark.parametrize(("given", "gets"), [((), USUAL), (("no-limit",), USUAL | {"no-limit"}), (("read",), {"read"})])
def test_a_key_that_is_given_no_rights_has_the_usual_ones(api: Api, given: tuple[str, ...], gets: set[str]) -> None:
    key = api.core.keys.create(given)

    assert api.core.keys.caller(key).rights == gets


def by(api: Api, key: str, *, query: str | None = None, header: str | None = None) -> TestResponse:
    """Send a create in the project that the request names."""
    headers = {} if header is None else {"OpenAI-Project": header}
    sent = {} if query is None else {"ai_project_id": query}
    return api.ask("POST", "/v1/responses", key=key, json=GOOD, headers=headers, query_string=sent)


def test_a_key_speaks_for_the_project_that_is_named_by_id_or_name_in_query_or_header(
    api: Api, names: tuple[str, str]
) -> None:
    own, further = names
    key = api.core.keys.create(project=own, also=[further])
    ids = {name: api.core.keys.project(name) for name in names}

    for project, said in (
        (own, {}),
        (own, {"query": "", "header": ""}),
        (own, {"query": own}),
        (own, {"header": ids[own]}),
        (further, {"query": further}),
        (further, {"query": ids[further]}),
        (further, {"header": further}),
        (further, {"header": ids[further], "query": further}),
    ):
        created = by(api, key, **said).get_json()["id"]
        assert api.sql("select project_id from responses where id = %s", created) == [(ids[project],)], said
        where = {"ai_project_id": project}
        assert api.get(created, key=key, query_string=where).status_code == 200
        wrong = {"ai_project_id": further if project == own else own}
        error_of(api.get(created, key=key, query_string=wrong), 404, None, "response_id")


def test_a_project_that_the_key_may_not_use_is_exactly_as_unknown_as_one_that_never_was(
    api: Api, names: tuple[str, str]
) -> None:
    own, foreign = names
    key = api.core.keys.create(set(Right), own)
    before = api.stored()

    for name, unknown in ((foreign, "nobody"), (api.core.keys.project(foreign), "proj_" + "0" * 48)):
        for said, param in (("query", "ai_project_id"), ("header", "OpenAI-Project")):
            answers = [by(api, key, **{said: text}) for text in (name, unknown)]
            for answer in answers:
                error_of(answer, 404, "project_not_found", param)
            assert answers[0].text.replace(name, unknown) == answers[1].text
            assert set(answers[0].headers.keys()) == set(answers[1].headers.keys())
    assert api.stored() == before


def test_two_projects_at_once_are_refused_by_the_name_of_the_parameter(api: Api, names: tuple[str, str]) -> None:
    own, further = names
    key = api.core.keys.create(project=own, also=[further])
    before = api.stored()

    for said in (
        {"query": own, "header": further},
        {"query": further, "header": own},
        {"query": own, "header": "nobody"},
        {"query": "default", "header": own},
    ):
        error_of(by(api, key, **said), 400, "invalid_value", "ai_project_id")
    twice = api.ask("POST", f"/v1/responses?ai_project_id={own}&ai_project_id={further}", key=key, json=GOOD)
    error_of(twice, 400, "invalid_value", "ai_project_id")
    assert api.stored() == before


def test_a_key_may_use_a_further_project_in_the_next_request_though_it_is_cached(
    api: Api, names: tuple[str, str]
) -> None:
    from core.tenants.keys import Keys

    cached = Keys(api.core.keys._database, cache_s=5)
    own, further = names
    key = api.core.keys.create(project=own)
    caller = cached.caller(key)

    api.sql(
        "insert into api_key_projects (key_id, project_id) values (%s, %s)",
        caller.key_id,
        api.core.keys.project(further),
    )

    assert cached.caller(key, {"ai_project_id": further}).project == further


def test_a_route_that_the_table_does_not_have_serves_nobody(api: Api) -> None:
    more = Api(api.core)
    more.app.add_url_rule("/v1/new", view_func=lambda: "served")

    answer = more.ask("GET", "/v1/new", key=api.admin)

    assert answer.status_code == 500
    assert "served" not in answer.text
