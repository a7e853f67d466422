"""Free worker slots per lane, each assigned to at most one response; no I/O."""

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
        slots: the number of responses that the workers can run at once, together.
        free: the number of these slots that are idle; at least 0.
    """

    lanes: frozenset[str]
    slots: int
    free: int


class _Step(NamedTuple):
    """One step of an augmenting path: the lane gets slots of the pool.

    After the first step, the slots are moved there from the pool of the previous step.
    """

    lane: str
    pool: int


class Capacity:
    """The number of further responses that each lane can take, given that workers may serve several lanes.

    A response dispatched to a lane occupies a slot of any pool that serves the lane. The pool is not known until a
    worker claims the response, so assignments are provisional: to free a slot for another lane, they are moved to
    other pools. This is maximum flow by augmenting paths (Ford and Fulkerson), from lanes to pools.

    Args:
        pools: the pools; each set of lanes occurs once.
        dispatched: the number of responses per lane that were dispatched and that no worker has claimed yet.

    Attributes:
        excess: the number of dispatched responses for which there is no free slot now.
    """

    def __init__(self, pools: Iterable[Pool], dispatched: Mapping[str, int]) -> None:
        self._pools = list(pools)
        self._free = [pool.free for pool in self._pools]
        # Slots of each pool that are provisionally assigned to each lane.
        self._given: list[Counter[str]] = [Counter() for _ in self._pools]
        # Dispatched responses that exceed the workers of their own lane do not reduce the capacity of other lanes.
        self.excess = sum(count - self._take_up_to(lane, count) for lane, count in sorted(dispatched.items()))

    @property
    def slots(self) -> int:
        """All slots of all pools, idle or busy."""
        return sum(pool.slots for pool in self._pools)

    def open_lanes(self) -> list[str]:
        """Return the lanes with capacity for at least one more response, sorted."""
        return sorted(lane for lane in {lane for pool in self._pools for lane in pool.lanes} if self.has_slot(lane))

    def has_slot(self, lane: str) -> bool:
        """Whether the lane can take one more response."""
        return self._path(lane) is not None

    def reserve(self, lane: str, part: float) -> int:
        """Return the fraction `part` of all slots that serve a lane, idle or busy, rounded up."""
        return ceil(part * sum(pool.slots for pool in self._pools if lane in pool.lanes))

    def free_slots(self, lane: str) -> int:
        """Return the number of responses that the lane could take if no other lane took any."""
        trial = Capacity(self._pools, {})
        trial._free = list(self._free)
        trial._given = [Counter(given) for given in self._given]
        return trial._take_up_to(lane, sum(self._free))

    def take(self, lane: str) -> bool:
        """Take a slot for one response of a lane; return False, and change nothing, if there is none."""
        return self._take_up_to(lane, 1) == 1

    def _take_up_to(self, lane: str, count: int) -> int:
        taken = 0
        while taken < count and (path := self._path(lane)) is not None:
            taken += self._move(path, count - taken)
        return taken

    def _move(self, path: Sequence[_Step], most: int) -> int:
        """Assign up to `most` slots to the lane at the start of the path; return the number of slots assigned."""
        last = path[-1].pool
        moves = list(pairwise(path))
        amount = min(most, self._free[last], *(self._given[source.pool][step.lane] for source, step in moves))
        for step in path:
            self._given[step.pool][step.lane] += amount
        for source, step in moves:
            self._given[source.pool][step.lane] -= amount
        self._free[last] -= amount
        return amount

    def _path(self, lane: str) -> list[_Step] | None:
        """Return the shortest augmenting path from a lane to a pool with a free slot; None if there is none."""
        paths = [[_Step(lane, index)] for index, pool in enumerate(self._pools) if lane in pool.lanes]
        reached = {path[0].pool for path in paths}
        for path in paths:  # breadth-first search: the list grows during the iteration
            at = path[-1].pool
            if self._free[at] > 0:
                return path
            for moving, count in self._given[at].items():
                for index, pool in enumerate(self._pools):
                    if count > 0 and index not in reached and moving in pool.lanes:
                        reached.add(index)
                        paths.append([*path, _Step(moving, index)])
        return None
