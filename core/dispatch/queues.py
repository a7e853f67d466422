"""Priority queues of candidates, per project and per tier, in dispatch order."""

import heapq
from collections.abc import Callable, Iterable, Mapping

from core.dispatch.situation import Candidate, CandidateGroup

_LOWEST_PROJECT_KEY = (0, False, float("-inf"), Candidate(False, 0, ""))


class ProjectQueue:
    """Queue of the candidates of one project in one tier.

    Args:
        has_recent_end: whether a response of the project in this tier has just ended.
        served_at: the time of the project's last turn in this tier.
    """

    def __init__(self, *, has_recent_end: bool, served_at: float) -> None:
        self._has_recent_end = has_recent_end
        self._served_at = served_at
        self._heap: list[tuple[Candidate, CandidateGroup]] = []

    def add(self, group: CandidateGroup, candidates: Iterable[Candidate]) -> None:
        self._heap.extend((candidate, group) for candidate in candidates)
        heapq.heapify(self._heap)

    def drop_blocked(self, may_run: Callable[[CandidateGroup], bool]) -> bool:
        """Drop blocked groups until the first candidate may run; return whether any candidate remains."""
        while self._heap and not may_run(self._heap[0][1]):
            blocked_group = self._heap[0][1]
            self._heap = [entry for entry in self._heap if entry[1] != blocked_group]
            heapq.heapify(self._heap)
        return bool(self._heap)

    def sort_key(self, running_count: int) -> tuple[int, bool, float, Candidate]:
        """Return the sort key of the project; the smallest is next.

        The key never decreases during a call of `fair_share`. The queue must not be empty.

        Args:
            running_count: number of running and dispatched responses of the project, over all tiers.
        """
        return running_count, self._has_recent_end, self._served_at, self._heap[0][0]

    def pop_candidate(self) -> tuple[CandidateGroup, str]:
        candidate, group = heapq.heappop(self._heap)
        return group, candidate.id


class TierQueue:
    """Queue of the projects with candidates in one tier, and the charge of the tier.

    Args:
        charge: the sum of 1 / weight over all turns of the tier.
        slot_share: number of slots that the tier may use before tiers below their shares come first.
    """

    def __init__(
        self,
        tier: str,
        projects: Mapping[str, ProjectQueue],
        *,
        weight: float,
        charge: float,
        running_count: int,
        slot_share: int,
    ) -> None:
        self._tier = tier
        self._projects = projects
        self._weight = weight
        self._charge = charge
        self._running_count = running_count
        self._slot_share = slot_share
        self._heap = [(_LOWEST_PROJECT_KEY, project_id) for project_id in projects]

    def sort_key(self) -> tuple[bool, float, float, str]:
        """Return the sort key of the tier; the smallest is next."""
        return self._running_count + 1 > self._slot_share, self._charge + 1 / self._weight, -self._weight, self._tier

    def charge_turn(self) -> float:
        """Charge the tier for one turn and return the new charge."""
        self._running_count += 1
        self._charge += 1 / self._weight
        return self._charge

    def pop_candidate(
        self, running_counts: Mapping[str, int], may_run: Callable[[CandidateGroup], bool]
    ) -> tuple[CandidateGroup, str] | None:
        """Remove and return the next candidate that may run; return None if there is none."""
        while self._heap:
            # The key in the heap may be outdated: the current key is equal or greater.
            pushed_key, project_id = self._heap[0]
            project = self._projects[project_id]
            if not project.drop_blocked(may_run):
                heapq.heappop(self._heap)
            elif (current_key := project.sort_key(running_counts[project_id])) == pushed_key:
                return project.pop_candidate()
            else:
                heapq.heapreplace(self._heap, (current_key, project_id))
        return None
