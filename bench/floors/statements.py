"""Measures commits of one row and selects of one row by primary key in Postgres, over one connection."""

import time
from collections.abc import Callable
from typing import Any

import psycopg

_DOCUMENT_CHARACTERS = 2000


class Statements:
    """Executes statements on its own table over one connection."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True, prepare_threshold=1)
        self._connection.execute("create table if not exists bench_rows (id bigint primary key, document text)")
        self._next_id = 0
        self._document = "x" * _DOCUMENT_CHARACTERS

    def close(self) -> None:
        """Drop the table and close the connection."""
        self._connection.execute("drop table bench_rows")
        self._connection.close()

    def commits_per_s(self, seconds: float) -> float:
        """Insert rows of 2 kB, each in its own transaction; return rows per second."""

        def insert(n: int) -> None:
            self._connection.execute("insert into bench_rows values (%s, %s)", (n, self._document))

        return self._measure_per_s(insert, seconds, is_insert=True)

    def selects_per_s(self, seconds: float) -> float:
        """Select rows that `commits_per_s` inserted, each by its primary key; return rows per second."""
        row_count = max(1, self._next_id)

        def select(n: int) -> None:
            cursor: Any = self._connection.execute("select document from bench_rows where id = %s", (n % row_count,))
            cursor.fetchone()

        return self._measure_per_s(select, seconds, is_insert=False)

    def _measure_per_s(self, execute: Callable[[int], None], seconds: float, *, is_insert: bool) -> float:
        began_at = time.perf_counter()
        first_id = self._next_id
        n = first_id
        while time.perf_counter() - began_at < seconds:
            execute(n)
            n += 1
        if is_insert:
            self._next_id = n
        return (n - first_id) / (time.perf_counter() - began_at)
