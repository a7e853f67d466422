"""A worker's event supervisor and runner on a real Postgres: what interrupts one run does not affect the others."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import psycopg
import pytest

from core import jsonio
from core.bootstrap import Core
from core.runs.attempts import Attempt
from core.settings import Settings
from core.wire import item_events
from core.wire.item_events import PartPath
from tests.harness.engine import caller, claim, said, sql, submit, worker
from worker.fetch.client import Fetcher
from worker.fetch.documents import Documents
from worker.run.inputs import Inputs
from worker.run.run import SHUTDOWN, Run, Stop
from worker.run.run_supervisor import RunSupervisor
from worker.run.runner import Runner


def beating(core: Core, settings: Settings, test: Callable[[RunSupervisor], Awaitable[None]]) -> None:
    """Run a test coroutine beside a running supervisor."""

    async def both() -> None:
        supervisor = RunSupervisor(core.attempts, core.bus, settings)
        beat = asyncio.create_task(supervisor.run())
        try:
            await test(supervisor)
            assert not beat.done()
        finally:
            beat.cancel()
            await asyncio.wait({beat})

    asyncio.run(both())


async def soon(condition: Callable[[], object], within_s: float = 8) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def in_progress(attempt: Attempt) -> dict:
    return {"type": "response.in_progress", "response": jsonio.loads(attempt.document)}


def test_a_row_that_somebody_locks_costs_no_other_run_its_lease_or_its_events(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    attempts = [claim(core, submit(core, who)) for _ in range(5)]
    locked = attempts[2].response_id

    async def test(supervisor: RunSupervisor) -> None:
        now = time.monotonic()
        runs = [supervisor.keeping(attempt, now) for attempt in attempts]
        entered = [run.__enter__() for run in runs]
        with psycopg.connect(settings.database_url.get_secret_value()) as other:
            other.execute("select 1 from responses where id = %s for update", (locked,))
            for run in entered:
                run.emit([in_progress(run.attempt)])
            await soon(lambda: sql(settings, "select count(*) from response_events where attempt = 1") == [(4,)])
            await soon(lambda: entered[2].stopped)  # its own lease could not be renewed
            other.rollback()
        assert [run.stopped for run in entered] == [None, None, Stop.LOST, None, None]
        for run in runs:
            run.__exit__(None, None, None)

    beating(core, settings, test)


def test_a_lock_that_is_soon_gone_costs_nothing(core: Core, settings: Settings) -> None:
    worker(core)
    attempt = claim(core, submit(core, caller(core)))

    async def test(supervisor: RunSupervisor) -> None:
        with supervisor.keeping(attempt, time.monotonic()) as run:
            with psycopg.connect(settings.database_url.get_secret_value()) as other:
                other.execute("select 1 from responses where id = %s for update", (attempt.response_id,))
                run.emit([in_progress(attempt)])
                await soon(lambda: run.unwritten is not None)
                other.rollback()
            await soon(lambda: not run.dirty)
            assert run.stopped is None

    beating(core, settings, test)
    assert sql(settings, "select first_seq, n from response_events order by 1") == [(0, 2), (2, 1)]


def test_a_response_claimed_again_by_the_same_worker_stops_the_older_run(core: Core, settings: Settings) -> None:
    worker(core)
    old = claim(core, submit(core, caller(core)))
    sql(settings, "update responses set lease_until = now() - interval '1 s'")
    core.sweep.run()
    sql(settings, "update responses set available_at = now(), dispatched_at = now()")
    new = claim(core, old.response_id)

    async def test(supervisor: RunSupervisor) -> None:
        now = time.monotonic()
        with supervisor.keeping(old, now) as older, supervisor.keeping(new, now) as newer:
            assert older.stopped is Stop.LOST
            newer.emit([in_progress(new)])
            await soon(lambda: not newer.dirty)
            assert newer.stopped is None

    beating(core, settings, test)


def test_first_outputs_are_written_together_without_waiting_out_a_pause(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    attempts = [claim(core, submit(core, who)) for _ in range(20)]
    writes = "select count(*), count(distinct xmin::text) from response_events where attempt = 1"

    async def test(supervisor: RunSupervisor) -> None:
        now = time.monotonic()
        kept = [supervisor.keeping(attempt, now) for attempt in attempts]
        first, *others = [one.__enter__() for one in kept]
        first.emit(said("msg_1", 0, ["It"]))
        await soon(lambda: sql(settings, writes) == [(1, 1)])
        for run in others:
            run.begin(in_progress(run.attempt))
            run.emit(said("msg_1", 0, ["It"]))
        await soon(lambda: not any(run.dirty for run in others))
        assert sql(settings, writes) == [(20, 2)]
        others[0].emit([item_events.delta(PartPath("msg_1", 0, "output_text", 0), " is")])  # has to wait
        others[1].begin(in_progress(others[1].attempt))
        assert [run.dirty for run in others] == [True, True] + [False] * 17
        for one in kept:
            one.__exit__(None, None, None)

    beating(core, settings.model_copy(update={"flush_every_s": 600.0}), test)
    assert sql(settings, writes) == [(20, 2)]


def test_what_finishes_the_last_item_is_left_to_the_end(core: Core, settings: Settings) -> None:
    worker(core)
    who = caller(core)
    attempts = [claim(core, submit(core, who)) for _ in range(2)]
    written = "select count(*) from response_events where attempt = 1 and response_id = %s"

    async def test(supervisor: RunSupervisor) -> None:
        now = time.monotonic()
        with supervisor.keeping(attempts[0], now) as ending, supervisor.keeping(attempts[1], now) as other:
            ending.emit(said("msg_1", 0, ["It"]))
            await soon(lambda: not ending.dirty)
            ending.ending = True
            ending.emit(
                item_events.close_part(
                    PartPath("msg_1", 0, "output_text", 0), {"type": "output_text", "text": "It", "logprobs": []}
                )
            )
            for delta in ("One", "Two"):  # two flushes that could have included it
                other.emit(said(f"msg_{delta}", 0, [delta]))
                await soon(lambda: not other.dirty)
            assert ending.dirty
            assert ending.stopped is None
            tail = await supervisor.tail(ending)
            assert [jsonio.loads(line)["type"] for line in tail.lines] == [
                "response.output_text.done",
                "response.content_part.done",
            ]

    beating(core, settings, test)
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        assert connection.execute(written, (attempts[0].response_id,)).fetchone() == (1,)


def runner_of(core: Core, settings: Settings, supervisor: RunSupervisor) -> Runner:
    """A runner without clients of model servers."""
    inputs = Inputs(core.attempts, Fetcher(settings), Documents(settings), settings)
    return Runner(
        core.attempts,
        core.catalog,
        {},
        core.circuits,
        inputs,
        supervisor,
        core.seals,
        settings,
        worker_id="w1",
        freed=lambda *_: None,
    )


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02])
def test_a_shutdown_while_a_response_is_being_claimed_gives_it_back(
    core: Core, settings: Settings, after_s: float
) -> None:
    worker(core)
    who = caller(core)

    async def test(supervisor: RunSupervisor) -> None:
        runner = runner_of(core, settings, supervisor)
        running = asyncio.create_task(runner.run(submit(core, who)))
        await asyncio.sleep(after_s)
        running.cancel(SHUTDOWN)
        await asyncio.wait({running})

    beating(core, settings, test)
    assert sql(settings, "select status from responses where status = 'in_progress'") == []
    assert sql(settings, "select failures from responses where failures > 0") == []


def test_a_claim_that_waited_for_its_turn_has_its_whole_lease(core: Core, settings: Settings) -> None:
    worker(core)
    response_id = submit(core, caller(core))
    sql(settings, "update responses set model = 'gone'")

    async def test(supervisor: RunSupervisor) -> None:
        runner = runner_of(core, settings, supervisor)
        for _ in range(settings.worker_connections):
            runner._io.submit(time.sleep, settings.lease_s + 0.5)  # as when Postgres hangs
        assert await runner.run(response_id) == "failed"

    beating(core, settings, test)
    assert sql(settings, "select outcome from attempts") == [("failed",)]


def test_a_worker_gives_a_lease_up_before_it_expires(core: Core, settings: Settings) -> None:
    worker(core)
    attempt = claim(core, submit(core, caller(core)))

    async def test(supervisor: RunSupervisor) -> None:
        claimed_at = time.monotonic()
        with supervisor.keeping(attempt, claimed_at) as run:
            assert claimed_at < run.leased_until < claimed_at + settings.lease_s

    beating(core, settings, test)


def test_a_response_with_much_output_or_input_ends_in_a_transaction_of_its_own(core: Core) -> None:
    worker(core)
    attempt = claim(core, submit(core, caller(core)))
    run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
    assert not run.large

    run.emit([{"type": "response.in_progress", "text": "a" * 1_000_000}])
    run.freeze()
    assert run.large
    long = replace(attempt, document=attempt.document + " " * 1_000_000)
    assert Run(long, leased_until=0, wake=lambda _: None, wake_later=lambda: None).large
