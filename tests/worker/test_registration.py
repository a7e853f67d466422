"""The registration of a worker: it has no slots while the worker drains, and is deleted when the worker exits."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import psycopg

from core.bootstrap import Core
from core.settings import Settings
from tests.harness.engine import sql
from worker.liveness.registration import Registration

LONG_INTERVAL_S = 60.0


def run_registration(
    core: Core, interval_s: float, test: Callable[[Registration, "asyncio.Task[None]"], Awaitable[None]]
) -> int:
    """Run a test coroutine beside a registration with 5 slots; return how often the registration was updated."""
    updates: list[None] = []

    async def run_both() -> None:
        registration = Registration(
            core.workers,
            "w1",
            ["default"],
            5,
            core.live_catalog,
            interval_s=interval_s,
            on_updated=lambda _: updates.append(None),
        )
        task = asyncio.create_task(registration.keep_updated())
        try:
            await test(registration, task)
        finally:
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(run_both())
    return len(updates)


async def wait_for(condition: Callable[[], object], timeout_s: float = 8) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def slots_by_worker(settings: Settings) -> dict[str, int]:
    return dict(sql(settings, "select id, slots from workers"))  # type: ignore[arg-type]


def test_a_draining_worker_is_immediately_registered_without_slots(core: Core, settings: Settings) -> None:
    async def test(registration: Registration, _: "asyncio.Task[None]") -> None:
        await wait_for(lambda: slots_by_worker(settings) == {"w1": 5})
        registration.drain()
        await wait_for(lambda: slots_by_worker(settings) == {"w1": 0})

    run_registration(core, LONG_INTERVAL_S, test)

    assert sql(settings, "select lanes from workers") == [(["default"],)]


def test_a_draining_worker_keeps_its_registration_up_to_date(core: Core, settings: Settings) -> None:
    async def test(registration: Registration, _: "asyncio.Task[None]") -> None:
        registration.drain()
        await wait_for(lambda: slots_by_worker(settings) == {"w1": 0})
        for _ in range(2):
            sql(settings, "update workers set seen_at = now() - interval '1 h'")
            await wait_for(lambda: sql(settings, "select 1 from workers where seen_at > now() - interval '1 min'"))

    run_registration(core, 0.05, test)

    assert slots_by_worker(settings) == {"w1": 0}


def is_waiting_for_lock(settings: Settings) -> bool:
    query = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    return bool(sql(settings, query))


def test_an_update_in_flight_does_not_undo_a_drain(core: Core, settings: Settings) -> None:
    async def test(registration: Registration, _: "asyncio.Task[None]") -> None:
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            connection.execute("lock table workers in share mode")
            await wait_for(lambda: is_waiting_for_lock(settings))
            registration.drain()
        await wait_for(lambda: slots_by_worker(settings) == {"w1": 0})

    assert run_registration(core, LONG_INTERVAL_S, test) == 2


def test_an_update_in_flight_does_not_restore_a_deleted_worker(core: Core, settings: Settings) -> None:
    async def test(registration: Registration, task: "asyncio.Task[None]") -> None:
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            connection.execute("lock table workers in share mode")
            await wait_for(lambda: is_waiting_for_lock(settings))
            registration.leave()
        await asyncio.wait_for(task, 8)

    run_registration(core, LONG_INTERVAL_S, test)

    assert slots_by_worker(settings) == {}


def test_the_registration_of_a_leaving_worker_is_deleted_without_waiting_for_the_next_update(
    core: Core, settings: Settings
) -> None:
    async def test(registration: Registration, task: "asyncio.Task[None]") -> None:
        await wait_for(lambda: slots_by_worker(settings))
        registration.leave()
        await asyncio.wait_for(task, 8)

    assert run_registration(core, LONG_INTERVAL_S, test) == 1
    assert slots_by_worker(settings) == {}
