"""Concurrent creates: they share a transaction, and each gets the outcome of its own row."""

import psycopg
import pytest
import redis

from core import errors, ids
from core.bootstrap import Core
from core.config.tiers import Tier
from core.dispatch.celery_app import KEY_PREFIX, queue_name
from core.quota.admission import Reservation
from core.quota.tier_request import TierRequest
from core.responses.create import _PendingCreate
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
    rows = []
    for _ in range(3):
        pending_create = _PendingCreate(
            catalog,
            client,
            request,
            idempotency_key=None,
            requested_tier=TierRequest(Tier.DEFAULT),
            reservation=Reservation(Tier.DEFAULT),
            standalone_context=core.creation._build_standalone_context(catalog, client, request),
            response_id=ids.new_id("resp"),
        )
        row = core.creation._build_plain_row(pending_create)
        assert row is not None
        rows.append(row)
    return rows


def test_concurrent_creates_dispatch_one_response_per_free_slot(core: Core, settings: Settings) -> None:
    register_worker(core, slots=5)
    client = create_caller(core)

    response_ids = run_concurrently(*[lambda: submit(core, client)] * 32)

    assert sql(settings, "select count(*) from responses where status = 'queued'") == [(32,)]
    dispatched_ids = {response_id for (response_id,) in sql(settings, SELECT_DISPATCHED)}
    assert len(dispatched_ids) == 5
    assert dispatched_ids <= set(response_ids)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert valkey.llen(KEY_PREFIX + queue_name("default")) == 5
    for response_id in dispatched_ids:
        claim(core, response_id)


def test_a_row_that_postgres_rejects_does_not_affect_the_other_rows(
    core: Core, settings: Settings, rows: list[Draft]
) -> None:
    rows[1] = rows[1]._replace(document="\0")

    first_outcome, error, last_outcome = core.creation._acceptor._write_all(rows)

    assert (first_outcome, last_outcome) == (False, False)
    assert isinstance(error, psycopg.DataError)
    stored_ids = {response_id for (response_id,) in sql(settings, "select id from responses")}
    assert stored_ids == {rows[0].id, rows[2].id}


def test_a_row_that_an_earlier_attempt_committed_is_not_inserted_twice(
    core: Core, settings: Settings, rows: list[Draft]
) -> None:
    acceptor = core.creation._acceptor
    assert acceptor.accept(rows[1])

    # False: inserted, but not to be enqueued, because no worker is registered. None: the row already existed.
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

    run_concurrently(*[lambda row=row: acceptor.accept(row) for row in small_rows + large_rows])

    # For each transaction, one boolean per row that it inserted.
    is_large_query = "select array_agg(length(request) > 100000) from responses group by xmin::text"
    transactions = [is_large for (is_large,) in sql(settings, is_large_query)]
    assert sum(map(len, transactions)) == 24
    assert [is_large for is_large in transactions if True in is_large and len(is_large) > 1] == []
