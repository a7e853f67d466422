"""Invariants of every accepted response after any fault, checked by one function and reported as counts."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from core.wire import transcript
from tests import stream_checker
from tests.harness.stack import Stack

TERMINAL = {"completed", "incomplete", "failed", "cancelled"}
TERMINAL_EVENTS = {"response.completed", "response.incomplete", "response.failed"}
# Number of logs whose events are also validated against the clients' schema; of the others, only numbering and sums are
# checked.
LOOKED_CLOSELY = 200
_AT_ONCE = 500


def watch_ends(stack: Stack) -> None:
    """Record in the database each transition to a terminal status and each write to a response that had ended."""
    stack.sql("""
        create table ends (id text);
        create function note_end() returns trigger language plpgsql as $$ begin
            insert into ends values (new.id); return new; end $$;
        create trigger note_end after update of status on responses for each row
            when (new.status in ('completed', 'incomplete', 'failed', 'cancelled')) execute function note_end();

        create table late (id text, what text);
        create function note_late() returns trigger language plpgsql as $$ begin
            insert into late values (old.id, 'row'); return new; end $$;
        create trigger note_late after update on responses for each row
            when (old.finished_at is not null and (old.status, old.document, old.attempt, old.finished_at)
                is distinct from (new.status, new.document, new.attempt, new.finished_at)) execute function note_late();

        create function note_late_events() returns trigger language plpgsql as $$ begin
            if tg_op = 'UPDATE' then insert into late values (old.response_id, 'events changed');
            elsif exists (select 1 from responses where id = new.response_id and finished_at is not null)
            then insert into late values (new.response_id, 'events added'); end if;
            return new; end $$;
        create trigger note_late_events before insert or update on response_events
            for each row execute function note_late_events();
    """)


@dataclass
class Figures:
    """Counts over the accepted responses; all but `accepted`, `terminal` and `statuses` count violations."""

    accepted: int = 0
    terminal: int = 0
    written_twice: int = 0
    changed_after_end: int = 0
    gaps: int = 0  # logs that are incomplete or do not add up to their document
    left_open: int = 0  # connections to the model server
    over_budget: int = 0  # lost more often than allowed, or with an attempt that has not ended
    streams_differ: int = 0
    strangers: int = 0  # stored but not accepted, or accepted but not stored
    untrue: int = 0  # clients that were told something false
    died: int = 0  # processes that ended without being told to
    statuses: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every response ended exactly once and truthfully."""
        return self.accepted == self.terminal and not self.findings

    def find(self, kind: str, what: str, times: int = 1) -> None:
        """Count a violation and record its description."""
        setattr(self, kind, getattr(self, kind) + times)
        self.findings.append(f"{kind}: {what}")


def check(stack: Stack, accepted: Iterable[str]) -> dict[str, int]:
    """Assert that every accepted response ended once with a complete, consistent log; return the count by status."""
    figures = look(stack, accepted, everything=True)
    assert figures.holds, figures
    return dict(figures.statuses)


def look(
    stack: Stack,
    accepted: Iterable[str],
    streams: Mapping[str, list[stream_checker.Event]] | None = None,
    *,
    everything: bool = False,
) -> Figures:
    """Check responses that should all have ended.

    Args:
        streams: the events that clients read, by response ID, over any number of connections.
        everything: whether the database must contain no other responses.
    """
    ids = set(accepted)
    figures = Figures(accepted=len(ids))
    rows = stack.sql(
        "select id, status, document, attempt, failures, events_n from responses where %s or id = any (%s)"
        " order by finished_at desc",
        everything,
        list(ids),
    )
    if ids != {row[0] for row in rows}:
        figures.find("strangers", str(ids ^ {row[0] for row in rows}), len(ids ^ {row[0] for row in rows}))
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        logs = _logs(stack, [row[0] for row in some])
        for response_id, status, document, attempt, failures, pruned in some:
            figures.statuses[status] += 1
            if status not in TERMINAL:
                figures.findings.append(f"{response_id} is {status}")
                continue
            figures.terminal += 1
            final, log = json.loads(document), logs.get(response_id, [])
            if pruned is None:
                _check_log(figures, response_id, log, final, attempt, closely=figures.terminal <= LOOKED_CLOSELY)
            if failures > stack.settings.max_failures:
                figures.find("over_budget", f"{response_id} was lost {failures} times")
            if streams and response_id in streams:
                _check_stream(figures, response_id, streams[response_id], log, final)
    _check_audit(stack, figures, ids)
    return figures


def _check_audit(stack: Stack, figures: Figures, ids: set[str]) -> None:
    """Check that each response ended once, that nothing was written afterwards, and that no attempt is open."""
    ended = dict(stack.sql("select id, count(*) from ends where id = any (%s) group by id", list(ids)))
    for response_id, times in ended.items():
        if times > 1:
            figures.find("written_twice", f"{response_id} ended {times} times")
    if len(ended) != figures.terminal:
        figures.findings.append(f"{len(ended)} terminal writes of {figures.terminal} responses")
    for response_id, what in stack.sql("select id, what from late where id = any (%s)", list(ids)):
        figures.find("changed_after_end", f"{response_id}: {what}")
    for (response_id,) in stack.sql(
        "select response_id from attempts where ended_at is null and response_id = any (%s)", list(ids)
    ):
        figures.find("over_budget", f"{response_id} has an open attempt")


def _logs(stack: Stack, ids: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    logs: dict[str, list[tuple[Any, ...]]] = {}
    for response_id, *batch in stack.sql(
        "select response_id, first_seq, n, data, attempt from response_events where response_id = any (%s)"
        " order by response_id, first_seq",
        ids,
    ):
        logs.setdefault(response_id, []).append(tuple(batch))
    return logs


def _check_log(
    figures: Figures, response_id: str, batches: list[tuple[Any, ...]], document: dict, attempt: int, *, closely: bool
) -> None:
    try:
        assert batches[0][0] == 0
        assert all(one[0] + one[1] == two[0] for one, two in pairwise(batches))
        assert [batch[3] for batch in batches] == sorted(batch[3] for batch in batches)
        assert batches[-1][3] <= attempt
        events = _events(batches)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert [event["type"] for event in events if event["type"] in TERMINAL_EVENTS] == [events[-1]["type"]]
        assert [event["type"] for event in events].count("response.in_progress") <= 1
        assert events[-1]["response"] == document
        if closely:
            stream_checker.check(events, document)
        folded = transcript.fold(events)
        assert not folded.open
        assert folded.output == document["output"]
    except (AssertionError, IndexError) as error:
        figures.find("gaps", f"{response_id}: {error!r}"[:2000])


def _check_stream(
    figures: Figures,
    response_id: str,
    read: list[stream_checker.Event],
    batches: list[tuple[Any, ...]],
    document: dict,
) -> None:
    if not read or read != _events(batches) or read[-1]["response"] != document:
        figures.find("streams_differ", f"{response_id}: read {len(read)} events")


def _events(batches: list[tuple[Any, ...]]) -> list[stream_checker.Event]:
    return [json.loads(line) for batch in batches for line in batch[2].split("\n")]
