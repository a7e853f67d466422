"""What holds of every accepted response after any fault; one function says so."""

import json
from itertools import pairwise

from tests import stream_checker
from tests.stack import Stack

TERMINAL = {"completed", "incomplete", "failed", "cancelled"}
TERMINAL_EVENTS = {"response.completed", "response.incomplete", "response.failed"}


def watch_ends(stack: Stack) -> None:
    """Count, in the database itself, how often each response is moved to a terminal status."""
    stack.sql("""
        create table ends (id text);
        create function note_end() returns trigger language plpgsql as $$ begin
            insert into ends values (new.id); return new; end $$;
        create trigger note_end after update of status on responses for each row
            when (new.status in ('completed', 'incomplete', 'failed', 'cancelled')) execute function note_end();
    """)


def check(stack: Stack, accepted: set[str]) -> dict[str, int]:
    """Assert that every accepted response ended once, with a whole log that adds up; how many of each status."""
    rows = stack.sql("select id, status, document, attempt, request from responses")
    assert accepted == {row[0] for row in rows}
    counts: dict[str, int] = {}
    for response_id, status, document, attempt, _ in rows:
        counts[status] = counts.get(status, 0) + 1
        assert status in TERMINAL, f"{response_id} is {status}"
        _check_log(stack, response_id, json.loads(document), attempt)
    assert stack.sql("select id from ends group by id having count(*) <> 1") == []
    assert stack.sql("select count(*) from ends") == [(len(accepted),)]
    assert stack.sql("select count(*) from attempts where ended_at is null") == [(0,)]
    return counts


def _check_log(stack: Stack, response_id: str, document: dict, attempt: int) -> None:
    batches = stack.sql(
        "select first_seq, n, data, attempt from response_events where response_id = %s order by first_seq", response_id
    )
    assert batches[0][0] == 0
    assert all(one[0] + one[1] == two[0] for one, two in pairwise(batches)), f"{response_id}: gap"
    assert [batch[3] for batch in batches] == sorted(batch[3] for batch in batches)
    assert batches[-1][3] <= attempt
    events = [json.loads(line) for batch in batches for line in batch[2].split("\n")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events if event["type"] in TERMINAL_EVENTS] == [events[-1]["type"]]
    assert [event["type"] for event in events].count("response.in_progress") <= 1
    assert events[-1]["response"] == document
    stream_checker.check(events, document)
