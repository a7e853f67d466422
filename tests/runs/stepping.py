"""Sessions of one Postgres whose transactions run statement by statement, in an order chosen by the test."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import psycopg
from psycopg.abc import PQGen

from core.database import RV, BoundedConnection, Database

_here = threading.local()
_WITHIN_S = 20


class Stepped(BoundedConnection):
    """A connection whose every exchange with Postgres, including `begin` and `commit`, waits for its session's turn."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        session: Session | None = getattr(_here, "session", None)
        if session is not None:
            session.wait_for_turn(self.info.backend_pid)
        return super().wait(gen, interval, timeout)


class SteppedDatabase(Database):
    """A pool of `Stepped` connections; threads that are not sessions of a test use them like any others."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._pool.connection_class = Stepped


class Session:
    """Calls made by one client of Postgres, one after the other, in a thread of its own."""

    def __init__(self, *calls: Callable[[], Any]) -> None:
        self.results: list[Any] = []
        self.ready = self.done = False
        self.pid = 0
        self._calls = calls
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def _run(self) -> None:
        _here.session = self
        try:
            for call in self._calls:
                try:
                    self.results.append(call())
                except Exception as error:  # noqa: BLE001  # the error is the result of the call
                    self.results.append(error)
        finally:
            with self._changed:
                self.done = True
                self._changed.notify_all()

    def wait_for_turn(self, pid: int) -> None:
        with self._changed:
            self.pid, self.ready = pid, True
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: not self.ready, _WITHIN_S)

    def step(self) -> None:
        """Let the session send its next statement."""
        with self._changed:
            self.ready = False
            self._changed.notify_all()

    def settled(self, within_s: float) -> bool:
        """Whether the session has its next statement ready or has ended."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ready or self.done, within_s)


def interleave(sessions: Sequence[Session], turns: Sequence[int], monitor: psycopg.Connection) -> None:
    """Run sessions to their ends, one statement at a time; while a session waits for a lock, the others continue.

    Args:
        turns: index of the session to step, among those that can continue, for each step; afterwards they take turns.
    """

    def waits_for_a_lock(session: Session) -> bool:
        (blocked,) = monitor.execute("select cardinality(pg_blocking_pids(%s)) > 0", (session.pid,)).fetchone()  # type: ignore[misc]
        return bool(blocked)

    def settle() -> None:
        deadline = time.monotonic() + _WITHIN_S
        moving = [session for session in sessions if not session.settled(0)]
        while moving:
            assert time.monotonic() < deadline, "a session neither goes on nor waits for a lock"
            moving = [one for one in moving if not one.settled(0.003) and not waits_for_a_lock(one)]

    for session in sessions:
        session.start()
    number = 0
    while True:
        settle()
        if all(session.done for session in sessions):
            return
        # In a deadlock, Postgres aborts one of the sessions, and its call returns the error.
        if able := [session for session in sessions if session.ready]:
            turn = turns[number] if number < len(turns) else number
            able[turn % len(able)].step()
            number += 1
