"""The run supervisor and the runner of a worker on a real Postgres: their flushes, leases, claims and hand-backs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest

from core import jsonio
from core.bootstrap import Core
from core.runs.attempt import Attempt
from core.settings import Settings
from core.wire import item_events
from core.wire.item_events import PartPath
from tests.harness.engine import claim, create_caller, message_events, register_worker, sql, submit
from worker.fetch.client import Fetcher
from worker.fetch.documents import Documents
from worker.fetch.inputs import Inputs
from worker.run.run import SHUTDOWN, Run, StopReason
from worker.run.run_supervisor import RunSupervisor
from worker.run.runner import Runner


def run_with_supervisor(core: Core, settings: Settings, test: Callable[[RunSupervisor], Awaitable[None]]) -> None:
    """Run a test coroutine together with a run supervisor."""

    async def run_both() -> None:
        supervisor = RunSupervisor(core.attempts, core.bus, settings)
        supervision = asyncio.create_task(supervisor.run())
        try:
            await test(supervisor)
            assert not supervision.done()
        finally:
            supervision.cancel()
            await asyncio.wait({supervision})

    asyncio.run(run_both())


async def wait_for(condition: Callable[[], object], timeout_s: float = 8) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def running_event(attempt: Attempt) -> dict:
    return {"type": "response.in_progress", "response": jsonio.loads(attempt.document)}


def test_a_locked_row_does_not_affect_the_leases_and_events_of_other_runs(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempts = [claim(core, submit(core, owner)) for _ in range(5)]
    locked_id = attempts[2].response_id

    async def test(supervisor: RunSupervisor) -> None:
        count_query = "select count(*) from response_events where attempt = 1"
        now = time.monotonic()
        with ExitStack() as contexts:
            runs = [contexts.enter_context(supervisor.supervised_run(attempt, now)) for attempt in attempts]
            with psycopg.connect(settings.database_url.get_secret_value()) as connection:
                connection.execute("select 1 from responses where id = %s for update", (locked_id,))
                for run in runs:
                    run.emit([running_event(run.attempt)])
                await wait_for(lambda: sql(settings, count_query) == [(4,)])
                await wait_for(lambda: runs[2].stop_reason)  # the lease of the locked row could not be renewed
                connection.rollback()
            assert [run.stop_reason for run in runs] == [None, None, StopReason.LOST, None, None]

    run_with_supervisor(core, settings, test)


def test_a_short_lock_does_not_stop_the_run(core: Core, settings: Settings) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))

    async def test(supervisor: RunSupervisor) -> None:
        with supervisor.supervised_run(attempt, time.monotonic()) as run:
            with psycopg.connect(settings.database_url.get_secret_value()) as connection:
                connection.execute("select 1 from responses where id = %s for update", (attempt.response_id,))
                run.emit([running_event(attempt)])
                await wait_for(lambda: run.unwritten_batch is not None)
                connection.rollback()
            await wait_for(lambda: not run.has_pending_events)
            assert run.stop_reason is None

    run_with_supervisor(core, settings, test)
    assert sql(settings, "select first_seq, n from response_events order by 1") == [(0, 2), (2, 1)]


def test_a_second_claim_by_the_same_worker_stops_the_older_run(core: Core, settings: Settings) -> None:
    register_worker(core)
    first_attempt = claim(core, submit(core, create_caller(core)))
    sql(settings, "update responses set lease_until = now() - interval '1 s'")
    core.sweep.run()
    sql(settings, "update responses set available_at = now(), dispatched_at = now()")
    second_attempt = claim(core, first_attempt.response_id)

    async def test(supervisor: RunSupervisor) -> None:
        now = time.monotonic()
        with (
            supervisor.supervised_run(first_attempt, now) as first_run,
            supervisor.supervised_run(second_attempt, now) as second_run,
        ):
            assert first_run.stop_reason is StopReason.LOST
            second_run.emit([running_event(second_attempt)])
            await wait_for(lambda: not second_run.has_pending_events)
            assert second_run.stop_reason is None

    run_with_supervisor(core, settings, test)


def test_first_outputs_are_written_together_before_the_next_flush(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempts = [claim(core, submit(core, owner)) for _ in range(20)]
    # The batches in the log, and the transactions that wrote them.
    count_query = "select count(*), count(distinct xmin::text) from response_events where attempt = 1"

    async def test(supervisor: RunSupervisor) -> None:
        now = time.monotonic()
        with ExitStack() as contexts:
            runs = [contexts.enter_context(supervisor.supervised_run(attempt, now)) for attempt in attempts]
            first_run, *other_runs = runs
            first_run.emit(message_events("msg_1", 0, ["It"]))
            await wait_for(lambda: sql(settings, count_query) == [(1, 1)])
            for run in other_runs:
                run.add_running_event(running_event(run.attempt))
                run.emit(message_events("msg_1", 0, ["It"]))
            await wait_for(lambda: not any(run.has_pending_events for run in other_runs))
            assert sql(settings, count_query) == [(20, 2)]
            # These events are not first outputs, so they wait for the next flush.
            other_runs[0].emit([item_events.delta(PartPath("msg_1", 0, "output_text", 0), " is")])
            other_runs[1].add_running_event(running_event(other_runs[1].attempt))
            assert [run.has_pending_events for run in other_runs] == [True, True] + [False] * 17

    run_with_supervisor(core, settings.model_copy(update={"flush_every_s": 600.0}), test)
    assert sql(settings, count_query) == [(20, 2)]


def test_the_end_of_the_last_item_is_written_only_with_the_end_of_the_response(core: Core, settings: Settings) -> None:
    register_worker(core)
    owner = create_caller(core)
    attempts = [claim(core, submit(core, owner)) for _ in range(2)]
    count_query = "select count(*) from response_events where attempt = 1 and response_id = %s"

    async def test(supervisor: RunSupervisor) -> None:
        now = time.monotonic()
        with (
            supervisor.supervised_run(attempts[0], now) as ending_run,
            supervisor.supervised_run(attempts[1], now) as other_run,
        ):
            ending_run.emit(message_events("msg_1", 0, ["It"]))
            await wait_for(lambda: not ending_run.has_pending_events)
            ending_run.is_ending = True
            ending_run.emit(
                item_events.close_part(
                    PartPath("msg_1", 0, "output_text", 0), {"type": "output_text", "text": "It", "logprobs": []}
                )
            )
            for delta in ("One", "Two"):  # two flushes that could have included the end of the item
                other_run.emit(message_events(f"msg_{delta}", 0, [delta]))
                await wait_for(lambda: not other_run.has_pending_events)
            assert ending_run.has_pending_events
            assert ending_run.stop_reason is None
            last_batch = await supervisor.take_last_batch(ending_run)
            assert [jsonio.loads(line)["type"] for line in last_batch.lines] == [
                "response.output_text.done",
                "response.content_part.done",
            ]

    run_with_supervisor(core, settings, test)
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        assert connection.execute(count_query, (attempts[0].response_id,)).fetchone() == (1,)


def create_runner(core: Core, settings: Settings, supervisor: RunSupervisor) -> Runner:
    """Return a runner without clients of model servers."""
    inputs = Inputs(core.attempts, Fetcher(settings), Documents(settings), settings)
    return Runner(
        core.attempts,
        core.live_catalog,
        {},
        core.circuits,
        inputs,
        supervisor,
        core.seals,
        settings,
        worker_id="w1",
        signal_free_slot=lambda *_: None,
    )


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.02])
def test_a_shutdown_during_a_claim_hands_the_response_back(core: Core, settings: Settings, delay_s: float) -> None:
    register_worker(core)
    owner = create_caller(core)

    async def test(supervisor: RunSupervisor) -> None:
        runner = create_runner(core, settings, supervisor)
        task = asyncio.create_task(runner.run(submit(core, owner)))
        await asyncio.sleep(delay_s)
        task.cancel(SHUTDOWN)
        await asyncio.wait({task})

    run_with_supervisor(core, settings, test)
    assert sql(settings, "select status from responses where status = 'in_progress'") == []
    assert sql(settings, "select failures from responses where failures > 0") == []


def test_a_claim_that_waited_for_a_thread_has_a_full_lease(core: Core, settings: Settings) -> None:
    register_worker(core)
    response_id = submit(core, create_caller(core))
    sql(settings, "update responses set model = 'gone'")

    async def test(supervisor: RunSupervisor) -> None:
        runner = create_runner(core, settings, supervisor)
        for _ in range(settings.worker_connections):
            # Occupy a thread, as a call does while Postgres hangs.
            runner._io.submit(time.sleep, settings.lease_s + 0.5)
        # A model that the worker does not know ends the run without a request. With an expired lease, the run would be lost.
        assert (await runner.run(response_id)).startswith("handed back: The model 'gone'")

    run_with_supervisor(core, settings, test)
    assert sql(settings, "select outcome from attempts") == [("waited",)]


def test_a_worker_gives_up_a_lease_before_it_expires(core: Core, settings: Settings) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))

    async def test(supervisor: RunSupervisor) -> None:
        claimed_at = time.monotonic()
        with supervisor.supervised_run(attempt, claimed_at) as run:
            assert claimed_at < run.leased_until < claimed_at + settings.lease_s

    run_with_supervisor(core, settings, test)


def test_a_run_with_much_output_or_input_is_large(core: Core) -> None:
    register_worker(core)
    attempt = claim(core, submit(core, create_caller(core)))
    run = Run(attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None)
    assert not run.is_large

    run.emit([{"type": "response.in_progress", "text": "a" * 1_000_000}])
    run.freeze_batch()
    assert run.is_large
    large_attempt = replace(attempt, document=attempt.document + " " * 1_000_000)
    assert Run(large_attempt, leased_until=0, wake=lambda _: None, wake_later=lambda: None).is_large
