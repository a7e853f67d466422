"""Free worker slots by lane and model, each assigned to at most one response; no I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import NamedTuple


@dataclass(frozen=True)
class Pool:
    """The live workers that serve the same set of lanes and know the same models.

    Args:
        lanes: the lanes that the workers serve.
        slots: the total number of responses that the workers can run simultaneously.
        idle_slots: the number of idle slots; at least 0.
        models: the names of the models that the workers know; None means all.
    """

    lanes: frozenset[str]
    slots: int
    idle_slots: int
    models: frozenset[str] | None = None

    def can_run(self, lane: str, model: str) -> bool:
        """Whether the workers serve the lane and know the model."""
        return lane in self.lanes and (self.models is None or model in self.models)


# The indexes of the pools that can run the responses of a lane and model.
_PoolSet = tuple[int, ...]


class _Step(NamedTuple):
    """One step of an augmenting path: slots of a pool are assigned to the responses that the pools of a set can run.

    In each step after the first, these responses give up the same number of slots of the previous step's pool.
    """

    pool_set: _PoolSet
    pool: int


class Capacity:
    """The number of further responses of each lane and model that live workers can run.

    A response dispatched to a lane occupies a slot of any pool that can run it. The pool is unknown until a worker
    claims the response, so assignments are provisional: they can be moved to another pool to free a slot for a response
    that only the first pool can run. The algorithm is maximum flow by augmenting paths (Ford and Fulkerson), from
    responses to pools. Responses that the same pools can run are interchangeable.

    Args:
        pools: the pools; no two have the same lanes and the same models.
        dispatched_counts: the number of dispatched responses, by lane and model, that no worker has claimed yet.

    Attributes:
        excess: the number of dispatched responses without a free slot.
    """

    def __init__(self, pools: Iterable[Pool], dispatched_counts: Mapping[tuple[str, str], int]) -> None:
        self._pools = list(pools)
        self._pool_sets: dict[tuple[str, str], _PoolSet] = {}
        self._idle_slots = [pool.idle_slots for pool in self._pools]
        # Slots of each pool that are provisionally assigned to the responses of each pool set.
        self._assignments: list[Counter[_PoolSet]] = [Counter() for _ in self._pools]
        # Dispatched responses in excess of the slots do not reduce the capacity for the responses of other pool sets.
        self.excess = sum(
            count - self._take_slots(self._pool_set(lane, model), count)
            for (lane, model), count in sorted(dispatched_counts.items())
        )

    @property
    def slots(self) -> int:
        """The number of slots of all pools, idle or busy."""
        return sum(pool.slots for pool in self._pools)

    def open_lanes(self) -> list[str]:
        """Return the lanes with capacity for at least one more response of some model, sorted."""
        lanes = {lane for pool in self._pools for lane in pool.lanes}
        return sorted(lane for lane in lanes if self._find_path(self._pools_of_lane(lane)) is not None)

    def has_slot(self, lane: str, model: str) -> bool:
        """Whether one more response of a lane and model can run."""
        return self._find_path(self._pool_set(lane, model)) is not None

    def reserve_size(self, lane: str, fraction: float) -> int:
        """Return a fraction of all slots that serve a lane, idle or busy, rounded up."""
        return ceil(fraction * sum(pool.slots for pool in self._pools if lane in pool.lanes))

    def free_slots(self, lane: str, model: str) -> int:
        """Return the number of responses of a lane and model that could run if no other responses were added."""
        trial = Capacity(self._pools, {})
        trial._idle_slots = list(self._idle_slots)
        trial._assignments = [Counter(counts) for counts in self._assignments]
        return trial._take_slots(self._pool_set(lane, model), sum(self._idle_slots))

    def take_slot(self, lane: str, model: str) -> bool:
        """Take a slot for one response of a lane and model; if there is none, return False and change nothing."""
        return self._take_slots(self._pool_set(lane, model), 1) == 1

    def _pools_of_lane(self, lane: str) -> _PoolSet:
        return tuple(index for index, pool in enumerate(self._pools) if lane in pool.lanes)

    def _pool_set(self, lane: str, model: str) -> _PoolSet:
        key = lane, model
        if key not in self._pool_sets:
            self._pool_sets[key] = tuple(index for index, pool in enumerate(self._pools) if pool.can_run(lane, model))
        return self._pool_sets[key]

    def _take_slots(self, pool_set: _PoolSet, max_slots: int) -> int:
        """Take up to `max_slots` slots of the pools of a set; return their number."""
        slots = 0
        while slots < max_slots and (path := self._find_path(pool_set)) is not None:
            slots += self._assign_slots(path, max_slots - slots)
        return slots

    def _assign_slots(self, path: Sequence[_Step], max_slots: int) -> int:
        """Assign up to `max_slots` slots to the pool set at the start of the path; return their number."""
        last_pool = path[-1].pool
        moves = list(pairwise(path))
        movable_slots = (self._assignments[source.pool][step.pool_set] for source, step in moves)
        slots = min(max_slots, self._idle_slots[last_pool], *movable_slots)
        for step in path:
            self._assignments[step.pool][step.pool_set] += slots
        for source, step in moves:
            self._assignments[source.pool][step.pool_set] -= slots
        self._idle_slots[last_pool] -= slots
        return slots

    def _find_path(self, pool_set: _PoolSet) -> list[_Step] | None:
        """Return the shortest augmenting path from a pool set to a pool with a free slot; None if there is none."""
        paths = [[_Step(pool_set, pool)] for pool in pool_set]
        reached_pools = set(pool_set)
        for path in paths:  # breadth-first search: the list grows during the iteration
            last_pool = path[-1].pool
            if self._idle_slots[last_pool] > 0:
                return path
            for other_set, count in self._assignments[last_pool].items():
                for pool in other_set:
                    if count > 0 and pool not in reached_pools:
                        reached_pools.add(pool)
                        paths.append([*path, _Step(other_set, pool)])
        return None
