"""The pool of connections to Postgres: what does not answer is left, and what was asked is answered all the same."""

import os
import signal
import time

import pytest

from core import errors
from core.db import ANSWER_S, Database


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
