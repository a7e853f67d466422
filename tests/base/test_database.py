"""The Postgres connection pool: a wait for a hanging server ends, and no session state is used behind a pooler."""

import os
import signal
import time

import pytest

from core import errors
from core.database import ANSWER_TIMEOUT_S, Database


def test_a_wait_for_a_frozen_postgres_ends_after_the_answer_timeout(database_url: str) -> None:
    database = Database(database_url, connections=1)
    database.open()
    with pytest.raises(errors.StoreUnavailable, match="no answer within"), database.transaction() as connection:
        (pid,) = connection.execute("select pg_backend_pid()").fetchone() or ()
        os.kill(pid, signal.SIGSTOP)
        started_at = time.monotonic()
        try:
            connection.execute("select 1")
        finally:
            waited_s = time.monotonic() - started_at
            os.kill(pid, signal.SIGCONT)

    assert waited_s < ANSWER_TIMEOUT_S + 1
    with database.connection() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    database.close()


@pytest.mark.parametrize(
    ("pooled", "statement_timeout", "has_prepared_statements"), [(False, "5s", True), (True, "0", False)]
)
def test_a_statement_timeout_and_prepared_statements_are_used_only_without_a_pooler(
    database_url: str, pooled: bool, statement_timeout: str, has_prepared_statements: bool
) -> None:
    database = Database(database_url, connections=1, pooled=pooled)
    database.open()
    try:
        with database.connection() as connection:
            for _ in range(10):
                connection.execute("select 1 where %s = 1", (1,))
            assert connection.execute("show statement_timeout").fetchone() == (statement_timeout,)
            row = connection.execute("select count(*) > 0 from pg_prepared_statements").fetchone()
            assert row == (has_prepared_statements,)
    finally:
        database.close()
