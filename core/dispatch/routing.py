"""Chooses workers for responses whose model some live workers of the lane do not know; a pure function.

Any worker of a lane may receive a message from the queue of the lane. While a new configuration is being deployed, some
workers do not know all models, and would have to hand back the responses of the others.
"""

from collections import Counter
from collections.abc import Sequence

from core.dispatch.situation import Choice
from core.dispatch.snapshot import LiveWorker, Snapshot


def choose_workers(snapshot: Snapshot, choices: Sequence[Choice]) -> dict[str, str]:
    """Choose workers for the responses that not every live worker of their lane can run.

    Returns:
        The ID of the worker by response ID: of the workers that can run the response, the one with the most free slots.
        Responses that are not in the mapping may go to any worker of their lane.
    """
    free_slots = Counter({worker.id: worker.slots for worker in snapshot.workers})
    for occupancy in snapshot.occupancies:
        if occupancy.worker_id is not None:
            free_slots[occupancy.worker_id] -= occupancy.count
    worker_ids: dict[str, str] = {}
    for choice in choices:
        lane_workers = [worker for worker in snapshot.workers if choice.group.lane in worker.lanes]
        able_workers = [worker for worker in lane_workers if _knows_model(worker, choice.group.model)]
        if able_workers and len(able_workers) < len(lane_workers):
            worker_id = max((worker.id for worker in able_workers), key=lambda worker_id: free_slots[worker_id])
            free_slots[worker_id] -= 1
            worker_ids[choice.id] = worker_id
    return worker_ids


def _knows_model(worker: LiveWorker, model: str) -> bool:
    return worker.concurrency is None or model in worker.concurrency
