"""Large fields of a request are stored once, apart from the row and the events, and every answer contains them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from core import jsonio
from core.bootstrap import POLL_THREADS, open_core
from core.config.tiers import Tier
from core.context import large_fields
from core.database import connect
from core.responses import large_requests
from core.runs import events_sql
from core.settings import Settings
from core.wire import response
from core.wire.request import CreateResponse
from tests.harness.engine import claim, register_worker, run_concurrently
from tests.harness.waiting import until
from tests.http.http_api import VALID_REQUEST, Api, check_document, check_error
from tests.http.prompts import create_prompt
from tests.http.read.test_http_streams import parse_stream
from tests.http.waiting_requests import waiting_request
from tests.stream_checker import check_complete_log
from worker.models.protocol import ToolCall

LENGTH = large_fields.MAX_ROW_CHARACTERS + 1
MAX_ROW_BYTES = 64 * 1024


def long_text(length: int = LENGTH) -> str:
    """A text that Postgres cannot compress much, with characters of several bytes."""
    return "".join(f"{number}€ " for number in range(length // 4))[:length]


def input_message(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": [{"type": "input_text", "text": text}]}


TEXT = long_text()
SCHEMA = {"type": "string", "enum": [f"{TEXT[: LENGTH // 4]}{number}" for number in range(5)]}
# By name: the fields of a request, with a large field among them, and the maximum number of stored copies of that field.
# A schema has two copies: as it is in the request, and with defaults as it is in the response object.
LARGE_REQUESTS: dict[str, tuple[dict[str, Any], int]] = {
    "instructions": ({"instructions": TEXT}, 1),
    "input": ({"input": TEXT}, 1),
    "message": ({"input": [input_message("hi"), input_message(TEXT)]}, 1),
    "many messages": ({"input": [input_message(f"{number} {TEXT[:300]}") for number in range(1000)]}, 1),
    "tool output": (
        {
            "input": [
                {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": TEXT},
                {"type": "function_call_output", "call_id": "call_1", "output": TEXT},
            ]
        },
        1,
    ),
    "description of a tool": (
        {"tools": [{"type": "function", "name": "f", "description": TEXT, "parameters": {}, "strict": False}]},
        1,
    ),
    "schema of a tool": (
        {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": SCHEMA}}}]},
        2,
    ),
    "hosted tool": ({"tools": [{"type": "mcp", "server_label": "a", "server_url": TEXT}]}, 1),
    "tool choice": (
        {
            "tools": [{"type": "mcp", "server_label": "a"}],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "x": TEXT}]},
        },
        1,
    ),
    "format": ({"text": {"format": {"type": "json_schema", "name": "f", "schema": {"properties": {"a": SCHEMA}}}}}, 2),
    "reasoning": ({"reasoning": {"effort": "low", "unknown": TEXT}}, 1),
}
with_large_requests = pytest.mark.parametrize(("changes", "copies"), LARGE_REQUESTS.values(), ids=LARGE_REQUESTS.keys())


@pytest.fixture(autouse=True)
def delete_responses(worker_api: Api) -> Iterator[None]:
    """Delete all responses after the test, and check that the sweeper then deletes all contents."""
    yield
    worker_api.sql("delete from responses")
    worker_api.core.sweep.run()
    assert worker_api.sql("select count(*) from contents") == [(0,)]


def expected_document(response_id: str, created_at: int, changes: dict[str, Any]) -> bytes:
    """The object of a queued response, as it is without separate storage."""
    request = CreateResponse.model_validate(VALID_REQUEST | changes)
    return jsonio.dumps(response.new_document(response_id, request, Tier.DEFAULT, created_at)).encode()


def stored_bytes(api: Api) -> tuple[int, int]:
    """The bytes of all rows of responses and events, and of all contents."""
    ((rows,),) = api.sql(
        "select coalesce(sum(octet_length(request) + octet_length(document)), 0)"
        " + (select sum(octet_length(data)) from response_events) from responses"
    )
    ((contents,),) = api.sql("select coalesce(sum(octet_length(data)), 0) from contents")
    return int(rows), int(contents)


@with_large_requests
def test_a_large_field_is_neither_in_the_row_nor_in_the_events(
    worker_api: Api, changes: dict[str, Any], copies: int
) -> None:
    worker_api.run_response(worker_api.create_response(**changes)["id"])

    row_bytes, content_bytes = stored_bytes(worker_api)
    assert row_bytes < MAX_ROW_BYTES
    text_bytes = len(jsonio.dumps(changes).encode())
    assert text_bytes * 0.95 < content_bytes < copies * text_bytes * 1.05 + 200_000  # items have IDs and statuses


@with_large_requests
def test_polls_and_streams_contain_the_large_fields_unchanged(
    worker_api: Api, changes: dict[str, Any], copies: int
) -> None:
    answer = worker_api.post_response(**changes)
    created = answer.get_json()

    assert answer.data == expected_document(created["id"], created["created_at"], changes)
    assert worker_api.get_response(created["id"]).data == answer.data

    worker_api.run_response(created["id"], "Hello")
    final = worker_api.get_response(created["id"])
    end_fields = {name: final.get_json()[name] for name in ("status", "completed_at", "output", "usage")}
    assert final.data == jsonio.dumps(jsonio.loads(answer.data) | end_fields).encode()
    stream = worker_api.get_response(created["id"], query_string={"stream": "true"}).data
    events, is_complete = parse_stream(stream)
    assert is_complete
    assert events[0]["response"] == created
    assert events[-1]["response"] == final.get_json()
    assert b'data: {"type":"response.created","sequence_number":0,"response":' + answer.data in stream


@with_large_requests
def test_a_worker_receives_the_large_fields_unchanged(worker_api: Api, changes: dict[str, Any], copies: int) -> None:
    created = worker_api.create_response(**changes)

    attempt = worker_api.core.attempts.load_large_fields(claim(worker_api.core, created["id"]))

    assert attempt.request == CreateResponse.model_validate(VALID_REQUEST | changes | {"input": None})
    items = worker_api.list_input_items(created["id"]).get_json()["data"]
    assert attempt.context[: len(items)] == items
    if isinstance(changes.get("input"), str):
        assert items[0]["content"] == [{"type": "input_text", "text": changes["input"]}]


def test_a_request_that_is_not_large_is_stored_in_its_row(worker_api: Api) -> None:
    worker_api.create_ended_response(instructions="a" * (large_fields.MAX_ROW_CHARACTERS - 2000))

    assert worker_api.sql("select count(*) from contents") == [(0,)]


def test_values_of_prompt_variables_are_stored_once(worker_api: Api) -> None:
    text = TEXT[: LENGTH * 3 // 4]  # only the echoed prompt makes the request a long one
    template = {"instructions": "Say {{word}}.", "variables": {"word": {}}}
    prompt = {"id": create_prompt(worker_api, template)["id"], "variables": {"word": text}}

    created = worker_api.create_ended_response(prompt=prompt)

    assert created["instructions"] == f"Say {text}."
    assert created["prompt"]["variables"] == {"word": text}
    row_bytes, content_bytes = stored_bytes(worker_api)
    assert row_bytes < MAX_ROW_BYTES
    assert content_bytes < 2.1 * len(text.encode())  # the value, and the instructions that contain it


def test_values_that_look_like_references_are_ordinary_values(worker_api: Api) -> None:
    reference = {"$contents": {"instructions": ["0" * 64]}}
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", **reference}, "strict": False}
    changes = {"instructions": TEXT, "tools": [tool], "metadata": {"$contents": "x"}, **reference}

    answer = worker_api.post_response(**changes)

    created = answer.get_json()
    assert answer.data == expected_document(created["id"], created["created_at"], changes)
    assert worker_api.get_response(created["id"]).data == answer.data
    assert created["tools"][0]["parameters"] == tool["parameters"]


def test_a_chain_stores_only_the_new_part_of_a_large_context(worker_api: Api) -> None:
    text = long_text(2 * large_fields.CHUNK_CHARACTERS)
    parent = worker_api.create_ended_response(input=text, instructions=TEXT)
    _, parent_bytes = stored_bytes(worker_api)

    child = worker_api.create_ended_response(previous_response_id=parent["id"], input="and?", instructions=TEXT)

    row_bytes, all_bytes = stored_bytes(worker_api)
    assert row_bytes < MAX_ROW_BYTES
    assert all_bytes - parent_bytes < 4 * large_fields.CHUNK_CHARACTERS
    worker_api.delete_response(parent["id"])
    worker_api.core.sweep.run()
    items = worker_api.list_input_items(child["id"]).get_json()["data"]
    assert [item["content"][0]["text"] for item in items] == [text, "Hello", "and?"]
    assert worker_api.get_response(child["id"]).get_json() == child


def test_an_item_reference_to_a_large_item_is_resolved(worker_api: Api) -> None:
    owner_id = worker_api.create_ended_response(input=TEXT)["id"]
    item = worker_api.list_input_items(owner_id).get_json()["data"][0]

    created = worker_api.create_response(input=[{"type": "item_reference", "id": item["id"]}, input_message("and?")])

    worker_api.delete_response(owner_id)
    worker_api.core.sweep.run()
    assert worker_api.list_input_items(created["id"]).get_json()["data"][0] == item


def test_a_repeated_request_with_large_fields_returns_the_first_response(worker_api: Api) -> None:
    headers = {"Idempotency-Key": "large"}

    first, second = (worker_api.post_response(headers=headers, instructions=TEXT) for _ in range(2))

    assert first.data == second.data
    assert first.get_json()["instructions"] == TEXT


def test_concurrent_requests_with_the_same_large_field_are_all_accepted(worker_api: Api) -> None:
    documents = run_concurrently(*[lambda: worker_api.create_response(instructions=TEXT, user="same")] * 8)

    assert len({document["id"] for document in documents}) == 8
    assert {document["instructions"] for document in documents} == {TEXT}
    _, content_bytes = stored_bytes(worker_api)
    assert content_bytes < 1.05 * len(TEXT.encode())


def test_a_cancelled_response_and_a_list_contain_the_large_fields(worker_api: Api) -> None:
    queued_id, running_id = (worker_api.create_response(instructions=TEXT)["id"] for _ in range(2))
    claim(worker_api.core, running_id)
    assert worker_api.get_response(running_id).get_json()["instructions"] == TEXT

    cancelled = worker_api.cancel_response(queued_id)

    assert cancelled.get_json()["instructions"] == TEXT
    assert cancelled.get_json()["status"] == "cancelled"
    assert worker_api.get_response(queued_id).data == cancelled.data == worker_api.cancel_response(queued_id).data
    entries = worker_api.list_responses(order="asc").get_json()["data"]
    assert [(entry["status"], entry["instructions"]) for entry in entries] == [
        ("cancelled", TEXT),
        ("in_progress", TEXT),
    ]


def test_a_list_of_large_responses_is_paged_by_size(worker_api: Api) -> None:
    text = "a" * 10_000_000
    ids = [worker_api.create_response(instructions=text)["id"] for _ in range(5)]

    first_page = worker_api.list_responses(order="asc").get_json()
    second_page = worker_api.list_responses(order="asc", after=first_page["last_id"]).get_json()

    assert [entry["id"] for entry in first_page["data"]] == ids[:4]
    assert first_page["has_more"] is True
    assert [entry["id"] for entry in second_page["data"]] == ids[4:]


@pytest.mark.parametrize("is_pruned", [False, True], ids=["stored", "rebuilt"])
def test_a_stream_with_large_fields_can_be_resumed_at_any_event(worker_api: Api, is_pruned: bool) -> None:
    call = ToolCall("call_1", "f", "{}")
    document = worker_api.create_ended_response("Hello", call, instructions=TEXT)
    if is_pruned:
        with connect(worker_api._database_url) as connection:
            events_sql.delete_logs(connection, -1, 100)
        assert worker_api.sql("select count(*) from response_events") == [(0,)]

    events, _ = parse_stream(worker_api.get_response(document["id"], query_string={"stream": "true"}).data)

    check_complete_log(events, document)
    for after in (0, 1, 2, len(events) - 2):
        answer = worker_api.get_response(document["id"], query_string={"stream": "true", "starting_after": after})
        resumed_events, is_complete = parse_stream(answer.data)
        assert is_complete
        assert resumed_events[-1] == events[-1]
        assert len(resumed_events) == len(events) - after - 1
    types_with_text = [event["type"] for event in events if event.get("response", {}).get("instructions") == TEXT]
    assert types_with_text == ["response.created", "response.queued", "response.in_progress", "response.completed"]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_foreground_response_that_is_not_stored_contains_the_large_fields(worker_api: Api, is_streamed: bool) -> None:
    def run_created_response() -> None:
        ((response_id,),) = until(lambda: worker_api.sql("select id from responses where finished_at is null"))
        worker_api.run_response(response_id)

    answer, _ = run_concurrently(
        lambda: worker_api.post_response(background=False, store=False, stream=is_streamed, instructions=TEXT),
        run_created_response,
    )

    document = parse_stream(answer.data)[0][-1]["response"] if is_streamed else answer.get_json()
    answer.close()
    assert document["instructions"] == TEXT
    assert document["status"] == "completed"
    until(lambda: worker_api.sql("select count(*) from responses") == [(0,)])
    worker_api.core.sweep.run()
    assert worker_api.sql("select count(*) from contents") == [(0,)]


@contextmanager
def deletion_before_contents_are_read(api: Api, response_id: str) -> Iterator[None]:
    """Delete a response as soon as a request that begins in the block has read its row, but not its contents."""
    blocked_request = (
        "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        " and query like '%from response_contents%'"
    )
    with connect(api.core.settings.database_url.get_secret_value()) as connection, connection.transaction():
        connection.execute("lock table contents in access exclusive mode")
        yield
        until(lambda: api.sql(blocked_request))
        connection.execute("delete from responses where id = %s", (response_id,))


def test_a_list_that_begins_before_a_deletion_contains_the_response_completely(worker_api: Api) -> None:
    kept = worker_api.create_response()
    deleted = worker_api.create_response(instructions=TEXT)

    with ThreadPoolExecutor(1) as threads, deletion_before_contents_are_read(worker_api, deleted["id"]):
        future = threads.submit(worker_api.send_request, "GET", "/v1/responses")

    assert future.result().get_json()["data"] == [deleted, kept]


def test_a_foreground_request_whose_ended_response_is_deleted_releases_its_wait_slot(settings: Settings) -> None:
    with open_core(settings.model_copy(update={"api_threads": POLL_THREADS + 1}), connections=4) as core:
        register_worker(core)
        api = Api(core)
        with (
            waiting_request(api, instructions=TEXT) as (deleted_id, deleted_future),
            deletion_before_contents_are_read(api, deleted_id),
        ):
            api.run_response(deleted_id)
        with waiting_request(api) as (response_id, future):
            api.run_response(response_id)

    check_error(deleted_future.result(), 404, None, "response_id")
    check_document(future.result(), "completed")


def test_a_requeued_response_has_the_large_fields_of_the_old_one(worker_api: Api) -> None:
    old = worker_api.create_response(instructions=TEXT, input=TEXT)
    worker_api.cancel_response(old["id"])

    new_id = worker_api.core.operations.requeue(old["id"])

    worker_api.delete_response(old["id"])
    worker_api.core.sweep.run()
    new = worker_api.get_response(new_id).get_json()
    assert new == old | {"id": new_id, "created_at": new["created_at"]}
    items = worker_api.list_input_items(new_id).get_json()["data"]
    assert items[0]["content"][0]["text"] == TEXT
    created = worker_api.create_response(input=[{"type": "item_reference", "id": items[0]["id"]}])
    assert worker_api.list_input_items(created["id"]).get_json()["data"] == items


def test_a_large_body_waits_until_there_is_capacity_and_a_small_one_does_not(worker_api: Api) -> None:
    requests = worker_api.core.large_requests
    with ThreadPoolExecutor(1) as threads, requests.reserve_bytes(large_requests.TOTAL_BYTES) as reservation:
        future = threads.submit(worker_api.post_response, instructions="a" * large_requests.LARGE_BYTES)
        until(requests._queue_lock.locked)
        assert worker_api.post_response().status_code == 200
        assert not future.done()
        reservation.close()
        assert future.result().status_code == 200


def test_a_large_foreground_request_occupies_no_capacity_while_it_waits(worker_api: Api) -> None:
    with waiting_request(worker_api, instructions="a" * large_requests.LARGE_BYTES) as (response_id, future):
        worker_api.core.large_requests.reserve_bytes(large_requests.TOTAL_BYTES).close()
        assert not future.done()
        worker_api.run_response(response_id)
    assert future.result().status_code == 200


def test_a_large_body_without_capacity_in_time_gets_503(worker_api: Api) -> None:
    requests = large_requests.LargeRequests(timeout_s=0.01)
    api = Api(replace(worker_api.core, large_requests=requests))
    with requests.reserve_bytes(large_requests.TOTAL_BYTES):
        answer = api.post_response(instructions="a" * large_requests.LARGE_BYTES)

    check_error(answer, 503, "server_busy", error_type="server_error")
    assert int(answer.headers["Retry-After"]) > 0
