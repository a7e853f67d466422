"""The only code that ends a response; worker, API and sweeper all use it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from core import errors, jsonio
from core.codes import Code
from core.context import items_sql
from core.database import Connection, Database
from core.notify.batch import Batch
from core.notify.bus import Bus
from core.runs import ends_sql, events_sql
from core.runs.ends_sql import Locked, Spent
from core.tenants import audit_sql
from core.tenants.audit_sql import Act
from core.wire import response as document
from core.wire import status as lifecycle
from core.wire import transcript
from core.wire.status import Status

log = logging.getLogger(__name__)

__all__ = ["Ending", "Endings", "Fence", "Locked", "Outcome", "Spent", "cancelled", "failed", "fence_of"]


@dataclass(frozen=True)
class Outcome:
    """How a response ends.

    Args:
        cause: for operators; it may be more precise than `error`.
        error: `{"code", "message"}`, optionally with `type`, if it failed; the code is one of the API's closed list.
        incomplete_reason: set if it is incomplete.
        usage: the API's usage object, if known.
        spent: the tokens that the attempt used.
    """

    status: Status
    cause: str | None = None
    error: dict[str, str] | None = None
    incomplete_reason: str | None = None
    usage: dict[str, Any] | None = None
    spent: Spent | None = None


def failed(
    code: Code, message: str, *, kind: str | None = None, cause: str | None = None, spent: Spent | None = None
) -> Outcome:
    """The outcome of a failed response; `message` is a sentence for its client.

    Args:
        kind: a code that is more precise than those of the closed list; it becomes the error's `type`.
    """
    error = {"code": code, "message": message} | ({"type": kind} if kind else {})
    return Outcome(Status.FAILED, cause=cause or message, error=error, spent=spent)


def cancelled(cause: str) -> Outcome:
    """The outcome of a cancelled response."""
    return Outcome(Status.CANCELLED, cause=cause)


# The condition, evaluated while the row is locked, under which the caller may end the response.
Fence = Callable[[Locked], bool]


def fence_of(attempt: int) -> Fence:
    """The fence of a worker: true while this attempt holds the response."""
    return lambda row: row.status == Status.IN_PROGRESS and row.attempt == attempt


@dataclass(frozen=True)
class Ending:
    """A request to end a response.

    Args:
        fence: must be true while the row is locked; otherwise nothing is written.
        tail: the caller's last, uncommitted events; written in the same transaction.
    """

    response_id: str
    outcome: Outcome
    fence: Fence
    tail: Batch | None = None


@dataclass(frozen=True)
class _Ended:
    """The data to write for one end: the final document, the last events, and the IDs of the output items."""

    row: Locked
    ending: Ending
    document: str
    last: Batch
    item_ids: list[str]


class Endings:
    """Ends responses, each at most once."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    def end(
        self, response_id: str, outcome: Outcome, fence: Fence, *, tail: Batch | None = None, act: Act | None = None
    ) -> str | None:
        """End a response if it has not ended and `fence` is true; returns its final document, or None.

        In one transaction: lock the row, fold the committed events and `tail` into the final document, close open
        items, append the terminal event, and write row and attempt. Safe to repeat.

        Args:
            tail: the caller's last, uncommitted events; written in the same transaction.
            act: the audit log entry, if a key or an operator ends the response.

        Raises:
            errors.StoreUnavailable: whether the end was written is unknown.
        """
        ending = Ending(response_id, outcome, fence, tail)
        with self._database.transaction() as connection:
            row = ends_sql.lock(connection, response_id)
            if row is None or not _may_end(row, ending):
                return None
            ended = _ended(row, ending, events_sql.read(connection, response_id))
            _write(connection, [ended])
            if act is not None:
                audit_sql.insert(connection, act, row.project_id)
        self._tell([ended])
        return ended.document

    def end_batch(self, endings: Sequence[Ending]) -> list[Locked]:
        """End responses as `end` does, in one transaction; returns the rows of those it ended, as locked.

        Rows that another transaction has locked are skipped; use `end` for these, and for all if this raises.

        Raises:
            errors.StoreUnavailable: whether the ends were written is unknown.
            Exception: one of the ends cannot be written. Nothing was written.
        """
        with self._database.transaction() as connection:
            rows = {row.id: row for row in ends_sql.lock_free(connection, [one.response_id for one in endings])}
            may = [one for one in endings if one.response_id in rows and _may_end(rows[one.response_id], one)]
            if not may:
                return []
            logs = events_sql.read_all(connection, [one.response_id for one in may])
            ended = [_ended(rows[one.response_id], one, logs[one.response_id]) for one in may]
            _write(connection, ended)
        self._tell(ended)
        return [one.row for one in ended]

    def _tell(self, all_: Sequence[_Ended]) -> None:
        for ended in all_:
            if ended.row.worker_id is not None and ended.ending.tail is None:
                self._bus.stop(ended.row.worker_id, ended.row.id)
        self._bus.ended([ended.last for ended in all_])
        for ended in all_:
            outcome = ended.ending.outcome
            log.info(
                "ended",
                extra={
                    "response": ended.row.id,
                    "attempt": ended.row.attempt,
                    "status": outcome.status,
                    "cause": outcome.cause,
                },
            )


def _may_end(row: Locked, ending: Ending) -> bool:
    return lifecycle.may_move(Status(row.status), ending.outcome.status) and ending.fence(row)


def _ended(row: Locked, ending: Ending, lines: Sequence[str]) -> _Ended:
    """Compute the data to write for an end; `lines` is the committed log, which `ending.tail` must continue."""
    outcome, tail = ending.outcome, ending.tail
    unwritten = tail.lines if tail is not None else ()
    if tail is not None and unwritten and tail.first_seq != len(lines):
        raise errors.StoreRefused(f"These events do not start after the {len(lines)} events of the log.")
    output = transcript.fold(jsonio.loads(line) for line in chain(lines, unwritten))
    closing = transcript.close_items(output, "completed" if outcome.status == Status.COMPLETED else "incomplete")
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
    numbered = transcript.number(closing, len(lines) + len(unwritten))
    last = (*unwritten, *(jsonio.dumps(event) for event in numbered))
    batch = Batch(row.id, row.attempt, len(lines), last, tail.tokens if tail is not None else 0)
    return _Ended(row, ending, jsonio.dumps(final), batch, [item["id"] for item in output.output])


def _write(connection: Connection, all_: Sequence[_Ended]) -> None:
    events_sql.insert(connection, [ended.last for ended in all_])
    ends_sql.finish(
        connection,
        [
            ends_sql.End(
                ended.row.id,
                ended.ending.outcome.status,
                ended.document,
                ended.ending.outcome.cause,
                ended.ending.outcome.spent,
            )
            for ended in all_
        ],
    )
    own = [(ended.row.project_id, item, ended.row.id) for ended in all_ if ended.row.stored for item in ended.item_ids]
    items_sql.insert(connection, own)
