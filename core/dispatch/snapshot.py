"""What one dispatch starts from: what runs, the live workers, and who was served lately."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.dispatch.capacity import Capacity, Pool
from core.dispatch.situation import CandidateGroup, Served


@dataclass(frozen=True)
class Occupied:
    """Responses of a group that run on one worker, or that were dispatched and not claimed yet (`worker_id` None)."""

    group: CandidateGroup
    worker_id: str | None
    count: int


@dataclass(frozen=True)
class LiveWorker:
    """A worker that was seen lately."""

    id: str
    lanes: frozenset[str]
    slots: int


@dataclass(frozen=True)
class Snapshot:
    """What runs, on which workers, and who was served.

    Args:
        circuits: for each model whose circuit is open, whether one response may probe its servers now.
        just_ran: tiers and projects of the responses that just ended.
        read_at: seconds, on the clock of `Served.at`.
    """

    occupied: Sequence[Occupied]
    workers: Sequence[LiveWorker]
    last_served: Mapping[tuple[str, str], Served]
    circuits: Mapping[str, bool]
    just_ran: Collection[tuple[str, str]]
    read_at: float


def capacity_of(snapshot: Snapshot) -> Capacity:
    """Free slots of live workers, less what was dispatched and not claimed yet."""
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
