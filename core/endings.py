"""The one use case that ends a response, whoever calls it: worker, client or sweeper."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core import jsonio, lifecycle, transcript
from core.bus import Bus
from core.db import Connection, Database
from core.lifecycle import Status
from core.schemas import document
from core.store import audit, ends, events, items
from core.store.audit import Act
from core.store.ends import Locked, Spent
from core.store.events import Batch

log = logging.getLogger(__name__)

__all__ = ["Endings", "Fence", "Locked", "Outcome", "Spent", "cancelled", "failed", "held_by"]


@dataclass(frozen=True)
class Outcome:
    """How a response ends.

    Args:
        cause: for operators, more precise than the wire's error may be.
        error: `{"code", "message"}`, perhaps with `type`, where it failed; the code is of the wire's closed list.
        incomplete_reason: where it is incomplete.
        usage: the wire's usage object, where it is known.
        spent: what the attempt used.
    """

    status: Status
    cause: str | None = None
    error: dict[str, str] | None = None
    incomplete_reason: str | None = None
    usage: dict[str, Any] | None = None
    spent: Spent | None = None


def failed(
    code: str, message: str, *, kind: str | None = None, cause: str | None = None, spent: Spent | None = None
) -> Outcome:
    """The outcome of a response that failed; `message` is a sentence for its client.

    Args:
        kind: a more precise code than the closed list has; it becomes the error's `type`.
    """
    error = {"code": code, "message": message} | ({"type": kind} if kind else {})
    return Outcome(Status.FAILED, cause=cause or message, error=error, spent=spent)


def cancelled(cause: str) -> Outcome:
    """The outcome of a response that somebody cancelled."""
    return Outcome(Status.CANCELLED, cause=cause)


# What must hold, under the row's lock, for the caller to be the one who ends it.
Fence = Callable[[Locked], bool]


def held_by(attempt: int) -> Fence:
    """The fence of a worker: its attempt still holds the response."""
    return lambda row: row.status == Status.IN_PROGRESS and row.attempt == attempt


class Endings:
    """Ends responses, each once."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    def end(
        self, response_id: str, outcome: Outcome, fence: Fence, *, tail: Batch | None = None, act: Act | None = None
    ) -> str | None:
        """End a response, if it has not ended and `fence` holds; its final document, or None.

        One transaction: the row is locked, the committed events and `tail` are folded into the final document, open
        items are closed, the terminal event is appended, and row and attempt are written. Safe to repeat.

        Args:
            tail: the caller's last events, not committed yet; they are written along.
            act: what the audit log is to say of it, where a key or an operator ends it.

        Raises:
            errors.StoreUnavailable: whether the end was written is unknown.
        """
        with self._database.transaction() as connection:
            row = ends.lock(connection, response_id)
            if row is None or not lifecycle.may_move(Status(row.status), outcome.status) or not fence(row):
                return None
            final, closing = self._write(connection, row, outcome, tail)
            if act is not None:
                audit.insert(connection, act, row.project_id)
        if row.worker_id is not None and tail is None:
            self._bus.stop(row.worker_id, response_id)
        self._bus.ended(response_id, [closing] if tail is None else [tail, closing])
        log.info(
            "ended",
            extra={
                "response": response_id,
                "attempt": row.attempt,
                "status": outcome.status,
                "cause": outcome.cause,
            },
        )
        return final

    def _write(self, connection: Connection, row: Locked, outcome: Outcome, tail: Batch | None) -> tuple[str, Batch]:
        if tail is not None and tail.lines:
            events.insert(connection, tail)
        lines = events.read(connection, row.id)
        output = transcript.fold(jsonio.loads(line) for line in lines)
        whole = outcome.status == Status.COMPLETED
        closing = transcript.close_items(output, "completed" if whole else "incomplete")
        final = document.ended(
            jsonio.loads(row.document),
            outcome.status,
            output.output,
            now=row.now,
            error=outcome.error,
            incomplete_reason=outcome.incomplete_reason,
            usage=outcome.usage,
        )
        closing.append(transcript.lifecycle(final))
        numbered = transcript.number(closing, len(lines))
        batch = Batch(row.id, row.attempt, len(lines), tuple(jsonio.dumps(event) for event in numbered))
        events.insert(connection, batch)
        text = jsonio.dumps(final)
        ends.finish(
            connection,
            row.id,
            status=outcome.status,
            document=text,
            cause=outcome.cause,
            spent=outcome.spent,
        )
        if row.stored:
            items.insert(connection, row.project_id, row.id, [item["id"] for item in output.output])
        return text, batch
