"""Finds the reasons why responses are queued: in detail for operators, as one word for clients."""

import threading
import time

from core.database import Database
from core.dispatch.dispatcher import Dispatch
from core.dispatch.doorbell import Doorbell
from core.dispatch.waits import load, queue_sql, queue_state
from core.dispatch.waits.descriptions import CLIENT_REASONS
from core.dispatch.waits.load import Load
from core.dispatch.waits.queue_sql import ResponseGroup
from core.dispatch.waits.queue_state import QueueState, Wait
from core.dispatch.waits.reasons import QueuedResponse
from core.wire.response import ClientWaitReason

__all__ = ["Load", "ResponseGroup", "Wait", "Waits"]

# Maximum age of the state from which clients get reasons. Polls share a state, because reading it takes several
# milliseconds if thousands of responses are running.
_SHARED_STATE_S = 1.0


class Waits:
    """The reasons why responses are queued."""

    def __init__(self, database: Database, doorbell: Doorbell, dispatch: Dispatch) -> None:
        self._database = database
        self._doorbell = doorbell
        self._dispatch = dispatch
        self._lock = threading.Lock()
        self._shared_state: QueueState | None = None
        self._expires_at = 0.0  # on the monotonic clock

    def load(self) -> Load:
        """Return the current load, with the reasons why responses wait.

        Raises:
            errors.StoreUnavailable: Postgres is unavailable.
        """
        is_broker_available = self._doorbell.is_available()
        with self._database.connection() as connection:
            return load.read_load(connection, self._dispatch.rules, is_broker_available=is_broker_available)

    def explain(self, response_id: str) -> Wait | None:
        """Return why a response is queued; None if it is not.

        Raises:
            errors.StoreUnavailable: Postgres is unavailable.
        """
        is_broker_available = self._doorbell.is_available()
        with self._database.connection() as connection:
            response = queue_sql.read_queued(connection, response_id)
            if response is None:
                return None
            return queue_state.read(connection, self._dispatch.rules, is_broker_available=is_broker_available).explain(
                response
            )

    def client_reason(self, response_id: str) -> ClientWaitReason | None:
        """Return why a response is queued, from a state at most a second old; None if it is not queued.

        The caller checks whether the client may read the response.

        Raises:
            errors.StoreUnavailable: Postgres is unavailable.
        """

        def read_queued() -> QueuedResponse | None:
            with self._database.connection() as connection:
                return queue_sql.read_queued(connection, response_id)

        response = self._database.run_with_retry(read_queued)
        return None if response is None else CLIENT_REASONS[self._read_shared_state().find_reason(response)]

    def _read_shared_state(self) -> QueueState:
        """Return the state that all threads share; one thread reads it again after `_SHARED_STATE_S`."""
        with self._lock:
            if self._shared_state is None or time.monotonic() >= self._expires_at:
                is_broker_available = self._doorbell.is_available()
                with self._database.connection() as connection:
                    self._shared_state = queue_state.read(
                        connection, self._dispatch.rules, is_broker_available=is_broker_available
                    )
                self._expires_at = time.monotonic() + _SHARED_STATE_S
            return self._shared_state
