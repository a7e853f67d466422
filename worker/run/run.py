"""A running attempt in this process: its uncommitted events, its lease, and whether it must stop."""

import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

from core import jsonio
from core.runs.attempts import Attempt, Batch
from core.wire import item_events, transcript
from core.wire.item_events import PartPath

# The cancellation messages that tell a run's coroutine why the pool cancelled it.
REVOKED = "revoked"
SHUTDOWN = "shutdown"

_LARGE = 256 * 1024  # characters


class Stop(StrEnum):
    """The reason why a run must stop without writing anything more."""

    ENDED = "ended by another process"
    LOST = "lease lost"


class Run:
    """The state of an attempt in its worker.

    Args:
        leased_until: initial value of the attribute.
        wake: called when there are events to write, with whether the run's first output is among them.
        wake_later: called when there are events to write that no client waits for.

    Attributes:
        leased_until: time (monotonic clock) after which the lease may have expired.
        unwritten: the frozen batch that must be in the log before any later batch. A retry writes the same batch.
        urgent: whether the first output of this attempt is waiting to be written.
        ending: whether new events are written only with the end of the response. If the log of a response that has not
            ended contained a finished last item, another attempt could not tell whether more items follow, so it could
            not continue from it.
    """

    def __init__(
        self, attempt: Attempt, *, leased_until: float, wake: Callable[[bool], None], wake_later: Callable[[], object]
    ) -> None:
        self.attempt = attempt
        self.leased_until = leased_until
        self.unwritten: Batch | None = None
        self.urgent = False
        self.ending = False
        self.stopped: Stop | None = None
        self.on_stop: Callable[[], object] | None = None
        self._wake = wake
        self._wake_later = wake_later
        self._silent = True
        self._next_seq = attempt.next_seq
        self._events: list[dict[str, Any]] = []
        self._text: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._tokens = 0
        self._place: PartPath | None = None
        self._size = len(attempt.document)  # approximate size of the data that its end reads and writes

    @property
    def large(self) -> bool:
        """Whether its end takes so long to write that other responses should not wait for it in a batch."""
        return self.attempt.shown or self._size > _LARGE

    @property
    def dirty(self) -> bool:
        """Whether there are events that may not be committed."""
        return bool(self.unwritten or self._events or self._text)

    @property
    def fence(self) -> tuple[str, int]:
        return self.attempt.response_id, self.attempt.number

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.leased_until

    def begin(self, event: dict[str, Any]) -> None:
        """Add the event that the response is running; it is written with the first output if that comes soon."""
        self._events.append(event)
        self._wake_later()

    def emit(self, events: Iterable[dict[str, Any]]) -> None:
        """Add output events, without sequence numbers, to the next batch."""
        self._join_text()
        self._events.extend(events)
        self._grown()

    def grow(self, place: PartPath, delta: str, logprobs: Iterable[dict[str, Any]] = (), tokens: int = 1) -> None:
        """Append a delta of about `tokens` tokens to an open part; deltas between two batches are merged into one."""
        if place != self._place:
            self._join_text()
            self._place = place
        self._text.append(delta)
        self._tokens += tokens
        self._logprobs.extend(logprobs)
        self._grown()

    def _grown(self) -> None:
        self.urgent = self.urgent or self._silent
        self._silent = False
        self._wake(self.urgent)

    def _join_text(self) -> None:
        if self._text and self._place:
            self._events.append(item_events.delta(self._place, "".join(self._text), self._logprobs))
            self._text.clear()
            self._logprobs.clear()

    def freeze(self) -> Batch:
        """Return all pending events as one batch and remove them from the run."""
        self._join_text()
        numbered = transcript.number(self._events, self._next_seq)
        lines = tuple(jsonio.dumps(event) for event in numbered)
        batch = Batch(self.attempt.response_id, self.attempt.number, self._next_seq, lines, self._tokens)
        self._events.clear()
        self._tokens = 0
        self._size += sum(map(len, lines))
        self.urgent = False
        self._next_seq = batch.next_seq
        return batch

    def stop(self, why: Stop) -> None:
        """Stop the run; it writes nothing more."""
        if self.stopped is None:
            self.stopped = why
            if self.on_stop is not None:
                self.on_stop()
