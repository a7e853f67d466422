"""The load: groups of responses with their reasons to wait, workers and open circuits."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from core.database import Connection
from core.dispatch.situation import CandidateGroup, Rules
from core.dispatch.snapshot import Snapshot
from core.dispatch.snapshot_rows import OpenCircuit
from core.dispatch.waits import queue_sql, queue_state
from core.dispatch.waits.dispatch_limits import WaitReason
from core.dispatch.waits.queue_sql import ResponseGroup
from core.dispatch.waits.queue_state import QueueState, Wait
from core.dispatch.waits.reasons import QueuedResponse


@dataclass(frozen=True)
class WorkerLoad:
    """A live worker with its lanes, its number of slots and the number of responses that it runs."""

    id: str
    hostname: str
    pid: int
    lanes: list[str]
    slots: int
    running: int
    draining: bool


@dataclass(frozen=True)
class Load:
    """Groups of responses that have not ended, live workers and, by model, open circuits.

    Args:
        groups: each with the reason why its responses wait; None if all of its responses are running.
    """

    groups: list[tuple[ResponseGroup, Wait | None]]
    workers: list[WorkerLoad]
    circuits: Mapping[str, OpenCircuit]

    @property
    def unserved_lanes(self) -> list[str]:
        """The lanes with waiting responses that no worker serves, or only draining workers, sorted."""
        reasons = {WaitReason.NO_WORKER, WaitReason.LANE_UNSERVED, WaitReason.LANE_DRAINING}
        return sorted({group.lane for group, wait in self.groups if wait is not None and wait.reason in reasons})

    @property
    def unknown_models(self) -> list[str]:
        """The models with waiting responses that no live worker of their lane knows, sorted."""
        reason = WaitReason.MODEL_UNKNOWN
        return sorted({group.model for group, wait in self.groups if wait is not None and wait.reason == reason})


def read_load(connection: Connection, rules: Rules, *, is_broker_available: bool) -> Load:
    """Read the load, with the reasons why responses wait."""
    state = queue_state.read(connection, rules, is_broker_available=is_broker_available)
    groups = [(group, _explain_group(state, group)) for group in queue_sql.list_groups(connection)]
    return Load(groups, _worker_loads(state.snapshot), state.snapshot.circuits)


def _explain_group(state: QueueState, group: ResponseGroup) -> Wait | None:
    """Return why the first waiting response of a group waits or, if none waits, why a dispatched one does."""
    if not group.waiting + group.dispatched:
        return None
    key = CandidateGroup(group.lane, group.tier, group.project_id, group.model)
    return state.explain(QueuedResponse(key, group.due_in_s or 0, is_dispatched=group.waiting == 0))


def _worker_loads(snapshot: Snapshot) -> list[WorkerLoad]:
    running_counts: Counter[str | None] = Counter()
    for occupancy in snapshot.occupancies:
        running_counts[occupancy.worker_id] += occupancy.count
    return [
        WorkerLoad(
            worker.id,
            worker.hostname,
            worker.pid,
            sorted(worker.lanes),
            worker.slots,
            running_counts[worker.id],
            worker.is_draining,
        )
        for worker in sorted(snapshot.workers, key=lambda worker: (worker.hostname, worker.id))
    ]
