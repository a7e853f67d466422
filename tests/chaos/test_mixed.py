"""Hundreds of concurrent responses for a configurable time, while processes and connections fail repeatedly."""

import os
import random
import statistics
import time
from pathlib import Path

import pytest

from tests.chaos.rig import faults
from tests.chaos.rig.faults import Fault, freeze, network_fault, restart, valkey_command
from tests.chaos.rig.load import Load, generate_requests
from tests.chaos.rig.rig import Rig
from tests.chaos.rig.scenario_run import inspect_run
from tests.chaos.rig.scenarios import COMPLETED_OR_FAILED
from tests.harness.waiting import until
from tests.invariants import Figures
from tests.model_server import ModelServer

MIXED_S = float(os.environ.get("MIXED_S", "600"))  # noqa: TID251
SEED = int(os.environ.get("SEED", random.randrange(2**31)))  # noqa: TID251
CLIENT_COUNT = 260
MIN_RUNNING = 200  # running responses before the first fault, and in the median of all faults
SLOTS = 300
PARTS = ("valkey", "api", "api-2", "sweeper", "sweeper-2", "worker", "worker-2")
# Weights, names and faults. Faults of the model server are rare, because each of them breaks hundreds of outputs.
FAULTS: tuple[tuple[int, str, Fault], ...] = (
    (4, "a worker killed", restart("worker")),
    (4, "the other worker killed", restart("worker-2")),
    (3, "a worker frozen past its lease", faults.freeze_past_lease),
    (2, "a worker cut off from Postgres", faults.cut_off_worker),
    (3, "an API killed", restart("api")),
    (2, "both APIs killed", restart("api", "api-2")),
    (2, "both sweepers killed", restart("sweeper", "sweeper-2")),
    (2, "Valkey killed", restart("valkey")),
    (2, "Valkey flushed", valkey_command("FLUSHALL")),
    (2, "Valkey frozen", freeze("valkey", 3)),
    (2, "Valkey unreachable", network_fault("valkey", "blackhole", 3)),
    (2, "Postgres crashed", faults.crash_postgres),
    (3, "Postgres dropped all connections", lambda rig, _: rig.terminate_backends()),
    (2, "Postgres unreachable", network_fault("postgres", "blackhole", 2)),
    (2, "Postgres connections held", network_fault("postgres", "hold", 2)),
    (2, "Postgres connections reset", network_fault("postgres", "reset")),
    (2, "the model server delayed", network_fault("models", "delay", 3, delay_s=0.5)),
    (2, "the model server unavailable", network_fault("models", "refuse", 2)),
    (1, "the model server's connections reset", network_fault("models", "reset")),
)


@pytest.mark.long
@pytest.mark.timeout(MIXED_S + 600)
def test_hundreds_of_concurrent_responses_each_end_once_and_truthfully_under_repeated_faults(
    _model_server: ModelServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print(f"SEED={SEED}")
    rig = Rig(tmp_path, _model_server, PARTS, SLOTS)
    try:
        running_counts, fault_counts, load = run_load(rig, random.Random(SEED))
        figures = inspect_run(rig, load.started_requests, COMPLETED_OR_FAILED)
        with capsys.disabled():
            print(format_report(rig, figures, running_counts, fault_counts))
        assert figures.has_no_violations, "\n".join(figures.findings[:20])
        assert statistics.median(running_counts) >= MIN_RUNNING
        assert figures.statuses["completed"] > figures.accepted / 2
    finally:
        rig.close()


def run_load(rig: Rig, rng: random.Random) -> tuple[list[int], dict[str, int], Load]:
    """Run the load, and inject a random fault every few seconds.

    Returns:
        The number of running responses at each fault, the number of faults by name, and the load.
    """
    rig.models.reset()
    rig.run_id = f"mixed-{SEED}"
    requests = generate_requests(random.Random(SEED), rig.run_id, delay_s=0.6)
    load = Load(rig.stack, requests, client_count=CLIENT_COUNT, poll_s=2)
    running_counts: list[int] = []
    fault_counts: dict[str, int] = {}
    try:
        until(lambda: rig.running_count() >= MIN_RUNNING, timeout_s=60)
        ends_at = time.monotonic() + MIXED_S
        while time.monotonic() < ends_at:
            rig.pause(rng.uniform(2, 6))
            running_counts.append(rig.running_count())
            ((_, name, fault),) = rng.choices(FAULTS, [weight for weight, _, _ in FAULTS])
            fault_counts[name] = fault_counts.get(name, 0) + 1
            fault(rig, rng)
            rig.repair()
        load.stop_new_requests()
        load.wait(timeout_s=180)
        until(rig.stack.all_ended, timeout_s=60)
    finally:
        load.stop()
    return running_counts, fault_counts, load


def format_report(rig: Rig, figures: Figures, running_counts: list[int], fault_counts: dict[str, int]) -> str:
    """Return the text that the test prints."""
    outcome_counts = rig.stack.sql("select outcome, count(*) from attempts group by 1 order by 2 desc")
    return "\n".join(
        [
            "",
            f"seed {SEED}, {MIXED_S:.0f} s, {sum(fault_counts.values())} faults:",
            *(f"  {count:3} x {name}" for name, count in sorted(fault_counts.items(), key=lambda item: -item[1])),
            f"running responses at a fault: {min(running_counts)} to {max(running_counts)}, median {statistics.median(running_counts)}",
            f"ends: {dict(figures.statuses)}",
            f"attempts: {dict(outcome_counts)}",
            ", ".join(f"{name} {value}" for name, value in vars(figures).items() if isinstance(value, int)),
        ]
    )
