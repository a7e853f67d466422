"""The order in which fair share gives slots to waiting responses, also when slots become free one at a time."""

from collections import Counter

import pytest

from core.bootstrap import Core
from core.settings import Settings
from tests.harness.engine import (
    COMPLETED,
    batch,
    claim,
    create_caller,
    dispatched_ids,
    insert_backlog,
    register_worker,
    sql,
    submit,
)


def run_one_by_one(core: Core, settings: Settings, turns: int) -> list[str]:
    """Dispatch, run and end one response in each turn, with a single slot; return the IDs in order."""
    ids = []
    for _ in range(turns):
        core.dispatch.dispatch()
        (response_id,) = dispatched_ids(settings)
        attempt = claim(core, response_id)
        core.attempts.end(attempt, COMPLETED, batch(attempt, []))
        ids.append(response_id)
    return ids


def read_column(settings: Settings, ids: list[str], expression: str) -> list[str]:
    """Return the value of a SQL expression for each response, in the order of `ids`."""
    values = dict(sql(settings, f"select id, {expression} from responses where id = any (%s)", ids))
    return [values[response_id] for response_id in ids]


def test_with_one_slot_every_tier_gets_its_share_of_turns(core: Core, settings: Settings) -> None:
    client = core.keys.caller(core.keys.create({"no-limit"}))
    for tier in ("flex", "default", "no-limit"):
        insert_backlog(settings, submit(core, client, service_tier=tier), 60)
    register_worker(core, slots=1)

    order = read_column(settings, run_one_by_one(core, settings, 52), "tier")

    assert Counter(order) == {"no-limit": 32, "default": 16, "flex": 4}
    # The turns of each tier are spread out.
    assert Counter(order[:13]) == {"no-limit": 8, "default": 4, "flex": 1}


def test_a_tier_without_responses_accumulates_at_most_one_turn(core: Core, settings: Settings) -> None:
    client = core.keys.caller(core.keys.create({"no-limit"}))
    insert_backlog(settings, submit(core, client, service_tier="flex"), 60)
    register_worker(core, slots=1)
    run_one_by_one(core, settings, 20)
    insert_backlog(settings, submit(core, client), 60)

    order = read_column(settings, run_one_by_one(core, settings, 25), "tier")

    assert Counter(order) in ({"default": 20, "flex": 5}, {"default": 21, "flex": 4})


def test_with_one_slot_projects_take_turns_regardless_of_their_backlogs(core: Core, settings: Settings) -> None:
    for project, count in (("large", 500), ("middle", 50), ("small", 2)):
        insert_backlog(settings, submit(core, create_caller(core, project)), count)
    register_worker(core, slots=1)

    order = read_column(
        settings, run_one_by_one(core, settings, 9), "(select name from projects p where p.id = project_id)"
    )

    for round_start in (0, 3, 6):
        assert sorted(order[round_start : round_start + 3]) == ["large", "middle", "small"]


@pytest.mark.parametrize("recorded_by", ["sweeper", "worker"])
def test_a_response_that_started_without_a_wait_uses_its_projects_turn(
    core: Core, settings: Settings, recorded_by: str
) -> None:
    register_worker(core, slots=1)
    busy_client = create_caller(core, "busy")
    first_id = submit(core, busy_client)
    assert dispatched_ids(settings) == [first_id]
    attempt = claim(core, first_id)
    insert_backlog(settings, submit(core, busy_client), 200)
    other_id = submit(core, create_caller(core, "other"))
    if recorded_by == "sweeper":
        core.sweep.run()

    core.attempts.end(attempt, COMPLETED, batch(attempt, []))
    core.dispatch.dispatch([first_id] if recorded_by == "worker" else [])

    assert dispatched_ids(settings) == [other_id]


def test_a_tier_with_long_running_responses_gets_only_its_share_of_the_slots(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    insert_backlog(settings, submit(core, client, service_tier="flex"), 60)
    insert_backlog(settings, submit(core, client), 200)
    register_worker(core, slots=10)
    for _ in range(20):
        core.dispatch.dispatch()
        for response_id, tier in sql(settings, "select id, tier from responses where dispatched_at is not null"):
            attempt = claim(core, response_id)
            if tier == "default":
                core.attempts.end(attempt, COMPLETED, batch(attempt, []))

    rows = sql(settings, "select tier from responses where status = 'in_progress'")
    assert Counter(row[0] for row in rows) == {"flex": 2}


def test_foreground_responses_of_a_project_are_dispatched_before_its_background_responses(
    core: Core, settings: Settings
) -> None:
    client = create_caller(core)
    for _ in range(5):
        submit(core, client)
    foreground_id = submit(core, client, background=False)
    register_worker(core, slots=1)

    core.dispatch.dispatch()

    assert dispatched_ids(settings) == [foreground_id]


def test_flex_responses_of_a_project_are_dispatched_by_deadline(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    insert_backlog(settings, submit(core, client, service_tier="flex"), 300)
    late_id = submit(core, client, background_options={"completion_window": "8h"})
    early_id = submit(core, client, background_options={"completion_window": "2h"})
    register_worker(core, slots=1)

    assert run_one_by_one(core, settings, 2) == [early_id, late_id]


def test_other_flex_projects_do_not_delay_a_response_with_an_early_deadline(core: Core, settings: Settings) -> None:
    for number in range(5):
        insert_backlog(settings, submit(core, create_caller(core, f"other{number}"), service_tier="flex"), 100)
    due_id = submit(core, create_caller(core, "due"), background_options={"completion_window": "2h"})
    register_worker(core, slots=1)

    assert due_id in run_one_by_one(core, settings, 6)


def test_over_limit_responses_leave_a_fifth_of_the_slots_free(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    insert_backlog(settings, submit(core, client), 30)
    sql(settings, "update responses set tier = 'over-limit'")
    register_worker(core, slots=10)

    core.dispatch.dispatch()
    assert len(dispatched_ids(settings)) == 8
    core.dispatch.dispatch()
    assert len(dispatched_ids(settings)) == 8

    within_limit_ids = [submit(core, client) for _ in range(3)]
    assert len(set(within_limit_ids) & set(dispatched_ids(settings))) == 2


def test_over_limit_responses_neither_use_nor_block_the_reserved_slots(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    insert_backlog(settings, submit(core, client), 30)
    sql(settings, "update responses set tier = 'over-limit', available_at = now() - interval '1 h'")
    within_limit_ids = [submit(core, client) for _ in range(3)]
    register_worker(core, slots=10)
    for number in range(8):
        register_worker(core, f"without_slots_{number}", slots=0)

    core.dispatch.dispatch()

    tiers = Counter(read_column(settings, dispatched_ids(settings), "tier"))
    assert set(within_limit_ids) <= set(dispatched_ids(settings))
    assert tiers["default"] == 3
    assert tiers["over-limit"] <= 7
