"""A model of the state machine of a response, and a checker that compares the database with the model."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import psycopg

from core.wire.status import MOVES, TERMINAL, Status
from tests import stream_checker

# No timeout is close to a multiple of CLOCK_STEP_S, so that the real duration of a test never decides an outcome.
CLOCK_STEP_S = 400
LEASE_S, RUN_S, QUEUE_S, TOTAL_S, CLAIM_S, FOLLOW_S = 1000, 2500, 3100, 6300, 500, 900
MAX_FAILURES = 3


@dataclass
class Lifecycle:
    """The expected state of one response under the rules of docs/lifecycle.md.

    Each operation returns the result that the engine must return. Attributes that end in `_s` are remaining times.
    """

    background: bool
    status: str = "queued"
    attempt: int = 0
    failures: int = 0
    waits: int = 0
    is_dispatched: bool = False
    log_length: int = 0  # the number of events, except those that end the response
    outcomes: list[str | None] = field(default_factory=list)  # the outcome of each attempt; None during the attempt
    lease_s: float = 0
    run_s: float = 0
    queue_s: float = QUEUE_S
    total_s: float = TOTAL_S
    follow_s: float = FOLLOW_S
    claim_s: float = 0

    def __post_init__(self) -> None:
        created_events = 2 if self.background else 1
        self.log_length = self.log_length or created_events

    def advance_clocks(self) -> None:
        """Subtract CLOCK_STEP_S seconds from every remaining time."""
        for clock in ("lease_s", "run_s", "queue_s", "total_s", "follow_s", "claim_s"):
            setattr(self, clock, getattr(self, clock) - CLOCK_STEP_S)

    @property
    def has_ended(self) -> bool:
        return self.status in TERMINAL

    def copy(self) -> "Lifecycle":
        return dataclasses.replace(self, outcomes=list(self.outcomes))

    def is_leased_by(self, number: int) -> bool:
        return self.status == "in_progress" and self.attempt == number

    def dispatch(self) -> None:
        self.is_dispatched, self.claim_s = True, CLAIM_S

    def claim(self) -> bool:
        if self.status != "queued" or not self.is_dispatched or self.queue_s < 0:
            return False
        self.status, self.attempt, self.is_dispatched = "in_progress", self.attempt + 1, False
        self.lease_s, self.run_s = LEASE_S, min(self.total_s, RUN_S)
        self.outcomes.append(None)
        return True

    def renew(self, number: int) -> str:
        if not self.is_leased_by(number) or self.run_s < 0:
            return "lost"
        self.lease_s = LEASE_S
        return "done"

    def record(self, number: int, first_seq: int, event_count: int) -> str:
        if not self.is_leased_by(number):
            return "lost"
        if first_seq < self.log_length:
            return "unknown"
        self.log_length += event_count
        return "done"

    def requeue(self, number: int, outcome: str) -> bool:
        if not self.is_leased_by(number):
            return False
        self.status, self.is_dispatched = "queued", False
        if outcome == "lost":
            self.failures += 1
        if outcome == "waited":
            self.waits += 1
        else:
            self.queue_s = self.total_s
        self.outcomes[-1] = outcome
        return True

    def end(self, status: str, number: int | None = None, event_count: int = 0) -> bool:
        if self.has_ended or (number is not None and not self.is_leased_by(number)):
            return False
        if self.status == "in_progress":
            self.outcomes[-1] = status
        self.status, self.is_dispatched = status, False
        self.log_length += event_count
        return True

    def expire(self) -> None:
        if self.status == "in_progress" and self.run_s < 0:
            self.end("failed")
        elif self.status == "in_progress" and self.lease_s < 0:
            if self.failures + 1 >= MAX_FAILURES:
                self.end("failed")
            else:
                self.requeue(self.attempt, "lost")
        elif self.status == "queued" and self.queue_s < 0:
            self.end("failed")

    def sweep(self) -> None:
        """Apply one round of the sweeper, without its dispatch."""
        self.expire()
        self.is_dispatched = self.is_dispatched and self.claim_s > 0
        if not self.background and self.follow_s < 0:
            self.end("cancelled")


# Triggers that record every transition and every write of all sessions.
AUDIT = """
create table moves (n bigint generated always as identity, id text,
    old_status text, new_status text, old_attempt int, new_attempt int);
create function note_move() returns trigger language plpgsql as $$ begin
    insert into moves (id, old_status, new_status, old_attempt, new_attempt)
    values (new.id, old.status, new.status, old.attempt, new.attempt);
    return new; end $$;
create trigger note_move after update on responses for each row
    when (old.status is distinct from new.status or old.attempt is distinct from new.attempt)
    execute function note_move();
create table writes (id text, attempt int, holder int, status text);
create function note_write() returns trigger language plpgsql as $$ begin
    insert into writes select new.response_id, new.attempt, attempt, status from responses where id = new.response_id;
    return new; end $$;
create trigger note_write after insert on response_events for each row execute function note_write();
"""
DELETE_ROWS = "delete from responses; delete from circuits; delete from moves; delete from writes"
ADVANCE_CLOCKS = """
update responses set lease_until = lease_until - %(by)s * interval '1 s', run_until = run_until - %(by)s * interval '1 s',
    queued_until = queued_until - %(by)s * interval '1 s', ends_by = ends_by - %(by)s * interval '1 s',
    available_at = available_at - %(by)s * interval '1 s', dispatched_at = dispatched_at - %(by)s * interval '1 s',
    followed_until = followed_until - %(by)s * interval '1 s'
where finished_at is null and id like %(id_pattern)s
"""


class StateChecker:
    """A separate database session that compares the committed state with the model and with the previous state."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._previous_rows: dict[str, tuple] = {}
        self.changed_ids: set[str] = set()  # responses that changed between the last two checks

    def reset(self) -> None:
        """Delete all responses and everything recorded about them."""
        self._previous_rows = {}
        self._connection.execute(DELETE_ROWS)

    def advance_clocks(self, id_pattern: str = "%") -> None:
        """Move the timestamps of all responses, or of those with a matching ID, CLOCK_STEP_S seconds into the past."""
        self._connection.execute(ADVANCE_CLOCKS, {"by": CLOCK_STEP_S, "id_pattern": id_pattern})
        self._connection.execute("update circuits set open_until = open_until - %s * interval '1 s'", (CLOCK_STEP_S,))

    def recall(self, response_id: str) -> None:
        """Undo the dispatch of a response."""
        self._connection.execute("update responses set dispatched_at = null where id = %s", (response_id,))

    def mark_dispatched(self, response_id: str) -> None:
        self._connection.execute("update responses set dispatched_at = now() where id = %s", (response_id,))

    def dispatched_ids(self) -> set[str]:
        return {
            response_id
            for (response_id,) in self._connection.execute(
                "select id from responses where status = 'queued' and dispatched_at is not null"
            )
        }

    def read_lifecycles(self) -> dict[str, Lifecycle]:
        """The states of the stored responses, except for the remaining times, which are those of new responses."""
        lifecycles: dict[str, Lifecycle] = {}
        for response_id, *columns in self._connection.execute(
            "select id, background, status, attempt, failures, waits, dispatched_at is not null,"
            " (select coalesce(max(first_seq + n), 0) from response_events where response_id = r.id),"
            " array(select outcome from attempts where response_id = r.id order by attempt) from responses r"
        ):
            lifecycle = lifecycles[response_id] = Lifecycle(*columns)
            if lifecycle.has_ended:
                lifecycle.log_length = 0
        return lifecycles

    def event_lines(self, response_id: str) -> list[str]:
        rows = self._connection.execute(
            "select data from response_events where response_id = %s order by first_seq", (response_id,)
        )
        return [line for (lines,) in rows for line in lines.split("\n")]

    def check(self, lifecycles: dict[str, Lifecycle]) -> None:
        """Assert that the database agrees with the model and that its history is legal."""
        rows = {
            response_id: tuple(columns)
            for response_id, *columns in self._connection.execute(
                "select id, status, attempt, failures, waits, dispatched_at is not null, worker_id is not null,"
                " array(select (attempt, outcome, ended_at is null)::text from attempts"
                "       where response_id = r.id order by attempt),"
                " array(select e::text from response_events e where response_id = r.id order by first_seq),"
                " to_jsonb(r)::text, document from responses r"
            )
        }
        assert rows.keys() == lifecycles.keys()
        self.changed_ids = {
            response_id for response_id, row in rows.items() if self._previous_rows.get(response_id) != row
        }
        for response_id in self.changed_ids:
            previous_status, *_ = self._previous_rows.get(response_id, ("none",))
            assert previous_status not in TERMINAL, f"{response_id} changed after its end"
            self._check_response(response_id, lifecycles[response_id], rows[response_id])
        self._previous_rows = rows
        for response_id, (status, *_) in rows.items():
            assert status == lifecycles[response_id].status, response_id
        self._check_history()

    def _check_response(self, response_id: str, lifecycle: Lifecycle, row: tuple) -> None:
        status, attempt, failures, waits, is_dispatched, has_worker, attempts, _, _, document = row
        expected = (lifecycle.status, lifecycle.attempt, lifecycle.failures, lifecycle.waits, lifecycle.is_dispatched)
        assert (status, attempt, failures, waits, is_dispatched) == expected, response_id
        assert failures < MAX_FAILURES  # the failure that would reach the limit ends the response
        expected_attempts = [
            f"({number},{outcome or ''},{'f' if outcome else 't'})"
            for number, outcome in enumerate(lifecycle.outcomes, 1)
        ]
        assert attempts == expected_attempts, response_id
        assert has_worker == (status == "in_progress") == any(outcome is None for outcome in lifecycle.outcomes)
        self._check_log(response_id, lifecycle, document)

    def _check_log(self, response_id: str, lifecycle: Lifecycle, document: str) -> None:
        batches = self._connection.execute(
            "select first_seq, n, attempt, data from response_events where response_id = %s order by first_seq",
            (response_id,),
        ).fetchall()
        next_seq, last_attempt = 0, 0
        events: list[dict[str, Any]] = []
        for first_seq, event_count, attempt, lines in batches:
            assert first_seq == next_seq, f"{response_id}: gap"
            assert attempt >= last_attempt, f"{response_id}: an older attempt wrote later"
            next_seq, last_attempt = first_seq + event_count, attempt
            events += [json.loads(line) for line in lines.split("\n")]
        if lifecycle.has_ended:
            assert len(events) > lifecycle.log_length
            stream_checker.check_complete_log(events, json.loads(document))
            assert events[-1]["response"]["status"] == lifecycle.status
        else:
            assert len(events) == lifecycle.log_length, response_id
            assert not [event for event in events if event["type"] in stream_checker.TERMINAL]
            stream_checker.check_log_start(events)

    def _check_history(self) -> None:
        moves = self._connection.execute(
            "select old_status, new_status, old_attempt, new_attempt, count(*) over (partition by id, new_status in"
            " ('completed', 'incomplete', 'failed', 'cancelled')) from moves"
        )
        for old_status, new_status, old_attempt, new_attempt, similar_moves in moves:
            assert Status(new_status) in MOVES[Status(old_status)], f"{old_status} -> {new_status}"
            assert new_attempt == old_attempt + (new_status == "in_progress")
            assert new_status not in TERMINAL or similar_moves == 1  # a response ends once
        # Every writer held the lease, and no write follows an end.
        assert self._connection.execute("select * from writes where attempt <> holder").fetchall() == []
        writes_after_end = self._connection.execute(
            "select * from writes where status not in ('queued', 'in_progress')"
        )
        assert writes_after_end.fetchall() == []
