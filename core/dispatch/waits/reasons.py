"""Finds the reason why a response is queued, in the snapshot from which dispatch starts; no I/O."""

from dataclasses import dataclass

from core.dispatch.situation import CandidateGroup
from core.dispatch.snapshot import Snapshot
from core.dispatch.waits.dispatch_limits import Limits, WaitReason


@dataclass(frozen=True)
class QueuedResponse:
    """A queued response.

    Args:
        due_in_s: seconds until the response may be dispatched; at most 0 if it may be dispatched now.
        is_dispatched: whether it is dispatched; no worker has claimed it yet.
    """

    group: CandidateGroup
    due_in_s: float
    is_dispatched: bool


def find_reason(
    response: QueuedResponse, snapshot: Snapshot, limits: Limits, *, is_broker_available: bool
) -> WaitReason:
    """Return why a queued response does not run.

    If several reasons apply, the result is the one that is likely to last longest: first missing workers and
    unavailable servers, then the delay before the next attempt, then the limits. Except with `dispatched` and `turn`,
    `fair_share` does not choose the response from the same snapshot. With `turn`, `fair_share` chooses the response if
    no other response waits.

    Args:
        limits: the limits of the snapshot, of which nothing has been taken.
        is_broker_available: whether messages can be enqueued.
    """
    if response.is_dispatched:
        return WaitReason.DISPATCHED
    unavailable = _find_missing_worker(response.group, snapshot) or _find_outage(
        response.group, snapshot, is_broker_available=is_broker_available
    )
    if unavailable is not None:
        return unavailable
    if response.due_in_s > 0:
        return WaitReason.NOT_DUE
    return limits.find_block(response.group) or WaitReason.TURN


def _find_missing_worker(group: CandidateGroup, snapshot: Snapshot) -> WaitReason | None:
    """Return why no worker can claim a response of a group, regardless of free slots; None if a worker can."""
    if not snapshot.workers:
        return WaitReason.NO_WORKER
    lane_workers = [worker for worker in snapshot.workers if group.lane in worker.lanes]
    if not lane_workers:
        return WaitReason.LANE_UNSERVED
    active_workers = [worker for worker in lane_workers if not worker.is_draining]
    if not active_workers:
        return WaitReason.LANE_DRAINING
    is_known = any(worker.knows_model(group.model) for worker in active_workers)
    return None if is_known else WaitReason.MODEL_UNKNOWN


def _find_outage(group: CandidateGroup, snapshot: Snapshot, *, is_broker_available: bool) -> WaitReason | None:
    """Return the reason if a server that responses of the group need is unavailable; None if all are available."""
    if not is_broker_available:
        return WaitReason.BROKER_UNAVAILABLE
    circuit = snapshot.circuits.get(group.model)
    return WaitReason.CIRCUIT_OPEN if circuit is not None and not circuit.may_probe else None
