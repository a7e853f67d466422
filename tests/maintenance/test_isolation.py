"""A response or chore that fails in every round of the sweeper does not delay other responses and chores."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest

from cli.sweeper import Sweeper
from core import errors
from core.bootstrap import Core
from core.maintenance.batch_size import BatchSize
from core.settings import Settings
from tests.harness.engine import claim, create_caller, register_worker, sql, submit
from tests.harness.waiting import until

# Terminates the database session that ends the response, as Postgres terminates a session that exceeds a timeout.
BREAKING_TRIGGER = """
create function break_connection() returns trigger language plpgsql as $$
begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$;
create trigger break_connection before update on responses for each row
when (new.id = '{response_id}' and new.finished_at is not null) execute function break_connection()
"""


@contextmanager
def break_connection_at_end(settings: Settings, response_id: str) -> Iterator[None]:
    """Until the block is left, break the connection of every transaction that ends the response."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(BREAKING_TRIGGER.format(response_id=response_id))
        try:
            yield
        finally:
            connection.execute("drop trigger break_connection on responses")
            connection.execute("drop function break_connection()")


def read_status(core: Core, response_id: str) -> str:
    document, _ = core.responses.get(create_caller(core), response_id)
    return str(json.loads(document)["status"])


@pytest.mark.parametrize("is_orphan", [False, True], ids=["overdue", "orphan"])
def test_a_response_whose_end_breaks_the_connection_delays_no_other_response(
    core: Core, settings: Settings, is_orphan: bool
) -> None:
    client = create_caller(core)
    broken_id, other_id = (submit(core, client, background=not is_orphan) for _ in range(2))
    column = "followed_until" if is_orphan else "queued_until"
    sql(settings, f"update responses set {column} = now() - interval '2 s' where id = %s", broken_id)
    sql(settings, f"update responses set {column} = now() - interval '1 s' where id = %s", other_id)
    expected_status = "cancelled" if is_orphan else "failed"

    with break_connection_at_end(settings, broken_id):
        core.sweep.run()

        assert read_status(core, other_id) == expected_status
        assert read_status(core, broken_id) == "queued"
        assert core.sweep.stale_chores(60) == {}

    def is_ended_by_next_round() -> bool:
        core.sweep.run()
        return read_status(core, broken_id) == expected_status

    until(is_ended_by_next_round, timeout_s=20)  # the sweeper tries again after five seconds


def test_a_lost_response_is_requeued_although_another_response_cannot_be_ended(core: Core, settings: Settings) -> None:
    register_worker(core)
    broken_id, lost_id = (submit(core, create_caller(core)) for _ in range(2))
    sql(settings, "update responses set queued_until = now() - interval '1 s' where id = %s", broken_id)
    claim(core, lost_id)
    sql(settings, "update responses set lease_until = now() - interval '1 s' where id = %s", lost_id)

    with break_connection_at_end(settings, broken_id):
        for _ in range(2):
            core.sweep.run()

        assert read_status(core, lost_id) == "queued"


def test_a_chore_that_fails_in_every_round_stops_no_other_chore_and_makes_the_sweeper_unhealthy(
    core: Core, settings: Settings
) -> None:
    overdue_id = submit(core, create_caller(core))
    sql(settings, "update responses set queued_until = now() - interval '1 s'")
    sql(settings, "alter table idempotency_keys rename column created_at to renamed")
    sweeper = Sweeper(core.sweep, settings, unhealthy_after_s=0.5)

    core.sweep.run()

    assert read_status(core, overdue_id) == "failed"

    def problems_after_next_round() -> Sequence[str]:
        core.sweep.run()
        return sweeper.health().problems

    assert any("`prune` has not succeeded" in problem for problem in until(problems_after_next_round))
    assert core.sweep.stale_chores(0.4).keys() == {"prune"}


def raise_if_too_large(size: int) -> None:
    if size > 10:
        raise errors.StoreBusy("A statement took too long.")


def test_the_batch_size_is_halved_after_a_timeout_and_doubled_after_a_success() -> None:
    sizes = []
    batch_size = BatchSize(100)
    for _ in range(12):
        with contextlib.suppress(errors.StoreBusy), batch_size.try_size() as size:
            sizes.append(size)
            raise_if_too_large(size)

    assert sizes == [100, 50, 25, 12, 6, 12, 6, 12, 6, 12, 6, 12]
