"""Compares the capacity in SQL, which creates and admission use, with the capacity that dispatch computes."""

from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.dispatch import dispatch_sql
from core.dispatch.capacity_sql import CAPACITY
from core.dispatch.situation import Rules
from core.dispatch.snapshot import compute_capacity
from tests.conftest import new_database

CONFIGURED_LANES = ("default", "fast", "slow")
RULES = Rules(weights={}, model_caps={}, lanes=CONFIGURED_LANES, worker_seen_s=3600)
# `former` is a lane of an earlier configuration that some workers still serve.
LANES = (*CONFIGURED_LANES, "former")

_SELECT_LANE_CAPACITY = f"with {CAPACITY} select lane, n, reserve from lane_capacity"
_INSERT_RESPONSES = """
insert into responses (id, project_id, status, background, model, lane, tier, run_s, queued_until, ends_by, request,
    document, worker_id, lease_until, run_until, dispatched_at)
select 'resp_' || number, (select id from projects limit 1), case when worker is null then 'queued' else 'in_progress' end,
    true, 'm', lane, 'default', 1, now(), now(), '{}', '{}', worker, case when worker is not null then now() end,
    case when worker is not null then now() end, case when worker is null then now() end
from unnest(%s::text[], %s::text[]) with ordinality as new_responses (lane, worker, number)
"""


class Worker(NamedTuple):
    lanes: frozenset[str]
    slots: int
    running_count: int


worker_lists = st.lists(
    st.builds(Worker, st.frozensets(st.sampled_from(LANES), min_size=1), st.integers(0, 5), st.integers(0, 6)),
    max_size=4,
)


@pytest.fixture(scope="module")
def connection(postgres_url: str, template: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(new_database(postgres_url, template), autocommit=True) as connection:
        connection.execute("insert into projects (id, name) values ('proj_1', 'one')")
        yield connection


@given(worker_lists, st.dictionaries(st.sampled_from(LANES), st.integers(0, 6)))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_capacity_in_sql_equals_that_of_dispatch_or_is_smaller_if_too_many_responses_are_dispatched(
    connection: psycopg.Connection,
    workers: list[Worker],
    dispatched_counts: dict[str, int],
) -> None:
    responses = [
        (min(worker.lanes), f"w{number}") for number, worker in enumerate(workers) for _ in range(worker.running_count)
    ]
    responses += [(lane, None) for lane, count in dispatched_counts.items() for _ in range(count)]
    with connection.transaction(force_rollback=True):
        for number, worker in enumerate(workers):
            connection.execute(
                "insert into workers (id, hostname, pid, lanes, slots) values (%s, 'here', 1, %s, %s)",
                (f"w{number}", sorted(worker.lanes), worker.slots),
            )
        connection.execute(
            _INSERT_RESPONSES, ([lane for lane, _ in responses], [worker_id for _, worker_id in responses])
        )
        sql_capacity = {
            lane: (free_slots, reserve)
            for lane, free_slots, reserve in connection.execute(_SELECT_LANE_CAPACITY, RULES.parameters)
        }
        snapshot = dispatch_sql.read_snapshot(connection, worker_seen_s=3600, ended_ids=[])
    capacity = compute_capacity(snapshot)

    served_lanes = {lane for worker in workers for lane in worker.lanes}
    assert set(sql_capacity) == served_lanes & set(CONFIGURED_LANES)
    for lane, (free_slots, reserve) in sql_capacity.items():
        assert reserve == capacity.reserve_size(lane, RULES.reserve)
        if capacity.excess == 0:
            assert free_slots == capacity.free_slots(lane, "any")
        else:  # some dispatched responses have no free slot; SQL may then count fewer free slots than dispatch does
            assert free_slots <= capacity.free_slots(lane, "any")
