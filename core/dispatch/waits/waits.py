"""Finds the reasons why responses are queued: in detail for operators, as one word for clients."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from core.batcher import Batcher
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
# Maximum number of threads that wait for the same query.
_MAX_READERS = 1024


@dataclass(frozen=True)
class _SharedState:
    state: QueueState
    expires_at: float  # on the monotonic clock


class Waits:
    """The reasons why responses are queued."""

    def __init__(self, database: Database, doorbell: Doorbell, dispatch: Dispatch) -> None:
        self._database = database
        self._doorbell = doorbell
        self._dispatch = dispatch
        self._shared_state: _SharedState | None = None
        self._state_batcher: Batcher[None, QueueState] = Batcher(self._read_shared_states, max_items=_MAX_READERS)

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
        if response is None:
            return None
        state = self._unexpired_state() or self._state_batcher.process(None)
        return CLIENT_REASONS[state.find_reason(response)]

    def _unexpired_state(self) -> QueueState | None:
        shared_state = self._shared_state
        if shared_state is None or time.monotonic() >= shared_state.expires_at:
            return None
        return shared_state.state

    def _read_shared_states(self, readers: Sequence[None]) -> list[QueueState]:
        """Return the shared state for each reader; read it again after `_SHARED_STATE_S`."""
        state = self._unexpired_state()
        if state is None:
            is_broker_available = self._doorbell.is_available()
            with self._database.connection() as connection:
                state = queue_state.read(connection, self._dispatch.rules, is_broker_available=is_broker_available)
            self._shared_state = _SharedState(state, time.monotonic() + _SHARED_STATE_S)
        return [state] * len(readers)
