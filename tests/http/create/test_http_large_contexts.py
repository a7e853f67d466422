"""Requests that inherit large contexts are stored a few at a time, however short they are."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from core.context.large_fields import MAX_ROW_CHARACTERS
from core.responses.large_contexts import MAX_TURNS, MAX_WAITERS
from tests.harness.waiting import until
from tests.http.http_api import Api


@pytest.mark.parametrize("is_chained", [True, False])
def test_a_short_request_waits_for_its_turn_to_inherit_a_large_context(worker_api: Api, is_chained: bool) -> None:
    def inherit(response: dict[str, Any]) -> dict[str, Any]:
        if is_chained:
            return {"previous_response_id": response["id"]}
        (item,) = worker_api.list_input_items(response["id"]).get_json()["data"]
        return {"input": [{"type": "item_reference", "id": item["id"]}]}

    large = inherit(worker_api.create_ended_response(input="a" * (MAX_ROW_CHARACTERS + 1)))
    small = inherit(worker_api.create_ended_response())
    contexts = worker_api.core.creation._large_contexts
    with ThreadPoolExecutor(1) as threads, ExitStack() as turns:
        for _ in range(MAX_TURNS):
            turns.enter_context(contexts.turn())
        future = threads.submit(worker_api.create_response, **large)
        until(lambda: contexts._waiters._value == MAX_WAITERS - 1)
        assert worker_api.create_response(**small)["status"] == "queued"
        assert not future.done()
        turns.close()

        created = future.result()

    items = worker_api.list_input_items(created["id"]).get_json()["data"]
    assert max(len(item["content"][0]["text"]) for item in items) > MAX_ROW_CHARACTERS
