"""Postgres rejects statements that would change an ended response, its events or its usage, whatever their origin."""

from dataclasses import replace

import psycopg
import pytest

from core.bootstrap import Core
from core.runs import events_sql
from core.runs.ends_sql import AttemptUsage
from core.settings import Settings
from core.tables.responses import responses
from tests.harness.engine import COMPLETED, claim, create_caller, opening_batch, register_worker, sql, submit

# Changes of the row of an ended response, as in the clause `set` of an UPDATE.
REJECTED_ASSIGNMENTS = {
    "status = 'queued', finished_at = null",
    "status = 'failed'",
    "project_id = 'proj_other'",
    "key_id = 'key_other'",
    "background = not background",
    "model = 'other'",
    "lane = 'other'",
    "tier = 'flex'",
    "attempt = attempt + 1",
    "failures = 1",
    "waits = 1",
    "worker_id = 'other', lease_until = now(), run_until = now()",
    "run_s = 1",
    "queued_until = now()",
    "ends_by = now()",
    "available_at = now()",
    "dispatched_at = now()",
    'metadata = \'{"a": "b"}\'',
    "request = '{}'",
    "document = '{}'",
    "reserved_requests = 5",
    "reserved_tokens = 5",
    "requeued_from = 'resp_other'",
    "created_at = now() + interval '1 s'",
    "started_at = now() + interval '1 s'",
    "finished_at = now() + interval '1 s'",
    "id = 'resp_other'",
}
ERRORS_BY_STATEMENT = {
    **{f"update responses set {change}": "cannot change" for change in REJECTED_ASSIGNMENTS},
    "update response_events set data = '{}'": "events cannot change",
    "update response_events set first_seq = first_seq + 1": "events cannot change",
    **{
        f"update usage_ledger set {change}": "usage of response .* cannot change"
        for change in (
            "project_id = 'proj_other'",
            "key_id = 'key_other'",
            "model = 'other'",
            "tier = 'flex'",
            "status = 'failed'",
            "created_at = created_at - interval '1 s'",
            "ended_at = ended_at - interval '1 s'",
            "day = day - 1",
            "attempts = attempts + 1",
            "reserved_tokens = reserved_tokens + 1",
            "input_tokens = input_tokens - 1",
            "output_tokens = 0",
            "response_id = 'resp_other'",
        )
    },
}


def read_tables(settings: Settings) -> list[object]:
    return [
        sql(settings, f"select to_jsonb(t) from {table} t")
        for table in ("responses", "response_events", "usage_ledger")
    ]


def test_every_change_of_an_ended_response_is_rejected(core: Core, settings: Settings) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    usage = AttemptUsage(input_tokens=5, output_tokens=7, estimated=False)
    assert core.attempts.end(attempt, replace(COMPLETED, attempt_usage=usage), opening_batch(attempt))
    rows_before = read_tables(settings)

    for statement, message in ERRORS_BY_STATEMENT.items():
        with pytest.raises(psycopg.errors.CheckViolation, match=message):
            sql(settings, statement)

    assert read_tables(settings) == rows_before


def test_every_column_of_a_response_is_protected_after_its_end() -> None:
    assignments = [
        assignment for change in REJECTED_ASSIGNMENTS for assignment in change.split(", ") if " = " in assignment
    ]
    columns = {assignment.partition(" = ")[0] for assignment in assignments}

    assert {column.name for column in responses.c} - columns == {"events_n", "followed_until", "stored"}


def test_late_usage_and_the_deletion_of_the_events_and_of_the_response_are_accepted_after_an_end(
    core: Core, settings: Settings
) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempt = claim(core, submit(core, owner))
    core.responses.cancel(owner, attempt.response_id)
    sql(settings, "update responses set followed_until = now()")

    core.attempts.record_usage(attempt, AttemptUsage(input_tokens=1, output_tokens=2, estimated=True))
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        assert events_sql.delete_logs(connection, retention_s=-1, limit=10) == 1

    assert sql(settings, "select input_tokens, output_tokens, usage_estimated from usage_ledger") == [(1, 2, True)]
    assert sql(settings, "select events_n > 0 from responses") == [(True,)]
    core.responses.delete(owner, attempt.response_id)
    assert sql(settings, "select count(*) from responses") == [(0,)]
