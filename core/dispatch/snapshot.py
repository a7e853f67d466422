"""The state from which a dispatch starts, with its free slots, limits and suitable workers."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.dispatch.capacity import Capacity, Pool
from core.dispatch.situation import CandidateGroup, Choice, Rules, ServiceRecord, Situation
from core.dispatch.snapshot_rows import LiveWorker, Occupancy, OpenCircuit

_PoolKey = tuple[frozenset[str], frozenset[str] | None]  # lanes and models


@dataclass(frozen=True)
class Snapshot:
    """The state from which a dispatch starts.

    Args:
        occupancies: the numbers of running and dispatched responses.
        workers: the live workers.
        service_records: by tier and project.
        circuits: by model; a model without an entry has a closed circuit.
        recent_ends: pairs of tier and project in which a response has just ended.
        read_at: the time of the snapshot in seconds, on the clock of `ServiceRecord.at`.
    """

    occupancies: Sequence[Occupancy]
    workers: Sequence[LiveWorker]
    service_records: Mapping[tuple[str, str], ServiceRecord]
    circuits: Mapping[str, OpenCircuit]
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


def choose_workers(snapshot: Snapshot, choices: Sequence[Choice]) -> dict[str, str]:
    """Choose workers for the responses that not every live worker of their lane can run.

    Any worker of a lane may receive a message from the queue of the lane. While a new configuration is being deployed,
    some workers do not know all models, and would have to hand back the responses of unknown models.

    Returns:
        The ID of the worker by response ID: of the workers that can run the response, the one with the most free slots.
        Responses that are not in the mapping may go to any worker of their lane.
    """
    active_workers = [worker for worker in snapshot.workers if not worker.is_draining]
    able_workers: dict[CandidateGroup, list[LiveWorker]] = {}
    for group in {choice.group for choice in choices}:
        lane_workers = [worker for worker in active_workers if group.lane in worker.lanes]
        workers = [worker for worker in lane_workers if worker.knows_model(group.model)]
        if 0 < len(workers) < len(lane_workers):
            able_workers[group] = workers
    if not able_workers:
        return {}
    free_slots = _free_slots(snapshot, active_workers)
    return {
        choice.id: _take_slot(free_slots, able_workers[choice.group])
        for choice in choices
        if choice.group in able_workers
    }


def _free_slots(snapshot: Snapshot, workers: Sequence[LiveWorker]) -> Counter[str]:
    """Return the free slots by worker ID.

    Which worker will claim a dispatched response is unknown: it counts for the one that would be chosen now, so that a
    worker is not chosen again before it has claimed what it was sent.
    """
    free_slots = Counter({worker.id: worker.slots for worker in workers})
    for occupancy in snapshot.occupancies:
        if occupancy.worker_id is not None:
            free_slots[occupancy.worker_id] -= occupancy.count
    for occupancy in snapshot.occupancies:
        group = occupancy.group
        able_workers = [worker for worker in workers if group.lane in worker.lanes and worker.knows_model(group.model)]
        if occupancy.worker_id is None and able_workers:
            for _ in range(occupancy.count):
                _take_slot(free_slots, able_workers)
    return free_slots


def _take_slot(free_slots: Counter[str], workers: Sequence[LiveWorker]) -> str:
    """Take a slot of the worker with the most free slots; return its ID."""
    worker_id = max((worker.id for worker in workers), key=lambda worker_id: (free_slots[worker_id], worker_id))
    free_slots[worker_id] -= 1
    return worker_id


def published_concurrency(snapshot: Snapshot) -> dict[str, int]:
    """Return the lowest limit of running responses that any live worker publishes for each model with a limit.

    This limit applies to models that this process does not know, because its configuration is older or newer than that
    of a worker.
    """
    limits: dict[str, int] = {}
    for worker in snapshot.workers:
        for model, limit in (worker.concurrency or {}).items():
            if limit is not None:
                limits[model] = min(limit, limits.get(model, limit))
    return limits


def build_situation(
    snapshot: Snapshot, rules: Rules, groups: Iterable[CandidateGroup], project_names: Mapping[str, str]
) -> Situation:
    """Return the input of `fair_share` for a snapshot.

    Args:
        groups: the groups for which the result contains the limits of projects.
        project_names: by project ID, for the projects of these groups.
    """
    running_counts: Counter[tuple[str, str]] = Counter()
    model_counts: Counter[str] = Counter()
    project_counts: Counter[tuple[str, str]] = Counter()
    for occupancy in snapshot.occupancies:
        group = occupancy.group
        running_counts[group.tier, group.project_id] += occupancy.count
        model_counts[group.model] += occupancy.count
        project_counts[group.project_id, group.model] += occupancy.count
    published_caps = published_concurrency(snapshot).items()
    model_caps = {model: cap for model, cap in published_caps if model not in rules.known_models}
    model_caps |= rules.model_caps
    model_capacity = {model: cap - model_counts[model] for model, cap in model_caps.items()}
    for model, circuit in snapshot.circuits.items():
        model_capacity[model] = min(model_capacity.get(model, 1), int(circuit.may_probe))
    limits = {
        (group.project_id, group.model): rules.running_limit(project_names[group.project_id], group.model)
        for group in groups
    }
    return Situation(
        weights=rules.weights,
        service_records=snapshot.service_records,
        running_counts=running_counts,
        recent_ends=snapshot.recent_ends,
        model_capacity=model_capacity,
        project_capacity={pair: limit - project_counts[pair] for pair, limit in limits.items() if limit is not None},
        reserve=rules.reserve,
    )
