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
from tests.harness.engine import (
    UNAVAILABLE,
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
    config.write_text(config.read_text() + '[lanes]\nflex = "slow"\nno-limit = "fast"\n')
    return config


def count_dispatched_by_lane(settings: Settings) -> Counter[str]:
    rows = sql(settings, "select lane from responses where dispatched_at is not null and status = 'queued'")
    return Counter(lane for (lane,) in rows)


def fill_lanes(core: Core, settings: Settings, count: int = 40) -> None:
    """Create one response of each tier, and insert `count` copies of it."""
    client = core.keys.caller(core.keys.create({"no-limit"}))
    for tier in ("flex", "default", "no-limit"):
        insert_backlog(settings, submit(core, client, service_tier=tier), count)


def test_a_response_waits_in_the_configured_lane_of_its_tier(core: Core, settings: Settings) -> None:
    fill_lanes(core, settings, 1)

    assert set(sql(settings, "select tier, lane from responses")) == {
        ("flex", "slow"),
        ("no-limit", "fast"),
        ("default", "default"),
    }


def test_a_response_is_enqueued_immediately_in_its_lane_if_a_slot_is_free(core: Core, settings: Settings) -> None:
    register_worker(core, "general", 5)
    register_worker(core, "batch", 5, ["slow"])
    client = create_caller(core)

    response_ids = {submit(core, client, service_tier="flex"), submit(core, client)}

    assert set(dispatched_ids(settings)) == response_ids
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert valkey.llen(KEY_PREFIX + queue_name("slow")) == 1
        assert valkey.llen(KEY_PREFIX + queue_name("default")) == 1


def test_the_slots_of_a_worker_of_several_lanes_are_not_assigned_twice(core: Core, settings: Settings) -> None:
    register_worker(core, slots=10, lanes=["default", "slow", "fast"])
    fill_lanes(core, settings)
    client = create_caller(core)

    run_concurrently(
        *[lambda: [core.dispatch.dispatch() for _ in range(5)]] * 3,
        lambda: [submit(core, client, service_tier=tier) for tier in ("flex", "default") * 5],
    )

    assert len(dispatched_ids(settings)) == 10


def test_lanes_on_the_same_workers_share_slots_by_the_weights_of_their_tiers(core: Core, settings: Settings) -> None:
    register_worker(core, slots=26, lanes=["default", "slow", "fast"])
    fill_lanes(core, settings)

    core.dispatch.dispatch()

    assert count_dispatched_by_lane(settings) == {"fast": 16, "default": 8, "slow": 2}


def test_a_worker_of_one_lane_gets_no_responses_of_another_lane(core: Core, settings: Settings) -> None:
    register_worker(core, "batch", 7, ["slow"])
    fill_lanes(core, settings)

    core.dispatch.dispatch()

    assert count_dispatched_by_lane(settings) == {"slow": 7}


def test_workers_of_one_lane_and_of_several_lanes_are_all_fully_used(core: Core, settings: Settings) -> None:
    register_worker(core, "general", 6, ["default", "fast", "slow"])
    register_worker(core, "batch", 5, ["slow"])
    register_worker(core, "urgent", 2, ["fast"])
    fill_lanes(core, settings)

    while core.dispatch.dispatch():
        pass

    counts = count_dispatched_by_lane(settings)
    assert sum(counts.values()) == 13
    assert counts["slow"] >= 5
    assert counts["fast"] >= 2


def test_one_dispatch_fills_the_lanes_of_separate_workers(core: Core, settings: Settings) -> None:
    register_worker(core, "default", 6, ["default"])
    register_worker(core, "batch", 5, ["slow"])
    fill_lanes(core, settings)

    core.dispatch.dispatch()

    assert count_dispatched_by_lane(settings) == {"default": 6, "slow": 5}


def test_an_excess_of_dispatched_responses_delays_only_its_own_lane(core: Core, settings: Settings) -> None:
    fill_lanes(core, settings)
    register_worker(core, "default", 6, ["default"])
    core.dispatch.dispatch()
    sql(settings, "update workers set slots = 2")

    assert core.dispatch.dispatch() == 0
    register_worker(core, "batch", 5, ["slow"])
    assert core.dispatch.dispatch() == 5


def test_responses_of_a_stopped_worker_occupy_no_slots_of_live_workers(core: Core, settings: Settings) -> None:
    client = create_caller(core)
    register_worker(core, "old", 3)
    for _ in range(3):
        claim(core, submit(core, client), "old")
    waiting_ids = [submit(core, client) for _ in range(3)]
    core.workers.unregister("old")
    register_worker(core, "new", 3)

    core.dispatch.dispatch()

    assert sorted(dispatched_ids(settings)) == sorted(waiting_ids)


def test_a_models_concurrency_limit_applies_across_all_lanes(core: Core, settings: Settings) -> None:
    register_worker(core, slots=50, lanes=["default", "slow"])
    client = create_caller(core)

    def create(tier: str) -> None:
        for _ in range(10):
            submit(core, client, model="narrow", service_tier=tier)

    run_concurrently(
        *[lambda: create("flex"), lambda: create("default")] * 2,
        *[lambda: [core.dispatch.dispatch() for _ in range(10)]] * 2,
    )

    assert len(dispatched_ids(settings)) == 2


def test_only_one_response_of_a_model_probes_its_servers_even_if_responses_wait_in_two_lanes(
    core: Core, settings: Settings
) -> None:
    register_worker(core, slots=50, lanes=["default", "slow"])
    client = create_caller(core)
    assert core.attempts.hand_back(claim(core, submit(core, client)), UNAVAILABLE)
    for tier in ("flex", "default") * 5:
        submit(core, client, service_tier=tier)
    for _ in range(3):
        sql(settings, "update circuits set open_until = now() - interval '1 ms'")
        run_concurrently(*[core.dispatch.dispatch] * 4)

        (probe_id,) = dispatched_ids(settings)
        core.responses.cancel(client, probe_id)


def test_an_unserved_lane_is_reported_once_and_its_responses_fail_at_their_deadline(
    core: Core, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    submit(core, create_caller(core), service_tier="flex")
    register_worker(core, slots=5)
    with caplog.at_level(logging.WARNING):
        core.sweep.run()
        core.sweep.run()
    reported_lanes = [record.lane for record in caplog.records if record.message == "no worker serves lane"]
    assert reported_lanes == ["slow"]
    assert dispatched_ids(settings) == []

    sql(settings, "update responses set queued_until = now() - interval '1 s'")
    core.sweep.run()

    ((status, document),) = sql(settings, "select status, document from responses")
    assert status == "failed"
    assert "No worker was free before the response's deadline." in document


def test_workers_empty_a_lane_of_an_earlier_configuration(core: Core, settings: Settings) -> None:
    response_id = submit(core, create_caller(core), service_tier="flex")
    config_without_lanes = settings.config.with_name("plain.toml")
    config_without_lanes.write_text(settings.config.read_text().partition("[lanes]")[0])
    register_worker(core, "old", 5, ["slow"])

    with open_core(settings.model_copy(update={"config": config_without_lanes})) as new_core:
        assert new_core.live_catalog.current.lanes.names == ("default",)
        new_core.dispatch.dispatch()

    assert dispatched_ids(settings) == [response_id]
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as valkey:
        assert valkey.llen(KEY_PREFIX + queue_name("slow")) == 1


@pytest.mark.parametrize("source", ["option", "variable"])
def test_a_worker_of_an_unknown_lane_does_not_start(settings: Settings, source: str) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "cli.main", "worker", *(["-Q", "fast,sow"] if source == "option" else [])],
        env={
            "BACKBURNER_HOME": str(settings.home),
            "BACKBURNER_DATABASE_URL": settings.database_url.get_secret_value(),
            "BACKBURNER_REDIS_URL": settings.redis_url.get_secret_value(),
            "BACKBURNER_CONFIG": str(settings.config),
            **({"BACKBURNER_WORKER_LANES": "sow"} if source == "variable" else {}),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert process.returncode == 1
    last_line = process.stderr.strip().splitlines()[-1]
    assert last_line.startswith("Error: There is no lane 'sow': the configured lanes are default, fast, slow.")


@pytest.mark.parametrize("lanes", ['best = "default"', 'flex = "Not A Name"', 'flex = ""', "flex = 7"])
def test_an_invalid_lane_is_rejected_with_an_error_that_names_its_key(tmp_path: Path, lanes: str) -> None:
    path = tmp_path / "backburner.toml"
    path.write_text(f"[lanes]\n{lanes}\n")

    with pytest.raises(errors.BadSettings, match=r"lanes\."):
        catalog.load(path)
