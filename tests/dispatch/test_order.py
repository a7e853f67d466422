"""Fair share with few slots that become free one at a time: which response is dispatched next."""

from collections import Counter

import pytest

from core.bootstrap import Core
from core.settings import Settings
from tests.harness.engine import COMPLETED, backlog, batch, caller, claim, dispatched, sql, submit, worker


def run_through(core: Core, settings: Settings, turns: int, name: str = "w1") -> list[str]:
    """The responses that get a slot, in order; each ends before the next is dispatched."""
    order = []
    for _ in range(turns):
        core.dispatch.dispatch()
        for response_id in dispatched(settings):
            attempt = claim(core, response_id, name)
            order.append(response_id)
        core.attempts.end(attempt, COMPLETED, batch(attempt, []))
    return order


def said_of(settings: Settings, ids: list[str], column: str) -> list[str]:
    found = dict(sql(settings, f"select id, {column} from responses where id = any (%s)", ids))
    return [found[one] for one in ids]


def test_with_one_slot_every_tier_has_its_share_of_turns(core: Core, settings: Settings) -> None:
    who = core.keys.caller(core.keys.create({"no-limit"}))
    for tier in ("flex", "default", "no-limit"):
        backlog(settings, submit(core, who, service_tier=tier), 60)
    worker(core, slots=1)

    order = said_of(settings, run_through(core, settings, 52), "tier")

    assert Counter(order) == {"no-limit": 32, "default": 16, "flex": 4}
    # The turns of each tier are spread out.
    assert Counter(order[:13]) == {"no-limit": 8, "default": 4, "flex": 1}


def test_a_tier_that_was_away_has_saved_up_one_turn_at_most(core: Core, settings: Settings) -> None:
    who = core.keys.caller(core.keys.create({"no-limit"}))
    backlog(settings, submit(core, who, service_tier="flex"), 60)
    worker(core, slots=1)
    run_through(core, settings, 20)
    backlog(settings, submit(core, who), 60)

    order = said_of(settings, run_through(core, settings, 25), "tier")

    assert Counter(order) in ({"default": 20, "flex": 5}, {"default": 21, "flex": 4})


def test_with_one_slot_projects_take_turns_whatever_each_has_waiting(core: Core, settings: Settings) -> None:
    for project, n in (("large", 500), ("middle", 50), ("small", 2)):
        backlog(settings, submit(core, caller(core, project)), n)
    worker(core, slots=1)

    order = said_of(settings, run_through(core, settings, 9), "(select name from projects p where p.id = project_id)")

    assert (
        Counter(order[:3])
        == Counter(order[3:6])
        == Counter(order[6:])
        == dict.fromkeys(("large", "middle", "small"), 1)
    )


@pytest.mark.parametrize("seen_by", ["sweeper", "worker"])
def test_what_began_without_a_wait_counts_as_its_projects_turn(core: Core, settings: Settings, seen_by: str) -> None:
    worker(core, slots=1)
    crowd = caller(core, "crowd")
    first = submit(core, crowd)
    assert dispatched(settings) == [first]
    attempt = claim(core, first)
    backlog(settings, submit(core, crowd), 200)
    lone = submit(core, caller(core, "lone"))
    if seen_by == "sweeper":
        core.sweep.run()

    core.attempts.end(attempt, COMPLETED, batch(attempt, []))
    core.dispatch.dispatch([first] if seen_by == "worker" else [])

    assert dispatched(settings) == [lone]


def test_a_tier_whose_responses_run_for_long_gets_no_more_slots_than_its_part(core: Core, settings: Settings) -> None:
    who = caller(core)
    backlog(settings, submit(core, who, service_tier="flex"), 60)
    backlog(settings, submit(core, who), 200)
    worker(core, slots=10)
    for _ in range(20):
        core.dispatch.dispatch()
        for response_id, tier in sql(settings, "select id, tier from responses where dispatched_at is not null"):
            attempt = claim(core, response_id)
            if tier == "default":
                core.attempts.end(attempt, COMPLETED, batch(attempt, []))

    running = sql(settings, "select tier from responses where status = 'in_progress'")
    assert Counter(row[0] for row in running) == {"flex": 2}


def test_foreground_goes_before_background_of_the_same_project(core: Core, settings: Settings) -> None:
    who = caller(core)
    for _ in range(5):
        submit(core, who)
    waited_for = submit(core, who, background=False)
    worker(core, slots=1)

    core.dispatch.dispatch()

    assert dispatched(settings) == [waited_for]


def test_of_a_projects_flex_responses_the_one_due_first_is_next(core: Core, settings: Settings) -> None:
    who = caller(core)
    backlog(settings, submit(core, who, service_tier="flex"), 300)
    eight = submit(core, who, background_options={"completion_window": "8h"})
    two = submit(core, who, background_options={"completion_window": "2h"})
    worker(core, slots=1)

    assert run_through(core, settings, 2) == [two, eight]


def test_a_window_that_comes_to_its_end_is_not_held_up_by_any_number_of_other_flex_projects(
    core: Core, settings: Settings
) -> None:
    for number in range(5):
        backlog(settings, submit(core, caller(core, f"other{number}"), service_tier="flex"), 100)
    windowed = submit(core, caller(core, "windowed"), background_options={"completion_window": "2h"})
    worker(core, slots=1)

    assert windowed in run_through(core, settings, 6)


def test_over_limit_responses_leave_a_fifth_of_the_slots_to_others(core: Core, settings: Settings) -> None:
    who = caller(core)
    over = submit(core, who)
    backlog(settings, over, 30)
    sql(settings, "update responses set tier = 'over-limit'")
    worker(core, slots=10)

    core.dispatch.dispatch()
    assert len(dispatched(settings)) == 8
    core.dispatch.dispatch()
    assert len(dispatched(settings)) == 8

    inside = [submit(core, who) for _ in range(3)]
    assert len(set(inside) & set(dispatched(settings))) == 2


def test_over_limit_responses_neither_take_nor_hold_up_what_is_left_for_others(core: Core, settings: Settings) -> None:
    who = caller(core)
    backlog(settings, submit(core, who), 30)
    sql(settings, "update responses set tier = 'over-limit', available_at = now() - interval '1 h'")
    inside = [submit(core, who) for _ in range(3)]
    worker(core, slots=10)
    for name in range(8):
        worker(core, f"full{name}", slots=0)

    core.dispatch.dispatch()

    tiers = Counter(said_of(settings, dispatched(settings), "tier"))
    assert set(inside) <= set(dispatched(settings))
    assert tiers["default"] == 3
    assert tiers["over-limit"] <= 7
