"""The output of `backburner top` as a table and as JSON, and the reports about lanes without a worker."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core.bootstrap import Core
from core.settings import Settings
from tests.harness.engine import UNAVAILABLE, claim, create_caller, insert_backlog, register_worker, sql, submit


@pytest.fixture
def env(settings: Settings) -> dict[str, str]:
    return {
        "BACKBURNER_HOME": str(settings.home),
        "BACKBURNER_CONFIG": str(settings.config),
        "BACKBURNER_DATABASE_URL": settings.database_url.get_secret_value(),
        "BACKBURNER_REDIS_URL": settings.redis_url.get_secret_value(),
        "BACKBURNER_WORKER_SEEN_S": "60",
        "COLUMNS": "160",
    }


def run_top(env: dict[str, str], *options: str) -> Result:
    return CliRunner().invoke(main, ["top", *options], env=env)


@pytest.fixture
def workload(core: Core, settings: Settings) -> None:
    """Create waiting, dispatched and running responses of two projects."""
    register_worker(core, slots=3)
    first_project, second_project = create_caller(core, "first"), create_caller(core, "second")
    running_id = submit(core, first_project)
    claim(core, running_id)
    submit(core, second_project, model="narrow")
    sql(settings, "update workers set slots = 2")
    insert_backlog(settings, submit(core, first_project), 40)
    later_id = submit(core, second_project, service_tier="flex")
    sql(settings, "update responses set available_at = now() + interval '1 h' where id = %s", later_id)
    sql(settings, "update responses set created_at = now() - interval '90 s' where id = %s", later_id)


def test_the_json_counts_waiting_dispatched_and_running_responses_by_group(workload: None, env: dict[str, str]) -> None:
    report = json.loads(run_top(env, "--json").stdout)

    counts = {
        (group["project"], group["tier"], group["model"]): (
            group["waiting"],
            group["later"],
            group["dispatched"],
            group["running"],
        )
        for group in report["groups"]
    }
    assert counts == {
        ("first", "default", "scripted"): (41, 0, 0, 1),
        ("second", "default", "narrow"): (0, 0, 1, 0),
        ("second", "flex", "scripted"): (1, 1, 0, 0),
    }
    assert report["groups"][0]["waiting"] == 41
    assert (report["waiting"], report["dispatched"], report["running"], report["slots"]) == (42, 1, 1, 2)
    assert [(worker_row["lanes"], worker_row["slots"], worker_row["running"]) for worker_row in report["workers"]] == [
        (["default"], 2, 1)
    ]
    (flex_group,) = [group for group in report["groups"] if group["tier"] == "flex"]
    assert 90 <= flex_group["oldest_s"] < 120


def test_the_table_shows_the_totals_and_the_largest_groups(workload: None, env: dict[str, str]) -> None:
    table = run_top(env, "--rows", "2").stdout

    assert "42 waiting, 1 dispatched, 1 running; 2 slots" in table
    assert "1 of 2" in table
    assert "1 (1 later)" in table
    assert "1 more" in table


def test_top_succeeds_without_responses(core: Core, env: dict[str, str]) -> None:
    result = run_top(env, "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["groups"] == []
    assert run_top(env).exit_code == 0


def test_a_lane_without_a_worker_is_reported(core: Core, settings: Settings, env: dict[str, str]) -> None:
    register_worker(core)
    submit(core, create_caller(core))
    sql(settings, "update responses set lane = 'gone', dispatched_at = null")

    assert json.loads(run_top(env, "--json").stdout)["unserved_lanes"] == ["gone"]
    assert "No worker serves lane gone." in run_top(env).stdout
    doctor = CliRunner().invoke(main, ["doctor"], env=env).stdout
    assert "gone: responses are waiting, and no worker serves it" in doctor
    assert "backburner worker -Q gone" in doctor


def test_the_reasons_draining_workers_and_open_circuits_are_shown(
    core: Core, settings: Settings, env: dict[str, str]
) -> None:
    register_worker(core, "busy", slots=2)
    register_worker(core, "leaving", slots=0)
    client = create_caller(core)
    claim(core, submit(core, client), "leaving")
    assert core.attempts.hand_back(claim(core, submit(core, client), "busy"), UNAVAILABLE)
    submit(core, client)
    for _ in range(3):
        submit(core, client, model="narrow")
    submit(core, client, service_tier="flex", model="narrow")
    sql(settings, "update circuits set cause = 'It [red]failed' || chr(27)")

    report = json.loads(run_top(env, "--json").stdout)

    assert {(group["model"], group["tier"]): group["reason"] for group in report["groups"]} == {
        ("scripted", "default"): "circuit_open",
        ("narrow", "default"): "model_concurrency",
        ("narrow", "flex"): "model_concurrency",
    }
    assert [(worker["id"], worker["draining"], worker["running"]) for worker in report["workers"]] == [
        ("busy", False, 0),
        ("leaving", True, 1),
    ]
    (circuit,) = report["circuits"]
    assert (circuit["model"], circuit["failures"], circuit["cause"]) == ("scripted", 1, "It [red]failed\x1b")
    table = run_top(env).stdout
    for text in (
        "leaving",
        "1, draining",
        "0 of 2",
        "(next probe: in ",
        "It [red]failed\\x1b",
        "the concurrency of model narrow",
    ):
        assert text in table


def test_the_doctor_reports_a_lane_whose_workers_are_all_draining(
    core: Core, settings: Settings, env: dict[str, str]
) -> None:
    register_worker(core, slots=0)
    submit(core, create_caller(core))

    doctor = CliRunner().invoke(main, ["doctor"], env=env).stdout

    assert "w1 pid 1, draining, no slots for default" in doctor
    assert "default: responses are waiting, and no worker serves it" in doctor


def test_the_watch_option_prints_one_line_of_json_per_interval(core: Core, env: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "top", "--json", "--watch", "--every", "0.1"],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.terminate()

    assert [line["waiting"] for line in lines] == [0, 0, 0]
