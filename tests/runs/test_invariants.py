"""The invariant check detects each kind of violation on a real Postgres."""

from collections.abc import Iterator

import pytest

from core.bootstrap import Core
from tests import invariants
from tests.harness.engine import COMPLETED, claim, create_caller, opening_batch, register_worker, submit
from tests.harness.stack import Stack

# Statements that violate an invariant of an ended response, and the figure that must count the violation.
VIOLATIONS = (
    ("update responses set status = 'failed' where id = %s", "written_twice"),
    ("update responses set attempt = attempt + 1 where id = %s", "changed_after_end"),
    ("update responses set document = '{}' where id = %s", "changed_after_end"),
    (
        """insert into response_events (response_id, first_seq, n, attempt, data)
            select response_id, 99, n, attempt, data from response_events where response_id = %s limit 1""",
        "changed_after_end",
    ),
    ("update response_events set attempt = attempt where response_id = %s", "changed_after_end"),
    ("delete from response_events where response_id = %s and first_seq = 2", "incorrect_logs"),
    ("update attempts set ended_at = null where response_id = %s", "over_budget"),
    ("update responses set failures = 9 where id = %s", "over_budget"),
)


@pytest.fixture
def audited_stack(core: Core, stack: Stack) -> Iterator[Stack]:
    """A stack that records violations in its database, without the triggers that would prevent them."""
    invariants.watch_ends(stack)
    register_worker(core)
    stack.sql("alter table responses disable trigger responses_guard")
    stack.sql("alter table response_events disable trigger response_events_guard")
    yield stack
    stack.sql("delete from responses")  # on exit, the stack checks all remaining logs


def create_ended_response(core: Core) -> str:
    """Create a response that ends normally; return its ID."""
    # Register the worker again, because the check of the previous response may have taken longer than `worker_seen_s`.
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    assert core.attempts.end(attempt, COMPLETED, opening_batch(attempt))
    return attempt.response_id


def test_each_kind_of_violation_on_an_ended_response_is_counted(core: Core, audited_stack: Stack) -> None:
    for statement, figure_name in VIOLATIONS:
        response_id = create_ended_response(core)
        assert invariants.inspect_responses(
            audited_stack, {response_id}, {response_id: audited_stack.event_log(response_id)}
        ).has_no_violations

        audited_stack.sql(statement, response_id)
        figures = invariants.inspect_responses(audited_stack, {response_id})

        assert getattr(figures, figure_name) > 0, statement
        assert not figures.has_no_violations


def test_an_unfinished_response_an_unknown_response_and_a_differing_stream_are_reported(
    core: Core, audited_stack: Stack
) -> None:
    ended_id, waiting_id = create_ended_response(core), submit(core, create_caller(core))
    figures = invariants.inspect_responses(audited_stack, {ended_id, "resp_unknown"}, exclusive=True)

    assert (figures.accepted, figures.terminal, figures.mismatched_responses) == (2, 1, 2)
    assert any(waiting_id in finding for finding in figures.findings)
    with pytest.raises(AssertionError):
        invariants.check_responses(audited_stack, {ended_id, waiting_id})
    log = audited_stack.event_log(ended_id)
    for stream in (log[1:], [*log, log[-1]], log[:-1]):
        assert invariants.inspect_responses(audited_stack, {ended_id}, {ended_id: stream}).differing_streams == 1
