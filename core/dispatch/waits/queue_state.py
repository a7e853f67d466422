"""The state of the queue at one instant, which explains why responses wait."""

from dataclasses import dataclass

from core.database import Connection
from core.dispatch import dispatch_sql
from core.dispatch.situation import Rules
from core.dispatch.snapshot import Snapshot, build_situation, compute_capacity
from core.dispatch.waits import queue_sql
from core.dispatch.waits.descriptions import describe
from core.dispatch.waits.dispatch_limits import Limits, WaitReason
from core.dispatch.waits.reasons import QueuedResponse, find_reason


@dataclass(frozen=True)
class Wait:
    """Why a queued response does not run.

    Args:
        waits_for: what the response waits for, as text for operators; it may quote the model server.
    """

    reason: WaitReason
    waits_for: str


@dataclass(frozen=True)
class QueueState:
    """The state of the queue at one instant.

    Args:
        limits: the limits of the snapshot, of which nothing has been taken.
        is_broker_available: whether messages can be enqueued.
    """

    snapshot: Snapshot
    limits: Limits
    is_broker_available: bool

    def find_reason(self, response: QueuedResponse) -> WaitReason:
        """Return why a queued response does not run."""
        return find_reason(response, self.snapshot, self.limits, is_broker_available=self.is_broker_available)

    def explain(self, response: QueuedResponse) -> Wait:
        """Return why a queued response does not run, with a description for operators."""
        reason = self.find_reason(response)
        return Wait(reason, describe(reason, response, self.snapshot))


def read(connection: Connection, rules: Rules, *, is_broker_available: bool) -> QueueState:
    """Read the state of the queue.

    Args:
        is_broker_available: whether messages can be enqueued.
    """
    snapshot = dispatch_sql.read_snapshot(connection, worker_seen_s=rules.worker_seen_s)
    # A project without running and dispatched responses cannot have reached its limit, which is at least 1.
    groups = [occupancy.group for occupancy in snapshot.occupancies]
    project_names = queue_sql.read_project_names(connection, {group.project_id for group in groups})
    situation = build_situation(snapshot, rules, groups, project_names)
    return QueueState(snapshot, Limits(situation, compute_capacity(snapshot)), is_broker_available)
