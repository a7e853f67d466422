"""Snapshot of the state from which a dispatch starts: running responses, live workers and last served projects."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.dispatch.capacity import Capacity, Pool
from core.dispatch.situation import CandidateGroup, Served


@dataclass(frozen=True)
class Occupied:
    """Number of responses of a group that run on one worker or are dispatched but unclaimed (`worker_id` None)."""

    group: CandidateGroup
    worker_id: str | None
    count: int


@dataclass(frozen=True)
class LiveWorker:
    """A worker that was seen within `worker_seen_s` seconds."""

    id: str
    lanes: frozenset[str]
    slots: int


@dataclass(frozen=True)
class Snapshot:
    """The state from which a dispatch starts.

    Args:
        occupied: responses that run or were dispatched.
        workers: the live workers.
        last_served: by tier and project.
        circuits: for each model whose circuit is not closed, whether one response may probe its servers now.
        just_ran: tiers and projects of responses that have just ended.
        read_at: the time of the snapshot in seconds, on the clock of `Served.at`.
    """

    occupied: Sequence[Occupied]
    workers: Sequence[LiveWorker]
    last_served: Mapping[tuple[str, str], Served]
    circuits: Mapping[str, bool]
    just_ran: Collection[tuple[str, str]]
    read_at: float


def capacity_of(snapshot: Snapshot) -> Capacity:
    """Return the free slots of live workers, less the responses that were dispatched but not claimed yet."""
    on_worker: Counter[str] = Counter()
    unclaimed: Counter[str] = Counter()
    for one in snapshot.occupied:
        if one.worker_id is None:
            unclaimed[one.group.lane] += one.count
        else:
            on_worker[one.worker_id] += one.count
    slots: Counter[frozenset[str]] = Counter()
    free: Counter[frozenset[str]] = Counter()
    for worker in snapshot.workers:
        slots[worker.lanes] += worker.slots
        free[worker.lanes] += max(0, worker.slots - on_worker[worker.id])
    return Capacity([Pool(served, slots[served], free[served]) for served in slots], unclaimed)
