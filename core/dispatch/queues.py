"""Priority queues of candidates, per project and per tier, in dispatch order."""

import heapq
from collections.abc import Callable, Iterable, Mapping

from core.dispatch.situation import Candidate, CandidateGroup


class ProjectQueue:
    """Queue of the candidates of one project in one tier."""

    def __init__(self, *, just_ran: bool, served_at: float) -> None:
        self._just_ran = just_ran
        self._served_at = served_at
        self._heap: list[tuple[Candidate, CandidateGroup]] = []

    def add(self, group: CandidateGroup, candidates: Iterable[Candidate]) -> None:
        self._heap.extend((candidate, group) for candidate in candidates)
        heapq.heapify(self._heap)

    def drop_blocked(self, fits: Callable[[CandidateGroup], bool]) -> bool:
        """Drop groups that do not fit until the first candidate fits; return whether any candidate is left."""
        while self._heap and not fits(self._heap[0][1]):
            blocked = self._heap[0][1]
            self._heap = [entry for entry in self._heap if entry[1] != blocked]
            heapq.heapify(self._heap)
        return bool(self._heap)

    def order(self, running: int) -> tuple[int, bool, float, Candidate]:
        """Return the sort key of the project; the smallest is next.

        The key only grows during a choice. The queue must not be empty.
        """
        return running, self._just_ran, self._served_at, self._heap[0][0]

    def pop(self) -> tuple[CandidateGroup, str]:
        candidate, group = heapq.heappop(self._heap)
        return group, candidate.id


class TierQueue:
    """Queue of the projects with candidates in one tier, and the charge of the tier."""

    def __init__(
        self,
        tier: str,
        projects: Mapping[str, ProjectQueue],
        *,
        weight: float,
        charged: float,
        running: int,
        part: int,
    ) -> None:
        self._tier = tier
        self._projects = projects
        self._weight = weight
        self._charged = charged
        self._running = running
        self._part = part
        self._heap = [((0, False, float("-inf"), Candidate(False, 0, "")), project_id) for project_id in projects]

    def order(self) -> tuple[bool, float, float, str]:
        """Return the sort key of the tier; the smallest is next."""
        return self._running + 1 > self._part, self._charged + 1 / self._weight, -self._weight, self._tier

    def charge(self) -> float:
        """Charge the tier for one turn and return the new charge."""
        self._running += 1
        self._charged += 1 / self._weight
        return self._charged

    def pop(
        self, running: Mapping[str, int], fits: Callable[[CandidateGroup], bool]
    ) -> tuple[CandidateGroup, str] | None:
        """Remove and return the next candidate that fits; return None if there is none."""
        while self._heap:
            # The sort key in the heap may be out of date: it can only have grown since the project was pushed.
            once, project_id = self._heap[0]
            project = self._projects[project_id]
            if not project.drop_blocked(fits):
                heapq.heappop(self._heap)
            elif (now := project.order(running[project_id])) == once:
                return project.pop()
            else:
                heapq.heapreplace(self._heap, (now, project_id))
        return None
