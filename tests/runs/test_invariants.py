"""The invariant check detects each kind of violation, on a real Postgres."""

from collections.abc import Iterator

import pytest

from core.bootstrap import Core
from tests import invariants
from tests.harness.engine import COMPLETED, caller, claim, opening, submit, worker
from tests.harness.stack import Stack

# Violations made by hand on an ended response, and the count that reports each.
BROKEN = (
    ("update responses set status = 'failed' where id = %s", "written_twice"),
    ("update responses set attempt = attempt + 1 where id = %s", "changed_after_end"),
    ("update responses set document = '{}' where id = %s", "changed_after_end"),
    (
        """insert into response_events (response_id, first_seq, n, attempt, data)
            select response_id, 99, n, attempt, data from response_events where response_id = %s limit 1""",
        "changed_after_end",
    ),
    ("update response_events set attempt = attempt where response_id = %s", "changed_after_end"),
    ("delete from response_events where response_id = %s and first_seq = 2", "gaps"),
    ("update attempts set ended_at = null where response_id = %s", "over_budget"),
    ("update responses set failures = 9 where id = %s", "over_budget"),
)


@pytest.fixture
def watched(core: Core, stack: Stack) -> Iterator[Stack]:
    """A database that counts violations, with the guard trigger disabled."""
    invariants.watch_ends(stack)
    worker(core)
    stack.sql("alter table responses disable trigger responses_guard")
    yield stack
    stack.sql("delete from responses")  # the stack checks all logs when it closes, and some are broken


def ended(core: Core) -> str:
    """A response that ended normally."""
    worker(core)  # register again: checking the previous response may have taken longer than `worker_seen_s`
    attempt = claim(core, submit(core, caller(core)))
    assert core.attempts.end(attempt, COMPLETED, opening(attempt))
    return attempt.response_id


def test_whatever_must_not_be_of_an_ended_response_is_counted(core: Core, watched: Stack) -> None:
    for statement, figure in BROKEN:
        response_id = ended(core)
        assert invariants.look(watched, {response_id}, {response_id: watched.log_of(response_id)}).holds

        watched.sql(statement, response_id)
        figures = invariants.look(watched, {response_id})

        assert getattr(figures, figure) > 0, statement
        assert not figures.holds


def test_a_response_without_end_one_nobody_asked_for_and_a_stream_with_a_gap_are_found(
    core: Core, watched: Stack
) -> None:
    done, running = ended(core), submit(core, caller(core))
    figures = invariants.look(watched, {done, "resp_other"}, everything=True)

    assert (figures.accepted, figures.terminal, figures.strangers) == (2, 1, 2)
    assert any(running in finding for finding in figures.findings)
    with pytest.raises(AssertionError):
        invariants.check(watched, {done, running})
    read = watched.log_of(done)
    for wrong in (read[1:], [*read, read[-1]], read[:-1]):
        assert invariants.look(watched, {done}, {done: wrong}).streams_differ == 1
