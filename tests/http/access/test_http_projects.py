"""/v1/projects: projects and their keys. An admin cannot exceed the rights and projects of its own key."""

import json
from itertools import count

import pytest

from core.tenants import rights
from tests.http.http_api import Api, check_error

UNKNOWN_ID = "proj_" + "0" * 48
UNKNOWN_KEY_ID = "key_" + "0" * 48
_numbers = count()


def create_project(api: Api) -> str:
    """Create a project with the admin key of `default`; return its ID."""
    answer = api.send_request("POST", "/v1/projects", json={"name": f"team {next(_numbers)}"}, key=api.admin_key)
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["id"])


def create_key(api: Api, project_id: str, *, key: str | None = None, **body: object) -> dict:
    """Create a key, by default with the admin key of `default`; return its document, which contains the secret."""
    answer = api.send_request("POST", f"/v1/projects/{project_id}/api_keys", json=body, key=key or api.admin_key)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.get_json()


def get_projects(api: Api, path: str, *, key: str | None = None, **query: object):
    """GET a path below `/v1/projects`; an empty path lists the projects."""
    return api.send_request("GET", f"/v1/projects{path}", key=key or api.admin_key, query_string=query)


@pytest.fixture
def admin_key(api: Api) -> str:
    """An admin key of a project other than `default`, without `no-limit`."""
    return api.core.keys.create({"admin"}, f"other {next(_numbers)}")


def test_an_admin_of_the_default_project_creates_projects_and_can_use_them(api: Api) -> None:
    name = f"team {next(_numbers)}"
    answer = api.send_request("POST", "/v1/projects", json={"name": name}, key=api.admin_key).get_json()

    assert answer.keys() == {"id", "object", "name", "created_at"}
    assert (answer["object"], answer["name"]) == ("project", name)
    assert get_projects(api, f"/{answer['id']}").get_json() == answer
    assert api.post_response(key=api.admin_key, headers={"OpenAI-Project": name}).status_code == 200
    assert api.sql("select count(*) from responses where project_id = %s", answer["id"]) == [(1,)]


def test_only_keys_of_the_default_project_can_create_projects(api: Api, admin_key: str) -> None:
    row_counts = api.count_rows()

    check_error(
        api.send_request("POST", "/v1/projects", json={"name": "mine"}, key=admin_key),
        403,
        "permission_denied",
        None,
        "permission_error",
    )
    assert api.count_rows() == row_counts


def test_an_admin_lists_only_the_projects_that_its_key_can_use(api: Api) -> None:
    own_name, additional_name, foreign_name = (f"see {next(_numbers)}" for _ in range(3))
    for name in (additional_name, foreign_name):
        api.core.keys.create(project=name)
    key = api.core.keys.create({"admin"}, own_name, additional_projects=[additional_name])

    page = get_projects(api, "", key=key, order="asc").get_json()
    assert {entry["name"] for entry in page["data"]} == {own_name, additional_name}
    first_page = get_projects(api, "", key=key, limit=1).get_json()
    second_page = get_projects(api, "", key=key, limit=1, after=first_page["last_id"]).get_json()
    assert (first_page["has_more"], second_page["has_more"]) == (True, False)
    assert {entry["name"] for entry in first_page["data"] + second_page["data"]} == {own_name, additional_name}
    for entry in page["data"]:
        assert get_projects(api, f"/{entry['id']}", key=key).get_json() == entry
    check_error(get_projects(api, f"/{api.core.keys.project(foreign_name)}", key=key), 404, None, "project_id")


def test_a_new_key_is_returned_once_and_then_listed_without_its_secret(api: Api) -> None:
    project_id = create_project(api)
    answer = create_key(api, project_id, name="batch", rights=["read", "write"])
    secret = answer.pop("key")

    assert answer.keys() == {"id", "object", "project_id", "name", "hint", "rights", "created_at", "rotated_at"}
    assert (answer["name"], answer["rights"], answer["hint"]) == ("batch", ["read", "write"], secret[-4:])
    response = api.create_response(key=secret)
    assert api.sql("select project_id from responses where id = %s", response["id"]) == [(project_id,)]
    check_error(api.cancel_response(response["id"], key=secret), 403, "permission_denied", None, "permission_error")
    assert get_projects(api, f"/{project_id}/api_keys/{answer['id']}").get_json() == answer
    assert get_projects(api, f"/{project_id}/api_keys").get_json()["data"] == [answer]
    assert create_key(api, project_id)["rights"] == ["cancel", "read", "write"]
    database_text = json.dumps(api.sql("select k.*::text, a.*::text from api_keys k, audit_log a"))
    assert secret not in database_text


def test_a_revoked_key_is_rejected_and_not_listed(api: Api) -> None:
    project_id = create_project(api)
    key = create_key(api, project_id)

    path = f"/{project_id}/api_keys/{key['id']}"
    answer = api.send_request("DELETE", f"/v1/projects{path}", key=api.admin_key)

    assert answer.get_json() == {"id": key["id"], "object": "project.api_key", "deleted": True}
    check_error(api.post_response(key=key["key"]), 401, "invalid_api_key")
    assert get_projects(api, f"/{project_id}/api_keys").get_json()["data"] == []
    check_error(get_projects(api, path), 404, None, "key_id")
    check_error(api.send_request("DELETE", f"/v1/projects{path}", key=api.admin_key), 404, None, "key_id")


def test_a_rotated_key_has_the_same_id_and_rights_and_only_its_new_secret_works(api: Api) -> None:
    project_id = create_project(api)
    key = create_key(api, project_id, rights=["read"], name="reader")

    answer = api.send_request("POST", f"/v1/projects/{project_id}/api_keys/{key['id']}/rotate", key=api.admin_key)

    rotated_key = answer.get_json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert rotated_key["key"] != key["key"]
    unchanged_names = {"id", "project_id", "name", "rights", "created_at"}
    assert {name: rotated_key[name] for name in unchanged_names} == {name: key[name] for name in unchanged_names}
    assert isinstance(rotated_key["rotated_at"], int)
    assert api.list_responses(key=rotated_key["key"]).status_code == 200
    check_error(api.list_responses(key=key["key"]), 401, "invalid_api_key")
    api.core.keys.register(key["key"])  # as `backburner up` does with the key in its data folder
    check_error(api.list_responses(key=key["key"]), 401, "invalid_api_key")


def test_an_admin_cannot_grant_rights_or_projects_that_it_does_not_have(api: Api) -> None:
    own_name, foreign_name = f"own {next(_numbers)}", f"foreign {next(_numbers)}"
    api.core.keys.create(project=foreign_name)
    admin_key = api.core.keys.create({"admin"}, own_name)
    project_id = api.core.keys.project(own_name)
    strong_key, wide_key = (
        api.core.keys.create({"read", "no-limit"}, own_name),
        api.core.keys.create(project=own_name, additional_projects=[foreign_name]),
    )
    key_ids = {key.hint: key.id for key in api.core.keys.list_keys(own_name)}
    row_counts = api.count_rows()

    for path, body in (
        ("", {"rights": ["write", "no-limit"]}),
        (f"/{key_ids[strong_key[-4:]]}/rotate", {}),
        (f"/{key_ids[wide_key[-4:]]}/rotate", {}),
    ):
        answer = api.send_request("POST", f"/v1/projects/{project_id}/api_keys{path}", json=body, key=admin_key)
        assert answer.status_code == 403, path
        assert answer.get_json()["error"]["code"] == "permission_denied"

    assert api.count_rows() == row_counts
    assert api.list_responses(key=strong_key).status_code == api.list_responses(key=wide_key).status_code == 200
    assert create_key(api, project_id, key=admin_key, rights=["read", "admin"])["rights"] == ["admin", "read"]


def project_routes(project_id: str) -> list[tuple[str, str]]:
    path = f"/v1/projects/{project_id}"
    return [("GET", path), ("GET", f"{path}/api_keys"), ("POST", f"{path}/api_keys")]


def key_routes(project_id: str, key_id: str) -> list[tuple[str, str]]:
    path = f"/v1/projects/{project_id}/api_keys/{key_id}"
    return [("GET", path), ("DELETE", path), ("POST", f"{path}/rotate")]


def test_foreign_projects_and_keys_get_the_same_answers_as_unknown_ones(api: Api, admin_key: str) -> None:
    project_id = create_project(api)
    key = create_key(api, project_id)
    own_id = get_projects(api, "", key=admin_key).get_json()["data"][0]["id"]
    row_counts = api.count_rows()

    path_pairs = [
        *zip(project_routes(project_id), project_routes(UNKNOWN_ID), strict=True),
        *zip(key_routes(project_id, key["id"]), key_routes(UNKNOWN_ID, UNKNOWN_KEY_ID), strict=True),
        *zip(key_routes(own_id, key["id"]), key_routes(own_id, UNKNOWN_KEY_ID), strict=True),
    ]
    for (method, foreign_path), (_, unknown_path) in path_pairs:
        foreign_answer = api.send_request(method, foreign_path, json={}, key=admin_key)
        unknown_answer = api.send_request(method, unknown_path, json={}, key=admin_key)
        assert foreign_answer.status_code == unknown_answer.status_code == 404, foreign_path
        text = foreign_answer.text.replace(project_id, UNKNOWN_ID).replace(key["id"], UNKNOWN_KEY_ID)
        assert text == unknown_answer.text
    assert api.count_rows() == row_counts
    assert api.list_responses(key=key["key"]).status_code == 200


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
def test_an_invalid_project_or_key_is_rejected_with_the_parameter(
    api: Api, path: str, body: dict, code: str, param: str
) -> None:
    row_counts = api.count_rows()
    project_path = path.format(api.core.keys.project("default"))

    check_error(api.send_request("POST", f"/v1/projects{project_path}", json=body, key=api.admin_key), 400, code, param)
    assert api.count_rows() == row_counts


def test_every_change_is_recorded_in_the_audit_log_with_its_request(api: Api) -> None:
    admin_key = api.core.keys.create(rights.ALL_RIGHTS)
    admin_id = api.core.keys.caller(admin_key).key_id
    expected_entries = []

    def send_change(method: str, path: str, action: str, object_id: str | None = None, **body: object) -> dict:
        """Send a request and record the audit entry that it should cause; return the body of the answer."""
        answer = api.send_request(method, path, json=body, key=admin_key)
        assert answer.status_code == 200, answer.text
        expected_entries.append((action, object_id or answer.get_json()["id"], answer.headers["x-request-id"]))
        return answer.get_json()

    project_id = send_change("POST", "/v1/projects", "project.created", name=f"audit {next(_numbers)}")["id"]
    key = send_change("POST", f"/v1/projects/{project_id}/api_keys", "key.created")
    send_change("POST", f"/v1/projects/{project_id}/api_keys/{key['id']}/rotate", "key.rotated")
    send_change("DELETE", f"/v1/projects/{project_id}/api_keys/{key['id']}", "key.revoked")
    prompt = send_change(
        "POST", "/v1/prompts", "prompt.created", name=f"p {next(_numbers)}", template={"input": "secret text"}
    )
    prompt_path = f"/v1/prompts/{prompt['id']}"
    send_change(
        "POST", f"{prompt_path}/versions", "prompt.version_added", prompt["id"], template={"input": "more secret text"}
    )
    send_change("POST", prompt_path, "prompt.changed", description="what for")
    send_change("DELETE", prompt_path, "prompt.deleted")
    response_id = api.create_response()["id"]
    send_change("POST", f"/v1/responses/{response_id}/cancel", "response.cancelled")
    send_change("DELETE", f"/v1/responses/{response_id}", "response.deleted")

    entries = api.core.audit.list_newest(limit=len(expected_entries))
    assert [(entry.action, entry.object_id, entry.request_id) for entry in entries] == expected_entries
    assert {entry.actor for entry in entries} == {admin_id}
    assert {entry.os_user for entry in entries} == {None}
    assert "secret" not in str(entries)


def test_frequent_requests_and_requests_without_effect_write_no_audit_entries(api: Api) -> None:
    response_id = api.create_response()["id"]
    api.cancel_response(response_id)
    row_counts = api.sql("select count(*) from audit_log")

    api.post_response()
    api.get_response(response_id)
    api.cancel_response(response_id)
    api.list_responses()
    api.delete_response("resp_" + "0" * 48)

    assert api.sql("select count(*) from audit_log") == row_counts
