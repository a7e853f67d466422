"""Batches of claims and of ends that share a transaction, and the batcher that forms them."""

import asyncio
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from core import errors
from core.bootstrap import Core
from core.settings import Settings
from tests.harness.engine import COMPLETED, batch, claim, create_caller, opening_batch, register_worker, sql, submit
from worker.async_batcher import AsyncBatcher


def test_a_batch_of_ends_writes_the_same_rows_as_separate_ends(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    separate_attempt, *attempts = [claim(core, submit(core, owner)) for _ in range(4)]
    assert core.attempts.end(separate_attempt, COMPLETED, opening_batch(separate_attempt))

    fences = core.attempts.end_batch([(attempt, COMPLETED, opening_batch(attempt)) for attempt in attempts])

    assert fences == {(attempt.response_id, 1) for attempt in attempts}
    for table in ("response_events", "usage_ledger", "attempts"):
        rows = sql(settings, f"select to_jsonb({table}) from {table}")
        # The rows of the four ends are equal except for IDs and times.
        distinct_values = {_comparable_values(row) for (row,) in rows}
        assert len(distinct_values) * 4 == len(rows), table
    assert sql(settings, "select status, count(*) from responses group by 1") == [("completed", 4)]
    assert sql(settings, "select count(*) from items where id = 'msg_1'") == [(4,)]


def _comparable_values(row: dict) -> tuple:
    """The values of a row without IDs and times; of an event batch, only the number of events."""
    values = {name: value for name, value in row.items() if not name.endswith("_at") and name != "response_id"}
    if "data" in values:
        values["data"] = values["data"].count("\n")
    return tuple(sorted(values.items(), key=str))


def test_a_batch_of_ends_skips_a_locked_response(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempts = [claim(core, submit(core, owner)) for _ in range(3)]
    locked_id = attempts[1].response_id
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("select 1 from responses where id = %s for update", (locked_id,))

        fences = core.attempts.end_batch([(attempt, COMPLETED, opening_batch(attempt)) for attempt in attempts])

    assert {response_id for response_id, _ in fences} == {attempt.response_id for attempt in attempts} - {locked_id}
    assert sql(settings, "select status from responses where id = %s", locked_id) == [("in_progress",)]


def test_a_batch_with_an_invalid_end_writes_nothing(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    valid_attempt, invalid_attempt = [claim(core, submit(core, owner)) for _ in range(2)]
    gap = batch(invalid_attempt, [], first_seq=invalid_attempt.next_seq + 1)
    with pytest.raises(errors.StoreDataError):
        core.attempts.end_batch(
            [
                (valid_attempt, COMPLETED, opening_batch(valid_attempt)),
                (invalid_attempt, COMPLETED, replace(gap, lines=opening_batch(invalid_attempt).lines)),
            ]
        )

    assert sql(settings, "select status from responses") == [("in_progress",), ("in_progress",)]
    assert core.attempts.end(valid_attempt, COMPLETED, opening_batch(valid_attempt))


def test_a_batch_of_claims_skips_locked_ended_and_undispatched_responses(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    claimable_id, locked_id, cancelled_id, undispatched_id = [submit(core, owner) for _ in range(4)]
    core.responses.cancel(owner, cancelled_id)
    sql(settings, "update responses set dispatched_at = null where id = %s", undispatched_id)
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        connection.execute("select 1 from responses where id = %s for update", (locked_id,))

        attempts = core.attempts.claim_batch([claimable_id, locked_id, cancelled_id, undispatched_id], "w1")

    assert list(attempts) == [claimable_id]
    assert attempts[claimable_id].number == 1
    assert sql(settings, "select response_id, worker_id from attempts") == [(claimable_id, "w1")]


def test_requests_during_a_call_form_the_next_batch_and_each_gets_its_result() -> None:
    calls: list[list[str]] = []

    def call(batch: Sequence[str]) -> dict[Hashable, str]:
        calls.append(list(batch))
        if "bad" in batch:
            raise ValueError("bad")
        return {request: request.upper() for request in batch if request != "locked"}

    async def send_requests(executor: ThreadPoolExecutor) -> None:
        batcher: AsyncBatcher[str, str] = AsyncBatcher(call, key=str, executor=executor, max_requests=4)
        requests = ["a", "b", "b", "locked", "bad", "c", "d"]
        assert await asyncio.gather(*map(batcher.submit, requests)) == ["A", "B", None, None, None, None, None]
        assert await batcher.submit("e") == "E"

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(send_requests(executor))
    assert calls == [["a", "b", "b", "locked"], ["bad", "c", "d"], ["e"]]
