"""`backburner top`: waiting and running responses, for people and for scripts; and what `doctor` says of lanes."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core.bootstrap import Core
from core.settings import Settings
from tests.harness.engine import backlog, caller, claim, sql, submit, worker


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


def top(env: dict[str, str], *options: str) -> Result:
    return CliRunner().invoke(main, ["top", *options], env=env)


@pytest.fixture
def loaded(core: Core, settings: Settings) -> None:
    worker(core, slots=3)
    first, second = caller(core, "first"), caller(core, "second")
    running = submit(core, first)
    claim(core, running)
    submit(core, second, model="narrow")
    sql(settings, "update workers set slots = 2")
    backlog(settings, submit(core, first), 40)
    later = submit(core, second, service_tier="flex")
    sql(settings, "update responses set available_at = now() + interval '1 h' where id = %s", later)
    sql(settings, "update responses set created_at = now() - interval '90 s' where id = %s", later)


def test_groups_say_what_waits_is_rung_and_runs(loaded: None, env: dict[str, str]) -> None:
    said = json.loads(top(env, "--json").stdout)

    counted = {
        (group["project"], group["tier"], group["model"]): (
            group["waiting"],
            group["later"],
            group["dispatched"],
            group["running"],
        )
        for group in said["groups"]
    }
    assert counted == {
        ("first", "default", "scripted"): (41, 0, 0, 1),
        ("second", "default", "narrow"): (0, 0, 1, 0),
        ("second", "flex", "scripted"): (1, 1, 0, 0),
    }
    assert said["groups"][0]["waiting"] == 41
    assert (said["waiting"], said["dispatched"], said["running"], said["slots"]) == (42, 1, 1, 2)
    assert [(one["lanes"], one["slots"], one["running"]) for one in said["workers"]] == [(["default"], 2, 1)]
    (flex,) = [group for group in said["groups"] if group["tier"] == "flex"]
    assert 90 <= flex["oldest_s"] < 120


def test_people_see_a_table(loaded: None, env: dict[str, str]) -> None:
    shown = top(env, "--rows", "2").stdout

    assert "42 waiting, 1 dispatched, 1 running; 2 slots" in shown
    assert "1 of 2" in shown
    assert "1 (1 later)" in shown
    assert "1 more" in shown


def test_with_nothing_there_it_is_empty_and_well(core: Core, env: dict[str, str]) -> None:
    done = top(env, "--json")

    assert done.exit_code == 0
    assert json.loads(done.stdout)["groups"] == []
    assert top(env).exit_code == 0


def test_a_lane_nobody_serves_is_named(core: Core, settings: Settings, env: dict[str, str]) -> None:
    worker(core)
    submit(core, caller(core))
    sql(settings, "update responses set lane = 'gone', dispatched_at = null")

    assert json.loads(top(env, "--json").stdout)["unserved_lanes"] == ["gone"]
    assert "No worker serves lane gone." in top(env).stdout
    doctor = CliRunner().invoke(main, ["doctor"], env=env).stdout
    assert "gone: responses are waiting, and no worker serves it" in doctor
    assert "backburner worker -Q gone" in doctor


def test_watched_as_json_it_prints_a_line_each_time_until_it_is_stopped(core: Core, env: dict[str, str]) -> None:
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
