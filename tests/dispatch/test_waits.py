"""Each wait reason is found from rows in Postgres, and dispatch enqueues the response once the reason is removed."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core import errors
from core.bootstrap import Core, open_core
from core.config.tiers import Tier
from core.database import connect
from core.dispatch.waits.dispatch_limits import WaitReason
from core.settings import Settings
from core.wire.response import ClientWaitReason
from tests.harness.engine import (
    UNAVAILABLE,
    claim,
    create_caller,
    dispatched_ids,
    register_worker,
    sql,
    submit,
)
from tests.harness.waiting import until


@pytest.fixture
def config(config: Path) -> Path:
    config.write_text(
        config.read_text()
        + """
[lanes]
flex = "slow"
[projects.tight.limits."*"]
running = 1
"""
    )
    return config


def check_reason(
    core: Core, response_id: str, reason: WaitReason, client_reason: ClientWaitReason, text: str = ""
) -> None:
    """Assert the reason of a waiting response, for operators and for clients, and that dispatch does not enqueue it."""
    core.dispatch.dispatch()
    wait = core.waits.explain(response_id)
    assert wait is not None
    assert (wait.reason, core.waits.client_reason(response_id)) == (reason, client_reason)
    assert text in wait.waits_for


def check_dispatched(core: Core, settings: Settings, response_id: str) -> None:
    """Assert that dispatch enqueues the response now."""
    core.dispatch.dispatch()
    assert response_id in dispatched_ids(settings)


def test_a_response_waits_for_any_worker(core: Core, settings: Settings) -> None:
    response_id = submit(core, create_caller(core))

    check_reason(core, response_id, WaitReason.NO_WORKER, ClientWaitReason.NO_WORKER, "none is alive")

    register_worker(core)
    check_dispatched(core, settings, response_id)


def test_a_worker_that_was_not_seen_recently_is_not_alive(core: Core, settings: Settings) -> None:
    register_worker(core)
    sql(settings, "update workers set seen_at = now() - interval '1 h'")

    check_reason(core, submit(core, create_caller(core)), WaitReason.NO_WORKER, ClientWaitReason.NO_WORKER)


def test_a_response_waits_for_a_worker_of_its_lane(core: Core, settings: Settings) -> None:
    register_worker(core, "general", lanes=["default"])
    response_id = submit(core, create_caller(core), service_tier="flex")

    check_reason(core, response_id, WaitReason.LANE_UNSERVED, ClientWaitReason.NO_WORKER, "lane slow")

    register_worker(core, "batch", lanes=["slow"])
    check_dispatched(core, settings, response_id)


def test_a_response_waits_while_all_workers_of_its_lane_are_draining(core: Core, settings: Settings) -> None:
    register_worker(core, "general", lanes=["default"])
    register_worker(core, "batch", slots=0, lanes=["slow"])
    response_id = submit(core, create_caller(core), service_tier="flex")

    check_reason(core, response_id, WaitReason.LANE_DRAINING, ClientWaitReason.NO_WORKER, "draining")
    assert core.waits.load().unserved_lanes == ["slow"]

    register_worker(core, "batch-2", lanes=["slow"])
    check_dispatched(core, settings, response_id)


def test_a_response_waits_for_the_broker(core: Core, settings: Settings) -> None:
    register_worker(core)
    settings_without_broker = settings.model_copy(
        update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:9/0")}
    )
    with open_core(settings_without_broker) as other_core:
        response_id = submit(other_core, create_caller(other_core))

        check_reason(other_core, response_id, WaitReason.BROKER_UNAVAILABLE, ClientWaitReason.NO_WORKER, "Valkey")

    check_dispatched(core, settings, response_id)


def test_a_response_waits_for_the_circuit_of_its_model(core: Core, settings: Settings) -> None:
    register_worker(core)
    client = create_caller(core)
    assert core.attempts.hand_back(claim(core, submit(core, client)), UNAVAILABLE)
    response_id = submit(core, client)

    text = "scripted: The model server cannot be reached: no. (next probe: in "
    check_reason(core, response_id, WaitReason.CIRCUIT_OPEN, ClientWaitReason.MODEL_UNAVAILABLE, text)

    sql(settings, "update circuits set open_until = now() - interval '1 ms'")
    sql(settings, "update responses set available_at = now() where id = %s", response_id)
    core.dispatch.dispatch()
    (probe_id,) = dispatched_ids(settings)
    (other_id,) = {row[0] for row in sql(settings, "select id from responses")} - {probe_id}
    check_reason(core, other_id, WaitReason.CIRCUIT_OPEN, ClientWaitReason.MODEL_UNAVAILABLE, "(next probe: running)")

    core.circuits.close("scripted")
    sql(settings, "update responses set available_at = now()")
    check_dispatched(core, settings, other_id)


def test_a_response_waits_for_its_next_attempt(core: Core, settings: Settings) -> None:
    register_worker(core)
    response_id = submit(core, create_caller(core))
    sql(settings, "update responses set dispatched_at = null, available_at = now() + interval '1 min'")

    check_reason(core, response_id, WaitReason.NOT_DUE, ClientWaitReason.RETRY, "due in ")

    sql(settings, "update responses set available_at = now()")
    check_dispatched(core, settings, response_id)


def test_a_response_waits_for_its_projects_limit(core: Core, settings: Settings) -> None:
    register_worker(core)
    client = create_caller(core, "tight")
    running_id = submit(core, client)
    claim(core, running_id)
    response_id = submit(core, client)

    check_reason(core, response_id, WaitReason.PROJECT_LIMIT, ClientWaitReason.PROJECT_LIMIT, "project's limit")

    core.responses.cancel(client, running_id)
    check_dispatched(core, settings, response_id)


def test_a_response_waits_for_the_concurrency_of_its_model(core: Core, settings: Settings) -> None:
    register_worker(core)
    client = create_caller(core)
    other_ids = [submit(core, client, model="narrow") for _ in range(2)]
    response_id = submit(core, client, model="narrow")

    check_reason(core, response_id, WaitReason.MODEL_CONCURRENCY, ClientWaitReason.MODEL_CAPACITY, "model narrow")

    core.responses.cancel(client, other_ids[0])
    check_dispatched(core, settings, response_id)


def test_a_response_waits_for_a_free_slot(core: Core, settings: Settings) -> None:
    register_worker(core, slots=1)
    client = create_caller(core)
    running_id = submit(core, client)
    claim(core, running_id)
    response_id = submit(core, client)

    check_reason(core, response_id, WaitReason.NO_FREE_SLOT, ClientWaitReason.CAPACITY, "free slot")

    core.responses.cancel(client, running_id)
    check_dispatched(core, settings, response_id)


def test_an_over_limit_response_waits_for_spare_slots(core: Core, settings: Settings) -> None:
    register_worker(core, slots=1)
    response_id = submit(core, create_caller(core))
    sql(settings, "update responses set tier = %s, dispatched_at = null", Tier.OVER_LIMIT.value)

    check_reason(core, response_id, WaitReason.RESERVE, ClientWaitReason.CAPACITY, "spare slots")

    register_worker(core, slots=2)
    check_dispatched(core, settings, response_id)


def test_a_response_of_an_unknown_tier_waits_for_another_program_version(core: Core, settings: Settings) -> None:
    register_worker(core)
    response_id = submit(core, create_caller(core))
    sql(settings, "update responses set tier = 'future', dispatched_at = null")

    check_reason(core, response_id, WaitReason.TIER_UNKNOWN, ClientWaitReason.NO_WORKER, "tier future")


def test_a_response_that_may_run_waits_for_its_turn_and_then_for_a_worker_to_claim_it(
    core: Core, settings: Settings
) -> None:
    response_id = submit(core, create_caller(core))
    register_worker(core)
    wait = core.waits.explain(response_id)
    assert wait is not None
    assert (wait.reason, core.waits.client_reason(response_id)) == (WaitReason.TURN, ClientWaitReason.TURN)

    check_dispatched(core, settings, response_id)
    check_reason(core, response_id, WaitReason.DISPATCHED, ClientWaitReason.STARTING, "to claim it")


def test_a_response_that_runs_or_has_ended_or_does_not_exist_has_no_reason(core: Core) -> None:
    register_worker(core)
    client = create_caller(core)
    response_id = submit(core, client)
    claim(core, response_id)
    assert core.waits.explain(response_id) is core.waits.client_reason(response_id) is None

    core.responses.cancel(client, response_id)
    assert core.waits.explain(response_id) is core.waits.client_reason(response_id) is None
    assert core.waits.explain("resp_absent") is None


def test_clients_share_one_state_of_the_queue_for_a_second(core: Core, settings: Settings) -> None:
    response_id = submit(core, create_caller(core))
    assert core.waits.client_reason(response_id) == ClientWaitReason.NO_WORKER
    register_worker(core)
    started_at = time.monotonic()

    until(lambda: core.waits.client_reason(response_id) == ClientWaitReason.TURN)

    assert time.monotonic() - started_at > 0.5


def test_concurrent_polls_for_reasons_fail_together_if_the_state_cannot_be_read(core: Core, settings: Settings) -> None:
    response_id = submit(core, create_caller(core))

    with (
        ThreadPoolExecutor(6) as threads,
        connect(settings.database_url.get_secret_value()) as connection,
        connection.transaction(),
    ):
        connection.execute("lock table fair_shares in access exclusive mode")
        futures = [threads.submit(core.waits.client_reason, response_id) for _ in range(6)]
        # One query after another would take six times the lock timeout of 2 s.
        until(lambda: all(future.done() for future in futures), timeout_s=6)

    assert {type(future.exception()) for future in futures} == {errors.StoreBusy}
