"""A running attempt in this process: its uncommitted events, its lease, and whether it must stop."""

import time
from collections.abc import Callable, Iterable
from enum import StrEnum

from core import jsonio
from core.jsonio import JsonObject
from core.runs.attempt import Attempt
from core.runs.attempts import AttemptKey, Batch
from core.wire import Event, item_events, transcript
from core.wire.item_events import PartPath

# The messages with which the pool cancels the coroutine of a run; they are the reasons for the cancellation.
REVOKED = "revoked"
SHUTDOWN = "shutdown"

# A response with more characters is large.
_LARGE_CHARACTER_COUNT = 256 * 1024


class StopReason(StrEnum):
    """The reason why a run must stop, and must write nothing more."""

    ENDED = "ended by another process"
    LOST = "lease lost"


class Run:
    """The state of an attempt in its worker.

    Args:
        leased_until: initial value of the attribute `leased_until`.
        wake: called when there are events to write; its argument is whether they include the run's first output.
        wake_later: called when there are events to write for which no client waits.

    Attributes:
        leased_until: time (monotonic clock) after which the lease may have expired.
        unwritten_batch: the frozen batch that must be in the log before any later batch. A retry writes the same batch.
        is_urgent: whether the first output of this attempt is waiting to be written.
        is_ending: whether new events are written only together with the end of the response. If the log of a response
            that has not ended contained a finished last item, another attempt would not know whether more items follow
            and could not continue the response.
        stop_reason: the reason why the run was stopped, or None.
        on_stop: called when the run is stopped.
    """

    def __init__(
        self, attempt: Attempt, *, leased_until: float, wake: Callable[[bool], None], wake_later: Callable[[], object]
    ) -> None:
        self.attempt = attempt
        self.leased_until = leased_until
        self.unwritten_batch: Batch | None = None
        self.is_urgent = False
        self.is_ending = False
        self.stop_reason: StopReason | None = None
        self.on_stop: Callable[[], object] | None = None
        self._wake = wake
        self._wake_later = wake_later
        self._has_output = False
        self._next_seq = attempt.next_seq
        self._events: list[Event] = []
        self._text_pieces: list[str] = []
        self._logprobs: list[JsonObject] = []
        self._token_count = 0
        self._part_path: PartPath | None = None
        self._character_count = len(attempt.document)  # approximate number of characters that the end reads and writes

    @property
    def is_large(self) -> bool:
        """Whether the end takes so long to write that it must not share a batch with the ends of other responses."""
        return self.attempt.has_output or self._character_count > _LARGE_CHARACTER_COUNT

    @property
    def has_pending_events(self) -> bool:
        """Whether there are events that may not be committed."""
        return bool(self.unwritten_batch or self._events or self._text_pieces)

    @property
    def attempt_key(self) -> AttemptKey:
        return self.attempt.response_id, self.attempt.number

    @property
    def may_have_lost_lease(self) -> bool:
        return time.monotonic() >= self.leased_until

    def add_running_event(self, event: Event) -> None:
        """Add the event that the response is running; it is written with the first output if that arrives soon."""
        self._events.append(event)
        self._wake_later()

    def emit(self, events: Iterable[Event]) -> None:
        """Add output events to the next batch, which numbers them."""
        self._join_text()
        self._events.extend(events)
        self._report_output()

    def append_delta(
        self, part_path: PartPath, delta: str, logprobs: Iterable[JsonObject] = (), token_count: int = 1
    ) -> None:
        """Append a delta of about `token_count` tokens to an open part; the deltas of one batch are merged."""
        if part_path != self._part_path:
            self._join_text()
            self._part_path = part_path
        self._text_pieces.append(delta)
        self._token_count += token_count
        self._logprobs.extend(logprobs)
        self._report_output()

    def _report_output(self) -> None:
        self.is_urgent = self.is_urgent or not self._has_output
        self._has_output = True
        self._wake(self.is_urgent)

    def _join_text(self) -> None:
        """Replace the pending deltas of the current part by one event."""
        if self._text_pieces and self._part_path:
            self._events.append(item_events.delta(self._part_path, "".join(self._text_pieces), self._logprobs))
            self._text_pieces.clear()
            self._logprobs.clear()

    def freeze_batch(self) -> Batch:
        """Return all pending events as one batch and remove them from the run."""
        self._join_text()
        numbered_events = transcript.number(self._events, self._next_seq)
        lines = tuple(jsonio.dumps(event) for event in numbered_events)
        batch = Batch(self.attempt.response_id, self.attempt.number, self._next_seq, lines, self._token_count)
        self._events.clear()
        self._token_count = 0
        self._character_count += sum(map(len, lines))
        self.is_urgent = False
        self._next_seq = batch.next_seq
        return batch

    def stop(self, reason: StopReason) -> None:
        """Stop the run, so that it writes nothing more; do nothing if it is already stopped."""
        if self.stop_reason is None:
            self.stop_reason = reason
            if self.on_stop is not None:
                self.on_stop()
