"""The query plan of the statement that inserts new responses."""

import psycopg

from core.dispatch.capacity_sql import Rules
from core.responses import responses_sql

# Postgres compares the cost of a generic plan with the custom plans of the first five executions.
_CUSTOM_PLANS = 5
_RULES = Rules(weights={"default": 1.0}, caps={"limited": 12}, running={("*", "*"): 9}, lanes=("default", "other"))


def row(connection: psycopg.Connection, response_id: str, lane: str) -> dict[str, object]:
    (project_id,) = connection.execute("select id from projects limit 1").fetchone() or ()
    names = {"id": response_id, "project_id": project_id, "key_id": "key_a", "model": "m", "lane": lane}
    times = {"run_s": 60.0, "queue_s": 60.0, "whole_s": 60.0, "follow_s": None}
    texts = {"request": "{}", "document": "{}", "events": "{}"}
    flags = {"background": True, "stored": True, "tier": "default", "metadata": {}, "n": 1, "item_ids": []}
    return names | times | texts | flags | {"concurrency": None, "reserved_requests": 0, "reserved_tokens": 0}


def test_postgres_keeps_one_plan_for_the_inserts_of_one_client_and_of_many(database_url: str) -> None:
    rules = {**_RULES.parameters, "dispatchable": True}
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=1) as connection:
        connection.execute("insert into projects (id, name) values ('proj_a', 'a') on conflict do nothing")
        for number in range(2 * _CUSTOM_PLANS):
            one = row(connection, f"resp_{number}", "default")
            two = [row(connection, f"resp_{number}_{lane}", lane) for lane in ("default", "other")]
            responses_sql.insert(connection, [one], rules)
            responses_sql.insert(connection, two, rules)
        plans = connection.execute(
            "select custom_plans, generic_plans from pg_prepared_statements"
            " where statement like '%insert into responses %'"
        ).fetchall()

    assert len(plans) == 2
    assert all(custom <= _CUSTOM_PLANS and generic for custom, generic in plans), plans
