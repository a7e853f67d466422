"""Wait reasons as text for operators, and as words for clients."""

from core.dispatch.snapshot import Snapshot
from core.dispatch.waits.dispatch_limits import WaitReason
from core.dispatch.waits.reasons import QueuedResponse
from core.wire.response import ClientWaitReason

# Clients learn nothing about workers, servers and other projects.
CLIENT_REASONS = {
    WaitReason.DISPATCHED: ClientWaitReason.STARTING,
    WaitReason.NO_WORKER: ClientWaitReason.NO_WORKER,
    WaitReason.LANE_UNSERVED: ClientWaitReason.NO_WORKER,
    WaitReason.LANE_DRAINING: ClientWaitReason.NO_WORKER,
    WaitReason.MODEL_UNKNOWN: ClientWaitReason.NO_WORKER,
    WaitReason.BROKER_UNAVAILABLE: ClientWaitReason.NO_WORKER,
    WaitReason.CIRCUIT_OPEN: ClientWaitReason.MODEL_UNAVAILABLE,
    WaitReason.NOT_DUE: ClientWaitReason.RETRY,
    WaitReason.TIER_UNKNOWN: ClientWaitReason.NO_WORKER,
    WaitReason.PROJECT_LIMIT: ClientWaitReason.PROJECT_LIMIT,
    WaitReason.MODEL_CONCURRENCY: ClientWaitReason.MODEL_CAPACITY,
    WaitReason.NO_FREE_SLOT: ClientWaitReason.CAPACITY,
    WaitReason.RESERVE: ClientWaitReason.CAPACITY,
    WaitReason.TURN: ClientWaitReason.TURN,
}

_DESCRIPTIONS = {
    WaitReason.DISPATCHED: "a worker of lane {lane} to claim it",
    WaitReason.NO_WORKER: "a worker: none is alive",
    WaitReason.LANE_UNSERVED: "a worker that serves lane {lane}",
    WaitReason.LANE_DRAINING: "a worker: those of lane {lane} are draining",
    WaitReason.MODEL_UNKNOWN: "a worker of lane {lane} that knows the model {model}",
    WaitReason.BROKER_UNAVAILABLE: "Valkey or Redis, which is unavailable",
    WaitReason.CIRCUIT_OPEN: "the servers of model {model}: {circuit}",
    WaitReason.NOT_DUE: "its next attempt, due in {due_in_s:.1f} s",
    WaitReason.TIER_UNKNOWN: "a program that knows the tier {tier}",
    WaitReason.PROJECT_LIMIT: "its project's limit of running responses of model {model}",
    WaitReason.MODEL_CONCURRENCY: "the concurrency of model {model}, which is used up",
    WaitReason.NO_FREE_SLOT: "a free slot in lane {lane}",
    WaitReason.RESERVE: "spare slots in lane {lane}, because its tier is over-limit",
    WaitReason.TURN: "its turn",
}


def describe(reason: WaitReason, response: QueuedResponse, snapshot: Snapshot) -> str:
    """Return what a response waits for, as text for operators; the text may quote the model server."""
    group = response.group
    circuit = snapshot.circuits.get(group.model)
    return _DESCRIPTIONS[reason].format(
        lane=group.lane,
        tier=group.tier,
        model=group.model,
        due_in_s=response.due_in_s,
        circuit=f"{circuit.cause} (next probe: {circuit.next_probe})" if circuit else "",
    )
