"""Hundreds of concurrent responses, for any length of time, while every process fails repeatedly."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.chaos.rig import faults
from tests.chaos.rig.faults import Fault, frozen, network, restarted, valkey
from tests.chaos.rig.load import Load, requests
from tests.chaos.rig.rig import Rig
from tests.chaos.rig.scenario_run import look
from tests.chaos.rig.scenarios import BROKEN_OFF
from tests.harness.waiting import until
from tests.invariants import Figures
from tests.model_server import ModelServer

MIXED_S = float(os.environ.get("MIXED_S", "600"))  # noqa: TID251
SEED = int(os.environ.get("SEED", random.randrange(2**31)))  # noqa: TID251
CLIENTS = 260
AT_ONCE = 200
SLOTS = 300
PARTS = ("valkey", "api", "api-2", "sweeper", "sweeper-2", "worker", "worker-2")
# Faults by weight; a fault of the model server breaks off hundreds of outputs at once.
FAULTS: tuple[tuple[int, str, Fault], ...] = (
    (4, "a worker killed", restarted("worker")),
    (4, "the other worker killed", restarted("worker-2")),
    (3, "a worker frozen past its lease", faults.sleep_past_the_lease),
    (2, "a worker cut off from Postgres", faults.cut_off_worker),
    (3, "an API killed", restarted("api")),
    (2, "both APIs killed", restarted("api", "api-2")),
    (2, "both sweepers killed", restarted("sweeper", "sweeper-2")),
    (2, "Valkey killed", restarted("valkey")),
    (2, "Valkey flushed", valkey("FLUSHALL")),
    (2, "Valkey frozen", frozen("valkey", 3)),
    (2, "Valkey swallowed", network("valkey", "blackhole", 3)),
    (2, "Postgres crashed", faults.crash_postgres),
    (3, "Postgres dropped all connections", lambda rig, _: rig.terminate_backends()),
    (2, "Postgres swallowed", network("postgres", "blackhole", 2)),
    (2, "Postgres held", network("postgres", "hold", 2)),
    (2, "Postgres reset", network("postgres", "reset")),
    (2, "the model server slow", network("models", "delay", 3, by_s=0.5)),
    (2, "the model server away", network("models", "refuse", 2)),
    (1, "the model server's connections reset", network("models", "reset")),
)


@pytest.mark.long
@pytest.mark.timeout(MIXED_S + 600)
def test_hundreds_of_responses_at_once_all_end_once_and_truthfully_while_everything_breaks(
    _model_server: ModelServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print(f"SEED={SEED}")
    rig = Rig(tmp_path, _model_server, PARTS, SLOTS)
    try:
        running, struck, load = storm(rig, random.Random(SEED))
        figures = look(rig, load.begun, BROKEN_OFF)
        with capsys.disabled():
            print(report(rig, figures, running, struck))
        assert figures.holds, "\n".join(figures.findings[:20])
        assert sorted(running)[len(running) // 2] >= AT_ONCE
        assert figures.statuses["completed"] > figures.accepted / 2
    finally:
        rig.close()


def storm(rig: Rig, chance: random.Random) -> tuple[list[int], dict[str, int], Load]:
    """Inject a fault every few seconds.

    Returns:
        The number of running responses at each fault, the number of faults by name, and the load.
    """
    rig.models.reset()
    rig.run = f"mixed-{SEED}"
    asked = requests(random.Random(SEED), rig.run, delay_s=0.6)
    load = Load(rig.stack, asked, at_once=CLIENTS, poll_s=2)
    running: list[int] = []
    struck: dict[str, int] = {}
    try:
        until(lambda: rig.running() >= AT_ONCE, within_s=60)
        ends_at = time.monotonic() + MIXED_S
        while time.monotonic() < ends_at:
            rig.pause(chance.uniform(2, 6))
            running.append(rig.running())
            _, name, fault = chance.choices(FAULTS, [weight for weight, _, _ in FAULTS])[0]
            struck[name] = struck.get(name, 0) + 1
            fault(rig, chance)
            rig.heal()
        load.begin_no_more()
        load.wait(within_s=180)
        until(rig.stack.all_ended, within_s=60)
    finally:
        load.stop()
    return running, struck, load


def report(rig: Rig, figures: Figures, running: list[int], struck: dict[str, int]) -> str:
    """A report of the outcome for a person to read."""
    attempts = rig.stack.sql("select outcome, count(*) from attempts group by 1 order by 2 desc")
    return "\n".join(
        [
            "",
            f"seed {SEED}, {MIXED_S:.0f} s, {sum(struck.values())} faults:",
            *(f"  {times:3} x {name}" for name, times in sorted(struck.items(), key=lambda one: -one[1])),
            f"running when one struck: {min(running)} to {max(running)}, median {sorted(running)[len(running) // 2]}",
            f"ends: {dict(figures.statuses)}",
            f"attempts: {dict(attempts)}",
            ", ".join(f"{name} {value}" for name, value in vars(figures).items() if isinstance(value, int)),
        ]
    )
