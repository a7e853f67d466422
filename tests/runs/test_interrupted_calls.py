"""A call of one session that another session's call interrupts after any number of statements."""

import pytest

from tests.runs.deployment import Deployment
from tests.runs.serializability import check_serializability, deployment

__all__ = ["deployment"]  # an imported fixture

# The initial state of the response, the interrupted call and the interrupting call.
INTERRUPTIONS = [
    ("running, with output", "end", "record"),
    ("running, with output", "cancel", "record"),
    ("running, with output", "cancel", "end"),
    ("running, with output", "hand_back", "record"),
    ("running, with output", "end", "renew"),
    ("dispatched", "cancel", "claim"),
    ("ended", "delete", "cancel"),
    ("lease expired", "sweep", "renew"),
    ("lease expired", "sweep", "record"),
    ("lease expired", "sweep", "end"),
    ("lease expired for the last time", "sweep", "renew"),
    ("run deadline exceeded", "sweep", "hand_back"),
    ("run deadline exceeded", "sweep", "renew"),
    ("queue deadline exceeded", "sweep", "claim"),
    ("claim overdue", "sweep", "claim"),
]
MAX_STATEMENTS = 8  # the number of statements of the longest call, a sweep that ends or requeues a response


@pytest.mark.parametrize(
    ("initial_state", "interrupted_call", "interrupting_call"),
    INTERRUPTIONS,
    ids=[" / ".join(interruption) for interruption in INTERRUPTIONS],
)
def test_an_interrupting_call_acts_as_if_made_before_or_after_the_interrupted_call(
    deployment: Deployment, initial_state: str, interrupted_call: str, interrupting_call: str
) -> None:
    # The calls concern the first response and its last attempt.
    programs = [[(interrupted_call, [0], False)], [(interrupting_call, [0], False)]]
    for statement_count in range(MAX_STATEMENTS):
        # Session 0 runs this number of statements of its call; then session 1 runs its whole call.
        check_serializability(deployment, (initial_state, "waiting"), programs, [0] * statement_count + [1] * 20)
