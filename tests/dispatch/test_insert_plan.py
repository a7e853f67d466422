"""The query plan of the statement that inserts new responses."""

import psycopg

from core.dispatch.capacity_sql import Rules
from core.responses import responses_sql
from core.responses.draft import Draft

# Postgres compares the cost of a generic plan with the custom plans of the first five executions.
_CUSTOM_PLANS = 5
_RULES = Rules(weights={"default": 1.0}, caps={"limited": 12}, running={("*", "*"): 9}, lanes=("default", "other"))


def draft(project_id: str, response_id: str, lane: str) -> Draft:
    return Draft(
        id=response_id,
        project_id=project_id,
        key_id="key_a",
        background=True,
        model="m",
        lane=lane,
        tier="default",
        stored=True,
        run_s=60,
        queue_s=60,
        total_s=60,
        metadata={},
        request="{}",
        document="{}",
        events=("{}",),
        item_ids=[],
    )


def test_postgres_keeps_one_plan_for_the_inserts_of_one_client_and_of_many(database_url: str) -> None:
    rules = {**_RULES.parameters, "dispatchable": True}
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=1) as connection:
        connection.execute("insert into projects (id, name) values ('proj_a', 'a') on conflict do nothing")
        for number in range(2 * _CUSTOM_PLANS):
            one = draft("proj_a", f"resp_{number}", "default")
            two = [draft("proj_a", f"resp_{number}_{lane}", lane) for lane in ("default", "other")]
            responses_sql.insert(connection, [one], rules)
            responses_sql.insert(connection, two, rules)
        plans = connection.execute(
            "select custom_plans, generic_plans from pg_prepared_statements"
            " where statement like '%insert into responses %'"
        ).fetchall()

    assert len(plans) == 2
    assert all(custom <= _CUSTOM_PLANS and generic for custom, generic in plans), plans
