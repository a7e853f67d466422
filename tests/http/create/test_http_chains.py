"""The context of a response: previous responses, referenced items and tool outputs, also of other projects."""

from typing import Any

import pytest

from tests.http.http_api import Api, check_error
from tests.http.statuses import move_to_status
from worker.models.chat_completions import request
from worker.models.protocol import ToolCall

CALL = ToolCall("call_1", "weather", '{"town": "Bern"}')
WEATHER = {"type": "function", "name": "weather"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}


def list_messages(api: Api, response_id: str) -> list[tuple[str, str]]:
    """The role and the text of every message in a response's context, in order."""
    items = api.list_input_items(response_id).get_json()["data"]
    return [(item["role"], item["content"][0]["text"]) for item in items if item["type"] == "message"]


def test_a_context_contains_the_inputs_and_outputs_of_all_ancestors(worker_api: Api) -> None:
    first_response = worker_api.create_ended_response("1", input="one")
    second_response = worker_api.create_ended_response("2", input="two", previous_response_id=first_response["id"])
    third_response = worker_api.create_response(
        input=[{"role": "user", "content": "three"}, {"role": "developer", "content": "be kind"}],
        previous_response_id=second_response["id"],
    )

    assert third_response["previous_response_id"] == second_response["id"]
    assert list_messages(worker_api, third_response["id"]) == [
        ("user", "one"),
        ("assistant", "1"),
        ("user", "two"),
        ("assistant", "2"),
        ("user", "three"),
        ("developer", "be kind"),
    ]


def test_items_have_the_same_ids_in_all_responses_of_a_chain(worker_api: Api) -> None:
    first_response = worker_api.create_ended_response(None, CALL, input="one", tools=[WEATHER])
    second_response = worker_api.create_response(previous_response_id=first_response["id"], input=[OUTPUT])

    (input_item,) = worker_api.list_input_items(first_response["id"]).get_json()["data"]
    items = worker_api.list_input_items(second_response["id"]).get_json()["data"]
    assert items[:2] == [input_item, *first_response["output"]]
    assert len({item["id"] for item in items}) == 3


def test_two_children_of_one_parent_are_independent(worker_api: Api) -> None:
    parent = worker_api.create_ended_response("0", input="root")
    left_child = worker_api.create_ended_response("l", input="left", previous_response_id=parent["id"])
    right_child = worker_api.create_response(input="right", previous_response_id=parent["id"])

    assert list_messages(worker_api, left_child["id"]) == [("user", "root"), ("assistant", "0"), ("user", "left")]
    assert list_messages(worker_api, right_child["id"]) == [("user", "root"), ("assistant", "0"), ("user", "right")]


def test_a_response_with_a_parent_needs_no_input(worker_api: Api) -> None:
    parent = worker_api.create_ended_response("1", input="one")

    child = worker_api.create_response(input=None, previous_response_id=parent["id"])

    assert list_messages(worker_api, child["id"]) == [("user", "one"), ("assistant", "1")]


def test_instructions_are_not_inherited(worker_api: Api) -> None:
    parent = worker_api.create_ended_response(instructions="Be brief.")

    child = worker_api.create_ended_response(previous_response_id=parent["id"])

    assert child["instructions"] is None
    ((request_text,),) = worker_api.sql("select request from responses where id = %s", child["id"])
    assert "Be brief." not in request_text


def test_only_items_are_inherited(worker_api: Api) -> None:
    changes = {"temperature": 0.5, "metadata": {"a": "b"}, "tools": [WEATHER], "reasoning": {"effort": "low"}}
    parent = worker_api.create_ended_response(**changes)

    child = worker_api.create_response(previous_response_id=parent["id"])

    defaults = worker_api.create_response()
    assert {name: child[name] for name in changes} == {name: defaults[name] for name in changes}


@pytest.mark.parametrize("status", ["failed", "incomplete", "cancelled"])
def test_the_context_of_a_parent_that_did_not_complete_contains_only_finished_items(
    worker_api: Api, status: str
) -> None:
    parent_id = worker_api.create_response(input="one")["id"]
    move_to_status(worker_api, status, parent_id)
    output = worker_api.get_response(parent_id).get_json()["output"]
    assert [item["status"] for item in output] in ([], ["incomplete"])

    child = worker_api.create_response(input="two", previous_response_id=parent_id)

    assert list_messages(worker_api, child["id"]) == [("user", "one"), ("user", "two")]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_parent_that_has_not_ended_is_rejected(worker_api: Api, status: str) -> None:
    parent_id = worker_api.create_response()["id"]
    move_to_status(worker_api, status, parent_id)
    row_counts = worker_api.count_rows()

    answer = worker_api.post_response(previous_response_id=parent_id)

    message = check_error(answer, 400, "previous_response_not_completed", "previous_response_id")
    assert message == f"Previous response with id '{parent_id}' is still {status}."
    assert worker_api.count_rows() == row_counts


def test_a_foreign_parent_gets_the_same_answer_as_an_unknown_parent(worker_api: Api, other_key: str) -> None:
    parent_id = worker_api.create_ended_response()["id"]
    row_counts = worker_api.count_rows()

    answer = worker_api.post_response(key=other_key, previous_response_id=parent_id)

    message = check_error(answer, 400, "previous_response_not_found", "previous_response_id")
    assert message == f"Previous response with id '{parent_id}' not found."
    assert worker_api.count_rows() == row_counts


def test_an_item_of_any_stored_response_can_be_referenced(worker_api: Api) -> None:
    first_response = worker_api.create_ended_response(
        "1", CALL, input=[{"id": "mine", "role": "user", "content": "one"}]
    )
    message, call = first_response["output"]

    references = [{"type": "item_reference", "id": message["id"]}, {"id": "mine"}, {"type": None, "id": call["id"]}]
    second_response = worker_api.create_response(input=[*references, OUTPUT])

    items = worker_api.list_input_items(second_response["id"]).get_json()["data"]
    assert [item["id"] for item in items[:3]] == [message["id"], "mine", call["id"]]
    assert items[0] == message
    assert items[2] == call


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_input_item_of_an_unfinished_response_can_be_referenced(worker_api: Api, status: str) -> None:
    first_id = worker_api.create_response()["id"]
    move_to_status(worker_api, status, first_id)
    (item,) = worker_api.list_input_items(first_id).get_json()["data"]

    second_response = worker_api.create_response(input=[{"id": item["id"]}, {"role": "user", "content": "go on"}])

    assert list_messages(worker_api, second_response["id"]) == [("user", "hi"), ("user", "go on")]


def test_a_foreign_item_gets_the_same_answer_as_an_unknown_item(worker_api: Api, other_key: str) -> None:
    (item,) = worker_api.create_ended_response()["output"]
    row_counts = worker_api.count_rows()

    message = check_error(
        worker_api.post_response(key=other_key, input=[{"id": item["id"]}]), 400, "invalid_value", "input[0].id"
    )

    assert message == f"Item with id '{item['id']}' not found."
    assert worker_api.count_rows() == row_counts


def test_items_that_the_parent_already_contains_are_not_repeated(worker_api: Api) -> None:
    first_response = worker_api.create_ended_response("1", input=[{"id": "u1", "role": "user", "content": "one"}])
    history = [
        {"id": "u1", "role": "user", "content": "one"},
        *first_response["output"],
        {"role": "user", "content": "two"},
    ]

    second_response = worker_api.create_response(input=history, previous_response_id=first_response["id"])

    assert list_messages(worker_api, second_response["id"]) == [("user", "one"), ("assistant", "1"), ("user", "two")]


@pytest.mark.parametrize("tool_type", ["function", "custom"])
def test_the_output_of_a_call_is_accepted_with_its_call_or_in_the_next_request(worker_api: Api, tool_type: str) -> None:
    call_type = {"function": "function_call", "custom": "custom_tool_call"}[tool_type]
    call_text = {"function": {"arguments": "{}"}, "custom": {"input": "go"}}[tool_type]
    output = {"type": f"{call_type}_output", "call_id": "call_1", "output": "done"}
    call = {"type": call_type, "call_id": "call_1", "name": "weather", **call_text}
    call_response = worker_api.create_ended_response(None, CALL, tools=[{"type": tool_type, "name": "weather"}])

    next_response = worker_api.create_response(previous_response_id=call_response["id"], input=[output])
    single_response = worker_api.create_response(input=[call, output])

    for response in (next_response, single_response):
        types = [item["type"] for item in worker_api.list_input_items(response["id"]).get_json()["data"]]
        assert types[-2:] == [call_type, f"{call_type}_output"]


def test_an_output_without_a_call_is_rejected(worker_api: Api) -> None:
    parent_id = worker_api.create_ended_response()["id"]
    row_counts = worker_api.count_rows()

    answer = worker_api.post_response(previous_response_id=parent_id, input=[OUTPUT | {"call_id": "c" * 64}])

    message = check_error(answer, 400, "invalid_value", "input")
    assert message == f"No tool call found for function call output with call_id {'c' * 64}."
    assert worker_api.count_rows() == row_counts


def test_the_worker_receives_the_context_of_the_complete_chain(worker_api: Api) -> None:
    first_response = worker_api.create_ended_response(
        "Let me see.", CALL, input="How is it?", instructions="Be brief.", tools=[WEATHER]
    )
    second_response = worker_api.create_response(
        previous_response_id=first_response["id"], input=[OUTPUT], instructions="Be long."
    )

    attempt = worker_api.run_response(second_response["id"])

    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Bern"}'}}
    assert request.messages(attempt.request.instructions, attempt.context) == [
        {"role": "system", "content": "Be long."},
        {"role": "user", "content": "How is it?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]


def create_children(worker_api: Api, parent: dict[str, Any]) -> list[str]:
    """Create a queued child and an ended child; return their IDs."""
    return [
        worker_api.create_response(input="two", previous_response_id=parent["id"])["id"],
        worker_api.create_ended_response("2", input="two", previous_response_id=parent["id"])["id"],
    ]


def test_descendants_of_a_deleted_response_still_have_its_context(worker_api: Api) -> None:
    parent = worker_api.create_ended_response("1", input="one")
    queued_id, ended_id = create_children(worker_api, parent)
    assert worker_api.delete_response(parent["id"]).status_code == 200

    attempt = worker_api.run_response(queued_id)
    grandchild = worker_api.create_response(input="three", previous_response_id=ended_id)

    assert [item["content"][0]["text"] for item in attempt.context] == ["one", "1", "two"]
    assert list_messages(worker_api, grandchild["id"]) == [
        ("user", "one"),
        ("assistant", "1"),
        ("user", "two"),
        ("assistant", "2"),
        ("user", "three"),
    ]
    assert worker_api.get_response(ended_id).get_json()["previous_response_id"] == parent["id"]
    answer = worker_api.post_response(previous_response_id=parent["id"])
    check_error(answer, 400, "previous_response_not_found", "previous_response_id")


def test_an_item_still_exists_after_the_deletion_of_a_response_that_referenced_it(worker_api: Api) -> None:
    first_response = worker_api.create_ended_response("1", input=[{"id": "kept", "role": "user", "content": "one"}])
    second_response = worker_api.create_ended_response(
        input=[{"id": "kept"}, {"id": first_response["output"][0]["id"]}]
    )
    assert worker_api.delete_response(second_response["id"]).status_code == 200

    third_response = worker_api.create_response(input=[{"id": "kept"}, {"id": first_response["output"][0]["id"]}])

    assert list_messages(worker_api, third_response["id"]) == [("user", "one"), ("assistant", "1")]


def test_an_item_of_a_deleted_response_does_not_exist(worker_api: Api) -> None:
    first_response = worker_api.create_ended_response(input=[{"id": "gone", "role": "user", "content": "one"}])
    (output,) = first_response["output"]
    worker_api.delete_response(first_response["id"])

    for item_id in ("gone", output["id"]):
        check_error(worker_api.post_response(input=[{"id": item_id}]), 400, "invalid_value", "input[0].id")


def test_repeated_items_of_the_history_do_not_change_its_order(worker_api: Api) -> None:
    first_response = worker_api.create_ended_response(None, CALL, input="one", tools=[WEATHER])
    second_response = worker_api.create_ended_response("2", previous_response_id=first_response["id"], input=[OUTPUT])
    history = worker_api.list_input_items(second_response["id"]).get_json()["data"]
    call = next(item for item in history if item["type"] == "function_call")

    for repetition in ([{"id": call["id"]}], [call], [{"id": history[0]["id"]}, call], history):
        third_response = worker_api.create_response(
            previous_response_id=second_response["id"], input=[*repetition, {"role": "user", "content": "three"}]
        )
        items = worker_api.list_input_items(third_response["id"]).get_json()["data"]
        assert items[: len(history)] == history
        assert [item["type"] for item in items[len(history) :]] == ["message", "message"]
        assert list_messages(worker_api, third_response["id"])[-1] == ("user", "three")


def test_two_items_with_the_same_id_are_both_in_the_context(worker_api: Api) -> None:
    call = {"type": "function_call", "id": "mine", "call_id": "call_1", "name": "weather", "arguments": "{}"}
    first_response = worker_api.create_ended_response(
        "1", input=[call, OUTPUT | {"id": "mine"}, {"id": "m", "role": "user", "content": "a"}]
    )
    second_response = worker_api.create_response(
        previous_response_id=first_response["id"],
        input=[{"id": "m", "type": "message", "role": "user", "content": "b"}],
    )

    items = worker_api.list_input_items(second_response["id"]).get_json()["data"]
    assert [item["type"] for item in items[:2]] == ["function_call", "function_call_output"]
    assert list_messages(worker_api, second_response["id"]) == [("user", "a"), ("assistant", "1"), ("user", "b")]
    assert len({item["id"] for item in items}) == len(items)


def test_a_reference_selects_the_item_of_the_newest_response(worker_api: Api) -> None:
    old_item = {"id": "same", "type": "message", "role": "user", "content": "old"}
    worker_api.create_response(input=[old_item])
    newer_response = worker_api.create_response(
        input=[old_item | {"content": "new"}, {"id": "other", "role": "user", "content": "x"}]
    )
    worker_api.create_response(input=[{"id": "third", "role": "user", "content": "y"}, {"id": "other"}])

    response = worker_api.create_response(input=[{"id": "same"}, {"id": "third"}, {"id": "other"}])

    assert [text for _, text in list_messages(worker_api, response["id"])] == ["new", "y", "x"]
    assert newer_response["status"] == "queued"


def test_references_to_items_of_too_many_responses_are_rejected(worker_api: Api) -> None:
    item_ids = [f"item_{number}" for number in range(101)]
    for item_id in item_ids:
        worker_api.create_response(input=[{"id": item_id, "role": "user", "content": "a"}])

    check_error(
        worker_api.post_response(input=[{"id": item_id} for item_id in item_ids]), 400, "invalid_value", "input"
    )
    response = worker_api.create_response(input=[{"id": item_id} for item_id in item_ids[:100]])
    assert len(list_messages(worker_api, response["id"])) == 100
