"""Free worker slots by lane, promised one at a time and never twice; pure functions."""

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
        lanes: what they serve.
        slots: how many responses they can run at once, together.
        free: how many of these slots run nothing; at least 0.
    """

    lanes: frozenset[str]
    slots: int
    free: int


class _Step(NamedTuple):
    """Slots of a pool that are given to a lane; after the first step of a path, moved there from the step before."""

    lane: str
    pool: int


class Capacity:
    """How many more responses each lane can take, given that workers may serve several lanes.

    A response that was dispatched to a lane takes a slot of any pool that serves the lane. Which pool it will be is
    open until a worker claims it, so assignments are provisional: to make room for another lane they are moved to
    other pools. This is maximum flow by augmenting paths (Ford and Fulkerson), from lanes to pools.

    Args:
        pools: each set of lanes once.
        dispatched: responses that were dispatched to each lane and that no worker has claimed yet.

    Attributes:
        excess: how many of the dispatched responses have no free slot now.
    """

    def __init__(self, pools: Iterable[Pool], dispatched: Mapping[str, int]) -> None:
        self._pools = list(pools)
        self._free = [pool.free for pool in self._pools]
        # Slots of each pool that are provisionally given to a lane.
        self._given: list[Counter[str]] = [Counter() for _ in self._pools]
        # What exceeds the workers of its own lane takes no slot from other lanes.
        self.excess = sum(count - self._take_up_to(lane, count) for lane, count in sorted(dispatched.items()))

    @property
    def slots(self) -> int:
        """Slots of all pools, free or not."""
        return sum(pool.slots for pool in self._pools)

    def open_lanes(self) -> list[str]:
        """Lanes with room for at least one more response, sorted."""
        return sorted(lane for lane in {lane for pool in self._pools for lane in pool.lanes} if self.has_slot(lane))

    def has_slot(self, lane: str) -> bool:
        """Whether the lane can take one more response."""
        return self._path(lane) is not None

    def reserve(self, lane: str, part: float) -> int:
        """`part` of all slots that serve a lane, free or not, rounded up."""
        return ceil(part * sum(pool.slots for pool in self._pools if lane in pool.lanes))

    def free_slots(self, lane: str) -> int:
        """How many responses could be taken into the lane if nothing else were taken."""
        trial = Capacity(self._pools, {})
        trial._free = list(self._free)
        trial._given = [Counter(given) for given in self._given]
        return trial._take_up_to(lane, sum(self._free))

    def take(self, lane: str) -> bool:
        """Take a slot for one response of a lane; False, and nothing is changed, if there is none."""
        return self._take_up_to(lane, 1) == 1

    def _take_up_to(self, lane: str, count: int) -> int:
        taken = 0
        while taken < count and (path := self._path(lane)) is not None:
            taken += self._move(path, count - taken)
        return taken

    def _move(self, path: Sequence[_Step], most: int) -> int:
        """Give up to `most` slots to the lane that the path begins with; how many."""
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
        """The shortest path from a lane to a pool with a free slot; None if there is none."""
        paths = [[_Step(lane, index)] for index, pool in enumerate(self._pools) if lane in pool.lanes]
        reached = {path[0].pool for path in paths}
        for path in paths:  # grows while it is read: a breadth-first search
            at = path[-1].pool
            if self._free[at] > 0:
                return path
            for moving, count in self._given[at].items():
                for index, pool in enumerate(self._pools):
                    if count > 0 and index not in reached and moving in pool.lanes:
                        reached.add(index)
                        paths.append([*path, _Step(moving, index)])
        return None
