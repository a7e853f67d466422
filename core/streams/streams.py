"""Event streams: a response's events, first from Postgres, then as they are committed."""

import logging
import time
from collections.abc import Generator

from core import errors, jsonio
from core.database import Database
from core.responses.read import find_own, unknown
from core.runs import events_sql
from core.streams.broadcaster import Broadcaster, Subscription
from core.tenants.keys import Caller
from core.wire import replay, response

log = logging.getLogger(__name__)

# Batches per query: events that a slow reader has not consumed stay in Postgres, not in this process.
BATCHES = 64
# How long a reader waits for an unavailable Postgres before its stream fails.
STORE_RETRY_S = 30.0
_AGAIN_S = 1.0

_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_HEAD = b'{"type":"'


def kind(line: bytes) -> str:
    """The type of a stored event, which is always its first field."""
    assert line.startswith(_HEAD), line[:80]
    return line[len(_HEAD) : line.index(b'"', len(_HEAD))].decode()


class Streams:
    """Reads the event logs of responses as streams."""

    def __init__(self, database: Database, broadcaster: Broadcaster) -> None:
        self._database = database
        self._broadcaster = broadcaster

    def check(self, caller: Caller, response_id: str) -> None:
        """Return if the caller may stream the response's events by its ID.

        Raises:
            errors.NotFound: the project has no such response.
            errors.InvalidRequest: it is not a background response.
            errors.StoreUnavailable: Postgres is not available.
        """

        def check() -> None:
            with self._database.connection() as connection:
                found = find_own(connection, caller, response_id)
            if found is None:
                raise unknown(response_id)
            if not found.background:
                raise errors.InvalidRequest(
                    "This response cannot be streamed because it was not created with background=true.",
                    param="stream",
                    code="invalid_request_error",
                )

        self._database.again(check)

    def read(self, response_id: str, *, after: int = -1, keeps: bool = False, beat_s: float) -> Generator[list[bytes]]:
        """Yield the events with sequence numbers above `after`, as they are committed, up to the terminal event.

        Yields an empty list whenever there was no event for `beat_s` seconds.

        Args:
            keeps: whether to keep a foreground response alive meanwhile.

        Raises:
            errors.NotFound: the response was deleted.
            errors.Stopping: this process is draining.
            errors.StoreUnavailable: Postgres was not available for `STORE_RETRY_S`.
        """
        subscription = self._broadcaster.follow(response_id, reads=True, keeps=keeps)
        subscription.next_seq = after + 1
        try:
            yield from self._read(subscription, beat_s)
        finally:
            self._broadcaster.leave(subscription)

    def _read(self, subscription: Subscription, beat_s: float) -> Generator[list[bytes]]:
        beat_at = time.monotonic() + beat_s
        unavailable_since: float | None = None
        while True:
            if subscription.closed:
                raise errors.Stopping("The server is shutting down; resume with `starting_after`.")
            lines: list[bytes] = []
            if subscription.must_look():
                try:
                    lines, over = self._look(subscription)
                    unavailable_since = None
                except errors.StoreUnavailable:
                    unavailable_since = unavailable_since or time.monotonic()
                    if time.monotonic() - unavailable_since > STORE_RETRY_S:
                        raise
                    over = False
                    subscription.wait_to_close(_AGAIN_S)
                    subscription.look()
            else:
                lines = subscription.take()
                over = False
            over = over or (bool(lines) and kind(lines[-1]) in _TERMINAL)
            if lines or (not over and time.monotonic() >= beat_at):
                yield lines
                beat_at = time.monotonic() + beat_s
            if over:
                return
            subscription.wait(max(0.0, beat_at - time.monotonic()))

    def _look(self, subscription: Subscription) -> tuple[list[bytes], bool]:
        """Read the next events from Postgres; returns them, and whether they are the last of the log."""
        with self._database.connection() as connection:
            found = events_sql.stretch(connection, subscription.response_id, subscription.next_seq, BATCHES)
        if found is None:
            raise errors.NotFound(f"Response with id '{subscription.response_id}' was deleted.", param="response_id")
        if found.pruned is not None and found.document is not None:
            return _rebuilt(found.document, found.pruned, subscription.next_seq - 1), True
        lines = [line.encode() for line in found.lines]
        subscription.next_seq += len(lines)
        if lines:
            # The log may have more batches than one query reads.
            subscription.look()
        return lines, found.ended and not lines


def _rebuilt(final: str, n: int, after: int) -> list[bytes]:
    """The events after `after` of a deleted log of `n` events, rebuilt from the final object."""
    document = jsonio.loads(final)
    log = replay.rebuild(response.as_created(document), document, n)
    return [jsonio.dumps(event).encode() for event in replay.resumed(log, n, after)]
