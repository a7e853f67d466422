"""The statuses of a response and the transitions between them."""

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """The status of a response, as spelled in the wire format."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.COMPLETED, Status.INCOMPLETE, Status.FAILED, Status.CANCELLED})

# The statuses that may follow each status.
MOVES: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.IN_PROGRESS, Status.CANCELLED, Status.FAILED}),
    # The status becomes `queued` again if the lease expires or the worker hands the response back.
    Status.IN_PROGRESS: TERMINAL | {Status.QUEUED},
    **dict.fromkeys(TERMINAL, frozenset[Status]()),
}


def may_move(source: Status, target: Status) -> bool:
    """Whether a response may go from status `source` to status `target`."""
    return target in MOVES[source]


def is_terminal(status: Status) -> bool:
    """Whether a response with this status never changes again."""
    return status in TERMINAL
