"""The subscription of one reader to one response."""

import threading
from collections import deque

from core.notify.bus import Notice

# Maximum size of the buffered events per subscription; beyond it, the reader must read the events from Postgres.
BUFFER_BYTES = 1024 * 1024


class Subscription:
    """A subscription to a response: a buffer of notices, and whether the reader must read Postgres.

    Args:
        with_events: whether the subscription receives the events, or only the end.
        keeps_alive: whether the subscription keeps a foreground response alive.
    """

    def __init__(self, response_id: str, *, with_events: bool, keeps_alive: bool) -> None:
        self.response_id = response_id
        self.with_events = with_events
        self.keeps_alive = keeps_alive
        self.next_seq = 0  # sequence number of the next event to read
        self._condition = threading.Condition()
        self._notices: deque[Notice] = deque()
        self._buffered_bytes = 0
        self._must_read = True
        self._ended = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the process is draining, so that no more notices follow."""
        return self._closed

    def push_notice(self, notice: Notice) -> None:
        """Add a notice to the buffer.

        If the notice has no events, or the buffer is full, the reader must read Postgres instead.
        """
        with self._condition:
            size = len(notice.data or b"")
            if notice.data is None or self._buffered_bytes + size > BUFFER_BYTES:
                self._discard_notices()
            elif not self._must_read:  # a reader that must read Postgres finds the events there
                self._notices.append(notice)
                self._buffered_bytes += size
            self._condition.notify_all()

    def _discard_notices(self) -> None:
        self._notices.clear()
        self._buffered_bytes = 0
        self._must_read = True

    def request_read(self) -> None:
        """Make the reader read Postgres."""
        with self._condition:
            self._must_read = True
            self._condition.notify_all()

    def end(self) -> None:
        """Mark the response as ended or deleted, and make the reader read Postgres."""
        with self._condition:
            self._ended = self._must_read = True
            self._condition.notify_all()

    def close(self) -> None:
        """Mark the subscription as closed: no more notices follow."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait until the response ends or the subscription is closed; return whether the response has ended."""
        with self._condition:
            self._condition.wait_for(lambda: self._ended or self._closed, timeout_s)
            return self._ended

    def wait_for_activity(self, timeout_s: float) -> bool:
        """Wait until the reader has something to read or the subscription is closed; return False on timeout."""
        with self._condition:
            return self._condition.wait_for(lambda: self._must_read or bool(self._notices) or self._closed, timeout_s)

    def wait_for_close(self, timeout_s: float) -> None:
        """Wait until the subscription is closed, but at most `timeout_s` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed, timeout_s)

    def take_read_request(self) -> bool:
        """Return whether the reader must read Postgres, and clear the request.

        Call this before each read, so that an event committed during the read causes another read.
        """
        with self._condition:
            must_read, self._must_read = self._must_read, False
            return must_read

    def take_events(self) -> list[bytes]:
        """Remove and return the buffered events that follow `next_seq`.

        If events are missing before a notice, the buffer is discarded and the reader must read Postgres.
        """
        lines: list[bytes] = []
        with self._condition:
            while self._notices:
                notice = self._notices.popleft()
                assert notice.data is not None
                self._buffered_bytes -= len(notice.data)
                if notice.first_seq > self.next_seq:
                    self._discard_notices()
                    break
                if notice.first_seq + notice.count > self.next_seq:
                    lines += notice.data.split(b"\n")[self.next_seq - notice.first_seq :]
                    self.next_seq = notice.first_seq + notice.count
        return lines
