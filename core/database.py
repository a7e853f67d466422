"""Postgres: one pool per process; a block is a transaction; what hangs is cut off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from core import errors

Connection = psycopg.Connection[TupleRow]
T = TypeVar("T")
RV = TypeVar("RV")

# A Postgres that hangs must look like one that is away: every wait has an end. Our statements are too short to
# be worth JIT compilation. None may rely on `jit=off`: a pooler does not pass options on.
_OPTIONS = "-c statement_timeout=5s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s -c jit=off"
_CONNECT: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 3,
    "options": _OPTIONS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "prepare_threshold": 1,
}
_POOLED: dict[str, Any] = {"options": None, "prepare_threshold": None}
_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby, or a disk that is full
    PoolTimeout,
    PoolClosed,
    TooManyRequests,
)
_BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected)
# Postgres cuts a statement off after five; one that has not answered by then never will.
ANSWER_S = 6.5
# No answer at all, or Postgres going down, crashed or coming up.
_GONE = frozenset({None, "57P01", "57P02", "57P03"})


class Impatient(Connection):
    """A connection on which an answer that does not come is an error, also while Postgres's kernel is alive.

    A Postgres that is frozen, or behind a network that swallows packets, keeps none of its own time-outs.
    """

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Drive one exchange with Postgres to its end; raises `psycopg.OperationalError` where it has none."""
        try:
            return super().wait(gen, interval, ANSWER_S if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001
            # Whatever it still answers would be taken for the answer to something else.
            self.close()
            raise psycopg.OperationalError(f"no answer within {ANSWER_S} s") from error


class Database:
    """A pool of autocommit connections to one Postgres.

    Every failure to reach Postgres or to be answered in time leaves here as `errors.StoreUnavailable`;
    whether what was under way was committed is then unknown.
    """

    def __init__(self, url: str, *, connections: int, wait_s: float = 3, pooled: bool = False) -> None:
        """A pool of at most so many connections.

        Args:
            wait_s: for a connection, before Postgres counts as away.
            pooled: they lead to a pooler that lends a session of Postgres for a transaction: nothing may be left in
                one, and the time-outs that Postgres keeps are its role's.
        """
        self.url = url
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            connection_class=Impatient,
            kwargs=_CONNECT | (_POOLED if pooled else {}),
            min_size=min(2, connections),
            max_size=connections,
            timeout=wait_s,
            reconnect_timeout=0,
            open=False,
        )

    def open(self) -> None:
        """Start filling the pool, without waiting for Postgres."""
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection on which each statement is its own transaction."""
        try:
            with self._pool.connection() as connection:
                try:
                    yield connection
                except psycopg.errors.ReadOnlySqlTransaction:
                    # The next one may lead to the new primary.
                    connection.close()
                    raise
                except psycopg.InternalError as error:
                    if error.sqlstate is not None:
                        raise
                    # Two answers to one question: a pooler told of a session's end first, and then of its own.
                    connection.close()
                    raise psycopg.OperationalError(first_line(error)) from error
        except _BUSY as error:
            raise errors.StoreBusy(f"Postgres is busy: {first_line(error)}") from error
        except _UNAVAILABLE as error:
            if isinstance(error, psycopg.Error) and error.sqlstate in _GONE:
                # Where one connection died the others of the pool have, too: let the next caller not find them.
                self._pool.check()
            raise errors.StoreUnavailable(f"Postgres is not available: {first_line(error)}") from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection inside a transaction: committed where the block ends, rolled back where it raises."""
        with self.connection() as connection, connection.transaction():
            yield connection

    def again(self, work: Callable[[], T], instead: Callable[[], T] | None = None) -> T:
        """Do `work`, which must be safe to repeat, and repeat it once if Postgres was not available.

        That covers a connection that went stale in the pool: the failure renewed the others.

        Args:
            instead: what is done in place of the repetition.

        Raises:
            errors.StoreUnavailable: Postgres stayed away.
        """
        try:
            return work()
        except errors.StoreUnavailable as error:
            if isinstance(error.__cause__, PoolTimeout):
                raise  # it was waited for already, and nothing was stale
        return (instead or work)()


def connect(url: str, *, pooled: bool = False) -> Connection:
    """One autocommit connection of its own, with the limits of a `Database`; raises `psycopg.OperationalError`."""
    return Impatient.connect(url, **_CONNECT | (_POOLED if pooled else {}))


def first_line(error: BaseException) -> str:
    """The first line of an error's text; the rest of libpq's is noise."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
