"""Running limits of projects apply exactly to each project and model, and do not delay other projects."""

from collections import Counter
from pathlib import Path

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
    run_concurrently,
    sql,
    submit,
)


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


def count_by_project_and_model(settings: Settings) -> Counter:
    return Counter(
        sql(
            settings,
            "select p.name, r.model from responses r join projects p on p.id = r.project_id"
            " where r.dispatched_at is not null or r.status = 'in_progress'",
        )
    )


def test_a_project_does_not_exceed_its_running_limit_for_each_model(core: Core, settings: Settings) -> None:
    for project in ("tight", "free"):
        client = create_caller(core, project)
        for model in ("scripted", "absent", "unnamed"):
            for _ in range(6):
                submit(core, client, model=model)
    register_worker(core, slots=100)

    while core.dispatch.dispatch():
        pass

    assert count_by_project_and_model(settings) == {
        ("tight", "scripted"): 3,  # from the table "*" of the project
        ("tight", "absent"): 6,  # the table `absent` of the project, which has no `running`, replaces the table "*"
        ("tight", "unnamed"): 3,
        ("free", "scripted"): 6,
        ("free", "absent"): 6,
        ("free", "unnamed"): 1,  # from the table of the model for all projects
    }


def test_a_running_limit_is_exact_under_simultaneous_creates_and_dispatches(core: Core, settings: Settings) -> None:
    register_worker(core, slots=50)
    client = create_caller(core, "tight")

    def create() -> None:
        for _ in range(10):
            submit(core, client)

    run_concurrently(*[create] * 6, *[lambda: [core.dispatch.dispatch() for _ in range(10)]] * 2)

    assert count_by_project_and_model(settings) == {("tight", "scripted"): 3}


def test_a_running_limit_allows_the_next_response_after_each_end(core: Core, settings: Settings) -> None:
    register_worker(core, slots=50)
    client = create_caller(core, "tight")
    ids = [submit(core, client) for _ in range(5)]
    attempts = [claim(core, response_id) for response_id in ids[:3]]
    assert core.dispatch.dispatch() == 0

    core.attempts.end(attempts[0], COMPLETED, batch(attempts[0], []))
    core.dispatch.dispatch()

    assert dispatched_ids(settings) == [ids[3]]


def test_responses_that_exceed_a_limit_do_not_delay_other_projects(core: Core, settings: Settings) -> None:
    register_worker(core, slots=50)
    client = create_caller(core, "tight")
    for _ in range(3):
        submit(core, client)
    insert_backlog(settings, submit(core, client), 200)

    response_id = submit(core, create_caller(core, "free"))

    assert response_id in dispatched_ids(settings)
    assert core.dispatch.dispatch() == 0


def test_a_running_limit_applies_across_all_tiers_of_a_project(core: Core, settings: Settings) -> None:
    client = core.keys.caller(core.keys.create({"no-limit"}, "tight"))
    for tier in ("flex", "default", "no-limit"):
        for _ in range(3):
            submit(core, client, service_tier=tier)
    register_worker(core, slots=50)

    core.dispatch.dispatch()

    assert count_by_project_and_model(settings) == {("tight", "scripted"): 3}
