"""The capacity in SQL, which creation and admission use, equals the capacity that dispatch computes."""

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.bootstrap import Core
from core.dispatch import dispatch_sql
from core.dispatch.capacity_sql import CAPACITY, Rules
from core.dispatch.snapshot import compute_capacity
from core.settings import Settings
from tests.conftest import new_database
from tests.harness.engine import create_caller, insert_backlog, register_worker, submit

CONFIGURED_LANES = ("default", "fast", "slow")
RULES = Rules(weights={}, model_caps={}, lanes=CONFIGURED_LANES, worker_seen_s=3600)
# `former` is a lane of an earlier configuration that some workers still serve.
LANES = (*CONFIGURED_LANES, "former")

_SELECT_LANE_CAPACITY = f"with {CAPACITY} select lane, n, reserve from lane_capacity"
_INSERT_RESPONSES = """
insert into responses (id, project_id, status, background, model, lane, tier, run_s, queued_until, ends_by, request,
    document, worker_id, lease_until, run_until, dispatched_at)
select 'resp_' || i, (select id from projects limit 1), case when worker is null then 'queued' else 'in_progress' end,
    true, 'm', lane, 'default', 1, now(), now(), '{}', '{}', worker, case when worker is not null then now() end,
    case when worker is not null then now() end, case when worker is null then now() end
from unnest(%s::text[], %s::text[]) with ordinality as given (lane, worker, i)
"""

workers = st.lists(
    st.tuples(st.frozensets(st.sampled_from(LANES), min_size=1), st.integers(0, 5), st.integers(0, 6)), max_size=4
)


@pytest.fixture(scope="module")
def connection(postgres_url: str, template: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(new_database(postgres_url, template), autocommit=True) as connection:
        connection.execute("insert into projects (id, name) values ('proj_1', 'one')")
        yield connection


@given(workers, st.dictionaries(st.sampled_from(LANES), st.integers(0, 6)))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_capacity_in_sql_equals_that_of_dispatch(
    connection: psycopg.Connection,
    worker_rows: list[tuple[frozenset[str], int, int]],
    dispatched_counts: dict[str, int],
) -> None:
    responses = [
        (min(lanes), f"w{number}") for number, (lanes, _, running) in enumerate(worker_rows) for _ in range(running)
    ]
    responses += [(lane, None) for lane, count in dispatched_counts.items() for _ in range(count)]
    with connection.transaction(force_rollback=True):
        for number, (lanes, slots, _) in enumerate(worker_rows):
            connection.execute(
                "insert into workers (id, hostname, pid, lanes, slots) values (%s, 'here', 1, %s, %s)",
                (f"w{number}", sorted(lanes), slots),
            )
        connection.execute(_INSERT_RESPONSES, ([lane for lane, _ in responses], [worker for _, worker in responses]))
        sql_capacity = {
            lane: (n, reserve) for lane, n, reserve in connection.execute(_SELECT_LANE_CAPACITY, RULES.parameters)
        }
        snapshot = dispatch_sql.read_snapshot(connection, worker_seen_s=3600, ended_ids=[])
    capacity = compute_capacity(snapshot)

    served_lanes = {lane for lanes, _, _ in worker_rows for lane in lanes}
    assert set(sql_capacity) == served_lanes & set(CONFIGURED_LANES)
    for lane, (free_slots, reserve) in sql_capacity.items():
        assert reserve == capacity.reserve_size(lane, RULES.reserve)
        if capacity.excess == 0:
            assert free_slots == capacity.free_slots(lane, "any")
        else:  # if dispatched responses exceed the slots of shared workers, SQL subtracts more and promises fewer slots
            assert free_slots <= capacity.free_slots(lane, "any")


def test_a_dispatch_of_many_responses_takes_the_oldest_of_a_group(core: Core, settings: Settings) -> None:
    response_id = submit(core, create_caller(core))
    insert_backlog(settings, response_id, 120)
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "update responses set available_at = available_at - i * interval '1 s'"
            " from (select id, row_number() over (order by id) as i from responses) numbered"
            " where responses.id = numbered.id"
        )
        register_worker(core, slots=90)
        core.dispatch.dispatch()
        counts = connection.execute(
            "select count(*), count(*) filter (where age_rank <= 90) from ("
            " select dispatched_at, row_number() over (order by available_at) as age_rank from responses) ordered"
            " where dispatched_at is not null"
        ).fetchone()

    assert counts == (90, 90)
