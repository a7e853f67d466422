"""Dispatcher: enqueues those waiting responses that may run now."""

from collections import Counter
from collections.abc import Sequence

from core.config import tiers
from core.config.catalog import Catalog
from core.database import Connection, Database
from core.dispatch import dispatch_sql, lanes_sql
from core.dispatch.capacity_sql import Rules
from core.dispatch.dispatch_sql import Candidates
from core.dispatch.doorbell import Doorbell
from core.dispatch.fair_share import fair_share
from core.dispatch.situation import Choice, Situation
from core.dispatch.snapshot import Snapshot, capacity_of

# Maximum number of responses per transaction; the next dispatch processes the rest.
BATCH = 200
# Candidates fetched per group at first. If all of a group are chosen, the group is fetched again, up to a full batch.
FIRST_OF_GROUP = 25
# Minimum seconds between two records that a project was served without a choice by dispatch, for example because its
# responses were dispatched when they were created.
NOTE_SERVED_EVERY_S = 1.0


class Dispatch:
    """Enqueues waiting responses, within the slots of workers, the limits of models and projects, and tier weights."""

    def __init__(self, database: Database, doorbell: Doorbell, catalog: Catalog, *, worker_seen_s: float) -> None:
        self._database = database
        self._doorbell = doorbell
        limits = {
            (project, model): limit.running
            for project, table in catalog.limits.tables.items()
            for model, limit in table.items()
        }
        self.rules = Rules(
            weights={tier.value: float(weight) for tier, weight in tiers.WEIGHTS.items()},
            caps={name: model.concurrency for name, model in catalog.models.items() if model.concurrency is not None},
            # If any table sets `running`, include those that do not: they lift the limit of a less specific table.
            running=limits if any(limits.values()) else {},
            lanes=catalog.lanes.names,
            reserve=tiers.RESERVE,
            worker_seen_s=worker_seen_s,
        )

    def dispatch(self, ran: Sequence[str] = ()) -> int:
        """Enqueue the responses that may run now, in all lanes; do nothing while the broker is unavailable.

        Args:
            ran: IDs of the responses that have just ended and freed capacity.

        Returns:
            The number of responses that were enqueued.

        Raises:
            errors.StoreUnavailable: responses may have been marked as dispatched without being enqueued; the sweeper
                returns them to waiting after `claim_within_s`.
        """
        if not self._doorbell.can_enqueue:
            return 0
        with self._database.connection() as connection:
            if not dispatch_sql.any_waiting(connection):
                return 0
            with connection.transaction():
                lanes_sql.lock(connection)
                dispatched = self._mark_next(connection, ran)
        return sum(self.enqueue(response_ids, lane) for lane, response_ids in dispatched.items())

    def enqueue(self, response_ids: list[str], lane: str) -> int:
        """Enqueue responses that are marked as dispatched; recall those that cannot be enqueued.

        Returns:
            The number of responses that were enqueued.
        """
        silent = self._doorbell.enqueue(response_ids, lane)
        if silent:
            with self._database.connection() as connection:
                lanes_sql.recall(connection, silent)
        return len(response_ids) - len(silent)

    def _mark_next(self, connection: Connection, ran: Sequence[str]) -> dict[str, list[str]]:
        """Choose the next responses, mark them, and return their IDs by lane. The caller holds the dispatch lock."""
        snapshot = dispatch_sql.read_snapshot(connection, worker_seen_s=self.rules.worker_seen_s, just_ran=ran)
        chosen = self._choose(connection, snapshot)
        served = _served_otherwise(snapshot) | _served_now(chosen)
        if not chosen and not served:
            return {}
        return dispatch_sql.mark(connection, chosen, served)

    def _choose(self, connection: Connection, snapshot: Snapshot) -> list[Choice]:
        open_lanes = capacity_of(snapshot).open_lanes()
        if not open_lanes:
            return []
        found = dispatch_sql.candidates(connection, open_lanes, FIRST_OF_GROUP)
        situation = self._situation(snapshot, found)
        chosen = fair_share(situation, capacity_of(snapshot), found.by_group, BATCH)
        # If all fetched candidates of a group were chosen, the group may have more that should have been chosen too.
        taken = Counter(choice.group for choice in chosen)
        exhausted = [group for group, count in taken.items() if count == FIRST_OF_GROUP]
        if exhausted:
            candidates = found.by_group | dispatch_sql.more_candidates(connection, exhausted, BATCH)
            chosen = fair_share(situation, capacity_of(snapshot), candidates, BATCH)
        return chosen

    def _situation(self, snapshot: Snapshot, found: Candidates) -> Situation:
        running: Counter[tuple[str, str]] = Counter()
        of_model: Counter[str] = Counter()
        of_project: Counter[tuple[str, str]] = Counter()
        for one in snapshot.occupied:
            running[one.group.tier, one.group.project_id] += one.count
            of_model[one.group.model] += one.count
            of_project[one.group.project_id, one.group.model] += one.count
        model_capacity = {model: cap - of_model[model] for model, cap in self.rules.caps.items()}
        for model, may_probe in snapshot.circuits.items():
            model_capacity[model] = min(model_capacity.get(model, 1), int(may_probe))
        limits = {
            (group.project_id, group.model): self.rules.running_limit(found.projects[group.project_id], group.model)
            for group in found.by_group
        }
        return Situation(
            weights=self.rules.weights,
            last_served=snapshot.last_served,
            running=running,
            just_ran=snapshot.just_ran,
            model_capacity=model_capacity,
            project_capacity={pair: limit - of_project[pair] for pair, limit in limits.items() if limit is not None},
            reserve=self.rules.reserve,
        )


def _served_otherwise(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """Return a charge of 0 for each tier and project that was served without a recent record.

    These are the pairs with responses that are running or have just ended.
    """
    seen = {(one.group.tier, one.group.project_id) for one in snapshot.occupied} | set(snapshot.just_ran)
    lately = snapshot.read_at - NOTE_SERVED_EVERY_S
    return {pair: 0.0 for pair in seen if pair not in snapshot.last_served or snapshot.last_served[pair].at < lately}


def _served_now(chosen: Sequence[Choice]) -> dict[tuple[str, str], float]:
    """Return the charge of the tier at the last turn of each project; charges increase, so the last one is kept."""
    return {(choice.group.tier, choice.group.project_id): choice.charged for choice in chosen}
