"""Every route returns the same status, body and headers for an ID of another project as for an unknown ID."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.endpoints.table import TABLE
from core.tenants import rights
from tests.http.http_api import VALID_REQUEST, Api

REQUIRED_RIGHTS = {(row.method, row.rule): row.right for row in TABLE if row.right is not None}

_numbers = count()
TEMPLATE = {"instructions": "Be brief."}
# Unknown IDs with the length of real IDs, so that a test can replace a real ID in an answer with an unknown ID.
UNKNOWN_IDS = {
    "response": "resp_" + "0" * 48,
    "prompt": "pmpt_" + "0" * 48,
    "item": "msg_" + "0" * 48,
    "project": "proj_" + "0" * 48,
    "key": "key_" + "0" * 48,
}


class Tenant:
    """A project with one object of each kind, and a key with all rights in it."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.key = api.core.keys.create(rights.ALL_RIGHTS, f"tenant {next(_numbers)}")
        key_holder = api.core.keys.caller(self.key)
        response = api.create_ended_response(key=self.key)
        body = {"name": "greeting", "template": TEMPLATE}
        self.ids = {
            "response": response["id"],
            "item": api.list_input_items(response["id"], key=self.key).get_json()["data"][0]["id"],
            "prompt": api.send_request("POST", "/v1/prompts", json=body, key=self.key).get_json()["id"],
            "project": key_holder.project_id,
            "key": key_holder.key_id,
        }

    def send_request(self, method: str, path: str, **request: Any) -> TestResponse:
        return self.api.send_request(method, path, key=self.key, **request)


# The kind of the ID that a request contains, and a function that sends the request for a tenant. The function takes the
# ID from its second argument, or by default from the tenant's own IDs.
IdRequest = tuple[str, Callable[[Tenant, Mapping[str, str]], TestResponse]]


def path_requests(method: str, path: str, *kinds: str, **request: Any) -> list[IdRequest]:
    """Requests to a path with placeholders for IDs; one request for each kind of ID."""
    return [
        (kind, lambda caller, ids: caller.send_request(method, path.format(**caller.ids | ids), **request))
        for kind in kinds
    ]


def create_request(kind: str, body: Callable[[str], dict[str, Any]]) -> IdRequest:
    """A request that creates a response; its body contains an ID."""
    return kind, lambda caller, ids: caller.send_request(
        "POST", "/v1/responses", json=VALID_REQUEST | body((caller.ids | ids)[kind])
    )


def page_request(path: str, kind: str) -> IdRequest:
    """A request for the page of a list after an ID."""
    return kind, lambda caller, ids: caller.send_request(
        "GET", path.format(**caller.ids), query_string={"after": (caller.ids | ids)[kind]}
    )


RESPONSE_PATH, PROMPT_PATH, KEYS_PATH = (
    "/v1/responses/{response}",
    "/v1/prompts/{prompt}",
    "/v1/projects/{project}/api_keys",
)
NO_REQUESTS: list[IdRequest] = []
# For each route, one or more requests for every part of a request that may contain the ID of an object.
ID_REQUESTS: dict[tuple[str, str], list[IdRequest]] = {
    ("POST", "/v1/responses"): [
        create_request("response", lambda object_id: {"previous_response_id": object_id}),
        create_request("item", lambda object_id: {"input": [{"type": "item_reference", "id": object_id}]}),
        create_request("prompt", lambda object_id: {"prompt": {"id": object_id}}),
        create_request("prompt", lambda object_id: {"prompt": {"id": object_id, "version": "1"}}),
    ],
    ("GET", "/v1/responses"): [page_request("/v1/responses", "response")],
    ("GET", "/v1/responses/<response_id>"): [
        *path_requests("GET", RESPONSE_PATH, "response"),
        *path_requests("GET", RESPONSE_PATH, "response", headers={"Prefer": "wait=30"}),
        *path_requests("GET", RESPONSE_PATH, "response", headers={"If-None-Match": "*"}),
        *path_requests("GET", RESPONSE_PATH + "?stream=true", "response"),
        *path_requests("GET", RESPONSE_PATH + "?stream=true&starting_after=1", "response"),
        *path_requests("HEAD", RESPONSE_PATH, "response"),
    ],
    ("DELETE", "/v1/responses/<response_id>"): path_requests("DELETE", RESPONSE_PATH, "response"),
    ("POST", "/v1/responses/<response_id>/cancel"): path_requests("POST", RESPONSE_PATH + "/cancel", "response"),
    ("GET", "/v1/responses/<response_id>/input_items"): [
        *path_requests("GET", RESPONSE_PATH + "/input_items", "response"),
        page_request(RESPONSE_PATH + "/input_items", "item"),
    ],
    ("GET", "/v1/prompts"): [page_request("/v1/prompts", "prompt")],
    ("POST", "/v1/prompts"): NO_REQUESTS,
    ("GET", "/v1/prompts/<prompt_id>"): path_requests("GET", PROMPT_PATH, "prompt"),
    ("POST", "/v1/prompts/<prompt_id>"): [
        *path_requests("POST", PROMPT_PATH, "prompt", json={"name": "mine"}),
        *path_requests("POST", PROMPT_PATH, "prompt", json={"default_version": "7"}),
    ],
    ("DELETE", "/v1/prompts/<prompt_id>"): path_requests("DELETE", PROMPT_PATH, "prompt"),
    ("POST", "/v1/prompts/<prompt_id>/versions"): path_requests(
        "POST", PROMPT_PATH + "/versions", "prompt", json={"template": TEMPLATE}
    ),
    ("GET", "/v1/prompts/<prompt_id>/versions/<version>"): [
        *path_requests("GET", PROMPT_PATH + "/versions/1", "prompt"),
    ],
    ("GET", "/v1/models"): NO_REQUESTS,
    ("GET", "/v1/models/<path:name>"): NO_REQUESTS,
    ("GET", "/v1/projects"): [page_request("/v1/projects", "project")],
    ("POST", "/v1/projects"): NO_REQUESTS,
    ("GET", "/v1/projects/<project_id>"): path_requests("GET", "/v1/projects/{project}", "project"),
    ("GET", "/v1/projects/<project_id>/api_keys"): [
        *path_requests("GET", KEYS_PATH, "project"),
        page_request(KEYS_PATH, "key"),
    ],
    ("POST", "/v1/projects/<project_id>/api_keys"): path_requests("POST", KEYS_PATH, "project", json={}),
    ("GET", "/v1/projects/<project_id>/api_keys/<key_id>"): path_requests(
        "GET", KEYS_PATH + "/{key}", "project", "key"
    ),
    ("DELETE", "/v1/projects/<project_id>/api_keys/<key_id>"): path_requests(
        "DELETE", KEYS_PATH + "/{key}", "project", "key"
    ),
    ("POST", "/v1/projects/<project_id>/api_keys/<key_id>/rotate"): path_requests(
        "POST", KEYS_PATH + "/{key}/rotate", "project", "key"
    ),
}


@pytest.fixture(scope="module")
def tenants(worker_api: Api) -> tuple[Tenant, Tenant]:
    return Tenant(worker_api), Tenant(worker_api)


def table_checksums(api: Api) -> list[Any]:
    """A checksum of each table with data of projects."""
    tables = ("responses", "response_events", "items", "idempotency_keys", "prompts", "prompt_versions", "api_keys")
    return [api.sql(f"select md5(string_agg(t::text, '' order by t::text)) from {table} t") for table in tables]


def comparable_headers(answer: TestResponse) -> dict[str, str]:
    """The headers of an answer, without those that depend on the request or on the length of an ID."""
    return {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "Content-Length"}}


def test_the_requests_with_ids_cover_every_route_under_v1(api: Api) -> None:
    assert (
        ID_REQUESTS.keys() == REQUIRED_RIGHTS.keys()
    )  # another test compares REQUIRED_RIGHTS with the existing routes


@pytest.mark.parametrize("route", [route for route, id_requests in ID_REQUESTS.items() if id_requests], ids=" ".join)
def test_a_foreign_id_gets_the_same_answer_as_an_unknown_id(
    tenants: tuple[Tenant, Tenant], route: tuple[str, str]
) -> None:
    caller, other_tenant = tenants
    method, _ = route
    checksums = table_checksums(caller.api)

    for kind, send_with_ids in ID_REQUESTS[route]:
        foreign_answer, unknown_answer = (
            send_with_ids(caller, {kind: other_tenant.ids[kind]}),
            send_with_ids(caller, {kind: UNKNOWN_IDS[kind]}),
        )
        assert foreign_answer.status_code == unknown_answer.status_code, kind
        assert foreign_answer.status_code in {400, 404}, foreign_answer.text
        assert foreign_answer.text.replace(other_tenant.ids[kind], UNKNOWN_IDS[kind]) == unknown_answer.text
        assert comparable_headers(foreign_answer) == comparable_headers(unknown_answer)
        if method == "GET":  # the object exists for its own project
            assert send_with_ids(other_tenant, {}).status_code in {200, 304}, kind

    assert table_checksums(caller.api) == checksums


def test_lists_contain_no_objects_of_other_projects(tenants: tuple[Tenant, Tenant]) -> None:
    caller, other_tenant = tenants
    for path in ("/v1/responses", "/v1/prompts", "/v1/projects", KEYS_PATH.format(**caller.ids)):
        text = caller.send_request("GET", path, query_string={"limit": 100}).text
        assert not [object_id for object_id in other_tenant.ids.values() if object_id in text]


def test_the_same_idempotency_key_in_two_projects_creates_two_responses(tenants: tuple[Tenant, Tenant]) -> None:
    headers = {"Idempotency-Key": "the same"}
    response_ids = {
        tenant.send_request("POST", "/v1/responses", json=VALID_REQUEST, headers=headers).get_json()["id"]
        for tenant in tenants
    }
    repeated_ids = {
        tenant.send_request("POST", "/v1/responses", json=VALID_REQUEST, headers=headers).get_json()["id"]
        for tenant in tenants
    }

    assert len(response_ids) == 2
    assert repeated_ids == response_ids


def test_the_etag_of_a_foreign_response_gives_no_access_to_it(tenants: tuple[Tenant, Tenant]) -> None:
    caller, other_tenant = tenants
    path = RESPONSE_PATH.format(**other_tenant.ids)
    etag = other_tenant.send_request("GET", path).headers["ETag"]

    assert other_tenant.send_request("GET", path, headers={"If-None-Match": etag}).status_code == 304
    assert caller.send_request("GET", path, headers={"If-None-Match": etag}).status_code == 404


def test_a_key_is_valid_only_if_it_matches_completely(tenants: tuple[Tenant, Tenant]) -> None:
    tenant, _ = tenants
    key = tenant.key
    other_last_letter = "A" if key[-1] != "A" else "B"
    for wrong_key in (key[:-1], key + "A", key[:-1] + other_last_letter, key.swapcase()):
        assert tenant.api.get_response("x", key=wrong_key).status_code == 401
