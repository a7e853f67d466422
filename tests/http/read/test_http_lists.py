"""The list of a project's responses: content, filters and pagination; and the deletion of responses."""

import itertools
from typing import Any

import pytest

from tests.http.http_api import Api, check_document, check_error
from tests.http.statuses import ALL_STATUSES, TERMINAL_STATUSES, move_to_status

UNKNOWN_ID = "resp_" + "0" * 48
_numbers = itertools.count()


@pytest.fixture
def project_key(worker_api: Api) -> str:
    """A key of a project that only one test uses."""
    return worker_api.core.keys.create(project=f"lists-{next(_numbers)}")


def list_ids(worker_api: Api, key: str, **query: Any) -> list[str]:
    """Request a page of responses; return the IDs on it."""
    answer = worker_api.list_responses(key=key, **query)
    assert answer.status_code == 200, answer.text
    return [response["id"] for response in answer.get_json()["data"]]


def test_a_list_contains_the_documents_newest_first(worker_api: Api, project_key: str) -> None:
    ids = [worker_api.create_response(key=project_key, metadata={"status": status})["id"] for status in ALL_STATUSES]
    for status, response_id in zip(ALL_STATUSES, ids, strict=True):
        move_to_status(worker_api, status, response_id, key=project_key)

    body = worker_api.list_responses(key=project_key).get_json()

    assert body["data"] == [
        worker_api.get_response(response_id, key=project_key).get_json() for response_id in reversed(ids)
    ]
    assert [response["status"] for response in body["data"]] == ALL_STATUSES[::-1]
    assert {name: value for name, value in body.items() if name != "data"} == {
        "object": "list",
        "first_id": ids[-1],
        "last_id": ids[0],
        "has_more": False,
    }
    assert list_ids(worker_api, project_key, order="asc") == ids


def test_an_empty_list_has_no_first_and_last_id(worker_api: Api, project_key: str) -> None:
    body = worker_api.list_responses(key=project_key).get_json()

    assert body == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_the_pages_of_a_list_contain_all_responses_with_the_same_creation_time(
    worker_api: Api, project_key: str, order: str, limit: int
) -> None:
    ids = [worker_api.create_response(key=project_key)["id"] for _ in range(14)]
    worker_api.sql("update responses set created_at = '2026-01-01' where id = any (%s)", ids[2:11])
    listed_ids: list[str] = []
    query = {"order": order, "limit": limit}
    while True:
        body = worker_api.list_responses(key=project_key, **query).get_json()
        listed_ids += [response["id"] for response in body["data"]]
        if not body["has_more"]:
            break
        assert len(body["data"]) == limit
        query["after"] = body["last_id"]
        if len(listed_ids) == limit:
            # A response that is created while a client reads the pages may be on a later page or on none.
            worker_api.create_response(key=project_key)

    ids_oldest_first = [*sorted(ids[2:11]), *ids[:2], *ids[11:]]
    assert [response_id for response_id in listed_ids if response_id in ids] == (
        ids_oldest_first if order == "asc" else ids_oldest_first[::-1]
    )
    assert len(listed_ids) == len(set(listed_ids))


def test_a_list_can_be_filtered_by_status_model_and_metadata(worker_api: Api, project_key: str) -> None:
    plain_id = worker_api.create_response(key=project_key)["id"]
    other_model_id = worker_api.create_response(key=project_key, model="meta/llama-3", metadata={"team": "a"})["id"]
    tagged_id = worker_api.create_response(key=project_key, metadata={"team": "a", "x y": "ü=&"})["id"]
    worker_api.cancel_response(tagged_id, key=project_key)

    assert list_ids(worker_api, project_key, status="queued") == [other_model_id, plain_id]
    assert list_ids(worker_api, project_key, status="cancelled") == [tagged_id]
    assert list_ids(worker_api, project_key, status="completed") == []
    assert list_ids(worker_api, project_key, model="meta/llama-3") == [other_model_id]
    assert list_ids(worker_api, project_key, model="nobody") == []
    assert list_ids(worker_api, project_key, **{"metadata[team]": "a"}) == [tagged_id, other_model_id]
    assert list_ids(worker_api, project_key, **{"metadata[team]": "a", "metadata[x y]": "ü=&"}) == [tagged_id]
    assert list_ids(worker_api, project_key, **{"metadata[team]": "A"}) == []
    assert list_ids(worker_api, project_key, **{"metadata[team]": "a", "status": "queued", "model": "scripted"}) == []
    assert list_ids(worker_api, project_key, status="queued", after=other_model_id) == [plain_id]


def test_a_list_contains_the_stored_responses_of_one_project(worker_api: Api, project_key: str) -> None:
    foreign_id, stored_id, unstored_id = (
        worker_api.create_response()["id"],
        worker_api.create_response(key=project_key)["id"],
        worker_api.create_response(key=project_key)["id"],
    )
    worker_api.sql("update responses set stored = false where id = %s", unstored_id)

    assert list_ids(worker_api, project_key) == [stored_id]
    for after in (foreign_id, unstored_id):
        check_error(worker_api.list_responses(key=project_key, after=after), 400, "invalid_value", "after")


INVALID_QUERIES: list[tuple[str, str]] = [
    *(
        (f"limit={value}", "limit")
        for value in ("0", "101", "1000", "-1", "abc", "", "1.5", "+5", "%EF%BC%95", "%00", "1e1")
    ),
    *((f"order={value}", "order") for value in ("", "up", "ASC", "%00")),
    *((f"after={value}", "after") for value in ("", "x", UNKNOWN_ID, "%00", "x" * 3000)),
]


@pytest.mark.parametrize(("query", "param"), INVALID_QUERIES)
def test_an_invalid_query_of_a_list_is_rejected(worker_api: Api, query: str, param: str) -> None:
    items_path = f"/v1/responses/{worker_api.create_response()['id']}/input_items"
    for path in ("/v1/responses", items_path):
        message = check_error(worker_api.send_request("GET", f"{path}?{query}"), 400, "invalid_value", param)
        if param == "limit":
            assert message == "limit must be between 1 and 100."


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
        *((f"{name}=1&{name}=2", name) for name in ("limit", "status", "metadata[a]", "ai_project_id", "unknown")),
    ],
)
def test_an_invalid_filter_is_rejected(worker_api: Api, query: str, param: str) -> None:
    check_error(worker_api.send_request("GET", f"/v1/responses?{query}"), 400, "invalid_value", param)


@pytest.mark.parametrize(
    ("query", "response_count"),
    [
        ("metadata[a]=%ff", 0),
        ("metadata[%ed%a0%80]=x", 0),
        ("metadata[[]]=x", 0),
        ("model=", 0),
        ("x=1", 1),  # not a filter
    ],
)
def test_an_unusual_filter_returns_only_matching_responses(
    worker_api: Api, project_key: str, query: str, response_count: int
) -> None:
    worker_api.create_response(key=project_key)

    answer = worker_api.send_request("GET", f"/v1/responses?{query}", key=project_key)

    assert len(answer.get_json()["data"]) == response_count


@pytest.mark.parametrize("name", ["include", "include[]"])
def test_an_unknown_include_value_is_rejected_and_values_for_output_have_no_effect(worker_api: Api, name: str) -> None:
    response_id = worker_api.create_response()["id"]
    for path in (f"/v1/responses/{response_id}", f"/v1/responses/{response_id}/input_items"):
        document = worker_api.send_request("GET", path).get_json()
        known_values = {name: ["message.output_text.logprobs", "reasoning.encrypted_content"]}
        assert worker_api.send_request("GET", path, query_string=known_values).get_json() == document
        for unknown_value in ("", "everything", "x" * 3000):
            answer = worker_api.send_request(
                "GET", path, query_string={name: ["reasoning.encrypted_content", unknown_value]}
            )
            check_error(answer, 400, "invalid_value", "include")


@pytest.mark.parametrize("status", TERMINAL_STATUSES)
def test_the_deletion_of_a_response_deletes_all_of_its_rows(worker_api: Api, project_key: str, status: str) -> None:
    row_counts = worker_api.count_rows()
    response_id = worker_api.create_response(
        key=project_key, input=[{"id": f"deleted-{status}", "role": "user", "content": "a"}]
    )["id"]
    move_to_status(worker_api, status, response_id, key=project_key)

    answer = worker_api.delete_response(response_id, key=project_key)

    assert answer.get_json() == {"id": response_id, "object": "response", "deleted": True}
    assert answer.status_code == 200
    assert worker_api.count_rows() == row_counts
    for request_by_id in (
        worker_api.get_response,
        worker_api.delete_response,
        worker_api.cancel_response,
        worker_api.list_input_items,
    ):
        message = check_error(request_by_id(response_id, key=project_key), 404, None, "response_id")
        assert message == f"Response with id '{response_id}' not found."
    assert list_ids(worker_api, project_key) == []


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_has_not_ended_cannot_be_deleted(worker_api: Api, status: str) -> None:
    response_id = worker_api.create_response()["id"]
    move_to_status(worker_api, status, response_id)
    row_counts = worker_api.count_rows()

    message = check_error(worker_api.delete_response(response_id), 400, "invalid_value", "response_id")

    assert "in-flight" in message
    assert worker_api.count_rows() == row_counts
    check_document(worker_api.get_response(response_id), status)


def test_a_foreign_response_cannot_be_deleted(worker_api: Api, other_key: str) -> None:
    response = worker_api.create_ended_response()

    check_error(worker_api.delete_response(response["id"], key=other_key), 404, None, "response_id")

    assert worker_api.get_response(response["id"]).get_json() == response
