"""Faults injected into a deployment under load; the caller repairs whatever a fault leaves broken."""

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
from tests.harness.stack import CLOCKS
from tests.harness.waiting import until

Fault = Callable[[Rig, random.Random], object]

LEASE_S = float(CLOCKS["LEASE_S"])
FAKETIME = packages.folder("libfaketime") / "vendor/libfaketime/src/libfaketime.so.1"


def restarted(*names: str) -> Fault:
    """Send SIGKILL to these processes at once, and restart them."""

    def fault(rig: Rig, chance: random.Random) -> None:
        for name in names:
            rig.stack.kill(name)
        rig.heal()

    return fault


def kill_workers(rig: Rig, chance: random.Random) -> None:
    """Send SIGKILL to two of three workers, each at a different token."""
    for name in chance.sample(rig.workers, 2):
        rig.until_said(chance.randrange(40))
        rig.stack.kill(name)
    rig.heal()


def sleep_past_the_lease(rig: Rig, chance: random.Random) -> tuple[dict[str, int], float]:
    """Freeze the busiest worker until others have taken over all its runs, then wake it.

    Returns:
        The number of requests that the model server had received for each of its runs, by tag; and the time of waking.
    """
    name = max(rig.workers, key=lambda name: len(rig.runs_of(name)))
    rig.stack.freeze(name)
    tags = rig.runs_of(name)
    asked = {tag: len(rig.asked(tag)) for tag in tags}
    until(lambda: not rig.runs_of(name), within_s=15)
    rig.stack.thaw(name)
    return asked, time.monotonic()


def zombie(rig: Rig, chance: random.Random) -> None:
    """A worker that wakes after its lease expired closes its model server connections long before the outputs end."""
    asked, woke_at = sleep_past_the_lease(rig, chance)
    assert asked

    def left() -> list[dict[str, Any]]:
        """The worker's requests that were still open when it woke."""
        its = [rig.asked(tag)[before - 1] for tag, before in asked.items() if before]
        return [one for one in its if one["ended"] is None or one["ended"] > woke_at]

    until(lambda: all(one["ended"] is not None for one in left()), within_s=3)


def cut_off_worker(rig: Rig, chance: random.Random) -> None:
    """Cut one worker off from Postgres for longer than its lease, and deliver its writes late."""
    name = chance.choice(rig.workers)
    own = rig.own_postgres[name]
    own.hold()
    rig.pause(LEASE_S + 2)
    own.pass_on()


def kill_api_before_it_enqueues(rig: Rig, chance: random.Random) -> None:
    """Discard the dispatch message of a committed create, and kill the APIs while they wait for Valkey's reply."""
    rig.stack.proxies["valkey"].blackhole()
    dispatched = "select 1 from responses where status = 'queued' and dispatched_at is not null and metadata->>'number' ~ '^extra'"
    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(_ask, rig, port) for port in (rig.stack.port, rig.stack.port_2)]
        until(lambda: rig.stack.sql(dispatched), within_s=5)
        for name in ("api", "api-2"):
            rig.stack.kill(name)
        assert all(future.result() is None for future in asking)
    rig.heal()


def _ask(rig: Rig, port: int) -> str | None:
    """Create a background response without retries; return its ID, or None if the connection was lost."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=rig.stack.key, max_retries=0) as client:
        try:
            return client.responses.create(
                model="scripted", input="hello", background=True, metadata={"run": rig.run, "number": f"extra {port}"}
            ).id
        except openai.APIConnectionError:
            return None


def valkey(*command: str | int, then: tuple[str | int, ...] = (), for_s: float = 0) -> Fault:
    """Send Valkey a command, as an operator might, and optionally another one `for_s` seconds later."""

    def fault(rig: Rig, chance: random.Random) -> None:
        with redis.Redis.from_url(rig.stack.valkey.url) as client:
            client.execute_command(*command)
            rig.pause(for_s)
            if then:
                client.execute_command(*then)

    return fault


def frozen(name: str, for_s: float) -> Fault:
    """Send SIGSTOP to a process, and SIGCONT `for_s` seconds later."""

    def fault(rig: Rig, chance: random.Random) -> None:
        rig.stack.freeze(name)
        rig.pause(for_s)
        rig.stack.thaw(name)

    return fault


def crash_postgres(rig: Rig, chance: random.Random) -> None:
    """Restart Postgres after an immediate shutdown."""
    rig.crash_postgres()
    rig.pause(chance.random() * 2)
    rig.start_postgres()


def drop_connections(rig: Rig, chance: random.Random) -> None:
    """Terminate all Postgres connections, three times."""
    for _ in range(3):
        rig.terminate_backends()
        rig.until_said(20)


def read_only(rig: Rig, chance: random.Random) -> None:
    """Make Postgres read-only for a while, like a standby or a server without disk space."""
    _set_read_only(rig, "on")
    rig.pause(2 + chance.random() * LEASE_S)
    _set_read_only(rig, "off")


def _set_read_only(rig: Rig, state: str) -> None:
    with psycopg.connect(rig.stack.database_url, autocommit=True) as admin:
        admin.execute("set default_transaction_read_only = off")
        admin.execute(f"alter database backburner set default_transaction_read_only = {state}")  # type: ignore[arg-type]
    rig.terminate_backends()


def full_disk(rig: Rig, chance: random.Random) -> None:
    """Leave Postgres without any disk space for a while."""
    said = rig.postgres_log().count("No space left on device")
    with rig.full_disk():
        rig.pause(LEASE_S)
        until(lambda: _use_up_wal(rig) or rig.postgres_log().count("No space left on device") > said)


def _use_up_wal(rig: Rig) -> None:
    """Fill the WAL segments that Postgres has preallocated: with these it could continue for a while."""
    with suppress(psycopg.OperationalError), psycopg.connect(rig.stack.database_url, autocommit=True) as admin:
        admin.execute("select pg_logical_emit_message(false, 'fill', repeat('x', 8000000)), pg_switch_wal()")


def network(server: str, how: str, for_s: float = 0, **arguments: float) -> Fault:
    """Apply a fault of the proxy in front of a server for `for_s` seconds."""

    def fault(rig: Rig, chance: random.Random) -> None:
        for proxy in rig.proxies(server):
            getattr(proxy, how)(**arguments)
        rig.pause(for_s)
        for proxy in rig.proxies(server):
            proxy.pass_on()

    return fault


def no_disk(rig: Rig) -> str | None:
    """The reason why no disk can be filled on this machine; None if one can."""
    return None if rig.has_disk else "only root can mount a disk small enough to fill"


def _skewed(by: str) -> dict[str, str]:
    """Variables that skew a program's wall clock, but not the monotonic clock that times its own timeouts."""
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def no_other_clock(rig: Rig) -> str | None:
    """The reason why no program can run with a skewed clock on this machine; None if one can."""
    asked = subprocess.run(["date", "+%s"], env=_skewed("+1h"), capture_output=True, text=True, check=True)
    return None if int(asked.stdout) > time.time() + 3000 else "libfaketime brings no library for this machine"


def skewed_clocks(rig: Rig, chance: random.Random) -> None:
    """Replace a worker by one whose clock is an hour ahead, and an API by one whose clock is an hour behind."""
    started = []
    for name, by in ((chance.choice(rig.workers), "+1h"), ("api", "-1h")):
        rig.stack.kill(name)
        started.append(rig.launch(name, _skewed(by)))
    for child in started:
        child.wait_until_ready()
    behind = (
        "select id from responses where metadata->>'run' = %s"
        " and (document::json->>'created_at')::float < extract(epoch from created_at) - 3500"
    )
    until(lambda: _ask(rig, rig.stack.port) and rig.stack.sql(behind, rig.run))


def ring_again(rig: Rig, chance: random.Random) -> None:
    """Deliver each dispatch message five more times, to three workers, and once more after all responses have ended."""
    with open_core(rig.stack.settings) as core:
        everything = "select id from responses where metadata->>'run' = %s"
        for _ in range(5):
            ids = [row[0] for row in rig.stack.sql(everything, rig.run)]
            assert core.doorbell.enqueue(ids, tiers.LANE) == []
            rig.until_said(10)
        until(rig.stack.all_ended, within_s=30)
        attempts = "select count(*) from attempts"
        before = rig.stack.sql(attempts)
        ids = [row[0] for row in rig.stack.sql(everything, rig.run)]
        assert core.doorbell.enqueue(ids, tiers.LANE) == []
        with redis.Redis.from_url(rig.stack.valkey.url) as client:
            until(lambda: client.llen(f"backburner:responses.{tiers.LANE}") == 0)
        assert rig.stack.sql(attempts) == before
    twice = [tag for tag, runs in rig.models.stats()["by_tag"].items() if tag.startswith(rig.run) and len(runs) > 1]
    assert twice == []


def poison(rig: Rig, chance: random.Random) -> None:
    """Kill each worker that runs one particular response: that response fails, and all others complete."""
    with rig.stack.client(timeout=5) as client:
        script = rig.models.script(tag=f"{rig.run}-poison", first_delay_s=60)
        poison = client.responses.create(
            model="scripted", input=script, background=True, metadata={"run": rig.run, "number": "poison"}
        ).id
    runs = "select worker_id, attempt from responses where id = %s and status = 'in_progress'"
    for attempt in range(1, rig.stack.settings.max_failures + 1):
        ((worker_id, _),) = until(
            lambda attempt=attempt: [row for row in rig.stack.sql(runs, poison) if row[1] == attempt], within_s=15
        )
        rig.pause(2.2)
        rig.stack.kill(next(name for name in rig.workers if rig.worker_id(name) == worker_id))
        rig.heal()
    state = "select status, failures from responses where id = %s"
    until(lambda: rig.stack.sql(state, poison)[0][0] == "failed", within_s=15)


def deploy(rig: Rig, chance: random.Random) -> None:
    """Send SIGTERM to all workers and an API at once, with 2 s to drain; start replacements after all have exited."""
    names = [*rig.workers, "api"]
    for name in names:
        rig.stack.children[name].ask_to_stop()
    for name in names:
        rig.stack.stop(name)
    rig.heal()


def nothing(rig: Rig, chance: random.Random) -> None:
    """Do nothing: the faults are in the scripts of the model server."""
