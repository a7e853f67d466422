"""The minimal work of Postgres: committing one row and selecting one row by primary key, over one connection."""

import time
from collections.abc import Callable
from typing import Any

import psycopg


class Statements:
    """A connection and the table that it creates."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True, prepare_threshold=1)
        self._connection.execute("create table if not exists bench_rows (id bigint primary key, document text)")
        self._next = 0
        self._document = "x" * 2000

    def close(self) -> None:
        self._connection.execute("drop table bench_rows")
        self._connection.close()

    def commits_per_s(self, seconds: float) -> float:
        """Insert rows of 2 kB, each in its own transaction; return rows per second."""

        def insert(n: int) -> None:
            self._connection.execute("insert into bench_rows values (%s, %s)", (n, self._document))

        return self._per_s(insert, seconds)

    def selects_per_s(self, seconds: float) -> float:
        """Select rows by primary key; return rows per second."""
        rows = max(1, self._next)

        def select(n: int) -> None:
            found: Any = self._connection.execute("select document from bench_rows where id = %s", (n % rows,))
            found.fetchone()

        return self._per_s(select, seconds, keep=True)

    def _per_s(self, work: Callable[[int], None], seconds: float, *, keep: bool = False) -> float:
        began_at = time.perf_counter()
        first = self._next
        n = first
        while time.perf_counter() - began_at < seconds:
            work(n)
            n += 1
        if not keep:
            self._next = n
        return (n - first) / (time.perf_counter() - began_at)
