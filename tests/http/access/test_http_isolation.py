"""Every route treats another project's IDs and unknown IDs alike: same status, body and headers."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.endpoints.table import TABLE
from core.tenants import rights
from tests.http.http_api import GOOD, Api

NEEDS = {(row.method, row.rule): row.right for row in TABLE if row.right is not None}

_numbers = count()
TEMPLATE = {"instructions": "Be brief."}
# Unknown IDs of the same form as real ones, so that one can be substituted for the other in a reply.
UNKNOWN = {
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
        self.key = api.core.keys.create(rights.ALL, f"tenant {next(_numbers)}")
        caller = api.core.keys.caller(self.key)
        response = api.ended(key=self.key)
        body = {"name": "greeting", "template": TEMPLATE}
        self.ids = {
            "response": response["id"],
            "item": api.items(response["id"], key=self.key).get_json()["data"][0]["id"],
            "prompt": api.ask("POST", "/v1/prompts", json=body, key=self.key).get_json()["id"],
            "project": caller.project_id,
            "key": caller.key_id,
        }

    def ask(self, method: str, path: str, **request: Any) -> TestResponse:
        return self.api.ask(method, path, key=self.key, **request)


Probe = tuple[str, Callable[[Tenant, Mapping[str, str]], TestResponse]]


def at(method: str, path: str, *kinds: str, **request: Any) -> list[Probe]:
    """Send a request to a path with IDs in braces."""
    return [(kind, lambda me, ids: me.ask(method, path.format(**me.ids | ids), **request)) for kind in kinds]


def creating(kind: str, body: Callable[[str], dict[str, Any]]) -> Probe:
    """Create a response that refers to an ID."""
    return kind, lambda me, ids: me.ask("POST", "/v1/responses", json=GOOD | body((me.ids | ids)[kind]))


def listing(path: str, kind: str) -> Probe:
    """List a page that starts after an ID."""
    return kind, lambda me, ids: me.ask("GET", path.format(**me.ids), query_string={"after": (me.ids | ids)[kind]})


R, P, K = "/v1/responses/{response}", "/v1/prompts/{prompt}", "/v1/projects/{project}/api_keys"
NOTHING_FOREIGN: list[Probe] = []
# For each route, every place in a request that may contain another project's ID.
PROBES: dict[tuple[str, str], list[Probe]] = {
    ("POST", "/v1/responses"): [
        creating("response", lambda found: {"previous_response_id": found}),
        creating("item", lambda found: {"input": [{"type": "item_reference", "id": found}]}),
        creating("prompt", lambda found: {"prompt": {"id": found}}),
        creating("prompt", lambda found: {"prompt": {"id": found, "version": "1"}}),
    ],
    ("GET", "/v1/responses"): [listing("/v1/responses", "response")],
    ("GET", "/v1/responses/<response_id>"): [
        *at("GET", R, "response"),
        *at("GET", R, "response", headers={"Prefer": "wait=30"}),
        *at("GET", R, "response", headers={"If-None-Match": "*"}),
        *at("GET", R + "?stream=true", "response"),
        *at("GET", R + "?stream=true&starting_after=1", "response"),
        *at("HEAD", R, "response"),
    ],
    ("DELETE", "/v1/responses/<response_id>"): at("DELETE", R, "response"),
    ("POST", "/v1/responses/<response_id>/cancel"): at("POST", R + "/cancel", "response"),
    ("GET", "/v1/responses/<response_id>/input_items"): [
        *at("GET", R + "/input_items", "response"),
        listing(R + "/input_items", "item"),
    ],
    ("GET", "/v1/prompts"): [listing("/v1/prompts", "prompt")],
    ("POST", "/v1/prompts"): NOTHING_FOREIGN,
    ("GET", "/v1/prompts/<prompt_id>"): at("GET", P, "prompt"),
    ("POST", "/v1/prompts/<prompt_id>"): [
        *at("POST", P, "prompt", json={"name": "mine"}),
        *at("POST", P, "prompt", json={"default_version": "7"}),
    ],
    ("DELETE", "/v1/prompts/<prompt_id>"): at("DELETE", P, "prompt"),
    ("POST", "/v1/prompts/<prompt_id>/versions"): at("POST", P + "/versions", "prompt", json={"template": TEMPLATE}),
    ("GET", "/v1/prompts/<prompt_id>/versions/<version>"): [
        *at("GET", P + "/versions/1", "prompt"),
    ],
    ("GET", "/v1/models"): NOTHING_FOREIGN,
    ("GET", "/v1/models/<path:name>"): NOTHING_FOREIGN,
    ("GET", "/v1/projects"): [listing("/v1/projects", "project")],
    ("POST", "/v1/projects"): NOTHING_FOREIGN,
    ("GET", "/v1/projects/<project_id>"): at("GET", "/v1/projects/{project}", "project"),
    ("GET", "/v1/projects/<project_id>/api_keys"): [*at("GET", K, "project"), listing(K, "key")],
    ("POST", "/v1/projects/<project_id>/api_keys"): at("POST", K, "project", json={}),
    ("GET", "/v1/projects/<project_id>/api_keys/<key_id>"): at("GET", K + "/{key}", "project", "key"),
    ("DELETE", "/v1/projects/<project_id>/api_keys/<key_id>"): at("DELETE", K + "/{key}", "project", "key"),
    ("POST", "/v1/projects/<project_id>/api_keys/<key_id>/rotate"): at("POST", K + "/{key}/rotate", "project", "key"),
}


@pytest.fixture(scope="module")
def tenants(running: Api) -> tuple[Tenant, Tenant]:
    return Tenant(running), Tenant(running)


def rows(api: Api) -> list[Any]:
    """A checksum of each table with data of projects."""
    tables = ("responses", "response_events", "items", "idempotency_keys", "prompts", "prompt_versions", "api_keys")
    return [api.sql(f"select md5(string_agg(t::text, '' order by t::text)) from {table} t") for table in tables]


def test_every_route_under_v1_has_a_row_in_the_table_of_this_test(api: Api) -> None:
    assert PROBES.keys() == NEEDS.keys()  # another test compares NEEDS with the existing routes


@pytest.mark.parametrize("route", [route for route, probes in PROBES.items() if probes], ids=" ".join)
def test_a_foreign_id_is_answered_exactly_as_one_that_never_was(
    tenants: tuple[Tenant, Tenant], route: tuple[str, str]
) -> None:
    me, you = tenants
    before = rows(me.api)

    for kind, probe in PROBES[route]:
        foreign, unknown = probe(me, {kind: you.ids[kind]}), probe(me, {kind: UNKNOWN[kind]})
        assert foreign.status_code == unknown.status_code, kind
        assert foreign.status_code in {400, 404}, foreign.text
        assert foreign.text.replace(you.ids[kind], UNKNOWN[kind]) == unknown.text
        heads = [
            {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "Content-Length"}}
            for answer in (foreign, unknown)
        ]
        assert heads[0] == heads[1]
        if route[0] == "GET":  # the object exists for its own project
            assert probe(you, {}).status_code in {200, 304}, kind

    assert rows(me.api) == before


def test_lists_have_nothing_of_other_projects(tenants: tuple[Tenant, Tenant]) -> None:
    me, you = tenants
    for path in ("/v1/responses", "/v1/prompts", "/v1/projects", K.format(**me.ids)):
        text = me.ask("GET", path, query_string={"limit": 100}).text
        assert not [found for found in you.ids.values() if found in text]


def test_the_same_idempotency_key_in_two_projects_makes_two_responses(tenants: tuple[Tenant, Tenant]) -> None:
    headers = {"Idempotency-Key": "the same"}
    made = {one.ask("POST", "/v1/responses", json=GOOD, headers=headers).get_json()["id"] for one in tenants}
    again = {one.ask("POST", "/v1/responses", json=GOOD, headers=headers).get_json()["id"] for one in tenants}

    assert len(made) == 2
    assert again == made


def test_an_etag_of_another_projects_response_opens_nothing(tenants: tuple[Tenant, Tenant]) -> None:
    me, you = tenants
    path = R.format(**you.ids)
    etag = you.ask("GET", path).headers["ETag"]

    assert you.ask("GET", path, headers={"If-None-Match": etag}).status_code == 304
    assert me.ask("GET", path, headers={"If-None-Match": etag}).status_code == 404


def test_a_key_is_looked_up_by_its_hash_and_compared_whole(tenants: tuple[Tenant, Tenant]) -> None:
    key = tenants[0].key
    for wrong in (key[:-1], key + "A", key[:-1] + ("A" if key[-1] != "A" else "B"), key.swapcase()):
        assert tenants[0].api.get("x", key=wrong).status_code == 401
