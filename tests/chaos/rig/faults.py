"""Faults to inject into a deployment under load; the caller repairs the deployment afterwards."""

import random
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import openai
import psycopg
import redis

from core.bootstrap import open_core
from core.config import tiers
from local.servers import packages
from tests.chaos.rig.rig import Rig
from tests.harness.stack import SHORT_TIMEOUTS
from tests.harness.waiting import until

Fault = Callable[[Rig, random.Random], object]

LEASE_S = float(SHORT_TIMEOUTS["LEASE_S"])
FAKETIME_LIBRARY = packages.folder("libfaketime") / "vendor/libfaketime/src/libfaketime.so.1"


def restart(*names: str) -> Fault:
    """Return a fault that kills these processes, and restarts them after all have ended."""

    def fault(rig: Rig, rng: random.Random) -> None:
        for name in names:
            rig.stack.kill(name)
        rig.repair()

    return fault


def kill_workers(rig: Rig, rng: random.Random) -> None:
    """Send SIGKILL to two of three workers, one after the other, each after a random number of tokens."""
    for name in rng.sample(rig.workers, 2):
        rig.wait_for_tokens(rng.randrange(40))
        rig.stack.kill(name)
    rig.repair()


def kill_all_workers(rig: Rig, rng: random.Random) -> None:
    """Send SIGKILL to every worker, each after a few more tokens, and restart each before the next is killed."""
    for name in rng.sample(rig.workers, len(rig.workers)):
        rig.wait_for_tokens(rng.randrange(1, 20))
        rig.stack.kill(name)
        rig.repair()


def freeze_past_lease(rig: Rig, rng: random.Random) -> tuple[dict[str, int], float]:
    """Freeze the busiest worker until other workers have taken over all its runs, then resume it.

    Returns:
        The number of requests that the model server had received for each of its runs, by tag, and the time at which
        the worker was resumed.
    """
    name = max(rig.workers, key=lambda name: len(rig.running_tags(name)))
    rig.stack.freeze(name)
    tags = rig.running_tags(name)
    request_counts = {tag: len(rig.model_requests(tag)) for tag in tags}
    until(lambda: not rig.running_tags(name), timeout_s=15)
    rig.stack.thaw(name)
    return request_counts, time.monotonic()


def resume_after_lease(rig: Rig, rng: random.Random) -> None:
    """Resume a worker after its leases have expired; assert that it soon closes its connections to the model server."""
    request_counts, resumed_at = freeze_past_lease(rig, rng)
    assert request_counts

    def open_requests() -> list[dict[str, Any]]:
        """The worker's requests that were still open when it was resumed."""
        last_requests = [rig.model_requests(tag)[count - 1] for tag, count in request_counts.items() if count]
        return [request for request in last_requests if request["ended"] is None or request["ended"] > resumed_at]

    until(lambda: all(request["ended"] is not None for request in open_requests()), timeout_s=3)


def cut_off_worker(rig: Rig, rng: random.Random) -> None:
    """Hold all data between one worker and Postgres for longer than the lease, and then deliver the data."""
    name = rng.choice(rig.workers)
    proxy = rig.worker_proxies[name]
    proxy.hold()
    rig.pause(LEASE_S + 2)
    proxy.pass_on()


def kill_api_before_enqueue(rig: Rig, rng: random.Random) -> None:
    """Discard the doorbells of stored responses, and kill both API processes while they wait for Valkey's reply."""
    rig.stack.proxies["valkey"].blackhole()
    dispatched_query = (
        "select 1 from responses"
        " where status = 'queued' and dispatched_at is not null and metadata->>'number' ~ '^extra'"
    )
    with ThreadPoolExecutor(2) as threads:
        creates = [threads.submit(_create_response, rig, port) for port in (rig.stack.port, rig.stack.port_2)]
        until(lambda: rig.stack.sql(dispatched_query), timeout_s=5)
        for name in ("api", "api-2"):
            rig.stack.kill(name)
        assert all(future.result() is None for future in creates)
    rig.repair()


def _create_response(rig: Rig, port: int) -> str | None:
    """Create a background response without retries; return its ID, or None if the connection was lost."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=rig.stack.key, max_retries=0) as client:
        try:
            return client.responses.create(
                model="scripted",
                input="hello",
                background=True,
                metadata={"run": rig.run_id, "number": f"extra {port}"},
            ).id
        except openai.APIConnectionError:
            return None


def valkey_command(*command: str | int, later_command: tuple[str | int, ...] = (), pause_s: float = 0) -> Fault:
    """Return a fault that sends Valkey a command, and optionally another command `pause_s` seconds later."""

    def fault(rig: Rig, rng: random.Random) -> None:
        with redis.Redis.from_url(rig.stack.valkey.url) as client:
            client.execute_command(*command)
            rig.pause(pause_s)
            if later_command:
                client.execute_command(*later_command)

    return fault


def freeze(name: str, duration_s: float) -> Fault:
    """Return a fault that suspends a process for `duration_s` seconds."""

    def fault(rig: Rig, rng: random.Random) -> None:
        rig.stack.freeze(name)
        rig.pause(duration_s)
        rig.stack.thaw(name)

    return fault


def crash_postgres(rig: Rig, rng: random.Random) -> None:
    """Restart Postgres after an immediate shutdown."""
    rig.crash_postgres()
    rig.pause(rng.random() * 2)
    rig.start_postgres()


def drop_connections(rig: Rig, rng: random.Random) -> None:
    """Terminate all Postgres connections, three times."""
    for _ in range(3):
        rig.terminate_backends()
        rig.wait_for_tokens(20)


def make_postgres_read_only(rig: Rig, rng: random.Random) -> None:
    """Make Postgres read-only for a few seconds, as a standby or a server without disk space is."""
    _set_read_only(rig, "on")
    rig.pause(2 + rng.random() * LEASE_S)
    _set_read_only(rig, "off")


def _set_read_only(rig: Rig, state: str) -> None:
    with psycopg.connect(rig.stack.database_url, autocommit=True) as admin:
        admin.execute("set default_transaction_read_only = off")
        statement = f"alter database backburner set default_transaction_read_only = {state}"
        admin.execute(statement)  # type: ignore[arg-type]
    rig.terminate_backends()


def fill_disk(rig: Rig, rng: random.Random) -> None:
    """Fill the disk of Postgres for the duration of a lease, and until Postgres has reported the full disk."""
    message = "No space left on device"
    reports_before = rig.postgres_log().count(message)
    with rig.full_disk():
        rig.pause(LEASE_S)

        def full_disk_is_reported() -> bool:
            _use_up_wal(rig)
            return rig.postgres_log().count(message) > reports_before

        until(full_disk_is_reported)


def _use_up_wal(rig: Rig) -> None:
    """Fill the WAL segments that Postgres has preallocated, because Postgres could otherwise continue to write."""
    with suppress(psycopg.OperationalError), psycopg.connect(rig.stack.database_url, autocommit=True) as admin:
        admin.execute("select pg_logical_emit_message(false, 'fill', repeat('x', 8000000)), pg_switch_wal()")


def network_fault(server: str, method: str, duration_s: float = 0, **arguments: float) -> Fault:
    """Return a fault that disturbs the connections between a server and its clients for `duration_s` seconds.

    Args:
        method: the name of the method of `TcpProxy` that injects the fault.
        arguments: the arguments of the method.
    """

    def fault(rig: Rig, rng: random.Random) -> None:
        for proxy in rig.proxies(server):
            getattr(proxy, method)(**arguments)
        rig.pause(duration_s)
        for proxy in rig.proxies(server):
            proxy.pass_on()

    return fault


def full_disk_skip_reason(rig: Rig) -> str | None:
    """The reason why no disk can be filled on this machine; None if a disk can be filled."""
    return None if rig.has_disk else "only root can mount a disk small enough to fill"


def _clock_variables(offset: str) -> dict[str, str]:
    """Environment variables that shift a program's wall clock, but not the monotonic clock of its timeouts."""
    return {"LD_PRELOAD": str(FAKETIME_LIBRARY), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def skewed_clocks_skip_reason(rig: Rig) -> str | None:
    """The reason why no program can run with a skewed clock on this machine; None if programs can."""
    date = subprocess.run(["date", "+%s"], env=_clock_variables("+1h"), capture_output=True, text=True, check=True)
    return None if int(date.stdout) > time.time() + 3000 else "libfaketime contains no library for this machine"


def skew_clocks(rig: Rig, rng: random.Random) -> None:
    """Restart a worker with its clock an hour ahead, and an API process with its clock an hour behind."""
    children = []
    for name, offset in ((rng.choice(rig.workers), "+1h"), ("api", "-1h")):
        rig.stack.kill(name)
        children.append(rig.launch(name, _clock_variables(offset)))
    for child in children:
        child.wait_until_ready()
    backdated_query = (
        "select id from responses where metadata->>'run' = %s"
        " and (document::json->>'created_at')::float < extract(epoch from created_at) - 3500"
    )
    until(lambda: _create_response(rig, rig.stack.port) and rig.stack.sql(backdated_query, rig.run_id))


def repeat_doorbells(rig: Rig, rng: random.Random) -> None:
    """Enqueue each doorbell five more times, and once more after all responses have ended.

    Asserts that no response runs twice and that no ended response is claimed.
    """
    with open_core(rig.stack.settings) as core:
        ids_query = "select id from responses where metadata->>'run' = %s"
        for _ in range(5):
            ids = [row[0] for row in rig.stack.sql(ids_query, rig.run_id)]
            assert core.doorbell.enqueue(ids, tiers.LANE) == []
            rig.wait_for_tokens(10)
        until(rig.stack.all_ended, timeout_s=30)
        attempt_count_query = "select count(*) from attempts"
        attempt_count_before = rig.stack.sql(attempt_count_query)
        ids = [row[0] for row in rig.stack.sql(ids_query, rig.run_id)]
        assert core.doorbell.enqueue(ids, tiers.LANE) == []
        with redis.Redis.from_url(rig.stack.valkey.url) as client:
            until(lambda: client.llen(f"backburner:responses.{tiers.LANE}") == 0)
        assert rig.stack.sql(attempt_count_query) == attempt_count_before
    repeated_tags = [
        tag for tag, runs in rig.models.stats()["by_tag"].items() if tag.startswith(rig.run_id) and len(runs) > 1
    ]
    assert repeated_tags == []


def kill_workers_of_one_response(rig: Rig, rng: random.Random) -> None:
    """Kill each worker that runs one particular response, until that response fails."""
    with rig.stack.client(timeout=5) as client:
        script = rig.models.script(tag=f"{rig.run_id}-poison", first_delay_s=60)
        poison_id = client.responses.create(
            model="scripted", input=script, background=True, metadata={"run": rig.run_id, "number": "poison"}
        ).id
    run_query = "select worker_id from responses where id = %s and status = 'in_progress' and attempt = %s"
    for attempt in range(1, rig.stack.settings.max_failures + 1):
        ((worker_id,),) = until(lambda attempt=attempt: rig.stack.sql(run_query, poison_id, attempt), timeout_s=15)
        rig.pause(2.2)
        rig.stack.kill(next(name for name in rig.workers if rig.worker_id(name) == worker_id))
        rig.repair()
    status_query = "select status from responses where id = %s"
    until(lambda: rig.stack.sql(status_query, poison_id) == [("failed",)], timeout_s=15)


def deploy(rig: Rig, rng: random.Random) -> None:
    """Stop all workers and an API process; start their replacements after all have ended."""
    names = [*rig.workers, "api"]
    for name in names:
        rig.stack.children[name].send_stop_signal()
    for name in names:
        rig.stack.stop(name)
    rig.repair()


def no_fault(rig: Rig, rng: random.Random) -> None:
    """Do nothing, because the scripts of the model server contain the faults."""
