"""A small model of the state machine: the expected state of a response after each operation, and its invariants."""

import dataclasses
import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import psycopg

from core.wire.status import MOVES, TERMINAL, Status
from tests import stream_checker

# No timeout is near a multiple of MOVE_S, so that the real time that passes as well never decides an outcome.
MOVE_S = 400
LEASE_S, RUN_S, QUEUE_S, WHOLE_S, CLAIM_S, FOLLOW_S = 1000, 2500, 3100, 6300, 500, 900
MAX_FAILURES = 3


@dataclass
class Life:
    """One response by the rules of docs/lifecycle.md; times are remaining seconds."""

    background: bool
    status: str = "queued"
    attempt: int = 0
    failures: int = 0
    waits: int = 0
    dispatched: bool = False
    log: int = 0  # events, without those of the end
    outcomes: list[str | None] = field(default_factory=list)  # of the attempts
    lease: float = 0
    run: float = 0
    wait: float = QUEUE_S
    whole: float = WHOLE_S
    follow: float = FOLLOW_S
    enqueue: float = 0

    def __post_init__(self) -> None:
        self.log = self.log or (2 if self.background else 1)

    def older(self) -> None:
        """Let MOVE_S seconds pass."""
        for clock in ("lease", "run", "wait", "whole", "follow", "enqueue"):
            setattr(self, clock, getattr(self, clock) - MOVE_S)

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    def copy(self) -> "Life":
        return dataclasses.replace(self, outcomes=list(self.outcomes))

    def holds(self, number: int) -> bool:
        return self.status == "in_progress" and self.attempt == number

    def be_rung(self) -> None:
        self.dispatched, self.enqueue = True, CLAIM_S

    def claim(self) -> bool:
        if self.status != "queued" or not self.dispatched or self.wait < 0:
            return False
        self.status, self.attempt, self.dispatched = "in_progress", self.attempt + 1, False
        self.lease, self.run = LEASE_S, min(self.whole, RUN_S)
        self.outcomes.append(None)
        return True

    def renew(self, number: int) -> str:
        if not self.holds(number) or self.run < 0:
            return "lost"
        self.lease = LEASE_S
        return "done"

    def record(self, number: int, first_seq: int, n: int) -> str:
        if not self.holds(number):
            return "lost"
        if first_seq < self.log:
            return "unknown"
        self.log += n
        return "done"

    def back(self, number: int, outcome: str) -> bool:
        if not self.holds(number):
            return False
        self.status, self.dispatched = "queued", False
        self.failures += outcome == "lost"
        self.waits += outcome == "waited"
        if outcome != "waited":
            self.wait = self.whole
        self.outcomes[-1] = outcome
        return True

    def end(self, status: str, number: int | None = None, n: int = 0) -> bool:
        if self.ended or (number is not None and not self.holds(number)):
            return False
        if self.status == "in_progress":
            self.outcomes[-1] = status
        self.status, self.dispatched = status, False
        self.log += n
        return True

    def expire(self) -> None:
        if self.status == "in_progress" and self.run < 0:
            self.end("failed")
        elif self.status == "in_progress" and self.lease < 0:
            if self.failures + 1 >= MAX_FAILURES:
                self.end("failed")
            else:
                self.back(self.attempt, "lost")
        elif self.status == "queued" and self.wait < 0:
            self.end("failed")

    def sweep(self) -> None:
        """Apply a sweeper round, except for the dispatch."""
        self.expire()
        self.dispatched = self.dispatched and self.enqueue > 0
        if not self.background and self.follow < 0:
            self.end("cancelled")


# An audit by Postgres of every transition and every write, from any session and in any order.
AUDIT = """
create table moves (n bigint generated always as identity, id text, was text, now text, attempt_was int, attempt int);
create function note_move() returns trigger language plpgsql as $$ begin
    insert into moves (id, was, now, attempt_was, attempt)
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
EMPTY = "delete from responses; delete from circuits; delete from moves; delete from writes"
MOVE = """
update responses set lease_until = lease_until - %(by)s * interval '1 s', run_until = run_until - %(by)s * interval '1 s',
    queued_until = queued_until - %(by)s * interval '1 s', ends_by = ends_by - %(by)s * interval '1 s',
    available_at = available_at - %(by)s * interval '1 s', dispatched_at = dispatched_at - %(by)s * interval '1 s',
    followed_until = followed_until - %(by)s * interval '1 s'
where finished_at is null and id like %(which)s
"""


class Witness:
    """A session that only reads committed data and remembers the previous state."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._before: dict[str, tuple] = {}
        self.changed: set[str] = set()  # IDs that changed between the last two checks

    def empty(self) -> None:
        self._before = {}
        self._connection.execute(EMPTY)

    def move_clocks(self, which: str = "%") -> None:
        """Let MOVE_S seconds pass for all responses or for one."""
        self._connection.execute(MOVE, {"by": MOVE_S, "which": which})
        self._connection.execute("update circuits set open_until = open_until - %s * interval '1 s'", (MOVE_S,))

    def wait(self, response_id: str) -> None:
        """Recall a dispatched response: it waits again."""
        self._connection.execute("update responses set dispatched_at = null where id = %s", (response_id,))

    def enqueue(self, response_id: str) -> None:
        """Mark a response as dispatched, as dispatch does."""
        self._connection.execute("update responses set dispatched_at = now() where id = %s", (response_id,))

    def dispatched(self) -> set[str]:
        return {
            row[0]
            for row in self._connection.execute(
                "select id from responses where status = 'queued' and dispatched_at is not null"
            )
        }

    def lives(self) -> dict[str, Life]:
        """The responses as stored, with the clocks of new ones."""
        found: dict[str, Life] = {}
        for one, background, *seen in self._connection.execute(
            "select id, background, status, attempt, failures, waits, dispatched_at is not null,"
            " (select coalesce(max(first_seq + n), 0) from response_events where response_id = r.id),"
            " array(select outcome from attempts where response_id = r.id order by attempt) from responses r"
        ):
            found[one] = Life(background, *seen)
            if found[one].ended:
                found[one].log = 0
        return found

    def logged(self, response_id: str) -> list[str]:
        rows = self._connection.execute(
            "select data from response_events where response_id = %s order by first_seq", (response_id,)
        )
        return [line for row in rows for line in row[0].split("\n")]

    def check(self, lives: dict[str, Life]) -> None:
        """Assert that the database agrees with the model and that its history contains nothing illegal."""
        rows = {
            row[0]: row[1:]
            for row in self._connection.execute(
                "select id, status, attempt, failures, waits, dispatched_at is not null, worker_id is not null,"
                " array(select (attempt, outcome, ended_at is null)::text from attempts"
                "       where response_id = r.id order by attempt),"
                " array(select e::text from response_events e where response_id = r.id order by first_seq),"
                " to_jsonb(r)::text, document from responses r"
            )
        }
        assert rows.keys() == lives.keys()
        self.changed = {one for one, row in rows.items() if self._before.get(one) != row}
        for one in self.changed:
            before = self._before.get(one)
            assert before is None or before[0] not in TERMINAL, f"{one} had ended, and was changed"
            self._check(one, lives[one], rows[one])
        self._before = rows
        for one, row in rows.items():
            assert row[0] == lives[one].status, one
        self._check_history()

    def _check(self, one: str, life: Life, row: tuple) -> None:
        status, attempt, failures, waits, dispatched, held, attempts, _, _, document = row
        found = (status, attempt, failures, waits, dispatched)
        assert found == (life.status, life.attempt, life.failures, life.waits, life.dispatched), one
        assert failures < MAX_FAILURES  # the failure that would reach the limit ends the response
        assert attempts == [f"({n},{said or ''},{'f' if said else 't'})" for n, said in enumerate(life.outcomes, 1)], (
            one
        )
        assert held == (status == "in_progress") == any(said is None for said in life.outcomes)
        self._check_log(one, life, document)

    def _check_log(self, response_id: str, life: Life, document: str) -> None:
        batches = self._connection.execute(
            "select first_seq, n, attempt, data from response_events where response_id = %s order by first_seq",
            (response_id,),
        ).fetchall()
        assert batches[0][0] == 0
        assert all(one[0] + one[1] == two[0] for one, two in pairwise(batches)), f"{response_id}: gap"
        assert all(one[2] <= two[2] for one, two in pairwise(batches)), f"{response_id}: an older attempt wrote later"
        events: list[dict[str, Any]] = [json.loads(line) for batch in batches for line in batch[3].split("\n")]
        if life.ended:
            assert len(events) > life.log
            stream_checker.check(events, json.loads(document))
            assert events[-1]["response"]["status"] == life.status
        else:
            assert len(events) == life.log, response_id
            assert not [event for event in events if event["type"] in stream_checker.TERMINAL]
            stream_checker.check_begun(events)

    def _check_history(self) -> None:
        moves = self._connection.execute(
            "select was, now, attempt_was, attempt, count(*) over (partition by id, now in"
            " ('completed', 'incomplete', 'failed', 'cancelled')) from moves"
        )
        for was, now, attempt_was, attempt, times in moves:
            assert Status(now) in MOVES[Status(was)], f"{was} -> {now}"
            assert attempt == attempt_was + (now == "in_progress")
            assert now not in TERMINAL or times == 1
        # Every writer held the response, and no write follows an end.
        assert self._connection.execute("select * from writes where attempt <> holder").fetchall() == []
        assert (
            self._connection.execute(
                "select * from writes where status <> all (%s)", (["queued", "in_progress"],)
            ).fetchall()
            == []
        )
