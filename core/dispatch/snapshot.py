"""Snapshot of the state from which a dispatch starts: running responses, live workers and service records."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.dispatch.capacity import Capacity, Pool
from core.dispatch.situation import CandidateGroup, ServiceRecord


@dataclass(frozen=True)
class Occupancy:
    """The number of responses of a group that one worker runs or, without `worker_id`, that no worker has claimed."""

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
        occupancies: the numbers of running and dispatched responses.
        workers: the live workers.
        service_records: by tier and project.
        circuits: for each model with an open circuit, whether one response may probe the model's servers now.
        recent_ends: pairs of tier and project in which a response has just ended.
        read_at: the time of the snapshot in seconds, on the clock of `ServiceRecord.at`.
    """

    occupancies: Sequence[Occupancy]
    workers: Sequence[LiveWorker]
    service_records: Mapping[tuple[str, str], ServiceRecord]
    circuits: Mapping[str, bool]
    recent_ends: Collection[tuple[str, str]]
    read_at: float


def compute_capacity(snapshot: Snapshot) -> Capacity:
    """Return the free slots of live workers, less the responses that are dispatched but not claimed yet."""
    running_counts: Counter[str] = Counter()  # by worker ID
    unclaimed_counts: Counter[str] = Counter()  # by lane
    for occupancy in snapshot.occupancies:
        if occupancy.worker_id is None:
            unclaimed_counts[occupancy.group.lane] += occupancy.count
        else:
            running_counts[occupancy.worker_id] += occupancy.count
    slots: Counter[frozenset[str]] = Counter()
    idle_slots: Counter[frozenset[str]] = Counter()
    for worker in snapshot.workers:
        slots[worker.lanes] += worker.slots
        idle_slots[worker.lanes] += max(0, worker.slots - running_counts[worker.id])
    return Capacity([Pool(lanes, slots[lanes], idle_slots[lanes]) for lanes in slots], unclaimed_counts)
