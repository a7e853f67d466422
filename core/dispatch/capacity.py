"""Free worker slots by lane, each assigned to at most one response; no I/O."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import NamedTuple


@dataclass(frozen=True)
class Pool:
    """The live workers that serve the same set of lanes.

    Args:
        lanes: the lanes that the workers serve.
        slots: the total number of responses that the workers can run simultaneously.
        idle_slots: the number of idle slots; at least 0.
    """

    lanes: frozenset[str]
    slots: int
    idle_slots: int


class _Step(NamedTuple):
    """One step of an augmenting path: slots of the pool are assigned to the lane.

    In each step after the first, the lane gives up the same number of slots of the previous step's pool.
    """

    lane: str
    pool: int


class Capacity:
    """The number of further responses that each lane can take, where a worker may serve several lanes.

    A response dispatched to a lane occupies a slot of any pool that serves the lane. The pool is unknown until a worker
    claims the response, so assignments are provisional: they can be moved to another pool to free a slot for another
    lane. The algorithm is maximum flow by augmenting paths (Ford and Fulkerson), from lanes to pools.

    Args:
        pools: the pools; each set of lanes occurs once.
        dispatched_counts: the number of dispatched responses, by lane, that no worker has claimed yet.

    Attributes:
        excess: the number of dispatched responses without a free slot.
    """

    def __init__(self, pools: Iterable[Pool], dispatched_counts: Mapping[str, int]) -> None:
        self._pools = list(pools)
        self._idle_slots = [pool.idle_slots for pool in self._pools]
        # Slots of each pool that are provisionally assigned to each lane.
        self._assignments: list[Counter[str]] = [Counter() for _ in self._pools]
        # If a lane has more dispatched responses than slots, the excess does not reduce the capacity of other lanes.
        self.excess = sum(count - self._take_slots(lane, count) for lane, count in sorted(dispatched_counts.items()))

    @property
    def slots(self) -> int:
        """The number of slots of all pools, idle or busy."""
        return sum(pool.slots for pool in self._pools)

    def open_lanes(self) -> list[str]:
        """Return the lanes with capacity for at least one more response, sorted."""
        return sorted(lane for lane in {lane for pool in self._pools for lane in pool.lanes} if self.has_slot(lane))

    def has_slot(self, lane: str) -> bool:
        """Whether the lane can take one more response."""
        return self._find_path(lane) is not None

    def reserve_size(self, lane: str, fraction: float) -> int:
        """Return a fraction of all slots that serve a lane, idle or busy, rounded up."""
        return ceil(fraction * sum(pool.slots for pool in self._pools if lane in pool.lanes))

    def free_slots(self, lane: str) -> int:
        """Return the number of responses that the lane could take if no other lane took any."""
        trial = Capacity(self._pools, {})
        trial._idle_slots = list(self._idle_slots)
        trial._assignments = [Counter(counts) for counts in self._assignments]
        return trial._take_slots(lane, sum(self._idle_slots))

    def take_slot(self, lane: str) -> bool:
        """Take a slot for one response of a lane; if there is none, return False and change nothing."""
        return self._take_slots(lane, 1) == 1

    def _take_slots(self, lane: str, max_slots: int) -> int:
        """Take up to `max_slots` slots for a lane; return their number."""
        slots = 0
        while slots < max_slots and (path := self._find_path(lane)) is not None:
            slots += self._assign_slots(path, max_slots - slots)
        return slots

    def _assign_slots(self, path: Sequence[_Step], max_slots: int) -> int:
        """Assign up to `max_slots` slots to the lane at the start of the path; return their number."""
        last_pool = path[-1].pool
        moves = list(pairwise(path))
        movable_slots = (self._assignments[source.pool][step.lane] for source, step in moves)
        slots = min(max_slots, self._idle_slots[last_pool], *movable_slots)
        for step in path:
            self._assignments[step.pool][step.lane] += slots
        for source, step in moves:
            self._assignments[source.pool][step.lane] -= slots
        self._idle_slots[last_pool] -= slots
        return slots

    def _find_path(self, lane: str) -> list[_Step] | None:
        """Return the shortest augmenting path from a lane to a pool with a free slot; None if there is none."""
        paths = [[_Step(lane, index)] for index, pool in enumerate(self._pools) if lane in pool.lanes]
        reached_pools = {path[0].pool for path in paths}
        for path in paths:  # breadth-first search: the list grows during the iteration
            last_pool = path[-1].pool
            if self._idle_slots[last_pool] > 0:
                return path
            for other_lane, count in self._assignments[last_pool].items():
                for index, pool in enumerate(self._pools):
                    if count > 0 and index not in reached_pools and other_lane in pool.lanes:
                        reached_pools.add(index)
                        paths.append([*path, _Step(other_lane, index)])
        return None
