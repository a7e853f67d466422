"""Operations of a worker on a response: claim it, renew its lease, append events, hand it back, end it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core import errors, jsonio
from core.circuits.circuits import Circuits
from core.codes import Code
from core.context import contents_sql, context, parts, reasoning
from core.database import Connection, Database, DataError, UniqueViolation
from core.notify.batch import Batch
from core.runs import ends_sql, events_sql, runs_sql
from core.runs.attempt import Attempt, HandBack, log_has_in_progress, log_has_output
from core.runs.ends import AttemptUsage, Ending, Endings, Outcome, attempt_fence, cancelled_outcome, failed_outcome
from core.tenants.seals import Seals
from core.wire import transcript
from core.wire.transcript import Transcript

log = logging.getLogger(__name__)

__all__ = ["Attempt", "Attempts", "Batch", "HandBack"]


AttemptKey = tuple[str, int]  # response ID and attempt number


@dataclass(frozen=True)
class BatchResult:
    """The result of one statement for several attempts.

    A response in neither of the sets has ended or no longer belongs to the attempt.

    Args:
        succeeded_ids: IDs of the responses for which the statement succeeded.
        locked_ids: IDs of the responses that the statement skipped because another transaction had locked their
            rows. The attempts still have their leases: the caller must retry the statement for them.
    """

    succeeded_ids: set[str]
    locked_ids: set[str]


def _batch_result(connection: Connection, attempt_keys: Sequence[AttemptKey], succeeded_ids: set[str]) -> BatchResult:
    skipped_keys = [attempt_key for attempt_key in attempt_keys if attempt_key[0] not in succeeded_ids]
    return BatchResult(succeeded_ids, runs_sql.select_leased(connection, skipped_keys) if skipped_keys else set())


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
        """Claim a dispatched response; return None if another worker claimed it first, or it must not run now.

        Raises:
            errors.StoreUnavailable: it is unknown whether the response was claimed; if so, its lease expires unused.
        """
        with self._database.connection() as connection:
            row = runs_sql.claim(connection, response_id, worker_id, self._lease_s)
        return None if row is None else self._build_attempt(row)

    def claim_batch(self, response_ids: Sequence[str], worker_id: str) -> dict[str, Attempt]:
        """Claim several responses as `claim` does, but skip locked rows.

        Raises:
            errors.StoreUnavailable: it is unknown which responses were claimed; their leases expire unused.
        """
        with self._database.connection() as connection:
            rows = runs_sql.claim_unlocked(connection, response_ids, worker_id, self._lease_s)
        attempts: dict[str, Attempt] = {}
        for row in rows:
            try:
                attempt = self._build_attempt(row)
            except Exception:
                # An error must not affect the other responses. The sweeper recovers this one when its lease expires.
                log.exception("cannot load a claimed response", extra={"response": row.id})
            else:
                if attempt is not None:
                    attempts[row.id] = attempt
        return attempts

    def _build_attempt(self, row: runs_sql.ClaimedResponse) -> Attempt | None:
        try:
            request, items, is_complete = context.unpack(row.request)
        except ValueError:
            log.exception("cannot read the stored request of a response", extra={"response": row.id})
            outcome = failed_outcome(
                Code.SERVER_ERROR, "This server version cannot run a response accepted by an older one."
            )
            self._endings.end(row.id, outcome, attempt_fence(row.attempt))
            return None
        return Attempt(
            response_id=row.id,
            project_id=row.project_id,
            number=row.attempt,
            model=row.model,
            request=request,
            context=reasoning.open_items(items, self._seals, project_id=row.project_id, model=row.model),
            document=row.document,
            remaining_s=row.remaining_s,
            next_seq=row.next_seq,
            has_in_progress_event=log_has_in_progress(row.background, row.next_seq),
            partial_output=self._read_partial_output(row),
            partial_output_tokens=row.tokens,
            wait_count=row.waits,
            probe=row.probe,
            packed_request=None if is_complete else row.request,
        )

    def load_large_fields(self, attempt: Attempt) -> Attempt:
        """Return an attempt with the large fields of its request and context.

        Raises:
            errors.StoreUnavailable: Postgres is unavailable; a retry is safe.
            errors.NotFound: the response has been deleted.
        """
        if attempt.packed_request is None:
            return attempt
        with self._database.connection() as connection:
            request, items, _ = context.load_request(connection, attempt.response_id, attempt.packed_request)
        items = reasoning.open_items(items, self._seals, project_id=attempt.project_id, model=attempt.model)
        return replace(attempt, request=request, context=items, packed_request=None)

    def _read_partial_output(self, row: runs_sql.ClaimedResponse) -> Transcript:
        if not log_has_output(row.background, row.next_seq):
            return Transcript()
        with self._database.connection() as connection:
            partial = transcript.fold(jsonio.loads(line) for line in events_sql.read_log(connection, row.id))
        # To continue after reasoning items, the model needs them decrypted.
        partial.output = reasoning.open_items(partial.output, self._seals, project_id=row.project_id, model=row.model)
        return partial

    def contents(self, attempt: Attempt) -> dict[str, str]:
        """Return the contents to which an attempt's context refers, by SHA-256 in hex."""
        content_ids = parts.references(attempt.context)
        if not content_ids:
            return {}
        with self._database.connection() as connection:
            return contents_sql.read(connection, attempt.response_id, content_ids)

    def renew(self, attempt_keys: Sequence[AttemptKey]) -> BatchResult:
        """Renew the leases of attempts."""
        with self._database.connection() as connection:
            renewed_ids = runs_sql.renew(connection, attempt_keys, self._lease_s)
            return _batch_result(connection, attempt_keys, renewed_ids)

    def append_events(self, batches: Sequence[Batch]) -> BatchResult:
        """Append events, at most one batch per response.

        Raises:
            errors.StoreUnavailable: it is unknown which batches were written; call `find_written`, then write the
                other batches again, unchanged.
            errors.StoreDataError: Postgres rejects one of the batches. Nothing was written.
        """
        try:
            with self._database.connection() as connection:
                written_ids = events_sql.append(connection, batches)
                attempt_keys = [(batch.response_id, batch.attempt) for batch in batches]
                return _batch_result(connection, attempt_keys, written_ids)
        except UniqueViolation as error:
            # An earlier write of a batch was committed, although its result never arrived.
            raise errors.StoreUnavailable("Some of these events were already written.") from error
        except DataError as error:
            raise errors.StoreDataError(f"Postgres rejected these events: {error}") from error

    def find_written(self, batches: Sequence[Batch]) -> list[Batch]:
        """Return the elements of `batches` that the event logs already contain."""
        with self._database.connection() as connection:
            next_seqs = events_sql.read_next_seqs(connection, [batch.response_id for batch in batches])
        return [batch for batch in batches if next_seqs.get(batch.response_id, 0) >= batch.next_seq]

    def end(self, attempt: Attempt, outcome: Outcome, tail: Batch) -> bool:
        """End a response with its last events; return False if it no longer belongs to the attempt."""
        document = self._endings.end(attempt.response_id, outcome, attempt_fence(attempt.number), tail=tail)
        return document is not None

    def end_batch(self, attempt_ends: Sequence[tuple[Attempt, Outcome, Batch]]) -> set[AttemptKey]:
        """End several responses in one transaction; return the keys of the attempts that it ended.

        The caller must call `end` for the other attempts: this method skips locked rows, and writes nothing if it
        raises an error.
        """
        endings = [
            Ending(attempt.response_id, outcome, attempt_fence(attempt.number), tail)
            for attempt, outcome, tail in attempt_ends
        ]
        return {(row.id, row.attempt) for row in self._endings.end_batch(endings)}

    def hand_back(self, attempt: Attempt, hand_back: HandBack) -> bool:
        """Put a response back in the queue with its committed output; return False if it is not leased to the attempt.

        If `hand_back.unavailable`, the same transaction opens the model's circuit: dispatch sees both changes or none.
        """
        with self._database.transaction() as connection:
            delay_s = hand_back.delay_s
            if hand_back.unavailable:
                delay_s = self._open_circuit(connection, attempt, hand_back)
            return runs_sql.requeue(
                connection,
                attempt.response_id,
                attempt.number,
                outcome="waited" if hand_back.awaits_server else "handed_back",
                cause=hand_back.cause,
                delay_s=delay_s,
                error_code=hand_back.error_code,
            )

    def _open_circuit(self, connection: Connection, attempt: Attempt, hand_back: HandBack) -> float:
        """Open the model's circuit; return the seconds by which the response itself is delayed.

        A failed probe gets a longer delay, so that another response is the next probe.
        """
        circuit = self._circuits.open(
            connection,
            attempt.model,
            attempt.response_id,
            cause=hand_back.cause,
            error_code=hand_back.error_code,
            requested_delay_s=hand_back.requested_delay_s,
        )
        return max(hand_back.requested_delay_s, self._circuits.retry_delay_s(circuit, was_probe=attempt.probe))

    def revoke(self, response_id: str) -> None:
        """Cancel a response whose Celery task was revoked before it started."""
        self._endings.end(response_id, cancelled_outcome("revoked through Celery"), lambda _: True)

    def record_dropped_items(self, attempt: Attempt, item_ids: Sequence[str]) -> None:
        """Record the IDs of the context items that an attempt omits from its model call."""
        with self._database.connection() as connection:
            runs_sql.record_dropped_items(connection, attempt.response_id, attempt.number, item_ids)

    def record_usage(self, attempt: Attempt, attempt_usage: AttemptUsage) -> None:
        """Record the usage of an attempt that another process ended."""
        with self._database.transaction() as connection:
            ends_sql.record_usage(connection, attempt.response_id, attempt.number, attempt_usage)
