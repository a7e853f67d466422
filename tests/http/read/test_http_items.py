"""The list of a response's input items: content and pagination."""

import pytest
from openai.types.responses.response_item_list import ResponseItemList

from tests.contract import inputs
from tests.http.http_api import Api, error_of
from tests.http.statuses import driven_to


def test_a_text_is_listed_as_one_message_of_the_user(running: Api) -> None:
    body = running.items(running.created(input="Say hello.")["id"]).get_json()

    (item,) = body["data"]
    assert item.pop("id").startswith("msg_")
    assert item == {
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_text", "text": "Say hello."}],
    }


KINDS = [
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


@pytest.mark.parametrize(("item", "prefix", "kept"), KINDS, ids=range(len(KINDS)))
def test_every_kind_of_item_is_listed_with_an_id_and_a_status(
    running: Api, item: dict, prefix: str, kept: dict
) -> None:
    answer = running.items(running.created(input=[item])["id"])

    (listed,) = answer.get_json()["data"]
    assert listed["id"].startswith(prefix)
    assert len(listed["id"]) == len(prefix) + 48
    assert listed == {"type": "message", "status": "completed", "id": listed["id"]} | item | kept
    if item.get("role") != "assistant":  # the published type has no output items among a request's inputs
        ResponseItemList.model_validate_json(answer.data, strict=True)


def test_outputs_of_tools_are_listed_as_they_were_sent(running: Api) -> None:
    sent = [inputs.CALL, inputs.OUTPUT, inputs.CUSTOM_CALL, inputs.CUSTOM_OUTPUT | {"output": [inputs.TEXT]}]
    answer = running.items(running.created(input=sent)["id"])

    listed = answer.get_json()["data"]
    assert [item.pop("id").partition("_")[0] for item in listed] == ["fc", "fco", "ctc", "ctco"]
    assert listed == [item | {"status": "completed"} for item in sent]
    ResponseItemList.model_validate_json(answer.data, strict=True)


def test_an_item_of_a_hosted_tool_is_kept_as_it_is(running: Api) -> None:
    sent = {"type": "mcp_call", "id": "mcp_1", "server_label": "a", "name": "n", "arguments": "{}", "x": {"y": None}}

    assert running.items(running.created(input=[sent])["id"]).get_json()["data"] == [sent]


def test_a_clients_own_ids_are_kept_and_an_id_given_twice_counts_once(running: Api) -> None:
    sent = [{"id": item_id, "role": "user", "content": item_id} for item_id in ("a", "b/ü", "a")]

    listed = running.items(running.created(input=sent)["id"]).get_json()["data"]

    assert [item["id"] for item in listed] == ["a", "b/ü"]


@pytest.mark.parametrize("status", ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"])
def test_input_items_are_listed_at_every_status(running: Api, status: str) -> None:
    created = running.created()["id"]
    before = running.items(created).get_json()
    driven_to(running, status, created)

    assert running.items(created).get_json() == before


def numbered(running: Api, count: int) -> str:
    """Create a response with `count` messages whose IDs are n0, n1 and so on."""
    sent = [{"id": f"n{number}", "role": "user", "content": str(number)} for number in range(count)]
    return running.created(input=sent)["id"]


def test_the_newest_items_come_first_and_twenty_of_them(running: Api) -> None:
    created = numbered(running, 25)

    body = running.ask("GET", f"/v1/responses/{created}/input_items").get_json()

    assert [item["id"] for item in body["data"]] == [f"n{number}" for number in range(24, 4, -1)]
    assert {name: value for name, value in body.items() if name != "data"} == {
        "object": "list",
        "first_id": "n24",
        "last_id": "n5",
        "has_more": True,
    }


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 4, 6, 7, 100])
def test_pages_of_items_add_up_to_all_of_them(running: Api, order: str, limit: int) -> None:
    created = numbered(running, 12)
    seen: list[str] = []
    query = {"order": order, "limit": limit}
    while True:
        body = running.items(created, **query).get_json()
        seen += [item["id"] for item in body["data"]]
        assert (body["first_id"], body["last_id"]) == (body["data"][0]["id"], body["data"][-1]["id"])
        if not body["has_more"]:
            break
        assert len(body["data"]) == limit
        query["after"] = body["last_id"]

    assert seen == [f"n{number}" for number in (range(12) if order == "asc" else range(11, -1, -1))]


def test_behind_the_last_item_is_an_empty_page(running: Api) -> None:
    created = numbered(running, 3)

    body = running.items(created, after="n2").get_json()

    assert body == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("after", ["nobody", "", "\0", "x" * 3000])
def test_a_page_of_items_behind_one_that_is_not_there_is_refused(running: Api, after: str) -> None:
    error_of(running.items(numbered(running, 2), after=after), 400, "invalid_value", "after")


def test_input_items_of_a_response_that_is_not_stored_are_unknown(running: Api) -> None:
    created = running.created()["id"]
    running.sql("update responses set stored = false where id = %s", created)

    error_of(running.items(created), 404, None, "response_id")
