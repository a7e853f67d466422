"""Health of worker and sweeper: unhealthy only where a restart helps."""

import asyncio
import threading
import time
from typing import Any

import psycopg
import pytest

from cli.sweeper import Sweeper
from core import errors
from core.bootstrap import Core
from core.health import Health, served
from core.settings import Settings
from local import ports
from tests.harness.health import health as health_of
from tests.harness.waiting import until
from worker.liveness.watchdog import Watchdog


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings under which a worker that is not seen soon counts as gone."""
    return settings.model_copy(update={"worker_seen_s": 2})


@pytest.mark.parametrize(
    ("health", "healthz", "readyz", "status"),
    [
        (Health([], True, {"a": 1}), 200, 200, "ok"),
        (Health([], False, {}), 200, 503, "not ready"),
        (Health(["it is unhealthy"], False, {}), 503, 503, "unhealthy"),
    ],
)
def test_illness_and_readiness_are_two_answers(health: Health, healthz: int, readyz: int, status: str) -> None:
    port = ports.free()
    with served("127.0.0.1", port, lambda: health, variable="X"):
        assert health_of(port, "/healthz")[0] == healthz
        assert health_of(port, "/readyz?verbose")[0] == readyz
        body = health_of(port, "/readyz")[1]
        assert (body["status"], body["problems"]) == (status, health.problems)
        assert health.details.items() <= body.items()
        assert health_of(port, "/")[0] == 404


def test_a_port_that_is_taken_is_named_and_none_is_served_by_default() -> None:
    port = ports.free()
    well = Health([], True, {})
    with served("127.0.0.1", port, lambda: well, variable="BACKBURNER_WORKER_HEALTH_PORT"):
        with (
            pytest.raises(errors.BadSettings, match=f"BACKBURNER_WORKER_HEALTH_PORT: cannot listen on port {port}"),
            served("127.0.0.1", port, lambda: well, variable="BACKBURNER_WORKER_HEALTH_PORT"),
        ):
            pass
        assert health_of(port, "/healthz")[0] == 200
    with served("127.0.0.1", 0, lambda: well, variable="X"):
        assert not [thread for thread in threading.enumerate() if thread.name == "health"]


def of(found: Watchdog, **changes: Any) -> Health:
    now = time.monotonic()
    return found.health(**({"running": 0, "tried_at": now, "heard_at": now, "stalled": False} | changes))


def test_a_worker_says_what_ails_it(settings: Settings) -> None:
    found = Watchdog("w1", settings, stuck=lambda: None)
    long_ago = time.monotonic() - 31

    assert of(found).problems == []
    assert of(found, stalled=True).problems == ["consumer is stalled: no messages are received"]
    assert of(found, running=1, tried_at=long_ago).problems == ["no lease renewal attempted for 31 s"]
    assert of(found, running=0, tried_at=long_ago).problems == []


def test_a_worker_is_ready_while_postgres_knows_it_and_it_stays(settings: Settings) -> None:
    found = Watchdog("w1", settings, stuck=lambda: None)
    assert not of(found).ready
    assert found.seen()
    assert not found.seen()
    assert of(found).ready
    until(lambda: not of(found).ready, within_s=settings.worker_seen_s + 1)
    assert of(found).problems == []
    assert of(found).details["postgres"] == "unreachable"
    found.seen()
    found.leaving = True
    assert not of(found).ready


def test_a_loop_that_stands_still_is_ill_and_then_left(settings: Settings) -> None:
    left = threading.Event()
    found = Watchdog("w1", settings.model_copy(update={"lease_s": 1.0}), stuck=left.set, late_s=0.5, renewing_s=1.0)
    seen: list[list[str]] = []

    async def live() -> None:
        beat = asyncio.create_task(found.beat_for_ever())
        await asyncio.sleep(0)  # lets the task start: since Python 3.14, `to_thread` need not yield to the loop
        await asyncio.to_thread(until, lambda: not of(found).problems)
        watcher = threading.Thread(target=lambda: seen.append(until(lambda: of(found).problems)))
        watcher.start()
        assert left.wait(10), "with the loop blocked"
        watcher.join()
        beat.cancel()

    asyncio.run(live())
    assert "event loop is" in seen[0][0]


def test_a_sweeper_without_postgres_is_not_ready_and_not_ill(core: Core, settings: Settings) -> None:
    made = Sweeper(core.sweep, settings.model_copy(update={"sweep_every_s": 0.05}), unhealthy_after_s=0.5)
    assert not made.health().ready
    stop = threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        until(lambda: made.health().ready)
        url = settings.database_url.get_secret_value()
        name = url.split("?")[0].rpartition("/")[2]
        with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as other:
            other.execute(f"alter database {name} allow_connections false")  # type: ignore[arg-type]
            other.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            until(lambda: not made.health().ready)
            until(lambda: made.health().details["postgres"] == "unreachable")
            other.execute(f"alter database {name} allow_connections true")  # type: ignore[arg-type]
        until(lambda: made.health().ready, within_s=20)
        assert made.health().problems == []
    finally:
        stop.set()
        thread.join()


def test_a_sweeper_whose_every_round_fails_is_ill(core: Core, settings: Settings) -> None:
    made = Sweeper(core.sweep, settings.model_copy(update={"sweep_every_s": 0.05}), unhealthy_after_s=0.5)
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as other:
        other.execute("alter table responses rename column followed_until to gone")
    stop = threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        until(lambda: made.health().problems)
    finally:
        stop.set()
        thread.join()
