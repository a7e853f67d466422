"""What Postgres did for a load: transactions that wrote, bytes of WAL, statements.

The views `pg_stat_database` and `pg_stat_wal` are up to ten seconds late for sessions that are idle; the next
transaction ID and the end of the WAL are exact at once. The packaged Postgres has no `pg_stat_statements`, so
statements are counted in its log, which has each of them for as long as it is asked to.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.whole.system import System
from bench.whole.waiting import until

_STATEMENT = re.compile(rb" LOG:  (?:statement|execute [^:]+|fastpath function call): ")


@dataclass(frozen=True)
class Written:
    """Counters of the server.

    Args:
        transactions: that have been given an ID, which is when they first write.
        wal_bytes: position of the end of the WAL.
    """

    transactions: int
    wal_bytes: int

    def since(self, before: "Written") -> "Written":
        """What came on top of `before`."""
        return Written(self.transactions - before.transactions, self.wal_bytes - before.wal_bytes)


def written(system: System) -> Written:
    """The counters now."""
    ((transactions, wal_bytes),) = system.sql(
        "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint,"
        " (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
    )
    return Written(transactions, wal_bytes)


@contextmanager
def statements(system: System) -> Iterator[Callable[[], int]]:
    """Have Postgres log every statement inside the block; yields what counts those of all other sessions so far."""
    log = system.home.log_file("postgres")
    system.sql("set log_statement = 'none'")  # of our own session, which is no part of the load
    system.sql("alter system set log_statement = 'all'")
    system.sql("alter system set log_parameter_max_length = 0")
    _reload(system, "0")
    start = log.stat().st_size

    def count() -> int:
        with log.open("rb") as lines:
            lines.seek(start)
            return len(_STATEMENT.findall(lines.read()))

    try:
        yield count
    finally:
        system.sql("alter system reset log_statement")
        system.sql("alter system reset log_parameter_max_length")
        _reload(system, "-1")


def _reload(system: System, shown: str) -> None:
    """Have every session read the configuration again, and return when ours has."""
    system.sql("select pg_reload_conf()")
    until(lambda: system.sql("show log_parameter_max_length") == [(shown,)], "reload of Postgres's configuration")
