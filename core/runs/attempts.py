"""What a worker does with a response: claim it, renew its lease, append events, hand it back, end it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from core import errors, jsonio
from core.circuits.circuits import Circuits
from core.codes import Code
from core.config import tiers
from core.context import contents_sql as contents
from core.context import context, parts, reasoning
from core.database import Connection, Database, DataError, UniqueViolation
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
    """One attempt to run a response, held by one worker until its lease expires.

    Attributes:
        number: the attempt number, which is the fence: every write of the attempt carries it.
        context: all input items of the model call, in order; large images and files are references, see `contents`;
            reasoning items are decrypted.
        document: the response object as JSON text, as of its creation.
        left_s: seconds until `run_until`.
        next_seq: the first free sequence number of the event log.
        announced: whether an earlier attempt wrote `response.in_progress`.
        partial_output: the output that earlier attempts committed; reasoning items are decrypted.
        tokens: approximate number of output tokens in `partial_output`.
        waits: how often the response went back to the queue because its model server could not take it.
        probe: whether this attempt is the probe of its model's circuit.
        prefix: the beginning of the text that the model server must continue.
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
    """Why a worker puts an unfinished response back in the queue.

    Args:
        cause: a sentence for operators; the client sees it, too, if the response's deadline passes before another
            attempt.
        waited: whether the model server could not take the response; otherwise the worker could not keep it.
        delay_s: seconds before the response may be dispatched again; not used if `unavailable`.
        error_code: the API's error code for `cause`.
        unavailable: whether the model server takes no requests at all. The model's circuit then opens, and decides
            which response is dispatched when.
        asked_s: seconds that the model server asked to wait before the next request.
    """

    cause: str
    waited: bool = False
    delay_s: float = 0
    error_code: str | None = None
    unavailable: bool = False
    asked_s: float = 0


def announced(background: bool, next_seq: int) -> bool:
    """Whether a log of this length has `response.in_progress`, which follows `created` and, in background, `queued`."""
    return next_seq > (2 if background else 1)


def shown(background: bool, next_seq: int) -> bool:
    """Whether a log of this length contains output, which starts after `response.in_progress`."""
    return next_seq > (3 if background else 2)


Fence = tuple[str, int]


@dataclass(frozen=True)
class BatchResult:
    """The result of one statement for several responses; a response in neither set is lost to the attempt.

    Args:
        done: IDs of the responses for which the statement succeeded.
        still_leased: IDs that it skipped because another transaction had locked their rows, although the attempts
            still hold them: retry these.
    """

    done: set[str]
    still_leased: set[str]


def _batch_result(connection: Connection, fences: Sequence[Fence], done: set[str]) -> BatchResult:
    missing = [fence for fence in fences if fence[0] not in done]
    return BatchResult(done, runs_sql.still_leased(connection, missing) if missing else set())


class Attempts:
    """The worker side of the state machine. Each method writes everything in one transaction."""

    def __init__(
        self, database: Database, endings: Endings, circuits: Circuits, seals: Seals, *, lease_s: float
    ) -> None:
        self._database = database
        self._endings = endings
        self._circuits = circuits
        self._seals = seals
        self._lease_s = lease_s

    def claim(self, response_id: str, worker_id: str) -> Attempt | None:
        """Claim a dispatched response; None if another worker claimed it first, or it must not run now.

        Raises:
            errors.StoreUnavailable: whether it was claimed is unknown; if it was, its lease expires unused.
        """
        with self._database.connection() as connection:
            row = runs_sql.claim(connection, response_id, worker_id, self._lease_s)
        return None if row is None else self._attempt(row)

    def claim_batch(self, response_ids: Sequence[str], worker_id: str) -> dict[str, Attempt]:
        """Claim, as `claim` does, those of the responses that can be claimed and whose rows are not locked.

        Raises:
            errors.StoreUnavailable: which were claimed is unknown; the leases of those that were expire unused.
        """
        with self._database.connection() as connection:
            rows = runs_sql.claim_free(connection, response_ids, worker_id, self._lease_s)
        attempts: dict[str, Attempt] = {}
        for row in rows:
            try:
                attempt = self._attempt(row)
            except Exception:  # must not affect the others; the sweeper recovers this one when its lease expires
                log.exception("cannot load a claimed response", extra={"response": row.id})
            else:
                attempts |= {row.id: attempt} if attempt is not None else {}
        return attempts

    def _attempt(self, row: runs_sql.Claimed) -> Attempt | None:
        try:
            request, items = context.unpack(row.request)
        except ValueError:
            log.exception("cannot read the stored request of a response", extra={"response": row.id})
            unreadable = failed(
                Code.SERVER_ERROR, "This server version cannot run a response accepted by an older one."
            )
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
        # The model is shown the reasoning items when it continues after them.
        found.output = reasoning.opened(found.output, self._seals, project_id=row.project_id, model=row.model)
        return found

    def contents(self, attempt: Attempt) -> dict[str, str]:
        """The contents that an attempt's context refers to, by SHA-256 in hex."""
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
        """Append events, at most one batch per response.

        Raises:
            errors.StoreUnavailable: which batches were written is unknown; call `recorded`, then resend the others
                unchanged.
            errors.StoreRefused: Postgres rejects one of the batches. Nothing was written.
        """
        try:
            with self._database.connection() as connection:
                written = events_sql.append(connection, batches)
                return _batch_result(connection, [(batch.response_id, batch.attempt) for batch in batches], written)
        except UniqueViolation as error:
            # An earlier write, whose result never arrived, was committed after all.
            raise errors.StoreUnavailable("Some of these events were already written.") from error
        except DataError as error:
            raise errors.StoreRefused(f"Postgres rejected these events: {error}") from error

    def recorded(self, batches: Sequence[Batch]) -> list[Batch]:
        """Those of `batches` that the event logs already contain."""
        with self._database.connection() as connection:
            log_ends = events_sql.ends(connection, [batch.response_id for batch in batches])
        return [batch for batch in batches if log_ends.get(batch.response_id, 0) >= batch.next_seq]

    def end(self, attempt: Attempt, outcome: Outcome, tail: Batch) -> bool:
        """End a response with its last events; False if the attempt no longer holds it."""
        done = self._endings.end(attempt.response_id, outcome, fence_of(attempt.number), tail=tail)
        return done is not None

    def end_batch(self, all_: Sequence[tuple[Attempt, Outcome, Batch]]) -> set[Fence]:
        """End responses as `end` does, in one transaction; returns the fences of those it ended.

        The caller must use `end` for all others: this method skips locked rows, and writes nothing if it raises.
        """
        endings = [
            Ending(attempt.response_id, outcome, fence_of(attempt.number), tail) for attempt, outcome, tail in all_
        ]
        return {(row.id, row.attempt) for row in self._endings.end_batch(endings)}

    def hand_back(self, attempt: Attempt, back: HandBack) -> bool:
        """Put a response back in the queue with its committed output; False if the attempt no longer holds it.

        If `back.unavailable`, the same transaction opens the model's circuit, so that dispatch sees both or neither.
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
        """Open the model's circuit; returns the response's own delay in seconds, which adds to the circuit's.

        A failed probe gets a longer delay, so that another response is the next probe.
        """
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
        """Cancel a response whose Celery task was revoked before it started."""
        self._endings.end(response_id, cancelled("revoked through Celery"), lambda _: True)

    def note_dropped(self, attempt: Attempt, item_ids: Sequence[str]) -> None:
        """Record the IDs of the context items that an attempt leaves out of its model call."""
        with self._database.connection() as connection:
            runs_sql.note_dropped(connection, attempt.response_id, attempt.number, item_ids)

    def note_usage(self, attempt: Attempt, spent: Spent) -> None:
        """Record the usage of an attempt that another process ended."""
        with self._database.transaction() as connection:
            ends_sql.note_usage(connection, attempt.response_id, attempt.number, spent)


class Workers:
    """The registry of live workers."""

    def __init__(self, database: Database, *, seen_s: float) -> None:
        self._database = database
        self._seen_s = seen_s

    def stamp(
        self, worker_id: str, *, hostname: str, pid: int, slots: int, lanes: Sequence[str] = (tiers.LANE,)
    ) -> None:
        """Register a worker or refresh its registration; must be repeated well within `worker_seen_s`."""
        with self._database.connection() as connection:
            workers_sql.stamp(connection, worker_id, hostname=hostname, pid=pid, lanes=lanes, slots=slots)

    def leave(self, worker_id: str) -> None:
        """Delete the registration of a worker that accepts no more responses."""
        with self._database.connection() as connection:
            workers_sql.delete(connection, worker_id)

    def live(self) -> list[Worker]:
        """The workers whose registration was refreshed in the last `worker_seen_s` seconds."""
        with self._database.connection() as connection:
            return workers_sql.live(connection, self._seen_s)
