"""/v1/projects: projects and their keys over HTTP; each admin is limited to the rights and projects of its key."""

import json
from collections.abc import Iterator
from itertools import count

import pytest

from core.tenants import rights
from tests.http.http_api import Api, error_of

NOBODY = "proj_" + "0" * 48
NO_KEY = "key_" + "0" * 48
_numbers = count()


def project(api: Api) -> str:
    """The ID of a new project that the admin of `default` may use."""
    made = api.ask("POST", "/v1/projects", json={"name": f"team {next(_numbers)}"}, key=api.admin)
    assert made.status_code == 200, made.text
    return str(made.get_json()["id"])


def made(api: Api, project_id: str, *, key: str | None = None, **body: object) -> dict:
    answer = api.ask("POST", f"/v1/projects/{project_id}/api_keys", json=body, key=key or api.admin)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.get_json()


def get(api: Api, path: str, *, key: str | None = None, **query: object):
    return api.ask("GET", f"/v1/projects{path}", key=key or api.admin, query_string=query)


@pytest.fixture
def admin(api: Api) -> str:
    """An admin key of a project other than `default`, without `no-limit`."""
    return api.core.keys.create({"admin"}, f"other {next(_numbers)}")


def test_an_admin_of_the_first_project_makes_projects_and_may_use_them_at_once(api: Api) -> None:
    name = f"team {next(_numbers)}"
    answer = api.ask("POST", "/v1/projects", json={"name": name}, key=api.admin).get_json()

    assert answer.keys() == {"id", "object", "name", "created_at"}
    assert (answer["object"], answer["name"]) == ("project", name)
    assert get(api, f"/{answer['id']}").get_json() == answer
    assert api.create(key=api.admin, headers={"OpenAI-Project": name}).status_code == 200
    assert api.sql("select count(*) from responses where project_id = %s", answer["id"]) == [(1,)]


def test_only_keys_of_the_first_project_make_projects(api: Api, admin: str) -> None:
    before = api.stored()

    error_of(
        api.ask("POST", "/v1/projects", json={"name": "mine"}, key=admin),
        403,
        "permission_denied",
        None,
        "permission_error",
    )
    assert api.stored() == before


def test_an_admin_sees_the_projects_its_key_may_use_and_no_other(api: Api) -> None:
    own, further, foreign = (f"see {next(_numbers)}" for _ in range(3))
    for name in (further, foreign):
        api.core.keys.create(project=name)
    key = api.core.keys.create({"admin"}, own, also=[further])

    listed = get(api, "", key=key, order="asc").get_json()
    assert {entry["name"] for entry in listed["data"]} == {own, further}
    first = get(api, "", key=key, limit=1).get_json()
    rest = get(api, "", key=key, limit=1, after=first["last_id"]).get_json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert {entry["name"] for entry in first["data"] + rest["data"]} == {own, further}
    for entry in listed["data"]:
        assert get(api, f"/{entry['id']}", key=key).get_json() == entry
    error_of(get(api, f"/{api.core.keys.project(foreign)}", key=key), 404, None, "project_id")


def test_a_key_made_over_http_works_is_shown_once_and_is_found_without_its_secret(api: Api) -> None:
    project_id = project(api)
    answer = made(api, project_id, name="batch", rights=["read", "write"])
    secret = answer.pop("key")

    assert answer.keys() == {"id", "object", "project_id", "name", "hint", "rights", "created_at", "rotated_at"}
    assert (answer["name"], answer["rights"], answer["hint"]) == ("batch", ["read", "write"], secret[-4:])
    created = api.created(key=secret)
    assert api.sql("select project_id from responses where id = %s", created["id"]) == [(project_id,)]
    error_of(api.cancel(created["id"], key=secret), 403, "permission_denied", None, "permission_error")
    assert get(api, f"/{project_id}/api_keys/{answer['id']}").get_json() == answer
    assert get(api, f"/{project_id}/api_keys").get_json()["data"] == [answer]
    assert made(api, project_id)["rights"] == ["cancel", "read", "write"]
    everything = json.dumps(api.sql("select k.*::text, a.*::text from api_keys k, audit_log a"))
    assert secret not in everything


def test_a_key_revoked_over_http_is_refused_and_gone_from_lists(api: Api) -> None:
    project_id = project(api)
    key = made(api, project_id)

    path = f"/{project_id}/api_keys/{key['id']}"
    answer = api.ask("DELETE", f"/v1/projects{path}", key=api.admin)

    assert answer.get_json() == {"id": key["id"], "object": "project.api_key", "deleted": True}
    error_of(api.create(key=key["key"]), 401, "invalid_api_key")
    assert get(api, f"/{project_id}/api_keys").get_json()["data"] == []
    error_of(get(api, path), 404, None, "key_id")
    error_of(api.ask("DELETE", f"/v1/projects{path}", key=api.admin), 404, None, "key_id")


def test_a_rotated_key_keeps_its_id_and_rights_and_the_old_secret_is_refused_for_good(api: Api) -> None:
    project_id = project(api)
    key = made(api, project_id, rights=["read"], name="reader")

    answer = api.ask("POST", f"/v1/projects/{project_id}/api_keys/{key['id']}/rotate", key=api.admin)

    fresh = answer.get_json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert fresh["key"] != key["key"]
    same = {"id", "project_id", "name", "rights", "created_at"}
    assert {name: fresh[name] for name in same} == {name: key[name] for name in same}
    assert isinstance(fresh["rotated_at"], int)
    assert api.listed(key=fresh["key"]).status_code == 200
    error_of(api.listed(key=key["key"]), 401, "invalid_api_key")
    api.core.keys.register(key["key"])  # as `backburner up` does with a key that it kept
    error_of(api.listed(key=key["key"]), 401, "invalid_api_key")


def test_an_admin_gives_no_more_than_it_has(api: Api) -> None:
    own, foreign = f"own {next(_numbers)}", f"foreign {next(_numbers)}"
    api.core.keys.create(project=foreign)
    admin = api.core.keys.create({"admin"}, own)
    project_id = api.core.keys.project(own)
    strong, wide = api.core.keys.create({"read", "no-limit"}, own), api.core.keys.create(project=own, also=[foreign])
    by_hint = {key.hint: key.id for key in api.core.keys.listed(own)}
    before = api.stored()

    for path, body in (
        ("", {"rights": ["write", "no-limit"]}),
        (f"/{by_hint[strong[-4:]]}/rotate", {}),
        (f"/{by_hint[wide[-4:]]}/rotate", {}),
    ):
        answer = api.ask("POST", f"/v1/projects/{project_id}/api_keys{path}", json=body, key=admin)
        assert answer.status_code == 403, path
        assert answer.get_json()["error"]["code"] == "permission_denied"

    assert api.stored() == before
    assert api.listed(key=strong).status_code == api.listed(key=wide).status_code == 200
    assert made(api, project_id, key=admin, rights=["read", "admin"])["rights"] == ["admin", "read"]


def paths(project_id: str, key_id: str) -> Iterator[tuple[str, str]]:
    for method, path in (
        ("GET", ""),
        ("GET", "/api_keys"),
        ("POST", "/api_keys"),
        ("GET", f"/api_keys/{key_id}"),
        ("DELETE", f"/api_keys/{key_id}"),
        ("POST", f"/api_keys/{key_id}/rotate"),
    ):
        yield method, f"/v1/projects/{project_id}{path}"


def test_projects_and_keys_of_others_are_exactly_as_unknown_as_those_that_never_were(api: Api, admin: str) -> None:
    project_id = project(api)
    key = made(api, project_id)
    own = get(api, "", key=admin).get_json()["data"][0]["id"]
    before = api.stored()

    foreign_and_unknown = [
        *zip(paths(project_id, key["id"]), paths(NOBODY, NO_KEY), strict=True),
        *zip(list(paths(own, key["id"]))[3:], list(paths(own, NO_KEY))[3:], strict=True),
    ]
    for (method, foreign), (_, unknown) in foreign_and_unknown:
        answers = [api.ask(method, path, json={}, key=admin) for path in (foreign, unknown)]
        assert answers[0].status_code == answers[1].status_code == 404, foreign
        says = answers[0].text.replace(project_id, NOBODY).replace(key["id"], NO_KEY)
        assert says == answers[1].text
    assert api.stored() == before
    assert api.listed(key=key["key"]).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        ("", {}, "missing_required_parameter", "name"),
        ("", {"name": ""}, "string_below_min_length", "name"),
        ("", {"name": "x" * 129}, "string_above_max_length", "name"),
        ("", {"name": " "}, "invalid_value", "name"),
        ("", {"name": "a\nb"}, "invalid_value", "name"),
        ("", {"name": "a\0"}, "invalid_value", "name"),
        ("", {"name": "proj_x"}, "invalid_value", "name"),
        ("", {"name": "default"}, "project_name_taken", "name"),
        ("", {"name": "x", "id": "y"}, "unknown_parameter", "id"),
        ("/{}/api_keys", {"rights": ["fly"]}, "invalid_value", "rights[0]"),
        ("/{}/api_keys", {"rights": []}, "array_below_min_length", "rights"),
        ("/{}/api_keys", {"rights": "read"}, "invalid_type", "rights"),
        ("/{}/api_keys", {"name": "\x1b[2J"}, "invalid_value", "name"),
        ("/{}/api_keys", {"key": "mine"}, "unknown_parameter", "key"),
    ],
)
def test_a_wrong_body_of_a_project_or_key_is_refused_by_its_place(
    api: Api, path: str, body: dict, code: str, param: str
) -> None:
    before = api.stored()
    there = path.format(api.core.keys.project("default"))

    error_of(api.ask("POST", f"/v1/projects{there}", json=body, key=api.admin), 400, code, param)
    assert api.stored() == before


def test_every_act_of_a_key_is_in_the_audit_log_with_its_request_and_without_its_secret(api: Api) -> None:
    admin = api.core.keys.create(rights.ALL)
    (admin_id,) = [key.id for key in api.core.keys.listed() if key.hint == admin[-4:] and "admin" in key.rights][-1:]
    done = []

    def ask(method: str, path: str, action: str, object_id: str | None = None, **body: object) -> dict:
        answer = api.ask(method, path, json=body, key=admin)
        assert answer.status_code == 200, answer.text
        done.append((action, object_id or answer.get_json()["id"], answer.headers["x-request-id"]))
        return answer.get_json()

    team = ask("POST", "/v1/projects", "project.created", name=f"audit {next(_numbers)}")["id"]
    key = ask("POST", f"/v1/projects/{team}/api_keys", "key.created")
    ask("POST", f"/v1/projects/{team}/api_keys/{key['id']}/rotate", "key.rotated")
    ask("DELETE", f"/v1/projects/{team}/api_keys/{key['id']}", "key.revoked")
    prompt = ask("POST", "/v1/prompts", "prompt.created", name=f"p {next(_numbers)}", template={"input": "secret text"})
    at = f"/v1/prompts/{prompt['id']}"
    ask("POST", f"{at}/versions", "prompt.version_added", prompt["id"], template={"input": "more secret text"})
    ask("POST", at, "prompt.changed", description="what for")
    ask("DELETE", at, "prompt.deleted")
    response = api.created()["id"]
    ask("POST", f"/v1/responses/{response}/cancel", "response.cancelled")
    ask("DELETE", f"/v1/responses/{response}", "response.deleted")

    entries = api.core.audit.newest(limit=len(done))
    assert [(entry.action, entry.object_id, entry.request_id) for entry in entries] == done
    assert {entry.actor for entry in entries} == {admin_id}
    assert {entry.os_user for entry in entries} == {None}
    assert "secret" not in str(entries)


def test_what_does_nothing_and_the_hot_paths_write_nothing_to_the_audit_log(api: Api) -> None:
    created = api.created()["id"]
    api.cancel(created)
    before = api.sql("select count(*) from audit_log")

    api.create()
    api.get(created)
    api.cancel(created)
    api.listed()
    api.delete("resp_" + "0" * 48)

    assert api.sql("select count(*) from audit_log") == before
