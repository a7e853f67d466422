"""Event streams: the events of a response, first from Postgres, then as they are committed."""

import logging
import time
from collections.abc import Generator

from core import errors, jsonio
from core.context import large_fields
from core.database import Database
from core.responses.lookup import find_own_response, unknown_response
from core.runs import events_sql
from core.streams.broadcaster import Broadcaster
from core.streams.subscription import Subscription
from core.tenants.keys import Caller
from core.wire import replay, response

log = logging.getLogger(__name__)

# Maximum number of batches per query; small, so that events for a slow reader stay in Postgres, not in this process.
MAX_BATCHES = 64
# Seconds for which a reader waits for an unavailable Postgres before its stream fails.
STORE_TIMEOUT_S = 30.0
_RETRY_DELAY_S = 1.0

_TERMINAL_TYPES = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TYPE_PREFIX = b'{"type":"'


def event_type(line: bytes) -> str:
    """Return the type of a stored event, which is always its first field."""
    assert line.startswith(_TYPE_PREFIX), line[:80]
    return line[len(_TYPE_PREFIX) : line.index(b'"', len(_TYPE_PREFIX))].decode()


class Streams:
    """Reads the event logs of responses as streams."""

    def __init__(self, database: Database, broadcaster: Broadcaster) -> None:
        self._database = database
        self._broadcaster = broadcaster

    def check(self, caller: Caller, response_id: str) -> None:
        """Check that the caller may stream the events of the response with this ID.

        Raises:
            errors.NotFound: the project has no such response.
            errors.InvalidRequest: the response is not a background response.
            errors.StoreUnavailable: Postgres is unavailable.
        """

        def check_response() -> None:
            with self._database.connection() as connection:
                row = find_own_response(connection, caller, response_id)
            if row is None:
                raise unknown_response(response_id)
            if not row.background:
                raise errors.InvalidRequest(
                    "This response cannot be streamed because it was not created with background=true.",
                    param="stream",
                    code="invalid_request_error",
                )

        self._database.run_with_retry(check_response)

    def read(
        self, response_id: str, *, after: int = -1, keeps_alive: bool = False, heartbeat_s: float
    ) -> Generator[list[bytes]]:
        """Yield the events with sequence numbers above `after`, as they are committed, up to the terminal event.

        Yield an empty list whenever there has been no event for `heartbeat_s` seconds.

        Args:
            keeps_alive: whether to keep a foreground response alive during the read.

        Raises:
            errors.NotFound: the response was deleted.
            errors.ServerStopping: this process is draining.
            errors.StoreUnavailable: Postgres was unavailable for `STORE_TIMEOUT_S` seconds.
        """
        subscription = self._broadcaster.subscribe(response_id, with_events=True, keeps_alive=keeps_alive)
        subscription.next_seq = after + 1
        try:
            for lines in self._read(subscription, heartbeat_s):
                if any(map(large_fields.event_has_references, lines)):
                    # One event per batch, because each event may be as long as the largest request.
                    yield from ([self._complete_event(subscription, line)] for line in lines)
                else:
                    yield lines
        finally:
            self._broadcaster.unsubscribe(subscription)

    def _read(self, subscription: Subscription, heartbeat_s: float) -> Generator[list[bytes]]:
        heartbeat_at = time.monotonic() + heartbeat_s
        unavailable_since: float | None = None
        while True:
            if subscription.closed:
                raise errors.ServerStopping("The server is shutting down; resume with `starting_after`.")
            lines: list[bytes] = []
            if subscription.take_read_request():
                try:
                    lines, is_end = self._read_log(subscription)
                    unavailable_since = None
                except errors.StoreUnavailable:
                    unavailable_since = unavailable_since or time.monotonic()
                    if time.monotonic() - unavailable_since > STORE_TIMEOUT_S:
                        raise
                    is_end = False
                    subscription.wait_for_close(_RETRY_DELAY_S)
                    subscription.request_read()
            else:
                lines = subscription.take_events()
                is_end = False
            is_end = is_end or (bool(lines) and event_type(lines[-1]) in _TERMINAL_TYPES)
            if lines or (not is_end and time.monotonic() >= heartbeat_at):
                yield lines
                heartbeat_at = time.monotonic() + heartbeat_s
            if is_end:
                return
            subscription.wait_for_activity(max(0.0, heartbeat_at - time.monotonic()))

    def _complete_event(self, subscription: Subscription, line: bytes) -> bytes:
        """Return an event with the large fields of its response object; wait while Postgres is unavailable."""
        if not large_fields.event_has_references(line):
            return line
        deadline = time.monotonic() + STORE_TIMEOUT_S
        while True:
            try:
                with self._database.connection() as connection:
                    return large_fields.load_event(connection, subscription.response_id, line)
            except errors.StoreUnavailable:
                if subscription.closed or time.monotonic() > deadline:
                    raise
                subscription.wait_for_close(_RETRY_DELAY_S)

    def _read_log(self, subscription: Subscription) -> tuple[list[bytes], bool]:
        """Read the next events from Postgres; return them, and whether they are the last events of the log."""
        with self._database.connection() as connection:
            section = events_sql.read_section(connection, subscription.response_id, subscription.next_seq, MAX_BATCHES)
        if section is None:
            raise errors.NotFound(f"Response with id '{subscription.response_id}' was deleted.", param="response_id")
        if section.deleted_count is not None and section.document is not None:
            return _rebuild_events(section.document, section.deleted_count, subscription.next_seq - 1), True
        lines = [line.encode() for line in section.lines]
        subscription.next_seq += len(lines)
        if lines:
            # The log may have more batches than one query reads.
            subscription.request_read()
        return lines, section.ended and not lines


def _rebuild_events(final_json: str, event_count: int, last_received_seq: int) -> list[bytes]:
    """Return the events after `last_received_seq` of a deleted log, rebuilt from the final object."""
    document = jsonio.loads(final_json)
    events = replay.rebuild(response.document_at_creation(document), document, event_count)
    return [jsonio.dumps(event).encode() for event in replay.remaining_events(events, event_count, last_received_seq)]
