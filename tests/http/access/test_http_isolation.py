"""Every route gives the same status, body and headers for an ID of another project as for an unknown ID."""

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
# Unknown IDs with the format of real IDs, so that a test can replace one with the other in an answer.
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


# The kind of ID that a request contains, and a function that sends the request with the given IDs.
Probe = tuple[str, Callable[[Tenant, Mapping[str, str]], TestResponse]]


def path_probes(method: str, path: str, *kinds: str, **request: Any) -> list[Probe]:
    """Probes that send a request to a path with placeholders for IDs; one probe for each kind of ID."""
    return [
        (kind, lambda caller, ids: caller.send_request(method, path.format(**caller.ids | ids), **request))
        for kind in kinds
    ]


def create_probe(kind: str, body: Callable[[str], dict[str, Any]]) -> Probe:
    """A probe that creates a response with a reference to an ID."""
    return kind, lambda caller, ids: caller.send_request(
        "POST", "/v1/responses", json=VALID_REQUEST | body((caller.ids | ids)[kind])
    )


def page_probe(path: str, kind: str) -> Probe:
    """A probe that lists the page after an ID."""
    return kind, lambda caller, ids: caller.send_request(
        "GET", path.format(**caller.ids), query_string={"after": (caller.ids | ids)[kind]}
    )


RESPONSE_PATH, PROMPT_PATH, KEYS_PATH = (
    "/v1/responses/{response}",
    "/v1/prompts/{prompt}",
    "/v1/projects/{project}/api_keys",
)
NO_PROBES: list[Probe] = []
# For each route, one or more probes for every part of a request that may contain the ID of an object.
PROBES: dict[tuple[str, str], list[Probe]] = {
    ("POST", "/v1/responses"): [
        create_probe("response", lambda object_id: {"previous_response_id": object_id}),
        create_probe("item", lambda object_id: {"input": [{"type": "item_reference", "id": object_id}]}),
        create_probe("prompt", lambda object_id: {"prompt": {"id": object_id}}),
        create_probe("prompt", lambda object_id: {"prompt": {"id": object_id, "version": "1"}}),
    ],
    ("GET", "/v1/responses"): [page_probe("/v1/responses", "response")],
    ("GET", "/v1/responses/<response_id>"): [
        *path_probes("GET", RESPONSE_PATH, "response"),
        *path_probes("GET", RESPONSE_PATH, "response", headers={"Prefer": "wait=30"}),
        *path_probes("GET", RESPONSE_PATH, "response", headers={"If-None-Match": "*"}),
        *path_probes("GET", RESPONSE_PATH + "?stream=true", "response"),
        *path_probes("GET", RESPONSE_PATH + "?stream=true&starting_after=1", "response"),
        *path_probes("HEAD", RESPONSE_PATH, "response"),
    ],
    ("DELETE", "/v1/responses/<response_id>"): path_probes("DELETE", RESPONSE_PATH, "response"),
    ("POST", "/v1/responses/<response_id>/cancel"): path_probes("POST", RESPONSE_PATH + "/cancel", "response"),
    ("GET", "/v1/responses/<response_id>/input_items"): [
        *path_probes("GET", RESPONSE_PATH + "/input_items", "response"),
        page_probe(RESPONSE_PATH + "/input_items", "item"),
    ],
    ("GET", "/v1/prompts"): [page_probe("/v1/prompts", "prompt")],
    ("POST", "/v1/prompts"): NO_PROBES,
    ("GET", "/v1/prompts/<prompt_id>"): path_probes("GET", PROMPT_PATH, "prompt"),
    ("POST", "/v1/prompts/<prompt_id>"): [
        *path_probes("POST", PROMPT_PATH, "prompt", json={"name": "mine"}),
        *path_probes("POST", PROMPT_PATH, "prompt", json={"default_version": "7"}),
    ],
    ("DELETE", "/v1/prompts/<prompt_id>"): path_probes("DELETE", PROMPT_PATH, "prompt"),
    ("POST", "/v1/prompts/<prompt_id>/versions"): path_probes(
        "POST", PROMPT_PATH + "/versions", "prompt", json={"template": TEMPLATE}
    ),
    ("GET", "/v1/prompts/<prompt_id>/versions/<version>"): [
        *path_probes("GET", PROMPT_PATH + "/versions/1", "prompt"),
    ],
    ("GET", "/v1/models"): NO_PROBES,
    ("GET", "/v1/models/<path:name>"): NO_PROBES,
    ("GET", "/v1/projects"): [page_probe("/v1/projects", "project")],
    ("POST", "/v1/projects"): NO_PROBES,
    ("GET", "/v1/projects/<project_id>"): path_probes("GET", "/v1/projects/{project}", "project"),
    ("GET", "/v1/projects/<project_id>/api_keys"): [
        *path_probes("GET", KEYS_PATH, "project"),
        page_probe(KEYS_PATH, "key"),
    ],
    ("POST", "/v1/projects/<project_id>/api_keys"): path_probes("POST", KEYS_PATH, "project", json={}),
    ("GET", "/v1/projects/<project_id>/api_keys/<key_id>"): path_probes("GET", KEYS_PATH + "/{key}", "project", "key"),
    ("DELETE", "/v1/projects/<project_id>/api_keys/<key_id>"): path_probes(
        "DELETE", KEYS_PATH + "/{key}", "project", "key"
    ),
    ("POST", "/v1/projects/<project_id>/api_keys/<key_id>/rotate"): path_probes(
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


def test_the_probes_cover_every_route_under_v1(api: Api) -> None:
    assert PROBES.keys() == REQUIRED_RIGHTS.keys()  # another test compares REQUIRED_RIGHTS with the existing routes


@pytest.mark.parametrize("route", [route for route, probes in PROBES.items() if probes], ids=" ".join)
def test_a_foreign_id_gets_the_same_answer_as_an_unknown_id(
    tenants: tuple[Tenant, Tenant], route: tuple[str, str]
) -> None:
    caller, other_tenant = tenants
    checksums = table_checksums(caller.api)

    for kind, probe in PROBES[route]:
        foreign_answer, unknown_answer = (
            probe(caller, {kind: other_tenant.ids[kind]}),
            probe(caller, {kind: UNKNOWN_IDS[kind]}),
        )
        assert foreign_answer.status_code == unknown_answer.status_code, kind
        assert foreign_answer.status_code in {400, 404}, foreign_answer.text
        assert foreign_answer.text.replace(other_tenant.ids[kind], UNKNOWN_IDS[kind]) == unknown_answer.text
        headers = [
            {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "Content-Length"}}
            for answer in (foreign_answer, unknown_answer)
        ]
        assert headers[0] == headers[1]
        if route[0] == "GET":  # the object exists for its own project
            assert probe(other_tenant, {}).status_code in {200, 304}, kind

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
    key = tenants[0].key
    for wrong_key in (key[:-1], key + "A", key[:-1] + ("A" if key[-1] != "A" else "B"), key.swapcase()):
        assert tenants[0].api.get_response("x", key=wrong_key).status_code == 401
