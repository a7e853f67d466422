"""Lanes: each worker serves certain lanes and shares its slots among them."""

import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import redis

from core import errors
from core.bootstrap import Core, open_core
from core.config import catalog
from core.dispatch.celery_app import KEY_PREFIX, queue_name
from core.settings import Settings
from tests.harness.engine import AWAY, at_once, backlog, caller, claim, dispatched, sql, submit, worker


@pytest.fixture
def config(config: Path) -> Path:
    config.write_text(config.read_text() + '[lanes]\nflex = "slow"\nno-limit = "fast"\n')
    return config


def lanes_of(settings: Settings) -> Counter:
    return Counter(sql(settings, "select lane from responses where dispatched_at is not null and status = 'queued'"))


def wait_in_all(core: Core, settings: Settings, n: int = 40) -> None:
    who = core.keys.caller(core.keys.create({"no-limit"}))
    for tier in ("flex", "default", "no-limit"):
        backlog(settings, submit(core, who, service_tier=tier), n)


def test_a_tier_waits_in_the_lane_the_configuration_gives_it(core: Core, settings: Settings) -> None:
    wait_in_all(core, settings, 1)

    assert set(sql(settings, "select tier, lane from responses")) == {
        ("flex", "slow"),
        ("no-limit", "fast"),
        ("default", "default"),
    }


def test_a_response_is_rung_in_its_lanes_queue_at_once_where_its_workers_have_room(
    core: Core, settings: Settings
) -> None:
    worker(core, "general", 5)
    worker(core, "batch", 5, ["slow"])
    who = caller(core)

    flex, usual = submit(core, who, service_tier="flex"), submit(core, who)

    assert set(dispatched(settings)) == {flex, usual}
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert valkey.llen(KEY_PREFIX + queue_name("slow")) == 1
        assert valkey.llen(KEY_PREFIX + queue_name("default")) == 1


def test_a_worker_of_two_lanes_is_not_handed_its_slots_twice(core: Core, settings: Settings) -> None:
    worker(core, slots=10, lanes=["default", "slow", "fast"])
    wait_in_all(core, settings)
    who = caller(core)

    at_once(
        *[lambda: [core.dispatch.dispatch() for _ in range(5)]] * 3,
        lambda: [submit(core, who, service_tier=tier) for tier in ("flex", "default") * 5],
    )

    assert len(dispatched(settings)) == 10


def test_lanes_on_the_same_workers_share_slots_by_the_weights_of_their_tiers(core: Core, settings: Settings) -> None:
    worker(core, slots=26, lanes=["default", "slow", "fast"])
    wait_in_all(core, settings)

    core.dispatch.dispatch()

    assert lanes_of(settings) == {("fast",): 16, ("default",): 8, ("slow",): 2}


def test_a_worker_of_one_lane_takes_nothing_of_another(core: Core, settings: Settings) -> None:
    worker(core, "batch", 7, ["slow"])
    wait_in_all(core, settings)

    core.dispatch.dispatch()

    assert lanes_of(settings) == {("slow",): 7}


def test_workers_of_one_lane_and_of_several_are_all_made_full_use_of(core: Core, settings: Settings) -> None:
    worker(core, "general", 6, ["default", "fast", "slow"])
    worker(core, "batch", 5, ["slow"])
    worker(core, "urgent", 2, ["fast"])
    wait_in_all(core, settings)

    while core.dispatch.dispatch():
        pass

    counted = lanes_of(settings)
    assert sum(counted.values()) == 13
    assert counted[("slow",)] >= 5
    assert counted[("fast",)] >= 2


def test_lanes_of_separate_workers_are_filled_by_one_dispatch(core: Core, settings: Settings) -> None:
    worker(core, "usual", 6, ["default"])
    worker(core, "batch", 5, ["slow"])
    wait_in_all(core, settings)

    core.dispatch.dispatch()

    assert lanes_of(settings) == {("default",): 6, ("slow",): 5}


def test_more_rung_than_there_are_slots_is_waited_out(core: Core, settings: Settings) -> None:
    wait_in_all(core, settings)
    worker(core, "usual", 6, ["default"])
    core.dispatch.dispatch()
    sql(settings, "update workers set slots = 2")

    assert core.dispatch.dispatch() == 0
    worker(core, "batch", 5, ["slow"])
    assert core.dispatch.dispatch() == 5


def test_what_runs_on_a_worker_that_is_gone_takes_no_slot_of_those_that_are_there(
    core: Core, settings: Settings
) -> None:
    who = caller(core)
    worker(core, "old", 3)
    running = [claim(core, submit(core, who), "old") for _ in range(3)]
    waiting = [submit(core, who) for _ in range(3)]
    core.workers.leave("old")
    worker(core, "new", 3)

    core.dispatch.dispatch()

    assert len(running) == 3
    assert sorted(dispatched(settings)) == sorted(waiting)


def test_a_models_concurrency_holds_over_all_lanes(core: Core, settings: Settings) -> None:
    worker(core, slots=50, lanes=["default", "slow"])
    who = caller(core)

    def create(tier: str) -> None:
        for _ in range(10):
            submit(core, who, model="narrow", service_tier=tier)

    at_once(
        *[lambda: create("flex"), lambda: create("default")] * 2,
        *[lambda: [core.dispatch.dispatch() for _ in range(10)]] * 2,
    )

    assert len(dispatched(settings)) == 2


def test_of_a_model_that_waits_in_two_lanes_one_response_tries_its_servers(core: Core, settings: Settings) -> None:
    worker(core, slots=50, lanes=["default", "slow"])
    who = caller(core)
    assert core.attempts.hand_back(claim(core, submit(core, who)), AWAY)
    for tier in ("flex", "default") * 5:
        submit(core, who, service_tier=tier)
    for _ in range(3):
        sql(settings, "update circuits set open_until = now() - interval '1 ms'")
        at_once(*[core.dispatch.dispatch] * 4)

        (probe,) = dispatched(settings)
        core.responses.cancel(who, probe)


def test_a_lane_that_nobody_serves_any_more_is_named_and_its_responses_fail_at_their_deadline(
    core: Core, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    submit(core, caller(core), service_tier="flex")
    worker(core, slots=5)
    with caplog.at_level(logging.WARNING):
        core.sweep.run()
        core.sweep.run()
    named = [record.lane for record in caplog.records if record.message == "no worker serves lane"]
    assert named == ["slow"]
    assert dispatched(settings) == []

    sql(settings, "update responses set queued_until = now() - interval '1 s'")
    core.sweep.run()

    ((status, document),) = sql(settings, "select status, document from responses")
    assert status == "failed"
    assert "No worker was free before the response's deadline." in document


def test_a_lane_of_an_earlier_configuration_is_emptied_by_workers_that_still_serve_it(
    core: Core, settings: Settings
) -> None:
    response_id = submit(core, caller(core), service_tier="flex")
    plain = settings.config.with_name("plain.toml")
    plain.write_text(settings.config.read_text().partition("[lanes]")[0])
    worker(core, "old", 5, ["slow"])

    with open_core(settings.model_copy(update={"config": plain})) as changed:
        assert changed.catalog.lanes.names == ("default",)
        changed.dispatch.dispatch()

    assert dispatched(settings) == [response_id]
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert valkey.llen(KEY_PREFIX + queue_name("slow")) == 1


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_worker_for_a_lane_that_is_not_there_does_not_start(settings: Settings, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "worker", *(["-Q", "fast,sow"] if how == "option" else [])],
        env={
            "BACKBURNER_HOME": str(settings.home),
            "BACKBURNER_DATABASE_URL": settings.database_url.get_secret_value(),
            "BACKBURNER_REDIS_URL": settings.redis_url.get_secret_value(),
            "BACKBURNER_CONFIG": str(settings.config),
            **({"BACKBURNER_WORKER_LANES": "sow"} if how == "variable" else {}),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: There is no lane 'sow': the configured lanes are default, fast, slow.")


@pytest.mark.parametrize("lanes", ['best = "default"', 'flex = "Not A Name"', 'flex = ""', "flex = 7"])
def test_lanes_that_make_no_sense_are_refused_with_their_place(tmp_path: Path, lanes: str) -> None:
    path = tmp_path / "backburner.toml"
    path.write_text(f"[lanes]\n{lanes}\n")

    with pytest.raises(errors.BadSettings, match=r"lanes\."):
        catalog.load(path)
