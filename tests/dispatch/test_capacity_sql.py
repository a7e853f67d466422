"""The capacity that creates and admission compute in SQL agrees with that of dispatch."""

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.bootstrap import Core
from core.dispatch import dispatch_sql
from core.dispatch.capacity_sql import CAPACITY, Rules
from core.dispatch.snapshot import capacity_of
from core.settings import Settings
from tests.conftest import new_database
from tests.harness.engine import backlog, caller, submit, worker

OURS = ("default", "fast", "slow")
RULES = Rules(weights={}, caps={}, lanes=OURS, worker_seen_s=3600)
# A lane of another configuration, still served by workers that were started with it.
LANES = (*OURS, "former")

_LANE_CAPACITY = f"with {CAPACITY} select lane, n, reserve from lane_capacity"
_ROWS = """
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
def test_creates_see_the_room_that_dispatch_sees(
    connection: psycopg.Connection, there: list[tuple[frozenset[str], int, int]], dispatched: dict[str, int]
) -> None:
    runs = [(min(lanes), f"w{number}") for number, (lanes, _, running) in enumerate(there) for _ in range(running)]
    runs += [(lane, None) for lane, count in dispatched.items() for _ in range(count)]
    with connection.transaction(force_rollback=True):
        for number, (lanes, slots, _) in enumerate(there):
            connection.execute(
                "insert into workers (id, hostname, pid, lanes, slots) values (%s, 'here', 1, %s, %s)",
                (f"w{number}", sorted(lanes), slots),
            )
        connection.execute(_ROWS, ([lane for lane, _ in runs], [worker for _, worker in runs]))
        found = {lane: (n, reserve) for lane, n, reserve in connection.execute(_LANE_CAPACITY, RULES.parameters)}
        snapshot = dispatch_sql.read_snapshot(connection, worker_seen_s=3600, just_ran=[])
    capacity = capacity_of(snapshot)

    served = {lane for lanes, _, _ in there for lane in lanes}
    assert set(found) == served & set(OURS)
    for lane, (room, reserve) in found.items():
        assert reserve == capacity.reserve(lane, RULES.reserve)
        if capacity.excess == 0:
            assert room == capacity.free_slots(lane)
        else:  # if lanes sharing workers exceed them, SQL subtracts more: it never promises more
            assert room <= capacity.free_slots(lane)


def test_a_dispatch_takes_the_oldest_of_a_group_however_many_it_takes(core: Core, settings: Settings) -> None:
    who = caller(core)
    first = submit(core, who)
    backlog(settings, first, 120)
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "update responses set available_at = available_at - i * interval '1 s'"
            " from (select id, row_number() over (order by id) as i from responses) numbered"
            " where responses.id = numbered.id"
        )
        worker(core, slots=90)
        core.dispatch.dispatch()
        found = connection.execute(
            "select count(*), count(*) filter (where place <= 90) from ("
            " select dispatched_at, row_number() over (order by available_at) as place from responses) ordered"
            " where dispatched_at is not null"
        ).fetchone()

    assert found == (90, 90)
