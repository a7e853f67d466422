"""Postgres access: one connection pool per process, transactions as context managers, and a timeout on every wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from core import errors

Connection = psycopg.Connection[TupleRow]
# The errors of psycopg that other modules handle; only *_sql modules and this one import psycopg.
PostgresError = psycopg.Error
ConnectionFailed = psycopg.OperationalError
DataError = psycopg.DataError
ForeignKeyViolation = psycopg.errors.ForeignKeyViolation
UndefinedTable = psycopg.errors.UndefinedTable
UniqueViolation = psycopg.errors.UniqueViolation
T = TypeVar("T")
ExchangeResult = TypeVar("ExchangeResult")

# Every wait has a timeout, so a Postgres server that hangs is handled like one that is unreachable. Our statements are
# too short to benefit from JIT compilation. No statement may depend on `jit=off`: a pooler does not forward options.
_SERVER_OPTIONS = "-c statement_timeout=5s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s -c jit=off"
_CONNECT_OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 3,
    "options": _SERVER_OPTIONS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "prepare_threshold": 1,
}
_POOLER_OPTIONS: dict[str, Any] = {"options": None, "prepare_threshold": None}
_UNAVAILABLE_ERRORS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby, or a full disk
    PoolTimeout,
    PoolClosed,
    TooManyRequests,
)
_BUSY_ERRORS = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected)
# `statement_timeout` cancels a statement after 5 s, so a server that has not answered after this time is hanging.
ANSWER_TIMEOUT_S = 6.5
# No SQLSTATE (connection lost), or the server is shutting down, has crashed or is starting up.
_DEAD_SERVER_SQLSTATES = frozenset({None, "57P01", "57P02", "57P03"})


class BoundedConnection(Connection):
    """Connection with a client-side timeout of `ANSWER_TIMEOUT_S` on every wait for the server.

    A frozen server, or a network that drops packets, does not enforce server-side timeouts, and TCP keepalives do not
    help while the server's kernel still answers.
    """

    def wait(self, gen: PQGen[ExchangeResult], interval: float = 0.1, timeout: float | None = None) -> ExchangeResult:
        """Complete one exchange with Postgres; raise `psycopg.OperationalError` after the timeout."""
        try:
            return super().wait(gen, interval, ANSWER_TIMEOUT_S if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001
            # If the connection stayed open, a late answer would be mistaken for the answer to the next statement.
            self.close()
            raise psycopg.OperationalError(f"no answer within {ANSWER_TIMEOUT_S} s") from error


class Database:
    """A pool of autocommit connections to one Postgres.

    Every connection failure and every timeout is raised as `errors.StoreUnavailable`. It is then unknown whether the
    transaction was committed.
    """

    def __init__(self, url: str, *, connections: int, pool_timeout_s: float = 3, pooled: bool = False) -> None:
        """Create the pool without opening it.

        Args:
            connections: maximum size of the pool.
            pool_timeout_s: seconds to wait for a free connection before Postgres is considered unavailable.
            pooled: whether the URL is that of a pooler in transaction mode. If it is, session state such as prepared
                statements is not used, and the server-side timeouts are those of the database role.
        """
        self.url = url
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=BoundedConnection,
            kwargs=_CONNECT_OPTIONS | (_POOLER_OPTIONS if pooled else {}),
            min_size=min(2, connections),
            max_size=connections,
            timeout=pool_timeout_s,
            reconnect_timeout=0,
            open=False,
        )

    def is_available(self) -> bool:
        """Whether Postgres answers a trivial statement now, and accepts writes."""
        try:
            with self.connection() as connection:
                row = connection.execute("show transaction_read_only").fetchone()
        except errors.StoreUnavailable:
            return False
        return row == ("off",)

    def open(self) -> None:
        """Open the pool and fill it in the background; do not wait for Postgres."""
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Yield an autocommit connection: each statement is its own transaction."""
        try:
            with self._pool.connection() as connection:
                try:
                    yield connection
                except psycopg.errors.ReadOnlySqlTransaction:
                    # A new connection may lead to the new primary.
                    connection.close()
                    raise
                except psycopg.InternalError as error:
                    if error.sqlstate is not None:
                        raise
                    # The pooler sent two errors for one statement: one for the server session, then one for its own
                    # connection.
                    connection.close()
                    raise psycopg.OperationalError(first_line(error)) from error
        except _BUSY_ERRORS as error:
            raise errors.StoreBusy(f"Postgres is busy: {first_line(error)}") from error
        except _UNAVAILABLE_ERRORS as error:
            if isinstance(error, psycopg.Error) and error.sqlstate in _DEAD_SERVER_SQLSTATES:
                # If one connection is dead, the others in the pool probably are too: replace them before they are used.
                self._pool.check()
            raise errors.StoreUnavailable(f"Postgres is not available: {first_line(error)}") from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in a transaction: committed at the end of the block, rolled back if the block raises."""
        with self.connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that only reads: all its statements see the same state of the data."""
        with self.transaction() as connection:
            connection.execute("set transaction isolation level repeatable read, read only")
            yield connection

    def run_with_retry(self, work: Callable[[], T], retry_work: Callable[[], T] | None = None) -> T:
        """Call `work`, which must be idempotent, and retry it once if Postgres is unavailable.

        A retry helps if connections of the pool were stale, because the first failure replaces them.

        Args:
            retry_work: called for the retry in place of `work`.

        Raises:
            errors.StoreUnavailable: Postgres is still unavailable, or no connection became free before the timeout.
        """
        try:
            return work()
        except errors.StoreUnavailable as error:
            if isinstance(error.__cause__, PoolTimeout):
                raise  # the caller has already waited, and no connection was stale
        return (retry_work or work)()


def connect(url: str, *, pooled: bool = False) -> Connection:
    """Open one autocommit connection outside the pool, with the timeouts of `Database`.

    Raises:
        psycopg.OperationalError: Postgres is unavailable.
    """
    return BoundedConnection.connect(url, **_CONNECT_OPTIONS | (_POOLER_OPTIONS if pooled else {}))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text; the remaining lines of libpq's errors contain only details."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
