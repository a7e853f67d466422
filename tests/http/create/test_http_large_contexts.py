"""Large bodies, and requests that continue or list large contexts, are processed a few at a time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from core.bootstrap import open_core
from core.context.large_fields import MAX_ROW_CHARACTERS
from core.responses import large_requests
from core.responses.large_contexts import MAX_READERS, MAX_WAITERS
from core.settings import Settings
from tests.harness.waiting import until
from tests.http.http_api import Api, check_error


@contextmanager
def all_slots_taken(api: Api) -> Iterator[ExitStack]:
    """Take all slots; they are released at the end of the block, or when the stack is closed."""
    with ExitStack() as slots:
        for _ in range(MAX_READERS):
            slots.enter_context(api.core.creation._large_contexts.acquire_slot())
        yield slots


def wait_until_one_waits(api: Api) -> None:
    until(lambda: api.core.creation._large_contexts._waiters._value == MAX_WAITERS - 1)


@pytest.mark.parametrize("is_chained", [True, False])
def test_a_short_request_waits_for_a_slot_to_inherit_a_large_context(worker_api: Api, is_chained: bool) -> None:
    def inherit(response: dict[str, Any]) -> dict[str, Any]:
        if is_chained:
            return {"previous_response_id": response["id"]}
        (item,) = worker_api.list_input_items(response["id"]).get_json()["data"]
        return {"input": [{"type": "item_reference", "id": item["id"]}]}

    large = inherit(worker_api.create_ended_response(input="a" * (MAX_ROW_CHARACTERS + 1)))
    small = inherit(worker_api.create_ended_response())
    with all_slots_taken(worker_api) as slots, ThreadPoolExecutor(1) as threads:
        future = threads.submit(worker_api.create_response, **large)
        wait_until_one_waits(worker_api)
        assert worker_api.create_response(**small)["status"] == "queued"
        assert not future.done()
        slots.close()
        created = future.result()

    items = worker_api.list_input_items(created["id"]).get_json()["data"]
    assert max(len(item["content"][0]["text"]) for item in items) > MAX_ROW_CHARACTERS


def test_a_list_of_the_items_of_a_large_context_waits_for_a_slot(worker_api: Api) -> None:
    large = worker_api.create_response(input="a" * (MAX_ROW_CHARACTERS + 1))
    small = worker_api.create_response()

    with all_slots_taken(worker_api) as slots, ThreadPoolExecutor(1) as threads:
        future = threads.submit(worker_api.list_input_items, large["id"])
        wait_until_one_waits(worker_api)
        assert worker_api.list_input_items(small["id"]).status_code == 200
        assert not future.done()
        slots.close()

        assert len(future.result().get_json()["data"]) == 1


def test_large_bodies_that_wait_for_capacity_leave_threads_for_polls(settings: Settings) -> None:
    body = {"instructions": "a" * large_requests.LARGE_BYTES}
    with (
        open_core(settings.model_copy(update={"api_threads": 2}), connections=4) as core,
        ThreadPoolExecutor(3) as threads,
    ):
        api = Api(core)  # one wait slot and one upload slot
        with core.large_requests.reserve_bytes(large_requests.TOTAL_BYTES):
            futures = [threads.submit(api.post_response, **body) for _ in range(3)]
            until(lambda: any(future.done() for future in futures))
            (rejected,) = [future for future in futures if future.done()]
            check_error(rejected.result(), 503, "server_busy", error_type="server_error")

        futures.remove(rejected)
        assert [future.result().status_code for future in futures] == [200, 200]
