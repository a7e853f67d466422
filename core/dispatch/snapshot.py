"""Snapshot of the state from which a dispatch starts: running responses, live workers and service records."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.dispatch.capacity import Capacity, Pool
from core.dispatch.situation import CandidateGroup, ServiceRecord

_PoolKey = tuple[frozenset[str], frozenset[str] | None]  # lanes and models


@dataclass(frozen=True)
class Occupancy:
    """The number of responses of a group that one worker runs or, without `worker_id`, that no worker has claimed."""

    group: CandidateGroup
    worker_id: str | None
    count: int


@dataclass(frozen=True)
class LiveWorker:
    """A worker that was seen within `worker_seen_s` seconds.

    Args:
        concurrency: the models that the worker knows, each with its limit of running responses or None. None instead of
            a mapping: the worker does not publish its models, and dispatch assumes that it knows every model.
    """

    id: str
    lanes: frozenset[str]
    slots: int
    concurrency: Mapping[str, int | None] | None = None


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
    unclaimed_counts: Counter[tuple[str, str]] = Counter()  # by lane and model
    for occupancy in snapshot.occupancies:
        if occupancy.worker_id is None:
            unclaimed_counts[occupancy.group.lane, occupancy.group.model] += occupancy.count
        else:
            running_counts[occupancy.worker_id] += occupancy.count
    slots: Counter[_PoolKey] = Counter()
    idle_slots: Counter[_PoolKey] = Counter()
    for worker in snapshot.workers:
        key = worker.lanes, None if worker.concurrency is None else frozenset(worker.concurrency)
        slots[key] += worker.slots
        idle_slots[key] += max(0, worker.slots - running_counts[worker.id])
    pools = [Pool(lanes, slots[lanes, models], idle_slots[lanes, models], models) for lanes, models in slots]
    return Capacity(pools, unclaimed_counts)


def published_concurrency(snapshot: Snapshot) -> dict[str, int]:
    """Return the lowest limit of running responses that any live worker publishes for each model with a limit.

    It applies to models that this process does not know, because its configuration is older or newer than a worker's.
    """
    limits: dict[str, int] = {}
    for worker in snapshot.workers:
        for model, limit in (worker.concurrency or {}).items():
            if limit is not None:
                limits[model] = min(limit, limits.get(model, limit))
    return limits
