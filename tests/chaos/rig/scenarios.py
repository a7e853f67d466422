"""The table of scenarios: the fault, how to inject it, and the statuses in which responses may then end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.rig import faults
from tests.chaos.rig.faults import Fault, frozen, network, restarted, valkey
from tests.chaos.rig.rig import Rig

WHOLE = frozenset({"completed"})
# For a model server that breaks off an output or is silent for longer than allowed.
BROKEN_OFF = WHOLE | {"failed"}


@dataclass(frozen=True)
class Scenario:
    """One fault under a mixed load.

    Args:
        strikes: injects the fault while part of the load is in progress.
        ends: statuses in which a background response may end that no client cancels. A foreground response may also be
            cancelled, if its connection is lost for longer than `follow_s`.
        script: script fields for the model server, added to all requests.
        short: whether the scenario is also part of the short form that runs with the whole suite.
        impossible: returns the reason why the scenario cannot run on this machine, if any.
    """

    name: str
    strikes: Fault
    ends: frozenset[str] = WHOLE
    script: Mapping[str, Any] = field(default_factory=dict)
    count: int = 28
    short: bool = False
    impossible: Callable[[Rig], str | None] = lambda _: None


SCENARIOS = (
    Scenario("workers killed at random tokens", faults.kill_workers, short=True),
    Scenario("worker frozen past its lease", faults.zombie, script={"tokens": 100}, count=14, short=True),
    Scenario("worker cut off from Postgres, its writes come late", faults.cut_off_worker),
    Scenario("API killed between commit and enqueue", faults.kill_api_before_it_enqueues, count=14, short=True),
    Scenario("both APIs killed", restarted("api", "api-2")),
    Scenario("sweeper killed", restarted("sweeper")),
    Scenario("all killed at once", restarted("valkey", "api", "api-2", "sweeper", "worker", "worker-2", "worker-3")),
    Scenario("Valkey: FLUSHALL", valkey("FLUSHALL")),
    Scenario("Valkey: killed, restarted empty", restarted("valkey"), short=True),
    Scenario("Valkey: frozen for 10 s", frozen("valkey", 10)),
    Scenario("Valkey: CLIENT PAUSE", valkey("CLIENT", "PAUSE", 6000, "ALL")),
    Scenario(
        "Valkey: no memory left",
        valkey("CONFIG", "SET", "maxmemory", "1", then=("CONFIG", "SET", "maxmemory", "0"), for_s=5),
    ),
    Scenario("Valkey: swallowed by the network", network("valkey", "blackhole", 5)),
    Scenario("Postgres: immediate restart", faults.crash_postgres),
    Scenario("Postgres: all connections dropped", faults.drop_connections, short=True),
    Scenario("Postgres: swallowed by the network", network("postgres", "blackhole", faults.LEASE_S + 3)),
    Scenario("Postgres: all connections reset", network("postgres", "reset")),
    Scenario("Postgres: 100 ms away", network("postgres", "delay", 4, by_s=0.05)),
    Scenario("Postgres: read-only", faults.read_only),
    Scenario("Postgres: disk full", faults.full_disk, impossible=faults.no_disk),
    Scenario("clocks an hour off", faults.skewed_clocks, impossible=faults.no_other_clock),
    Scenario("model server: slow", network("models", "delay", 4, by_s=0.6)),
    Scenario("model server: hung", network("models", "blackhole", 4), BROKEN_OFF),
    Scenario("model server: connections reset", network("models", "reset"), BROKEN_OFF),
    Scenario("model server: half closed", network("models", "half_close"), BROKEN_OFF),
    Scenario("model server: refuses connections", network("models", "refuse", 3)),
    Scenario(
        "model server: 429 with Retry-After", faults.nothing, script={"status": 429, "retry_after": 1, "fail_times": 1}
    ),
    Scenario("model server: 503", faults.nothing, script={"status": 503, "fail_times": 2}),
    Scenario("model server: 500", faults.nothing, BROKEN_OFF, script={"status": 500, "fail_times": 2}),
    Scenario(
        "model server: dropped at a token",
        faults.nothing,
        BROKEN_OFF,
        script={"drop_after": 12, "drop_how": "reset", "fail_times": 1},
    ),
    Scenario("doorbells repeated and replayed", faults.ring_again),
    Scenario("a response that kills its workers", faults.poison, script={"tokens": 20}),
    Scenario("deploy with a short drain", faults.deploy),
)
