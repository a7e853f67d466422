"""Concurrent create requests are written in one transaction, and each gets the outcome of its own row."""

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
from tests.harness.engine import claim, create_caller, register_worker, run_concurrently, sql, submit

SELECT_DISPATCHED = "select id from responses where dispatched_at is not null and status = 'queued'"


@pytest.fixture
def rows(core: Core) -> list[Draft]:
    """The rows of three create requests, before they are inserted."""
    catalog = core.live_catalog.current
    client = create_caller(core)
    request = CreateResponse.model_validate({"model": "scripted", "input": "hi", "background": True})
    orders = [
        _Order(
            catalog,
            client,
            request,
            None,
            TierRequest(Tier.DEFAULT),
            Reservation(Tier.DEFAULT),
            context,
            ids.new_id("resp"),
        )
        for context in [core.creation._standalone_context(catalog, client, request) for _ in range(3)]
    ]
    return [row for order in orders if (row := core.creation._plain_row(order)) is not None]


def test_concurrent_creates_dispatch_one_response_per_free_slot(core: Core, settings: Settings) -> None:
    register_worker(core, slots=5)
    client = create_caller(core)

    response_ids = run_concurrently(*[lambda: submit(core, client)] * 32)

    assert sql(settings, "select count(*) from responses where status = 'queued'") == [(32,)]
    dispatched_ids = {row[0] for row in sql(settings, SELECT_DISPATCHED)}
    assert len(dispatched_ids) == 5
    assert dispatched_ids <= set(response_ids)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert valkey.llen(queue_key("default")) == 5
    for response_id in dispatched_ids:
        claim(core, response_id)


def test_a_row_that_postgres_rejects_does_not_affect_the_other_rows(
    core: Core, settings: Settings, rows: list[Draft]
) -> None:
    rows[1] = rows[1]._replace(document="\0")

    first_outcome, error, last_outcome = core.creation._acceptor._write_all(rows)

    assert (first_outcome, last_outcome) == (False, False)
    assert isinstance(error, psycopg.DataError)
    rows_in_database = sql(settings, "select id from responses order by created_at, id")
    assert {row[0] for row in rows_in_database} == {rows[0].id, rows[2].id}


def test_a_row_that_an_earlier_attempt_committed_is_not_inserted_twice(
    core: Core, settings: Settings, rows: list[Draft]
) -> None:
    acceptor = core.creation._acceptor
    assert acceptor.accept(rows[1])

    assert list(acceptor._write_all(rows)) == [False, None, False]
    assert sql(settings, "select count(*) from responses") == [(3,)]
    assert sql(settings, "select count(*) from response_events") == [(3,)]


def test_every_create_of_a_batch_fails_while_postgres_is_unavailable(core: Core, rows: list[Draft]) -> None:
    core.creation._database.close()

    outcomes = core.creation._acceptor._write_all(rows)

    assert all(isinstance(outcome, errors.StoreUnavailable) for outcome in outcomes)


def test_concurrent_over_limit_responses_leave_the_reserve_free(
    core: Core, settings: Settings, rows: list[Draft]
) -> None:
    register_worker(core, slots=5)
    over_limit_rows = [row._replace(tier="over-limit", id=f"resp_{n:048}") for n, row in enumerate(rows * 2)]

    core.creation._acceptor._write_all(over_limit_rows)

    assert len(sql(settings, SELECT_DISPATCHED)) == 4


def test_each_large_create_is_written_in_a_separate_transaction(
    core: Core, settings: Settings, rows: list[Draft]
) -> None:
    small_rows = [rows[0]._replace(id=f"resp_{n:048}") for n in range(12)]
    large_rows = [rows[0]._replace(id=f"resp_1{n:047}", request=" " * 100_000 + "{}") for n in range(12)]
    acceptor = core.creation._acceptor

    run_concurrently(
        *[lambda row=row: acceptor.accept(row) for pair in zip(small_rows, large_rows, strict=True) for row in pair]
    )

    batches_query = "select array_agg(length(request) > 100000) from responses group by xmin::text"
    batches = [sizes for (sizes,) in sql(settings, batches_query)]
    assert sum(map(len, batches)) == 24
    assert [sizes for sizes in batches if True in sizes and len(sizes) > 1] == []
