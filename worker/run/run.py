"""One attempt under way in this process: its events not committed yet, and whether it must stop."""

import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

from core import jsonio
from core.runs.attempts import Attempt, Batch
from core.wire import item_events, transcript
from core.wire.item_events import PartPath

# What the cancellation of a run's coroutine carries: why the pool cancelled it.
REVOKED = "revoked"
SHUTDOWN = "shutdown"

_LARGE = 256 * 1024  # characters


class Stop(StrEnum):
    """Why a run must stop without writing anything more."""

    ENDED = "ended by someone else"
    LOST = "lease lost"


class Run:
    """The worker's side of an attempt.

    Args:
        wake: called with whether it is the run's first output that is there to be written, or what came after.
        wake_later: called for what nobody waits for.

    Attributes:
        held_until: when, by this process's clock, the lease may be over.
        unwritten: the batch that must be in the log before any later one; frozen, whatever became of it.
        urgent: whether the first output of this attempt waits to be written.
        ending: whether what comes now is written with the end, or not at all. An item that the log has as finished, of
            a response that has not ended, may be the last one or not: no other attempt could go on from it.
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
        self._size = len(attempt.document)  # of what an end of it reads and writes, about

    @property
    def large(self) -> bool:
        """Whether an end of it is so much work that those of others should not wait for it."""
        return self.attempt.shown or self._size > _LARGE

    @property
    def dirty(self) -> bool:
        """Whether there are events that are not known to be committed."""
        return bool(self.unwritten or self._events or self._text)

    @property
    def fence(self) -> tuple[str, int]:
        return self.attempt.response_id, self.attempt.number

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.leased_until

    def begin(self, event: dict[str, Any]) -> None:
        """Add the event that says that the response runs. It goes with the first output, if that comes soon."""
        self._events.append(event)
        self._wake_later()

    def emit(self, events: Iterable[dict[str, Any]]) -> None:
        """Add events of the output, without numbers, to the log's next batch."""
        self._join_text()
        self._events.extend(events)
        self._grown()

    def grow(self, place: PartPath, delta: str, logprobs: Iterable[dict[str, Any]] = (), tokens: int = 1) -> None:
        """Add to an open part so many tokens, about; what comes between two batches becomes one delta."""
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
        """Everything not committed as one batch, which the run then forgets."""
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
