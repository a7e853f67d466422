"""The table of scenarios: each has a fault, a load, and the statuses in which responses may end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.rig import faults
from tests.chaos.rig.faults import Fault, freeze, network_fault, restart, valkey_command
from tests.chaos.rig.rig import Rig

COMPLETED_ONLY = frozenset({"completed"})
# For a model server that ends an output early, or sends nothing for longer than its timeouts allow.
COMPLETED_OR_FAILED = COMPLETED_ONLY | {"failed"}


@dataclass(frozen=True)
class Scenario:
    """One fault under a mixed load.

    Args:
        fault: injects the fault while part of the load is in progress.
        allowed_statuses: statuses in which a background response may end without a cancel. A foreground response may also be
            cancelled if its connection is lost for longer than `follow_s`.
        model: the model of all requests.
        script: script fields for the model server, added to all requests.
        tokens_before_fault: the range of the average number of tokens per response before the fault, without its end.
        response_count: the number of responses.
        is_short: whether the scenario also runs in `make test`.
        skip_reason: returns the reason why the scenario cannot run on this machine; None if it can.
    """

    name: str
    fault: Fault
    allowed_statuses: frozenset[str] = COMPLETED_ONLY
    model: str = "scripted"
    script: Mapping[str, Any] = field(default_factory=dict)
    tokens_before_fault: tuple[int, int] = (2, 10)
    response_count: int = 28
    is_short: bool = False
    skip_reason: Callable[[Rig], str | None] = lambda _: None


SCENARIOS = (
    Scenario("workers killed at random tokens", faults.kill_workers, is_short=True),
    Scenario(
        "worker frozen past its lease",
        faults.resume_after_lease,
        script={"tokens": 100},
        response_count=14,
        is_short=True,
    ),
    Scenario("worker cut off from Postgres, its writes delivered late", faults.cut_off_worker),
    Scenario("API killed between commit and enqueue", faults.kill_api_before_enqueue, response_count=14, is_short=True),
    Scenario("both APIs killed", restart("api", "api-2")),
    Scenario("sweeper killed", restart("sweeper")),
    Scenario(
        "all killed simultaneously", restart("valkey", "api", "api-2", "sweeper", "worker", "worker-2", "worker-3")
    ),
    Scenario("Valkey: FLUSHALL", valkey_command("FLUSHALL")),
    Scenario("Valkey: killed, restarted empty", restart("valkey"), is_short=True),
    Scenario("Valkey: frozen for 10 s", freeze("valkey", 10)),
    Scenario("Valkey: CLIENT PAUSE", valkey_command("CLIENT", "PAUSE", 6000, "ALL")),
    Scenario(
        "Valkey: no memory left",
        valkey_command("CONFIG", "SET", "maxmemory", "1", later_command=("CONFIG", "SET", "maxmemory", "0"), pause_s=5),
    ),
    Scenario("Valkey: unreachable", network_fault("valkey", "blackhole", 5)),
    Scenario("Postgres: immediate restart", faults.crash_postgres),
    Scenario("Postgres: all connections dropped", faults.drop_connections, is_short=True),
    Scenario("Postgres: unreachable", network_fault("postgres", "blackhole", faults.LEASE_S + 3)),
    Scenario("Postgres: all connections reset", network_fault("postgres", "reset")),
    Scenario("Postgres: round trips of 100 ms", network_fault("postgres", "delay", 4, delay_s=0.05)),
    Scenario("Postgres: read-only", faults.make_postgres_read_only),
    Scenario("Postgres: disk full", faults.fill_disk, skip_reason=faults.full_disk_skip_reason),
    Scenario("clocks an hour off", faults.skew_clocks, skip_reason=faults.skewed_clocks_skip_reason),
    Scenario("model server: slow", network_fault("models", "delay", 4, delay_s=0.6)),
    Scenario("model server: hung", network_fault("models", "blackhole", 4), COMPLETED_OR_FAILED),
    Scenario("model server: connections reset", network_fault("models", "reset"), COMPLETED_OR_FAILED),
    Scenario("model server: half closed", network_fault("models", "half_close"), COMPLETED_OR_FAILED),
    Scenario("model server: refuses connections", network_fault("models", "refuse", 3)),
    Scenario(
        "model server: 429 with Retry-After", faults.no_fault, script={"status": 429, "retry_after": 1, "fail_times": 1}
    ),
    Scenario("model server: 503", faults.no_fault, script={"status": 503, "fail_times": 2}),
    Scenario("model server: 500", faults.no_fault, COMPLETED_OR_FAILED, script={"status": 500, "fail_times": 2}),
    Scenario(
        "model server: dropped at a token",
        faults.no_fault,
        COMPLETED_OR_FAILED,
        script={"drop_after_tokens": 12, "drop_how": "reset", "fail_times": 1},
    ),
    Scenario(
        "model server: starts over, workers killed at the first words",
        faults.kill_all_workers,
        COMPLETED_OR_FAILED,
        model="starting-over",
        script={"delay_s": 0.2},
        tokens_before_fault=(0, 2),
        response_count=40,
    ),
    Scenario("doorbells repeated and replayed", faults.repeat_doorbells),
    Scenario("a response that kills its workers", faults.kill_workers_of_one_response, script={"tokens": 20}),
    Scenario("deploy with a short drain", faults.deploy),
)
