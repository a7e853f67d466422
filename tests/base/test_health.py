"""The health of the worker and the sweeper: a process is unhealthy only if a restart would help."""

import asyncio
import threading
import time
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from cli.sweeper import Sweeper
from core import errors
from core.bootstrap import Core
from core.health import Health, serve_health
from core.settings import Settings
from local import ports
from tests.harness.health import get_health
from tests.harness.waiting import until
from worker.liveness.watchdog import Watchdog


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with a short `worker_seen_s`, after which a worker is no longer considered live."""
    return settings.model_copy(update={"worker_seen_s": 2})


@pytest.mark.parametrize(
    ("health", "health_code", "readiness_code", "status"),
    [
        (Health([], True, {"a": 1}), 200, 200, "ok"),
        (Health([], False, {}), 200, 503, "not ready"),
        (Health(["it is unhealthy"], False, {}), 503, 503, "unhealthy"),
    ],
)
def test_health_and_readiness_are_separate_endpoints(
    health: Health, health_code: int, readiness_code: int, status: str
) -> None:
    port = ports.free_port()
    with serve_health("127.0.0.1", port, lambda: health, variable="X"):
        assert get_health(port, "/healthz")[0] == health_code
        assert get_health(port, "/readyz?verbose")[0] == readiness_code
        _, body = get_health(port, "/readyz")
        assert (body["status"], body["problems"]) == (status, health.problems)
        assert health.details.items() <= body.items()
        assert get_health(port, "/")[0] == 404


def test_a_port_in_use_is_reported_and_port_0_disables_the_server() -> None:
    port = ports.free_port()
    healthy = Health([], True, {})
    with serve_health("127.0.0.1", port, lambda: healthy, variable="BACKBURNER_WORKER_HEALTH_PORT"):
        with (
            pytest.raises(errors.BadSettings, match=f"BACKBURNER_WORKER_HEALTH_PORT: cannot listen on port {port}"),
            serve_health("127.0.0.1", port, lambda: healthy, variable="BACKBURNER_WORKER_HEALTH_PORT"),
        ):
            pass
        assert get_health(port, "/healthz")[0] == 200
    earlier_threads = set(threading.enumerate())  # the thread of the first server may not have ended yet
    with serve_health("127.0.0.1", 0, lambda: healthy, variable="X"):
        assert set(threading.enumerate()) <= earlier_threads


def read_health(watchdog: Watchdog, **changes: Any) -> Health:
    """The health of an idle worker that works normally, apart from these changes to the arguments."""
    now = time.monotonic()
    arguments = {"run_count": 0, "last_renewal_at": now, "last_message_at": now, "is_stalled": False} | changes
    return watchdog.health(**arguments)


def test_a_worker_reports_its_problems(settings: Settings) -> None:
    watchdog = Watchdog("w1", settings, on_stuck=lambda: None)
    long_ago = time.monotonic() - 31

    assert read_health(watchdog).problems == []
    assert read_health(watchdog, is_stalled=True).problems == ["consumer is stalled: no messages are received"]
    assert read_health(watchdog, run_count=1, last_renewal_at=long_ago).problems == [
        "no lease renewal attempted for 31 s"
    ]
    assert read_health(watchdog, run_count=0, last_renewal_at=long_ago).problems == []


def test_a_worker_is_ready_while_it_is_registered_and_not_stopping(settings: Settings) -> None:
    watchdog = Watchdog("w1", settings, on_stuck=lambda: None)
    assert not read_health(watchdog).ready
    watchdog.record_registration()
    assert read_health(watchdog).ready
    until(lambda: not read_health(watchdog).ready, timeout_s=settings.worker_seen_s + 1)
    assert read_health(watchdog).problems == []
    assert read_health(watchdog).details["postgres"] == "unreachable"
    watchdog.record_registration()
    watchdog.is_leaving = True
    assert not read_health(watchdog).ready


def test_a_blocked_event_loop_is_reported_and_then_stops_the_worker(settings: Settings) -> None:
    stuck_event = threading.Event()
    watchdog = Watchdog(
        "w1",
        settings.model_copy(update={"lease_s": 1.0}),
        on_stuck=stuck_event.set,
        max_loop_delay_s=0.5,
        max_renewal_interval_s=1.0,
    )
    problems: list[list[str]] = []

    async def block_loop() -> None:
        heartbeat_task = asyncio.create_task(watchdog.record_heartbeats())
        await asyncio.sleep(0)  # starts the task: since Python 3.14, `to_thread` need not yield to the loop
        await asyncio.to_thread(until, lambda: not read_health(watchdog).problems)
        watcher = threading.Thread(target=lambda: problems.append(until(lambda: read_health(watchdog).problems)))
        watcher.start()
        assert stuck_event.wait(10)  # blocks the event loop
        watcher.join()
        heartbeat_task.cancel()

    asyncio.run(block_loop())
    ((problem, *_),) = problems
    assert "event loop is" in problem


def test_a_sweeper_without_postgres_is_not_ready_but_healthy(core: Core, settings: Settings) -> None:
    sweeper = Sweeper(core.sweep, settings.model_copy(update={"sweep_every_s": 0.05}), unhealthy_after_s=0.5)
    assert not sweeper.health().ready
    stop = threading.Event()
    thread = threading.Thread(target=sweeper.run, args=(stop,))
    thread.start()
    try:
        until(lambda: sweeper.health().ready)
        url = settings.database_url.get_secret_value()
        name = conninfo_to_dict(url)["dbname"]
        with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as connection:
            connection.execute(f"alter database {name} allow_connections false")  # type: ignore[arg-type]
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            until(lambda: not sweeper.health().ready)
            until(lambda: sweeper.health().details["postgres"] == "unreachable")
            connection.execute(f"alter database {name} allow_connections true")  # type: ignore[arg-type]
        until(lambda: sweeper.health().ready, timeout_s=20)
        assert sweeper.health().problems == []
    finally:
        stop.set()
        thread.join()


def test_a_sweeper_with_only_failed_rounds_is_unhealthy(core: Core, settings: Settings) -> None:
    sweeper = Sweeper(core.sweep, settings.model_copy(update={"sweep_every_s": 0.05}), unhealthy_after_s=0.5)
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("alter table responses rename column followed_until to gone")
    stop = threading.Event()
    thread = threading.Thread(target=sweeper.run, args=(stop,))
    thread.start()
    try:
        until(lambda: sweeper.health().problems)
    finally:
        stop.set()
        thread.join()
