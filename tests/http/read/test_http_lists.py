"""The list of a project's responses: content, filters and pagination; and deletion, which empties it."""

import itertools
from typing import Any

import pytest

from tests.http.http_api import Api, checked, error_of
from tests.http.statuses import ALL, ENDED, driven_to

NOBODY = "resp_" + "0" * 48
_numbers = itertools.count()


@pytest.fixture
def mine(running: Api) -> str:
    """A key of a project for one test."""
    return running.core.keys.create(project=f"lists-{next(_numbers)}")


def listed(running: Api, key: str, **query: Any) -> list[str]:
    """The IDs on the listed page."""
    answer = running.listed(key=key, **query)
    assert answer.status_code == 200, answer.text
    return [response["id"] for response in answer.get_json()["data"]]


def test_a_list_has_what_polls_would_say_newest_first(running: Api, mine: str) -> None:
    ids = [running.created(key=mine, metadata={"status": status})["id"] for status in ALL]
    for status, response_id in zip(ALL, ids, strict=True):
        driven_to(running, status, response_id, key=mine)

    body = running.listed(key=mine).get_json()

    assert body["data"] == [running.get(response_id, key=mine).get_json() for response_id in reversed(ids)]
    assert [response["status"] for response in body["data"]] == ALL[::-1]
    assert {name: value for name, value in body.items() if name != "data"} == {
        "object": "list",
        "first_id": ids[-1],
        "last_id": ids[0],
        "has_more": False,
    }
    assert listed(running, mine, order="asc") == ids


def test_an_empty_list_has_no_ids(running: Api, mine: str) -> None:
    body = running.listed(key=mine).get_json()

    assert body == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_add_up_to_all_even_of_responses_of_the_same_instant(
    running: Api, mine: str, order: str, limit: int
) -> None:
    ids = [running.created(key=mine)["id"] for _ in range(14)]
    running.sql("update responses set created_at = '2026-01-01' where id = any (%s)", ids[2:11])
    seen: list[str] = []
    query = {"order": order, "limit": limit}
    while True:
        body = running.listed(key=mine, **query).get_json()
        seen += [response["id"] for response in body["data"]]
        if not body["has_more"]:
            break
        assert len(body["data"]) == limit
        query["after"] = body["last_id"]
        if len(seen) == limit:
            running.created(key=mine)  # a response created meanwhile may be listed on a later page or not at all

    by_age = [*sorted(ids[2:11]), *ids[:2], *ids[11:]]
    assert [one for one in seen if one in ids] == (by_age if order == "asc" else by_age[::-1])
    assert len(seen) == len(set(seen))


def test_a_list_may_be_asked_for_by_status_model_and_metadata(running: Api, mine: str) -> None:
    plain = running.created(key=mine)["id"]
    other_model = running.created(key=mine, model="meta/llama-3", metadata={"team": "a"})["id"]
    both = running.created(key=mine, metadata={"team": "a", "x y": "ü=&"})["id"]
    running.cancel(both, key=mine)

    assert listed(running, mine, status="queued") == [other_model, plain]
    assert listed(running, mine, status="cancelled") == [both]
    assert listed(running, mine, status="completed") == []
    assert listed(running, mine, model="meta/llama-3") == [other_model]
    assert listed(running, mine, model="nobody") == []
    assert listed(running, mine, **{"metadata[team]": "a"}) == [both, other_model]
    assert listed(running, mine, **{"metadata[team]": "a", "metadata[x y]": "ü=&"}) == [both]
    assert listed(running, mine, **{"metadata[team]": "A"}) == []
    assert listed(running, mine, **{"metadata[team]": "a", "status": "queued", "model": "scripted"}) == []
    assert listed(running, mine, status="queued", after=other_model) == [plain]


def test_a_list_is_of_one_project_and_of_what_is_stored(running: Api, mine: str) -> None:
    foreign, kept, gone = running.created()["id"], running.created(key=mine)["id"], running.created(key=mine)["id"]
    running.sql("update responses set stored = false where id = %s", gone)

    assert listed(running, mine) == [kept]
    for after in (foreign, gone):
        error_of(running.listed(key=mine, after=after), 400, "invalid_value", "after")


WRONG_QUERIES: list[tuple[str, str]] = [
    *(
        (f"limit={value}", "limit")
        for value in ("0", "101", "1000", "-1", "abc", "", "1.5", "+5", "%EF%BC%95", "%00", "1e1")
    ),
    *((f"order={value}", "order") for value in ("", "up", "ASC", "%00")),
    *((f"after={value}", "after") for value in ("", "x", NOBODY, "%00", "x" * 3000)),
]


@pytest.mark.parametrize(("query", "param"), WRONG_QUERIES)
def test_a_wrong_query_of_a_list_is_refused(running: Api, query: str, param: str) -> None:
    items = f"/v1/responses/{running.created()['id']}/input_items"
    for path in ("/v1/responses", items):
        says = error_of(running.ask("GET", f"{path}?{query}"), 400, "invalid_value", param)
        if param == "limit":
            assert says == "limit must be between 1 and 100."


@pytest.mark.parametrize(
    ("query", "param"),
    [
        *((f"status={value}", "status") for value in ("", "done", "Queued", "queued,failed", "%00")),
        ("model=a%00", "model"),
        *(
            (f"metadata{name}=x", "metadata")
            for name in ("", "[]", "[a", "a]", "[a]b", "[a%00]", ".a", "%00", "[a][b]c")
        ),
        ("metadata[a]=%00", "metadata"),
    ],
)
def test_a_wrong_filter_is_refused_rather_than_left_out(running: Api, query: str, param: str) -> None:
    error_of(running.ask("GET", f"/v1/responses?{query}"), 400, "invalid_value", param)


@pytest.mark.parametrize(
    "query",
    ["metadata[a]=%ff", "metadata[%ed%a0%80]=x", "metadata[a]=x&metadata[a]=y", "metadata[[]]=x", "x=1", "model="],
)
def test_an_odd_filter_finds_what_has_it_which_is_nothing(running: Api, mine: str, query: str) -> None:
    running.created(key=mine)

    answer = running.ask("GET", f"/v1/responses?{query}", key=mine)

    assert len(answer.get_json()["data"]) == (query == "x=1")


@pytest.mark.parametrize("name", ["include", "include[]"])
def test_an_unknown_include_is_refused_and_a_known_one_changes_nothing(running: Api, name: str) -> None:
    created = running.created()["id"]
    for path in (f"/v1/responses/{created}", f"/v1/responses/{created}/input_items"):
        plain = running.ask("GET", path).get_json()
        known = {name: ["message.output_text.logprobs", "reasoning.encrypted_content"]}
        assert running.ask("GET", path, query_string=known).get_json() == plain
        for unknown in ("", "everything", "x" * 3000):
            answer = running.ask("GET", path, query_string={name: ["reasoning.encrypted_content", unknown]})
            error_of(answer, 400, "invalid_value", "include")


@pytest.mark.parametrize("status", ENDED)
def test_a_deleted_response_is_gone_with_all_that_hangs_on_it(running: Api, mine: str, status: str) -> None:
    before = running.stored()
    created = running.created(key=mine, input=[{"id": f"deleted-{status}", "role": "user", "content": "a"}])["id"]
    driven_to(running, status, created, key=mine)

    answer = running.delete(created, key=mine)

    assert answer.get_json() == {"id": created, "object": "response", "deleted": True}
    assert answer.status_code == 200
    assert running.stored() == before
    for ask in (running.get, running.delete, running.cancel, running.items):
        says = error_of(ask(created, key=mine), 404, None, "response_id")
        assert says == f"Response with id '{created}' not found."
    assert listed(running, mine) == []


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_has_not_ended_is_not_deleted(running: Api, status: str) -> None:
    created = running.created()["id"]
    driven_to(running, status, created)
    before = running.stored()

    says = error_of(running.delete(created), 400, "invalid_value", "response_id")

    assert "in-flight" in says
    assert running.stored() == before
    checked(running.get(created), status)


def test_the_response_of_another_project_is_not_deleted(running: Api, other: str) -> None:
    ended = running.ended()

    error_of(running.delete(ended["id"], key=other), 404, None, "response_id")

    assert running.get(ended["id"]).get_json() == ended
