"""Claims and ends batched in one transaction: one that fails or is locked does not affect the others."""

import asyncio
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from core import errors
from core.bootstrap import Core
from core.settings import Settings
from tests.harness.engine import COMPLETED, batch, caller, claim, opening, sql, submit, worker
from worker.async_batcher import AsyncBatcher


def test_ends_together_are_written_as_ends_alone_are(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    alone, *others = [claim(core, submit(core, who)) for _ in range(4)]
    assert core.attempts.end(alone, COMPLETED, opening(alone))

    ended = core.attempts.end_batch([(one, COMPLETED, opening(one)) for one in others])

    assert ended == {(one.response_id, 1) for one in others}
    for table, key in (
        ("response_events", "response_id"),
        ("usage_ledger", "response_id"),
        ("attempts", "response_id"),
    ):
        rows = sql(settings, f"select to_jsonb({table}) from {table} order by {key}")
        # The rows are equal except for IDs and times.
        shapes = {_shape(row, key) for (row,) in rows}
        assert len(shapes) * 4 == len(rows), table
    assert sql(settings, "select status, count(*) from responses group by 1") == [("completed", 4)]
    assert sql(settings, "select count(*) from items where id like 'msg_1'") == [(4,)]


def _shape(row: dict, key: str) -> tuple:
    kept = {name: value for name, value in row.items() if not name.endswith("_at") and name != key}
    if "data" in kept:
        kept["data"] = kept["data"].replace(row[key], "").count("\n")
    return tuple(sorted(kept.items(), key=str))


def test_an_end_that_somebody_locks_holds_up_no_other(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    attempts = [claim(core, submit(core, who)) for _ in range(3)]
    locked = attempts[1].response_id
    with psycopg.connect(settings.database_url.get_secret_value()) as other:
        other.execute("select 1 from responses where id = %s for update", (locked,))

        ended = core.attempts.end_batch([(one, COMPLETED, opening(one)) for one in attempts])

    assert {response_id for response_id, _ in ended} == {one.response_id for one in attempts} - {locked}
    assert sql(settings, "select status from responses where id = %s", locked) == [("in_progress",)]


def test_of_ends_together_one_of_which_is_bad_none_is_written(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    good, bad = [claim(core, submit(core, who)) for _ in range(2)]
    gap = batch(bad, [], first_seq=bad.next_seq + 1)
    with pytest.raises(errors.StoreRefused):
        core.attempts.end_batch(
            [(good, COMPLETED, opening(good)), (bad, COMPLETED, replace(gap, lines=opening(bad).lines))]
        )

    assert sql(settings, "select status from responses") == [("in_progress",), ("in_progress",)]
    assert core.attempts.end(good, COMPLETED, opening(good))


def test_claims_together_leave_what_is_locked_ended_or_not_rung(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    free, locked, cancelled, waiting = [submit(core, who) for _ in range(4)]
    core.responses.cancel(who, cancelled)
    sql(settings, "update responses set dispatched_at = null where id = %s", waiting)
    with psycopg.connect(settings.database_url.get_secret_value()) as other:
        other.execute("select 1 from responses where id = %s for update", (locked,))

        claimed = core.attempts.claim_batch([free, locked, cancelled, waiting], "w1")

    assert list(claimed) == [free]
    assert claimed[free].number == 1
    assert sql(settings, "select response_id, worker_id from attempts") == [(free, "w1")]


def test_what_is_asked_for_meanwhile_goes_together_and_each_is_told_its_own() -> None:
    calls: list[list[str]] = []

    def call(some: Sequence[str]) -> dict[Hashable, str]:
        calls.append(list(some))
        if "bad" in some:
            raise ValueError("bad")
        return {one: one.upper() for one in some if one != "locked"}

    async def test(executor: ThreadPoolExecutor) -> None:
        together: AsyncBatcher[str, str] = AsyncBatcher(call, key=str, executor=executor, most=4)
        asked = ["a", "b", "b", "locked", "bad", "c", "d"]
        assert await asyncio.gather(*map(together.ask, asked)) == ["A", "B", None, None, None, None, None]
        assert await together.ask("e") == "E"

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(test(executor))
    assert calls == [["a", "b", "b", "locked"], ["bad", "c", "d"], ["e"]]
