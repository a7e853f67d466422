"""The statuses of responses, and a function that moves a response to a status."""

from core.runs.ends import Outcome, failed_outcome
from core.wire import response
from core.wire.status import Status
from tests.harness.engine import COMPLETED, claim, opening_batch
from tests.http.http_api import Api

INCOMPLETE_OUTCOME = Outcome(
    Status.INCOMPLETE, incomplete_reason="max_output_tokens", usage=response.usage(5, 16, 0, 0)
)
FAILED_OUTCOME = failed_outcome("server_error", "The model server was silent for too long.")


def move_to_status(api: Api, status: str, response_id: str, key: str | None = None) -> None:
    """Move a queued response to a status, as a worker or a client does."""
    if status == "queued":
        return
    if status == "cancelled":
        api.cancel_response(response_id, key=key)
        return
    attempt = claim(api.core, response_id)
    if status == "in_progress":
        assert api.core.attempts.append_events([opening_batch(attempt, "Hel")]).succeeded_ids
        return
    outcome = {"completed": COMPLETED, "incomplete": INCOMPLETE_OUTCOME, "failed": FAILED_OUTCOME}[status]
    assert api.core.attempts.end(attempt, outcome, opening_batch(attempt, "Hello"))


ALL_STATUSES = [status.value for status in Status]
TERMINAL_STATUSES = ["completed", "incomplete", "failed", "cancelled"]
