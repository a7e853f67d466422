"""What a worker may do with a response: claim it, keep it, write its events, give it back, end it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from core import errors, jsonio
from core.circuits.circuits import Circuits
from core.config import tiers
from core.context import contents_sql as contents
from core.context import context, parts, reasoning
from core.database import Connection, Database
from core.notify.batch import Batch
from core.runs import ends_sql, events_sql, runs_sql, workers_sql
from core.runs.ends import Ending, Endings, Outcome, Spent, cancelled, failed, fence_of
from core.runs.workers_sql import Worker
from core.tenants.seals import Seals
from core.wire import transcript
from core.wire.items import Item
from core.wire.request import CreateResponse
from core.wire.transcript import Transcript

log = logging.getLogger(__name__)

__all__ = ["Attempt", "Attempts", "Batch", "HandBack", "Worker", "Workers"]


@dataclass(frozen=True)
class Attempt:
    """One attempt at a response, held by one worker until its lease is over.

    Attributes:
        number: the fence; every write of the attempt carries it.
        context: every item the model is shown, in order; of large images and files only references, see `contents`;
            reasoning items are opened.
        document: the response object as JSON text, as of its creation.
        left_s: seconds until the run's clock ends.
        next_seq: the first free sequence number of the log.
        announced: whether `response.in_progress` was written by an earlier attempt.
        so_far: the output that earlier attempts committed; reasoning items are opened.
        tokens: of output in it, about.
        waits: how often it went back to waiting for its model server.
        probe: whether it tries for all whether its model's servers are back.
        prefix: the beginning of the text that the model server is to go on with.
    """

    response_id: str
    project_id: str
    number: int
    model: str
    request: CreateResponse
    context: list[Item]
    document: str
    left_s: float
    next_seq: int
    announced: bool
    partial_output: Transcript
    tokens: int
    waits: int
    probe: bool = False
    prefix: str = ""

    @property
    def shown(self) -> bool:
        """Whether an earlier attempt committed output."""
        return bool(self.partial_output.output)


@dataclass(frozen=True)
class HandBack:
    """Why a worker gives a response back unfinished.

    Args:
        cause: a sentence for operators, and for the client should the response's clock run out on it.
        waited: it is the model server that could not take it; else the worker could not keep it.
        delay_s: before it may be rung again.
        error_code: the wire's code for `cause`.
        away: the model server takes nobody's requests: the model's circuit opens, and decides who may be rung when.
        asked_s: for how long the model server asked to be left alone.
    """

    cause: str
    waited: bool = False
    delay_s: float = 0
    error_code: str | None = None
    unavailable: bool = False
    asked_s: float = 0


def announced(background: bool, next_seq: int) -> bool:
    """Whether a log of this length holds `response.in_progress`: it follows `created` and, in background, `queued`."""
    return next_seq > (2 if background else 1)


def shown(background: bool, next_seq: int) -> bool:
    """Whether a log of this length holds output: that starts after `response.in_progress`."""
    return next_seq > (3 if background else 2)


Fence = tuple[str, int]


@dataclass(frozen=True)
class BatchResult:
    """What became of the responses of a batched statement.

    Args:
        done: it was done for these.
        held: these are held, though somebody had them locked: ask again. All others are lost.
    """

    done: set[str]
    still_leased: set[str]


def _batch_result(connection: Connection, fences: Sequence[Fence], done: set[str]) -> BatchResult:
    missing = [fence for fence in fences if fence[0] not in done]
    return BatchResult(done, runs_sql.still_leased(connection, missing) if missing else set())


class Attempts:
    """The worker's side of the state machine. What a method writes, it writes in one transaction."""

    def __init__(
        self, database: Database, endings: Endings, circuits: Circuits, seals: Seals, *, lease_s: float
    ) -> None:
        self._database = database
        self._endings = endings
        self._circuits = circuits
        self._seals = seals
        self._lease_s = lease_s

    def claim(self, response_id: str, worker_id: str) -> Attempt | None:
        """Take a response that was rung; None if another was first, or it is not to be run now.

        Raises:
            errors.StoreUnavailable: if it was claimed after all, its lease runs out unused.
        """
        with self._database.connection() as connection:
            row = runs_sql.claim(connection, response_id, worker_id, self._lease_s)
        return None if row is None else self._attempt(row)

    def claim_batch(self, response_ids: Sequence[str], worker_id: str) -> dict[str, Attempt]:
        """Take, as `claim` does, those of the responses that are there to be taken and that nobody has locked.

        Raises:
            errors.StoreUnavailable: those that were claimed after all have leases that run out unused.
        """
        with self._database.connection() as connection:
            rows = runs_sql.claim_free(connection, response_ids, worker_id, self._lease_s)
        attempts: dict[str, Attempt] = {}
        for row in rows:
            try:
                attempt = self._attempt(row)
            except Exception:  # it costs the others nothing, and is recovered when its lease is over
                log.exception("cannot take what was claimed", extra={"response": row.id})
            else:
                attempts |= {row.id: attempt} if attempt is not None else {}
        return attempts

    def _attempt(self, row: runs_sql.Claimed) -> Attempt | None:
        try:
            request, items = context.unpack(row.request)
        except ValueError:
            log.exception("cannot read what a response was created with", extra={"response": row.id})
            unreadable = failed("server_error", "This version of the server cannot run what an older one accepted.")
            self._endings.end(row.id, unreadable, fence_of(row.attempt))
            return None
        return Attempt(
            response_id=row.id,
            project_id=row.project_id,
            number=row.attempt,
            model=row.model,
            request=request,
            context=reasoning.opened(items, self._seals, project_id=row.project_id, model=row.model),
            document=row.document,
            left_s=row.left_s,
            next_seq=row.next_seq,
            announced=announced(row.background, row.next_seq),
            partial_output=self._partial_output(row),
            tokens=row.tokens,
            waits=row.waits,
            probe=row.probe,
        )

    def _partial_output(self, row: runs_sql.Claimed) -> Transcript:
        if not shown(row.background, row.next_seq):
            return Transcript()
        with self._database.connection() as connection:
            found = transcript.fold(jsonio.loads(line) for line in events_sql.read(connection, row.id))
        # They are shown to the model where it goes on after them.
        found.output = reasoning.opened(found.output, self._seals, project_id=row.project_id, model=row.model)
        return found

    def contents(self, attempt: Attempt) -> dict[str, str]:
        """What the references in an attempt's context stand for, by their SHA-256 in hex."""
        needed = parts.references(attempt.context)
        if not needed:
            return {}
        with self._database.connection() as connection:
            return contents.read(connection, attempt.response_id, needed)

    def renew(self, fences: Sequence[Fence]) -> BatchResult:
        """Renew the leases of (response ID, attempt) pairs."""
        with self._database.connection() as connection:
            renewed = runs_sql.renew(connection, fences, self._lease_s)
            return _batch_result(connection, fences, renewed)

    def record(self, batches: Sequence[Batch]) -> BatchResult:
        """Append events, at most one batch a response.

        Raises:
            errors.StoreUnavailable: what was written is unknown; ask `recorded`, then send the rest unchanged.
            errors.StoreRefused: nothing was written, because Postgres does not take one of the batches.
        """
        try:
            with self._database.connection() as connection:
                written = events_sql.append(connection, batches)
                return _batch_result(connection, [(batch.response_id, batch.attempt) for batch in batches], written)
        except psycopg.errors.UniqueViolation as error:
            # A write whose answer was lost has come through meanwhile.
            raise errors.StoreUnavailable("Some of these events are written already.") from error
        except psycopg.DataError as error:
            raise errors.StoreRefused(f"Postgres does not take these events: {error}") from error

    def recorded(self, batches: Sequence[Batch]) -> list[Batch]:
        """Those of `batches` that are in the log already."""
        with self._database.connection() as connection:
            log_ends = events_sql.ends(connection, [batch.response_id for batch in batches])
        return [batch for batch in batches if log_ends.get(batch.response_id, 0) >= batch.next_seq]

    def end(self, attempt: Attempt, outcome: Outcome, tail: Batch) -> bool:
        """End a response with its last events; False if the attempt does not hold it any more."""
        done = self._endings.end(attempt.response_id, outcome, fence_of(attempt.number), tail=tail)
        return done is not None

    def end_batch(self, all_: Sequence[tuple[Attempt, Outcome, Batch]]) -> set[Fence]:
        """End responses as `end` does, in one transaction; the fences of those that it ended.

        All others are left to `end`: it waits for nobody, and does nothing at all where it raises.
        """
        endings = [
            Ending(attempt.response_id, outcome, fence_of(attempt.number), tail) for attempt, outcome, tail in all_
        ]
        return {(row.id, row.attempt) for row in self._endings.end_batch(endings)}

    def hand_back(self, attempt: Attempt, back: HandBack) -> bool:
        """Put a response back to waiting, with what is committed of its output; False if the attempt lost it.

        In the same transaction, so that dispatch finds both or neither, its model's circuit opens if it must.
        """
        with self._database.transaction() as connection:
            delay_s = self._open(connection, attempt, back) if back.unavailable else back.delay_s
            return runs_sql.requeue(
                connection,
                attempt.response_id,
                attempt.number,
                outcome="waited" if back.waited else "handed_back",
                cause=back.cause,
                delay_s=delay_s,
                error_code=back.error_code,
            )

    def _open(self, connection: Connection, attempt: Attempt, back: HandBack) -> float:
        """Open the circuit; how long the response itself must wait, besides for the circuit."""
        opened = self._circuits.open(
            connection,
            attempt.model,
            attempt.response_id,
            cause=back.cause,
            error_code=back.error_code,
            asked_s=back.asked_s,
        )
        return max(back.asked_s, self._circuits.turn_s(opened, is_probe=attempt.probe))

    def revoke(self, response_id: str) -> None:
        """Cancel a response whose Celery task was revoked before it began."""
        self._endings.end(response_id, cancelled("revoked through Celery"), lambda _: True)

    def note_dropped(self, attempt: Attempt, item_ids: Sequence[str]) -> None:
        """Add to an attempt which items of its context its model is not shown."""
        with self._database.connection() as connection:
            runs_sql.note_dropped(connection, attempt.response_id, attempt.number, item_ids)

    def note_usage(self, attempt: Attempt, spent: Spent) -> None:
        """Add what an attempt used that somebody else ended."""
        with self._database.transaction() as connection:
            ends_sql.note_usage(connection, attempt.response_id, attempt.number, spent)


class Workers:
    """Which workers there are."""

    def __init__(self, database: Database, *, seen_s: float) -> None:
        self._database = database
        self._seen_s = seen_s

    def stamp(
        self, worker_id: str, *, hostname: str, pid: int, slots: int, lanes: Sequence[str] = (tiers.LANE,)
    ) -> None:
        """Say that a worker is there; to be repeated well within `worker_seen_s`."""
        with self._database.connection() as connection:
            workers_sql.stamp(connection, worker_id, hostname=hostname, pid=pid, lanes=lanes, slots=slots)

    def leave(self, worker_id: str) -> None:
        """Say that a worker takes no more responses."""
        with self._database.connection() as connection:
            workers_sql.delete(connection, worker_id)

    def live(self) -> list[Worker]:
        """The workers seen lately."""
        with self._database.connection() as connection:
            return workers_sql.live(connection, self._seen_s)
