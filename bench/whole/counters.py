"""Counts the work of Postgres under a load: transactions that write, bytes of WAL, and statements.

The views `pg_stat_database` and `pg_stat_wal` lag by up to ten seconds for idle sessions, whereas the next transaction
ID and the end of the WAL are exact at any time. The packaged Postgres has no `pg_stat_statements`, so statements are
counted in the server log, with `log_statement` enabled during the measurement.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.whole.system import System
from bench.whole.waiting import wait_until

_STATEMENT = re.compile(rb" LOG:  (?:statement|execute [^:]+|fastpath function call): ")


@dataclass(frozen=True)
class WriteCounters:
    """Counters of the Postgres server.

    Args:
        transactions: number of assigned transaction IDs; a transaction gets one at its first write.
        wal_bytes: position of the end of the WAL, in bytes.
    """

    transactions: int
    wal_bytes: int

    def since(self, previous: "WriteCounters") -> "WriteCounters":
        """Return the increases since `previous`."""
        return WriteCounters(self.transactions - previous.transactions, self.wal_bytes - previous.wal_bytes)


def read_counters(system: System) -> WriteCounters:
    """Read the current counters."""
    ((transactions, wal_bytes),) = system.sql(
        "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint,"
        " (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
    )
    return WriteCounters(transactions, wal_bytes)


@contextmanager
def count_statements(system: System) -> Iterator[Callable[[], int]]:
    """Log the statements of all other sessions inside the block; yield a function that counts them."""
    log = system.home.log_file("postgres")
    system.sql("set log_statement = 'none'")  # for this session, whose statements are not part of the load
    system.sql("alter system set log_statement = 'all'")
    system.sql("alter system set log_parameter_max_length = 0")
    _reload(system, "0")
    start_offset = log.stat().st_size

    def count() -> int:
        with log.open("rb") as lines:
            lines.seek(start_offset)
            return len(_STATEMENT.findall(lines.read()))

    try:
        yield count
    finally:
        system.sql("alter system reset log_statement")
        system.sql("alter system reset log_parameter_max_length")
        _reload(system, "-1")


def _reload(system: System, parameter_length: str) -> None:
    """Make all sessions reload the configuration, and wait until `log_parameter_max_length` has this value."""
    system.sql("select pg_reload_conf()")
    wait_until(
        lambda: system.sql("show log_parameter_max_length") == [(parameter_length,)],
        "the reload of Postgres's configuration",
    )
