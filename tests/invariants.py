"""Checks whether accepted responses satisfy the invariants after any fault; counts violations by kind."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from core.wire import transcript
from tests import stream_checker
from tests.harness.stack import Stack

TERMINAL = {"completed", "incomplete", "failed", "cancelled"}
TERMINAL_EVENTS = {"response.completed", "response.incomplete", "response.failed"}
# Maximum number of event logs per check that are also validated with the official client, which is slow.
MAX_FULL_CHECKS = 200
_BATCH_SIZE = 500


def watch_ends(stack: Stack) -> None:
    """Create triggers that record each transition to a terminal status and each change of an ended response."""
    stack.sql("""
        create table ends (id text);
        create function record_end() returns trigger language plpgsql as $$ begin
            insert into ends values (new.id); return new; end $$;
        create trigger record_end after update of status on responses for each row
            when (new.status in ('completed', 'incomplete', 'failed', 'cancelled')) execute function record_end();

        create table late_changes (id text, change text);
        create function record_late_change() returns trigger language plpgsql as $$ begin
            insert into late_changes values (old.id, 'row changed'); return new; end $$;
        create trigger record_late_change after update on responses for each row
            when (old.finished_at is not null and (old.status, old.document, old.attempt, old.finished_at)
                is distinct from (new.status, new.document, new.attempt, new.finished_at))
            execute function record_late_change();

        create function record_late_events() returns trigger language plpgsql as $$ begin
            if tg_op = 'UPDATE' then insert into late_changes values (old.response_id, 'events changed');
            elsif exists (select 1 from responses where id = new.response_id and finished_at is not null)
            then insert into late_changes values (new.response_id, 'events added'); end if;
            return new; end $$;
        create trigger record_late_events before insert or update on response_events
            for each row execute function record_late_events();
    """)


@dataclass
class Figures:
    """Counts of the accepted responses and of violations; `accepted`, `terminal` and `statuses` are not violations."""

    accepted: int = 0
    terminal: int = 0
    written_twice: int = 0
    changed_after_end: int = 0
    incorrect_logs: int = 0  # logs that are incomplete or do not add up to their document
    leaked_connections: int = 0  # connections to the model server that are still open
    over_budget: int = 0  # responses that were lost more often than allowed, and open attempts of ended responses
    differing_streams: int = 0  # streams that differ from the event log
    # Responses that are stored but were not accepted, or that were accepted but are not stored.
    mismatched_responses: int = 0
    false_statements: int = 0  # replies to clients that later proved wrong
    crashes: int = 0  # processes that ended without a request to stop
    statuses: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    @property
    def has_no_violations(self) -> bool:
        """Whether every response ended exactly once and no invariant was violated."""
        return self.accepted == self.terminal and not self.findings

    def add(self, kind: str, description: str, count: int = 1) -> None:
        """Count a violation and record its description."""
        setattr(self, kind, getattr(self, kind) + count)
        self.findings.append(f"{kind}: {description}")


def check_responses(stack: Stack, accepted: Iterable[str]) -> dict[str, int]:
    """Assert that every accepted response ended once with a complete, consistent log; return the count by status."""
    figures = inspect_responses(stack, accepted, exclusive=True)
    assert figures.has_no_violations, figures
    return dict(figures.statuses)


def inspect_responses(
    stack: Stack,
    accepted: Iterable[str],
    streams: Mapping[str, list[stream_checker.Event]] | None = None,
    *,
    exclusive: bool = False,
) -> Figures:
    """Check responses that should all have ended; return the counts.

    Args:
        streams: the events that clients have read, by response ID, over any number of connections.
        exclusive: whether any other response in the database is a violation.
    """
    ids = set(accepted)
    figures = Figures(accepted=len(ids))
    rows = stack.sql(
        "select id, status, document, attempt, failures, events_n from responses where %s or id = any (%s)"
        " order by finished_at desc",
        exclusive,
        list(ids),
    )
    if mismatched_ids := ids ^ {response_id for response_id, *_ in rows}:
        figures.add("mismatched_responses", str(mismatched_ids), len(mismatched_ids))
    for start in range(0, len(rows), _BATCH_SIZE):
        batch = rows[start : start + _BATCH_SIZE]
        logs = _read_logs(stack, [response_id for response_id, *_ in batch])
        for response_id, status, document, attempt, failures, pruned_event_count in batch:
            figures.statuses[status] += 1
            if status not in TERMINAL:
                figures.findings.append(f"{response_id} is {status}")
                continue
            figures.terminal += 1
            final_document, log = json.loads(document), logs.get(response_id, [])
            if pruned_event_count is None:  # the log has not been deleted
                is_full_check = figures.terminal <= MAX_FULL_CHECKS
                _check_log(figures, response_id, log, final_document, attempt, is_full_check=is_full_check)
            if failures > stack.settings.max_failures:
                figures.add("over_budget", f"{response_id} was lost {failures} times")
            if streams and response_id in streams:
                _check_stream(figures, response_id, streams[response_id], log, final_document)
    _check_ends(stack, figures, ids)
    return figures


def _check_ends(stack: Stack, figures: Figures, ids: set[str]) -> None:
    """Check that each response ended once, that nothing was written afterwards, and that no attempt is open."""
    end_counts = dict(stack.sql("select id, count(*) from ends where id = any (%s) group by id", list(ids)))
    for response_id, end_count in end_counts.items():
        if end_count > 1:
            figures.add("written_twice", f"{response_id} ended {end_count} times")
    if len(end_counts) != figures.terminal:
        figures.findings.append(
            f"{len(end_counts)} responses have ended, but {figures.terminal} have a terminal status"
        )
    for response_id, change in stack.sql("select id, change from late_changes where id = any (%s)", list(ids)):
        figures.add("changed_after_end", f"{response_id}: {change}")
    for (response_id,) in stack.sql(
        "select response_id from attempts where ended_at is null and response_id = any (%s)", list(ids)
    ):
        figures.add("over_budget", f"{response_id} has an open attempt")


class _Batch(NamedTuple):
    """Events that were written together, as in a row of `response_events`; `lines` is one JSON text per event."""

    first_seq: int
    event_count: int
    lines: str
    attempt: int


def _read_logs(stack: Stack, ids: list[str]) -> dict[str, list[_Batch]]:
    """Read the event logs of responses; return the batches of each log in order, by response ID."""
    logs: dict[str, list[_Batch]] = {}
    for response_id, *batch in stack.sql(
        "select response_id, first_seq, n, data, attempt from response_events where response_id = any (%s)"
        " order by response_id, first_seq",
        ids,
    ):
        logs.setdefault(response_id, []).append(_Batch(*batch))
    return logs


def _check_log(
    figures: Figures,
    response_id: str,
    batches: list[_Batch],
    document: dict,
    attempt: int,
    *,
    is_full_check: bool,
) -> None:
    """Check that a log is complete, numbered without gaps, and adds up to the stored document."""
    try:
        assert batches[0].first_seq == 0
        assert all(
            batch.first_seq + batch.event_count == next_batch.first_seq for batch, next_batch in pairwise(batches)
        )
        attempts = [batch.attempt for batch in batches]
        assert attempts == sorted(attempts)
        assert attempts[-1] <= attempt
        events = _parse_events(batches)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert [event["type"] for event in events if event["type"] in TERMINAL_EVENTS] == [events[-1]["type"]]
        assert [event["type"] for event in events].count("response.in_progress") <= 1
        assert events[-1]["response"] == document
        if is_full_check:
            stream_checker.check_complete_log(events, document)
        fold = transcript.fold(events)
        assert not fold.open
        assert fold.output == document["output"]
    except (AssertionError, IndexError) as error:
        figures.add("incorrect_logs", f"{response_id}: {error!r}"[:2000])


def _check_stream(
    figures: Figures,
    response_id: str,
    stream_events: list[stream_checker.Event],
    batches: list[_Batch],
    document: dict,
) -> None:
    """Check that a client has read exactly the events of the log, and the stored document in the last one."""
    if not stream_events or stream_events != _parse_events(batches) or stream_events[-1]["response"] != document:
        figures.add("differing_streams", f"{response_id}: a client read {len(stream_events)} events")


def _parse_events(batches: list[_Batch]) -> list[stream_checker.Event]:
    return [json.loads(line) for batch in batches for line in batch.lines.split("\n")]
