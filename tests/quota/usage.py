"""A function that ends a response with a given usage."""

from core.bootstrap import Core
from core.runs.ends import AttemptUsage, Outcome
from core.wire import response
from core.wire.status import Status
from tests.harness.engine import claim, opening_batch


def end_response(core: Core, response_id: str, usage: AttemptUsage) -> None:
    """Claim a response and complete it with this usage."""
    attempt = claim(core, response_id)
    outcome = Outcome(Status.COMPLETED, usage=response.usage(1, 2, 0, 0), attempt_usage=usage)
    assert core.attempts.end(attempt, outcome, opening_batch(attempt))
