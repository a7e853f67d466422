"""Whether a project's queue is full: counted as seldom as it may be, since a long queue takes long to count."""

import time
from dataclasses import dataclass

from core.database import Connection
from core.quota import admission_sql

# Up to here a count need not be exact, so creates need not wait for each other.
_EXACT_FROM = 0.5
# Below, each of so many API processes may add its part of what is missing before it counts again.
_PROCESSES = 16
_SEEN_S = 1.0
# A queue that was full is not counted again at once for each one who is refused.
_FULL_S = 0.1


@dataclass
class _Seen:
    """A queue as this process last counted it."""

    waiting: int
    until: float
    uncounted: int = 0  # how many more may be let in without a count


class QueueDepth:
    """The queues of projects and models, as far as this process needs to know them."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def full(self, connection: Connection, project_id: str, model: str, most: int) -> bool:
        """Whether `most` responses wait already. Near the limit it is exact, and holds until the transaction ends."""
        key, now = (project_id, model), time.monotonic()
        seen = self._seen.get(key)
        if seen is not None and now < seen.until:
            if seen.waiting >= most:
                return True
            if seen.uncounted > 0:
                seen.uncounted -= 1
                return False
        near = seen is not None and now < seen.until and seen.waiting >= most * _EXACT_FROM
        waiting = 0 if near else admission_sql.waiting(connection, project_id, model, most)
        if near or most * _EXACT_FROM <= waiting < most:
            admission_sql.lock(connection, f"queue:{project_id}:{model}")
            waiting = admission_sql.waiting(connection, project_id, model, most)
        uncounted = max(0, int(most * _EXACT_FROM - waiting) // _PROCESSES)
        self._seen[key] = _Seen(waiting, now + (_FULL_S if waiting >= most else _SEEN_S), uncounted)
        return waiting >= most
