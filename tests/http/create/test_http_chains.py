"""What a response builds on: the previous responses, referenced items and tool outputs; and who may build on what."""

from typing import Any

import pytest

from tests.http.http_api import Api, error_of
from tests.http.statuses import driven_to
from worker.models.chat_completions import request
from worker.models.protocol import ToolCall

CALL = ToolCall("call_1", "weather", '{"town": "Bern"}')
WEATHER = {"type": "function", "name": "weather"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}


def said(api: Api, response_id: str) -> list[tuple[str, str]]:
    """(role, text) of every message in a response's context, in order."""
    items = api.items(response_id).get_json()["data"]
    return [(item["role"], item["content"][0]["text"]) for item in items if item["type"] == "message"]


def test_a_chain_is_the_parents_input_its_output_and_the_new_input_all_the_way_down(running: Api) -> None:
    first = running.ended("1", input="one")
    second = running.ended("2", input="two", previous_response_id=first["id"])
    third = running.created(
        input=[{"role": "user", "content": "three"}, {"role": "developer", "content": "be kind"}],
        previous_response_id=second["id"],
    )

    assert third["previous_response_id"] == second["id"]
    assert said(running, third["id"]) == [
        ("user", "one"),
        ("assistant", "1"),
        ("user", "two"),
        ("assistant", "2"),
        ("user", "three"),
        ("developer", "be kind"),
    ]


def test_a_chain_shows_the_model_each_item_under_the_id_it_always_had(running: Api) -> None:
    first = running.ended(None, CALL, input="one", tools=[WEATHER])
    second = running.created(previous_response_id=first["id"], input=[OUTPUT])

    (given,) = running.items(first["id"]).get_json()["data"]
    items = running.items(second["id"]).get_json()["data"]
    assert items[:2] == [given, *first["output"]]
    assert len({item["id"] for item in items}) == 3


def test_two_forks_of_one_parent_know_nothing_of_each_other(running: Api) -> None:
    parent = running.ended("0", input="root")
    left = running.ended("l", input="left", previous_response_id=parent["id"])
    right = running.created(input="right", previous_response_id=parent["id"])

    assert said(running, left["id"]) == [("user", "root"), ("assistant", "0"), ("user", "left")]
    assert said(running, right["id"]) == [("user", "root"), ("assistant", "0"), ("user", "right")]


def test_a_chain_needs_no_new_input(running: Api) -> None:
    parent = running.ended("1", input="one")

    child = running.created(input=None, previous_response_id=parent["id"])

    assert said(running, child["id"]) == [("user", "one"), ("assistant", "1")]


def test_instructions_are_not_inherited(running: Api) -> None:
    parent = running.ended(instructions="Be brief.")

    child = running.ended(previous_response_id=parent["id"])

    assert child["instructions"] is None
    ((packed,),) = running.sql("select request from responses where id = %s", child["id"])
    assert "Be brief." not in packed


def test_nothing_but_the_items_is_inherited(running: Api) -> None:
    changes = {"temperature": 0.5, "metadata": {"a": "b"}, "tools": [WEATHER], "reasoning": {"effort": "low"}}
    parent = running.ended(**changes)

    child = running.created(previous_response_id=parent["id"])

    defaults = running.created()
    assert {name: child[name] for name in changes} == {name: defaults[name] for name in changes}


@pytest.mark.parametrize("status", ["failed", "incomplete", "cancelled"])
def test_of_a_parent_that_did_not_complete_the_finished_items_are_context(running: Api, status: str) -> None:
    parent = running.created(input="one")["id"]
    driven_to(running, status, parent)
    assert [item["status"] for item in running.get(parent).get_json()["output"]] in ([], ["incomplete"])

    child = running.created(input="two", previous_response_id=parent)

    assert said(running, child["id"]) == [("user", "one"), ("user", "two")]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_parent_that_has_not_ended_is_refused(running: Api, status: str) -> None:
    parent = running.created()["id"]
    driven_to(running, status, parent)
    before = running.stored()

    answer = running.create(previous_response_id=parent)

    says = error_of(answer, 400, "previous_response_not_completed", "previous_response_id")
    assert says == f"Previous response with id '{parent}' is still {status}."
    assert running.stored() == before


def test_a_parent_of_another_project_is_as_unknown_as_one_that_never_was(running: Api, other: str) -> None:
    parent = running.ended()["id"]
    before = running.stored()

    answer = running.create(key=other, previous_response_id=parent)

    says = error_of(answer, 400, "previous_response_not_found", "previous_response_id")
    assert says == f"Previous response with id '{parent}' not found."
    assert running.stored() == before


def test_an_item_of_any_stored_response_may_be_referred_to(running: Api) -> None:
    first = running.ended("1", CALL, input=[{"id": "mine", "role": "user", "content": "one"}])
    message, call = first["output"]

    references = [{"type": "item_reference", "id": message["id"]}, {"id": "mine"}, {"type": None, "id": call["id"]}]
    second = running.created(input=[*references, OUTPUT])

    items = running.items(second["id"]).get_json()["data"]
    assert [item["id"] for item in items[:3]] == [message["id"], "mine", call["id"]]
    assert items[0] == message
    assert items[2] == call


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_input_item_of_a_response_that_has_not_ended_may_be_referred_to(running: Api, status: str) -> None:
    first = running.created()["id"]
    driven_to(running, status, first)
    (item,) = running.items(first).get_json()["data"]

    second = running.created(input=[{"id": item["id"]}, {"role": "user", "content": "go on"}])

    assert said(running, second["id"]) == [("user", "hi"), ("user", "go on")]


def test_an_item_of_another_project_is_as_unknown_as_one_that_never_was(running: Api, other: str) -> None:
    (item,) = running.ended()["output"]
    before = running.stored()

    says = error_of(running.create(key=other, input=[{"id": item["id"]}]), 400, "invalid_value", "input[0].id")

    assert says == f"Item with id '{item['id']}' not found."
    assert running.stored() == before


def test_a_client_that_sends_its_history_along_with_the_parent_means_each_item_once(running: Api) -> None:
    first = running.ended("1", input=[{"id": "u1", "role": "user", "content": "one"}])
    history = [{"id": "u1", "role": "user", "content": "one"}, *first["output"], {"role": "user", "content": "two"}]

    second = running.created(input=history, previous_response_id=first["id"])

    assert said(running, second["id"]) == [("user", "one"), ("assistant", "1"), ("user", "two")]


@pytest.mark.parametrize("kind", ["function", "custom"])
def test_the_output_of_a_call_may_come_in_the_next_response_or_along_with_its_call(running: Api, kind: str) -> None:
    words = {"function": "function_call", "custom": "custom_tool_call"}[kind]
    call_text = {"function": {"arguments": "{}"}, "custom": {"input": "go"}}[kind]
    output = {"type": f"{words}_output", "call_id": "call_1", "output": "done"}
    call = {"type": words, "call_id": "call_1", "name": "weather", **call_text}
    asked = running.ended(None, CALL, tools=[{"type": kind, "name": "weather"}])

    chained = running.created(previous_response_id=asked["id"], input=[output])
    alone = running.created(input=[call, output])

    for response in (chained, alone):
        kinds = [item["type"] for item in running.items(response["id"]).get_json()["data"]]
        assert kinds[-2:] == [words, f"{words}_output"]


def test_the_output_of_a_call_that_nobody_made_is_refused(running: Api) -> None:
    parent = running.ended()["id"]
    before = running.stored()

    answer = running.create(previous_response_id=parent, input=[OUTPUT | {"call_id": "c" * 64}])

    says = error_of(answer, 400, "invalid_value", "input")
    assert says == f"No tool call found for function call output with call_id {'c' * 64}."
    assert running.stored() == before


def test_the_worker_is_given_the_whole_chain(running: Api) -> None:
    first = running.ended("Let me see.", CALL, input="How is it?", instructions="Be brief.", tools=[WEATHER])
    second = running.created(previous_response_id=first["id"], input=[OUTPUT], instructions="Be long.")

    attempt = running.run(second["id"])

    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Bern"}'}}
    assert request.messages(attempt.request.instructions, attempt.context) == [
        {"role": "system", "content": "Be long."},
        {"role": "user", "content": "How is it?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]


def children(running: Api, parent: dict[str, Any]) -> list[str]:
    """A queued child and an ended child."""
    return [
        running.created(input="two", previous_response_id=parent["id"])["id"],
        running.ended("2", input="two", previous_response_id=parent["id"])["id"],
    ]


def test_what_was_built_on_a_response_outlives_it(running: Api) -> None:
    parent = running.ended("1", input="one")
    queued, ended = children(running, parent)
    assert running.delete(parent["id"]).status_code == 200

    attempt = running.run(queued)
    grandchild = running.created(input="three", previous_response_id=ended)

    assert [item["content"][0]["text"] for item in attempt.context] == ["one", "1", "two"]
    assert said(running, grandchild["id"]) == [
        ("user", "one"),
        ("assistant", "1"),
        ("user", "two"),
        ("assistant", "2"),
        ("user", "three"),
    ]
    assert running.get(ended).get_json()["previous_response_id"] == parent["id"]
    answer = running.create(previous_response_id=parent["id"])
    error_of(answer, 400, "previous_response_not_found", "previous_response_id")


def test_an_item_outlives_a_response_that_only_referred_to_it(running: Api) -> None:
    first = running.ended("1", input=[{"id": "kept", "role": "user", "content": "one"}])
    second = running.ended(input=[{"id": "kept"}, {"id": first["output"][0]["id"]}])
    assert running.delete(second["id"]).status_code == 200

    third = running.created(input=[{"id": "kept"}, {"id": first["output"][0]["id"]}])

    assert said(running, third["id"]) == [("user", "one"), ("assistant", "1")]


def test_an_item_of_a_deleted_response_is_gone(running: Api) -> None:
    first = running.ended(input=[{"id": "gone", "role": "user", "content": "one"}])
    (output,) = first["output"]
    running.delete(first["id"])

    for item_id in ("gone", output["id"]):
        error_of(running.create(input=[{"id": item_id}]), 400, "invalid_value", "input[0].id")


def test_what_a_client_names_again_of_the_parents_history_stays_where_it_was(running: Api) -> None:
    first = running.ended(None, CALL, input="one", tools=[WEATHER])
    second = running.ended("2", previous_response_id=first["id"], input=[OUTPUT])
    history = running.items(second["id"]).get_json()["data"]
    call = next(item for item in history if item["type"] == "function_call")

    for again in ([{"id": call["id"]}], [call], [{"id": history[0]["id"]}, call], history):
        third = running.created(previous_response_id=second["id"], input=[*again, {"role": "user", "content": "three"}])
        items = running.items(third["id"]).get_json()["data"]
        assert items[: len(history)] == history
        assert [item["type"] for item in items[len(history) :]] == ["message", "message"]
        assert said(running, third["id"])[-1] == ("user", "three")


def test_two_items_under_one_id_are_both_shown_to_the_model(running: Api) -> None:
    call = {"type": "function_call", "id": "mine", "call_id": "call_1", "name": "weather", "arguments": "{}"}
    first = running.ended("1", input=[call, OUTPUT | {"id": "mine"}, {"id": "m", "role": "user", "content": "a"}])
    second = running.created(
        previous_response_id=first["id"], input=[{"id": "m", "type": "message", "role": "user", "content": "b"}]
    )

    items = running.items(second["id"]).get_json()["data"]
    assert [item["type"] for item in items[:2]] == ["function_call", "function_call_output"]
    assert said(running, second["id"]) == [("user", "a"), ("assistant", "1"), ("user", "b")]
    assert len({item["id"] for item in items}) == len(items)


def test_an_item_is_the_one_of_the_newest_response_that_has_it(running: Api) -> None:
    old = {"id": "same", "type": "message", "role": "user", "content": "old"}
    running.created(input=[old])
    newer = running.created(input=[old | {"content": "new"}, {"id": "other", "role": "user", "content": "x"}])
    running.created(input=[{"id": "third", "role": "user", "content": "y"}, {"id": "other"}])

    found = running.created(input=[{"id": "same"}, {"id": "third"}, {"id": "other"}])

    assert [text for _, text in said(running, found["id"])] == ["new", "y", "x"]
    assert newer["status"] == "queued"


def test_items_of_too_many_responses_at_once_are_refused(running: Api) -> None:
    names = [f"item_{number}" for number in range(101)]
    for name in names:
        running.created(input=[{"id": name, "role": "user", "content": "a"}])

    error_of(running.create(input=[{"id": name} for name in names]), 400, "invalid_value", "input")
    assert len(said(running, running.created(input=[{"id": name} for name in names[:100]])["id"])) == 100
