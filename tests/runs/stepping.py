"""Database sessions that run their transactions statement by statement, in an order chosen by the test."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import psycopg
from psycopg.abc import PQGen

from core.database import BoundedConnection, Database, ExchangeResult

_thread_state = threading.local()
_TIMEOUT_S = 20


class SteppedConnection(BoundedConnection):
    """A connection that awaits its session's turn before each exchange with Postgres, including transaction control."""

    def wait(self, gen: PQGen[ExchangeResult], interval: float = 0.1, timeout: float | None = None) -> ExchangeResult:
        session: Session | None = getattr(_thread_state, "session", None)
        if session is not None:
            session.wait_for_turn(self.info.backend_pid)
        return super().wait(gen, interval, timeout)


class SteppedDatabase(Database):
    """A pool of `SteppedConnection`s. In threads without a `Session`, they act as ordinary connections."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._pool.connection_class = SteppedConnection


class Session:
    """Calls made by one client of Postgres, one after the other, in a separate thread."""

    def __init__(self, *calls: Callable[[], Any]) -> None:
        self.results: list[Any] = []
        self.is_ready = self.is_done = False
        self.backend_pid = 0
        self._calls = calls
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def _run(self) -> None:
        _thread_state.session = self
        try:
            for call in self._calls:
                try:
                    self.results.append(call())
                except Exception as error:  # noqa: BLE001  # the error is the result of the call
                    self.results.append(error)
        finally:
            with self._condition:
                self.is_done = True
                self._condition.notify_all()

    def wait_for_turn(self, backend_pid: int) -> None:
        with self._condition:
            self.backend_pid, self.is_ready = backend_pid, True
            self._condition.notify_all()
            assert self._condition.wait_for(lambda: not self.is_ready, _TIMEOUT_S)

    def step(self) -> None:
        """Allow the session to send its next statement."""
        with self._condition:
            self.is_ready = False
            self._condition.notify_all()

    def wait_until_settled(self, timeout_s: float) -> bool:
        """Wait until the session has a next statement or has ended; return False after the timeout."""
        with self._condition:
            return self._condition.wait_for(lambda: self.is_ready or self.is_done, timeout_s)


def interleave(sessions: Sequence[Session], schedule: Sequence[int], monitor: psycopg.Connection) -> None:
    """Run all sessions until they end, one statement at a time; while a session waits for a lock, the others continue.

    Args:
        schedule: for each step, an index into the sessions that can continue. After the schedule, the sessions take turns.
    """

    def waits_for_lock(session: Session) -> bool:
        (is_blocked,) = monitor.execute(
            "select cardinality(pg_blocking_pids(%s)) > 0", (session.backend_pid,)
        ).fetchone()  # type: ignore[misc]
        return bool(is_blocked)

    def wait_for_all() -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        unsettled = [session for session in sessions if not session.wait_until_settled(0)]
        while unsettled:
            assert time.monotonic() < deadline, "a session neither continues nor waits for a lock"
            unsettled = [
                session
                for session in unsettled
                if not session.wait_until_settled(0.003) and not waits_for_lock(session)
            ]

    for session in sessions:
        session.start()
    step = 0
    while True:
        wait_for_all()
        if all(session.is_done for session in sessions):
            return
        # If no session is ready, the sessions are deadlocked: Postgres aborts a transaction, and its call fails.
        if ready_sessions := [session for session in sessions if session.is_ready]:
            choice = schedule[step] if step < len(schedule) else step
            ready_sessions[choice % len(ready_sessions)].step()
            step += 1
