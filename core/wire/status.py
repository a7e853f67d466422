"""The statuses of a response and the moves between them, as data."""

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """A response's status, as the wire spells it."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.COMPLETED, Status.INCOMPLETE, Status.FAILED, Status.CANCELLED})

MOVES: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.IN_PROGRESS, Status.CANCELLED, Status.FAILED}),
    Status.IN_PROGRESS: TERMINAL | {Status.QUEUED},  # back to queued: lease lost, or handed back
    **dict.fromkeys(TERMINAL, frozenset[Status]()),
}


def may_move(source: Status, target: Status) -> bool:
    """Whether a response with status `source` may enter `target`."""
    return target in MOVES[source]


def is_terminal(status: Status) -> bool:
    """Whether a response with this status never changes again."""
    return status in TERMINAL
