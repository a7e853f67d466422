"""The query plan of the statement that inserts new responses."""

import psycopg

from core.dispatch.situation import Rules
from core.responses import responses_sql
from core.responses.draft import Draft

# After this number of custom plans, Postgres uses the generic plan if it is not more expensive.
_CUSTOM_PLAN_COUNT = 5
_RULES = Rules(
    weights={"default": 1.0}, model_caps={"limited": 12}, running_limits={("*", "*"): 9}, lanes=("default", "other")
)


def new_draft(project_id: str, response_id: str, lane: str) -> Draft:
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


def test_postgres_reuses_one_plan_per_statement_for_single_and_batch_inserts(database_url: str) -> None:
    rules = {**_RULES.parameters, "dispatchable": True}
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=1) as connection:
        connection.execute("insert into projects (id, name) values ('proj_a', 'a') on conflict do nothing")
        for number in range(2 * _CUSTOM_PLAN_COUNT):
            single_draft = new_draft("proj_a", f"resp_{number}", "default")
            drafts = [new_draft("proj_a", f"resp_{number}_{lane}", lane) for lane in ("default", "other")]
            responses_sql.insert(connection, [single_draft], rules)
            responses_sql.insert(connection, drafts, rules)
        plans = connection.execute(
            "select custom_plans, generic_plans from pg_prepared_statements"
            " where statement like '%insert into responses %'"
        ).fetchall()

    assert len(plans) == 2
    assert all(custom <= _CUSTOM_PLAN_COUNT and generic for custom, generic in plans), plans
