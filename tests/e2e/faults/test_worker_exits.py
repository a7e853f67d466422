"""A worker exits with status 0 only after a stop signal; any other end of a worker is a failure and is logged."""

import os
import signal
import subprocess
import sys

import pytest

from local.processes import environment
from tests.harness.stack import ROOT, Stack
from tests.harness.waiting import until

# Ends Celery's consumer from inside, as a fault of Celery would. The statement is executed by a receiver of a Celery
# signal; of the exceptions that receivers raise, Celery does not catch `SystemExit` and `KeyboardInterrupt`.
PROGRAM = """
from celery import bootsteps, signals
from celery.exceptions import WorkerShutdown, WorkerTerminate
from core import settings
from worker.main import run

def fail():
    raise AssertionError("kombu does not catch this error")

def end_consumer(sender, **_):
    {statement}

signals.worker_ready.connect(end_consumer, weak=False)
run(settings.load())
"""


def run_worker(stack: Stack, statement: str) -> subprocess.CompletedProcess[str]:
    """Run a worker that executes a statement when its consumer is ready, until the worker exits."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        env=environment.process_variables() | stack._env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("raise SystemExit", os.EX_SOFTWARE),
        ("raise SystemExit(0)", os.EX_SOFTWARE),
        ("raise WorkerShutdown(0)", os.EX_SOFTWARE),
        ("raise WorkerShutdown(3)", 3),
        ("raise WorkerTerminate(0)", os.EX_SOFTWARE),
        ("sender.blueprint.state = bootsteps.CLOSE", os.EX_SOFTWARE),
        ("raise KeyboardInterrupt", 1),
        ("sender.hub.call_soon(fail)", 1),
    ],
)
def test_a_worker_that_ends_without_a_stop_signal_fails_and_logs_an_error(
    stack: Stack, statement: str, status: int
) -> None:
    stack.up("valkey")

    worker = run_worker(stack, statement)

    assert worker.returncode == status
    assert 'msg="consumer ended without a stop signal"' in worker.stdout + worker.stderr


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_gets_a_stop_signal_exits_with_status_0_and_logs_the_signal(
    stack: Stack, stop_signal: signal.Signals
) -> None:
    stack.up("valkey", "worker")
    worker = stack.children["worker"]

    os.kill(worker.pid, stop_signal)

    assert until(worker.ended) == "status 0"
    (stop_line,) = [line for line in stack.log("worker").splitlines() if 'msg="worker stopping"' in line]
    assert f"cause={stop_signal.name}" in stop_line
    assert "without a stop signal" not in stack.log("worker")
