"""The list of a response's input items: content and pagination."""

import pytest
from openai.types.responses.response_item_list import ResponseItemList

from tests.contract import inputs
from tests.http.http_api import Api, check_error
from tests.http.statuses import ALL_STATUSES, move_to_status


def test_a_text_is_listed_as_one_user_message(worker_api: Api) -> None:
    body = worker_api.list_input_items(worker_api.create_response(input="Say hello.")["id"]).get_json()

    (item,) = body["data"]
    assert item.pop("id").startswith("msg_")
    assert item == {
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "Say hello."}],
    }


# An item of a request, the prefix of its ID in the list, and the fields in the list that differ from the request.
ITEM_CASES = [
    ({"role": "user", "content": "a"}, "msg_", {"content": [inputs.TEXT | {"text": "a"}]}),
    ({"role": "system", "content": [inputs.TEXT, inputs.TEXT]}, "msg_", {"content": [inputs.TEXT, inputs.TEXT]}),
    (
        {"role": "assistant", "content": "a", "phase": "commentary"},
        "msg_",
        {"content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}], "phase": "commentary"},
    ),
    (
        {"role": "assistant", "content": [{"type": "output_text", "text": "a"}], "status": "incomplete"},
        "msg_",
        {"content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}], "status": "incomplete"},
    ),
    ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, "msg_", {"role": "assistant"}),
    (inputs.CALL, "fc_", inputs.CALL),
    (inputs.CUSTOM_CALL, "ctc_", inputs.CUSTOM_CALL),
    (inputs.REASONING, "rs_", inputs.REASONING),
]


@pytest.mark.parametrize(("item", "prefix", "expected_fields"), ITEM_CASES, ids=range(len(ITEM_CASES)))
def test_every_kind_of_item_is_listed_with_an_id_and_a_status(
    worker_api: Api, item: dict, prefix: str, expected_fields: dict
) -> None:
    answer = worker_api.list_input_items(worker_api.create_response(input=[item])["id"])

    (listed_item,) = answer.get_json()["data"]
    assert listed_item["id"].startswith(prefix)
    assert len(listed_item["id"]) == len(prefix) + 48
    assert listed_item == {"type": "message", "status": "completed", "id": listed_item["id"]} | item | expected_fields
    if item.get("role") != "assistant":  # the published type does not allow output items in a request's input
        ResponseItemList.model_validate_json(answer.data, strict=True)


def test_tool_outputs_are_listed_unchanged(worker_api: Api) -> None:
    items = [inputs.CALL, inputs.OUTPUT, inputs.CUSTOM_CALL, inputs.CUSTOM_OUTPUT | {"output": [inputs.TEXT]}]
    answer = worker_api.list_input_items(worker_api.create_response(input=items)["id"])

    listed_items = answer.get_json()["data"]
    assert [item.pop("id").partition("_")[0] for item in listed_items] == ["fc", "fco", "ctc", "ctco"]
    assert listed_items == [item | {"status": "completed"} for item in items]
    ResponseItemList.model_validate_json(answer.data, strict=True)


def test_an_item_of_a_hosted_tool_is_listed_unchanged(worker_api: Api) -> None:
    item = {"type": "mcp_call", "id": "mcp_1", "server_label": "a", "name": "n", "arguments": "{}", "x": {"y": None}}

    assert worker_api.list_input_items(worker_api.create_response(input=[item])["id"]).get_json()["data"] == [item]


def test_ids_from_the_client_are_listed_without_duplicates(worker_api: Api) -> None:
    items = [{"id": item_id, "role": "user", "content": item_id} for item_id in ("a", "b/ü", "a")]

    listed_items = worker_api.list_input_items(worker_api.create_response(input=items)["id"]).get_json()["data"]

    assert [item["id"] for item in listed_items] == ["a", "b/ü"]


@pytest.mark.parametrize("status", ALL_STATUSES)
def test_input_items_are_listed_at_every_status(worker_api: Api, status: str) -> None:
    response_id = worker_api.create_response()["id"]
    first_page = worker_api.list_input_items(response_id).get_json()
    move_to_status(worker_api, status, response_id)

    assert worker_api.list_input_items(response_id).get_json() == first_page


def create_with_numbered_items(worker_api: Api, count: int) -> str:
    """Create a response with `count` messages, with the IDs n0, n1 and so on; return its ID."""
    items = [{"id": f"n{number}", "role": "user", "content": str(number)} for number in range(count)]
    return worker_api.create_response(input=items)["id"]


def test_the_default_page_contains_the_newest_twenty_items(worker_api: Api) -> None:
    response_id = create_with_numbered_items(worker_api, 25)

    body = worker_api.send_request("GET", f"/v1/responses/{response_id}/input_items").get_json()

    assert [item["id"] for item in body["data"]] == [f"n{number}" for number in range(24, 4, -1)]
    assert {name: value for name, value in body.items() if name != "data"} == {
        "object": "list",
        "first_id": "n24",
        "last_id": "n5",
        "has_more": True,
    }


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 4, 6, 7, 100])
def test_the_pages_of_a_list_contain_all_items(worker_api: Api, order: str, limit: int) -> None:
    response_id = create_with_numbered_items(worker_api, 12)
    item_ids: list[str] = []
    query = {"order": order, "limit": limit}
    while True:
        body = worker_api.list_input_items(response_id, **query).get_json()
        item_ids += [item["id"] for item in body["data"]]
        assert (body["first_id"], body["last_id"]) == (body["data"][0]["id"], body["data"][-1]["id"])
        if not body["has_more"]:
            break
        assert len(body["data"]) == limit
        query["after"] = body["last_id"]

    assert item_ids == [f"n{number}" for number in (range(12) if order == "asc" else range(11, -1, -1))]


def test_the_page_after_the_last_item_is_empty(worker_api: Api) -> None:
    response_id = create_with_numbered_items(worker_api, 3)

    body = worker_api.list_input_items(response_id, after="n2").get_json()

    assert body == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("after", ["nobody", "", "\0", "x" * 3000])
def test_a_page_after_an_unknown_item_is_rejected(worker_api: Api, after: str) -> None:
    check_error(
        worker_api.list_input_items(create_with_numbered_items(worker_api, 2), after=after),
        400,
        "invalid_value",
        "after",
    )


def test_a_request_for_the_input_items_of_an_unstored_response_gets_404(worker_api: Api) -> None:
    response_id = worker_api.create_response()["id"]
    worker_api.sql("update responses set stored = false where id = %s", response_id)

    check_error(worker_api.list_input_items(response_id), 404, None, "response_id")
