"""The Postgres connection pool: a backend that does not answer is abandoned, and later statements still succeed."""

import os
import signal
import time

import pytest

from core import errors
from core.database import ANSWER_S, Database


def test_a_postgres_that_hangs_with_its_kernel_alive_is_left_after_its_time(database_url: str) -> None:
    database = Database(database_url, connections=1)
    database.open()
    with pytest.raises(errors.StoreUnavailable, match="no answer within"), database.transaction() as connection:
        (pid,) = connection.execute("select pg_backend_pid()").fetchone() or ()
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            connection.execute("select 1")
        finally:
            waited_s = time.monotonic() - began
            os.kill(pid, signal.SIGCONT)

    assert waited_s < ANSWER_S + 1
    with database.connection() as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    database.close()


@pytest.mark.parametrize(("pooled", "statement_timeout", "prepared"), [(False, "5s", True), (True, "0", False)])
def test_through_a_pooler_nothing_is_left_in_a_session_of_postgres(
    database_url: str, pooled: bool, statement_timeout: str, prepared: bool
) -> None:
    database = Database(database_url, connections=1, pooled=pooled)
    database.open()
    try:
        with database.connection() as connection:
            for _ in range(10):
                connection.execute("select 1 where %s = 1", (1,))
            assert connection.execute("show statement_timeout").fetchone() == (statement_timeout,)
            (kept,) = connection.execute("select count(*) > 0 from pg_prepared_statements").fetchone() or ()
            assert kept == prepared
    finally:
        database.close()
