"""Responses that end with usage."""

from core.bootstrap import Core
from core.runs.ends import Outcome, Spent
from core.wire import response
from core.wire.status import Status
from tests.harness.engine import claim, opening


def end(core: Core, response_id: str, spent: Spent) -> None:
    attempt = claim(core, response_id)
    outcome = Outcome(Status.COMPLETED, usage=response.usage(1, 2, 0, 0), spent=spent)
    assert core.attempts.end(attempt, outcome, opening(attempt))
