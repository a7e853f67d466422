"""The dispatcher, which enqueues the waiting responses that may run now."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from core.config import tiers
from core.config.catalog import Catalog
from core.config.live_catalog import LiveCatalog
from core.database import Connection, Database
from core.dispatch import dispatch_sql, lanes_sql
from core.dispatch.doorbell import Doorbell
from core.dispatch.fair_share import fair_share
from core.dispatch.situation import Choice, Rules
from core.dispatch.snapshot import Snapshot, build_situation, choose_workers, compute_capacity

# Maximum number of responses per transaction; the next dispatch processes the remaining ones.
BATCH_SIZE = 200
# Number of candidates per group in the first query. If all candidates of a group are chosen, a second query reads up to
# `BATCH_SIZE` candidates of the group.
FIRST_CANDIDATES = 25
# Minimum seconds between two service records of a project that was served without a choice by dispatch, for example
# because its responses were dispatched when they were created.
RECORD_INTERVAL_S = 1.0

_Target = tuple[str, str | None]  # a lane and, if only some of its workers know the model, the ID of such a worker


class Dispatch:
    """Enqueues waiting responses, within the slots of workers, the limits of models and projects, and tier weights."""

    def __init__(
        self, database: Database, doorbell: Doorbell, live_catalog: LiveCatalog, *, worker_seen_s: float
    ) -> None:
        self._database = database
        self._doorbell = doorbell
        self._live_catalog = live_catalog
        self._worker_seen_s = worker_seen_s
        self._cached_rules: tuple[Catalog | None, Rules | None] = None, None

    @property
    def rules(self) -> Rules:
        """The rules of the current configuration. A decision must use the same rules from beginning to end."""
        return self.rules_for(self._live_catalog.current)

    def rules_for(self, catalog: Catalog) -> Rules:
        """Return the rules of a configuration. Thread-safe."""
        cached_catalog, cached_rules = self._cached_rules
        if cached_rules is None or cached_catalog is not catalog:
            cached_rules = build_rules(catalog, worker_seen_s=self._worker_seen_s)
            self._cached_rules = catalog, cached_rules
        return cached_rules

    @property
    def can_enqueue(self) -> bool:
        """Whether the broker is considered available, or the next probe of it is due."""
        return self._doorbell.can_enqueue

    def dispatch(self, ended_ids: Sequence[str] = ()) -> int:
        """Enqueue the responses that may run now, in all lanes; do nothing while the broker is unavailable.

        Args:
            ended_ids: IDs of the responses that have just ended and freed capacity.

        Returns:
            The number of responses that were enqueued.

        Raises:
            errors.StoreUnavailable: responses may have been marked as dispatched without being enqueued; the sweeper
                recalls them after `claim_within_s`.
        """
        if not self.can_enqueue:
            return 0
        with self._database.connection() as connection:
            if not dispatch_sql.has_waiting(connection):
                return 0
            with connection.transaction():
                lanes_sql.lock(connection)
                ids_by_target = self._mark_next(connection, self._live_catalog.current, ended_ids)
        return sum(self.enqueue(response_ids, *target) for target, response_ids in ids_by_target.items())

    def enqueue(self, response_ids: list[str], lane: str, worker_id: str | None = None) -> int:
        """Enqueue responses that are marked as dispatched; recall those that cannot be enqueued.

        Args:
            worker_id: the worker that must receive the messages; by default, any worker of the lane may.

        Returns:
            The number of responses that were enqueued.
        """
        failed_ids = self._doorbell.enqueue(response_ids, lane, worker_id)
        if failed_ids:
            with self._database.connection() as connection:
                lanes_sql.recall(connection, failed_ids)
        return len(response_ids) - len(failed_ids)

    def _mark_next(
        self, connection: Connection, catalog: Catalog, ended_ids: Sequence[str]
    ) -> dict[_Target, list[str]]:
        """Choose the next responses, mark them, and return their IDs by target. The caller holds the dispatch lock."""
        snapshot = dispatch_sql.read_snapshot(connection, worker_seen_s=self._worker_seen_s, ended_ids=ended_ids)
        choices = self._choose(connection, catalog, snapshot)
        tier_charges = _charges_without_choice(snapshot) | _charges_of_choices(choices)
        if not choices and not tier_charges:
            return {}
        worker_ids = choose_workers(snapshot, choices)
        ids_by_target: dict[_Target, list[str]] = defaultdict(list)
        for lane, response_ids in dispatch_sql.mark_dispatched(connection, choices, tier_charges).items():
            for response_id in response_ids:
                ids_by_target[lane, worker_ids.get(response_id)].append(response_id)
        return ids_by_target

    def _choose(self, connection: Connection, catalog: Catalog, snapshot: Snapshot) -> list[Choice]:
        open_lanes = compute_capacity(snapshot).open_lanes()
        if not open_lanes:
            return []
        candidates = dispatch_sql.read_candidates(connection, open_lanes, FIRST_CANDIDATES)
        situation = build_situation(snapshot, self.rules_for(catalog), candidates.by_group, candidates.project_names)
        choices = fair_share(situation, compute_capacity(snapshot), candidates.by_group, BATCH_SIZE)
        # If all candidates of a group were chosen, more responses of the group might have to be chosen too.
        counts = Counter(choice.group for choice in choices)
        exhausted_groups = [group for group, count in counts.items() if count == FIRST_CANDIDATES]
        if exhausted_groups:
            by_group = candidates.by_group | dispatch_sql.read_more_candidates(connection, exhausted_groups, BATCH_SIZE)
            choices = fair_share(situation, compute_capacity(snapshot), by_group, BATCH_SIZE)
        return choices


def build_rules(catalog: Catalog, *, worker_seen_s: float) -> Rules:
    """Return the rules of dispatch that a configuration defines.

    Args:
        worker_seen_s: seconds for which a worker is considered live after it refreshed its registration.
    """
    running_limits = {
        (project, model): model_limits.running
        for project, table in catalog.limits.tables.items()
        for model, model_limits in table.items()
    }
    return Rules(
        weights={tier.value: float(weight) for tier, weight in tiers.WEIGHTS.items()},
        known_models=frozenset(catalog.models),
        model_caps={name: limit for name, limit in catalog.concurrency.items() if limit is not None},
        # If any table sets `running`, include the tables that do not: they lift the limit of a less specific table.
        running_limits=running_limits if any(running_limits.values()) else {},
        lanes=catalog.lanes.names,
        reserve=tiers.RESERVE,
        worker_seen_s=worker_seen_s,
    )


def _charges_without_choice(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """Return a charge of 0 for each tier and project that was served but has no recent service record.

    A pair was served if a response of it is running, is dispatched or has just ended.
    """
    groups = [occupancy.group for occupancy in snapshot.occupancies]
    served_pairs = {(group.tier, group.project_id) for group in groups} | set(snapshot.recent_ends)
    records = snapshot.service_records
    oldest_at = snapshot.read_at - RECORD_INTERVAL_S
    return {pair: 0.0 for pair in served_pairs if pair not in records or records[pair].at < oldest_at}


def _charges_of_choices(choices: Sequence[Choice]) -> dict[tuple[str, str], float]:
    """Return the charge of the tier after the last turn of each project, by tier and project."""
    return {(choice.group.tier, choice.group.project_id): choice.tier_charge for choice in choices}
