"""The end of a response. Workers, the API, the sweeper and operators' commands all end responses with this code."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from core import errors, jsonio
from core.codes import Code
from core.context import items_sql
from core.database import Connection, Database
from core.jsonio import JsonObject
from core.notify.batch import Batch
from core.notify.bus import Bus
from core.runs import ends_sql, events_sql
from core.runs.ends_sql import AttemptUsage, LockedResponse
from core.tenants import audit_sql
from core.tenants.audit_sql import Act
from core.wire import response, transcript
from core.wire.status import Status, may_move

log = logging.getLogger(__name__)

__all__ = [
    "AttemptUsage",
    "Ending",
    "Endings",
    "Fence",
    "LockedResponse",
    "Outcome",
    "attempt_fence",
    "cancelled_outcome",
    "failed_outcome",
]


@dataclass(frozen=True)
class Outcome:
    """The final status of a response, and the reason for it.

    Args:
        cause: the reason for operators; it may be more precise than `error`.
        error: `{"code", "message"}`, optionally with `type`, if the response failed; the code is from the closed list.
        incomplete_reason: set if the response is incomplete.
        usage: the API's usage object, if known.
        attempt_usage: the tokens that the attempt used.
    """

    status: Status
    cause: str | None = None
    error: dict[str, str] | None = None
    incomplete_reason: str | None = None
    usage: JsonObject | None = None
    attempt_usage: AttemptUsage | None = None


def failed_outcome(
    code: Code,
    message: str,
    *,
    kind: str | None = None,
    cause: str | None = None,
    attempt_usage: AttemptUsage | None = None,
) -> Outcome:
    """Return the outcome of a failed response; `message` is a sentence for its client.

    Args:
        kind: a code that is more precise than those of the closed list; it becomes the error's `type`.
    """
    error = {"code": code, "message": message} | ({"type": kind} if kind else {})
    return Outcome(Status.FAILED, cause=cause or message, error=error, attempt_usage=attempt_usage)


def cancelled_outcome(cause: str) -> Outcome:
    """Return the outcome of a cancelled response."""
    return Outcome(Status.CANCELLED, cause=cause)


# A condition for ending a response, evaluated while its row is locked.
Fence = Callable[[LockedResponse], bool]


def attempt_fence(attempt: int) -> Fence:
    """Return the fence of a worker: true while the response is leased to this attempt."""
    return lambda row: row.status == Status.IN_PROGRESS and row.attempt == attempt


@dataclass(frozen=True)
class Ending:
    """A request to end a response.

    Args:
        fence: the condition for the end; if it returns False, nothing is written.
        tail: the last events of the worker that runs the response, not yet written; None for other callers.
    """

    response_id: str
    outcome: Outcome
    fence: Fence
    tail: Batch | None = None


@dataclass(frozen=True)
class _PreparedEnd:
    """The data to write for one end: the final document, the last events and the IDs of the output items."""

    row: LockedResponse
    ending: Ending
    document: str
    last_batch: Batch
    item_ids: list[str]


class Endings:
    """Ends responses, each at most once."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus

    def end(
        self, response_id: str, outcome: Outcome, fence: Fence, *, tail: Batch | None = None, act: Act | None = None
    ) -> str | None:
        """End a response if it has not ended and `fence` returns True; return its final document, otherwise None.

        In one transaction: lock the row, fold the committed events and `tail` into the final document, close open
        items, append `tail` and the closing events to the log, update the response and its attempt, and insert the
        ledger row. A repeated call changes nothing.

        Args:
            tail: the last events of the worker that runs the response, not yet written; None for other callers.
            act: the audit log entry, if a key or an operator ends the response.

        Raises:
            errors.StoreUnavailable: it is unknown whether the end was written.
        """
        ending = Ending(response_id, outcome, fence, tail)
        with self._database.transaction() as connection:
            row = ends_sql.lock(connection, response_id)
            if row is None or not _may_end(row, ending):
                return None
            prepared_end = _prepare_end(row, ending, events_sql.read_log(connection, response_id))
            _write_ends(connection, [prepared_end])
            if act is not None:
                audit_sql.insert(connection, act, row.project_id)
        self._publish_ends([prepared_end])
        return prepared_end.document

    def end_batch(self, endings: Sequence[Ending]) -> list[LockedResponse]:
        """End several responses in one transaction; return the rows of the ended responses in their previous state.

        Rows that another transaction has locked are skipped: call `end` for these responses. If this method raises,
        call `end` for every response.

        Raises:
            errors.StoreUnavailable: it is unknown whether the ends were written.
            Exception: one of the ends cannot be written. Nothing was written.
        """
        with self._database.transaction() as connection:
            response_ids = [ending.response_id for ending in endings]
            rows = {row.id: row for row in ends_sql.lock_without_waiting(connection, response_ids)}
            endings = [
                ending
                for ending in endings
                if ending.response_id in rows and _may_end(rows[ending.response_id], ending)
            ]
            if not endings:
                return []
            logs = events_sql.read_logs(connection, [ending.response_id for ending in endings])
            prepared_ends = [
                _prepare_end(rows[ending.response_id], ending, logs[ending.response_id]) for ending in endings
            ]
            _write_ends(connection, prepared_ends)
        self._publish_ends(prepared_ends)
        return [prepared_end.row for prepared_end in prepared_ends]

    def _publish_ends(self, prepared_ends: Sequence[_PreparedEnd]) -> None:
        for prepared_end in prepared_ends:
            # Only the worker that runs the response passes a tail. Notify it if another process ended the response.
            if prepared_end.row.worker_id is not None and prepared_end.ending.tail is None:
                self._bus.publish_stop(prepared_end.row.worker_id, prepared_end.row.id)
        self._bus.publish_ends([prepared_end.last_batch for prepared_end in prepared_ends])
        for prepared_end in prepared_ends:
            outcome = prepared_end.ending.outcome
            log.info(
                "ended",
                extra={
                    "response": prepared_end.row.id,
                    "attempt": prepared_end.row.attempt,
                    "status": outcome.status,
                    "cause": outcome.cause,
                },
            )


def _may_end(row: LockedResponse, ending: Ending) -> bool:
    return may_move(Status(row.status), ending.outcome.status) and ending.fence(row)


def _prepare_end(row: LockedResponse, ending: Ending, lines: Sequence[str]) -> _PreparedEnd:
    """Compute the data to write for an end; `lines` is the committed log, and `ending.tail` must continue it."""
    outcome, tail = ending.outcome, ending.tail
    tail_lines = tail.lines if tail is not None else ()
    if tail is not None and tail_lines and tail.first_seq != len(lines):
        raise errors.StoreDataError(f"These events do not start after the {len(lines)} events of the log.")
    output = transcript.fold(jsonio.loads(line) for line in chain(lines, tail_lines))
    closing_events = transcript.close_items(output, "completed" if outcome.status == Status.COMPLETED else "incomplete")
    final_document = response.ended_document(
        jsonio.loads(row.document),
        outcome.status,
        output.output,
        now=row.now,
        error=outcome.error,
        incomplete_reason=outcome.incomplete_reason,
        usage=outcome.usage,
    )
    closing_events.append(transcript.lifecycle(final_document))
    numbered_events = transcript.number(closing_events, len(lines) + len(tail_lines))
    last_lines = (*tail_lines, *(jsonio.dumps(event) for event in numbered_events))
    last_batch = Batch(row.id, row.attempt, len(lines), last_lines, tail.tokens if tail is not None else 0)
    item_ids = [item["id"] for item in output.output]
    return _PreparedEnd(row, ending, jsonio.dumps(final_document), last_batch, item_ids)


def _write_ends(connection: Connection, prepared_ends: Sequence[_PreparedEnd]) -> None:
    events_sql.insert(connection, [prepared_end.last_batch for prepared_end in prepared_ends])
    ends_sql.write_ends(
        connection,
        [
            ends_sql.End(
                prepared_end.row.id,
                prepared_end.ending.outcome.status,
                prepared_end.document,
                prepared_end.ending.outcome.cause,
                prepared_end.ending.outcome.attempt_usage,
            )
            for prepared_end in prepared_ends
        ],
    )
    item_rows = [
        (prepared_end.row.project_id, item_id, prepared_end.row.id)
        for prepared_end in prepared_ends
        if prepared_end.row.stored
        for item_id in prepared_end.item_ids
    ]
    items_sql.insert(connection, item_rows)
