"""Running limits of projects: exact per project and model, without delaying other projects."""

from collections import Counter
from pathlib import Path

import pytest

from core.bootstrap import Core
from core.settings import Settings
from tests.harness.engine import COMPLETED, at_once, backlog, batch, caller, claim, dispatched, sql, submit, worker


@pytest.fixture
def config(config: Path) -> Path:
    config.write_text(
        config.read_text()
        + """
[models.unnamed]
base_url = "http://127.0.0.1:9/v1"
[projects.tight.limits."*"]
running = 3
[projects.tight.limits.absent]
queued = 1000
[projects."*".limits.unnamed]
running = 1
"""
    )
    return config


def by_project_and_model(settings: Settings) -> Counter:
    return Counter(
        sql(
            settings,
            "select p.name, r.model from responses r join projects p on p.id = r.project_id"
            " where r.dispatched_at is not null or r.status = 'in_progress'",
        )
    )


def test_a_project_runs_no_more_of_each_model_than_its_limit_says(core: Core, settings: Settings) -> None:
    for project in ("tight", "free"):
        who = caller(core, project)
        for model in ("scripted", "absent", "unnamed"):
            for _ in range(6):
                submit(core, who, model=model)
    worker(core, slots=100)

    while core.dispatch.dispatch():
        pass

    assert by_project_and_model(settings) == {
        ("tight", "scripted"): 3,  # by the "*" table of the project
        ("tight", "absent"): 6,  # its own table, without `running`, replaces "*"
        ("tight", "unnamed"): 3,
        ("free", "scripted"): 6,
        ("free", "absent"): 6,
        ("free", "unnamed"): 1,  # by the model's table for all projects
    }


def test_a_running_limit_is_exact_under_simultaneous_creates_and_dispatches(core: Core, settings: Settings) -> None:
    worker(core, slots=50)
    who = caller(core, "tight")

    def create() -> None:
        for _ in range(10):
            submit(core, who)

    at_once(*[create] * 6, *[lambda: [core.dispatch.dispatch() for _ in range(10)]] * 2)

    assert by_project_and_model(settings) == {("tight", "scripted"): 3}


def test_a_running_limit_counts_what_runs_and_its_next_response_follows_each_end(
    core: Core, settings: Settings
) -> None:
    worker(core, slots=50)
    who = caller(core, "tight")
    ids = [submit(core, who) for _ in range(5)]
    attempts = [claim(core, one) for one in ids[:3]]
    assert core.dispatch.dispatch() == 0

    core.attempts.end(attempts[0], COMPLETED, batch(attempts[0], []))
    core.dispatch.dispatch()

    assert dispatched(settings) == [ids[3]]


def test_what_a_limit_holds_back_keeps_no_other_project_waiting(core: Core, settings: Settings) -> None:
    worker(core, slots=50)
    tight = caller(core, "tight")
    for _ in range(3):
        submit(core, tight)
    backlog(settings, submit(core, tight), 200)

    other = submit(core, caller(core, "free"))

    assert other in dispatched(settings)
    assert core.dispatch.dispatch() == 0


def test_a_limit_holds_over_all_tiers_of_a_project(core: Core, settings: Settings) -> None:
    who = core.keys.caller(core.keys.create({"no-limit"}, "tight"))
    for tier in ("flex", "default", "no-limit"):
        for _ in range(3):
            submit(core, who, service_tier=tier)
    worker(core, slots=50)

    core.dispatch.dispatch()

    assert by_project_and_model(settings) == {("tight", "scripted"): 3}
