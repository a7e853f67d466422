"""Concurrent creates are written together, and each gets the outcome of its own row."""

import time

import psycopg
import pytest
import redis

from core import errors, ids
from core.bootstrap import Core
from core.config.tiers import Tier
from core.dispatch.celery_message import queue_key
from core.quota.admission import Reservation
from core.quota.tier_request import TierRequest
from core.responses.create import _Order
from core.responses.draft import Draft
from core.settings import Settings
from core.wire.request import CreateResponse
from tests.harness.engine import at_once, caller, claim, sql, submit, worker

RUNG = "select id from responses where dispatched_at is not null and status = 'queued'"


@pytest.fixture
def rows(core: Core) -> list[Draft]:
    """The rows of three creates that are not written yet."""
    who = caller(core)
    request = CreateResponse.model_validate({"model": "scripted", "input": "hi", "background": True})
    orders = [
        _Order(
            who,
            request,
            None,
            TierRequest(Tier.DEFAULT),
            Reservation(Tier.DEFAULT),
            alone,
            ids.new("resp"),
            int(time.time()),
        )
        for alone in [core.creation._alone(who, request) for _ in range(3)]
    ]
    return [row for order in orders if (row := core.creation._plain_row(order)) is not None]


def test_of_creates_at_the_same_time_as_many_are_rung_as_there_are_slots(core: Core, settings: Settings) -> None:
    worker(core, slots=5)
    who = caller(core)

    ids = at_once(*[lambda: submit(core, who)] * 32)

    assert sql(settings, "select count(*) from responses where status = 'queued'") == [(32,)]
    dispatched = {row[0] for row in sql(settings, RUNG)}
    assert len(dispatched) == 5
    assert dispatched <= set(ids)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert valkey.llen(queue_key("default")) == 5
    for one in dispatched:
        claim(core, one)


def test_a_row_that_postgres_does_not_take_fails_alone(core: Core, settings: Settings, rows: list[Draft]) -> None:
    rows[1] = rows[1]._replace(document="\0")

    first, bad, last = core.creation._accepting._write_all(rows)

    assert (first, last) == (False, False)
    assert isinstance(bad, psycopg.DataError)
    written = sql(settings, "select id from responses order by created_at, id")
    assert {row[0] for row in written} == {rows[0].id, rows[2].id}


def test_a_row_whose_first_try_was_committed_unheard_is_not_written_again(
    core: Core, settings: Settings, rows: list[Draft]
) -> None:
    accepting = core.creation._accepting
    assert accepting.accept(rows[1])

    assert list(accepting._write_all(rows)) == [False, None, False]
    assert sql(settings, "select count(*) from responses") == [(3,)]
    assert sql(settings, "select count(*) from response_events") == [(3,)]


def test_all_who_ask_while_postgres_is_away_are_told_so(core: Core, rows: list[Draft]) -> None:
    core.creation._database.close()

    outcomes = core.creation._accepting._write_all(rows)

    assert all(isinstance(one, errors.StoreUnavailable) for one in outcomes)


def test_over_limit_responses_at_the_same_time_leave_the_reserve_free(
    core: Core, settings: Settings, rows: list[Draft]
) -> None:
    worker(core, slots=5)
    mine = [row._replace(tier="over-limit", id=f"resp_{n:048}") for n, row in enumerate(rows * 2)]

    core.creation._accepting._write_all(mine)

    assert len(sql(settings, RUNG)) == 4


def test_large_creates_are_written_in_transactions_of_their_own(
    core: Core, settings: Settings, rows: list[Draft]
) -> None:
    small = [rows[0]._replace(id=f"resp_{n:048}") for n in range(12)]
    large = [rows[0]._replace(id=f"resp_1{n:047}", request=" " * 100_000 + "{}") for n in range(12)]
    accepting = core.creation._accepting

    at_once(*[lambda row=row: accepting.accept(row) for pair in zip(small, large, strict=True) for row in pair])

    together = "select array_agg(length(request) > 100000) from responses group by xmin::text"
    batches = [sizes for (sizes,) in sql(settings, together)]
    assert sum(map(len, batches)) == 24
    assert [sizes for sizes in batches if True in sizes and len(sizes) > 1] == []
