"""Outputs of any size end truthfully, in bounded memory, and delay neither ordinary responses nor recovery."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

MIB = 1024 * 1024
# By name: the number of deltas, the characters of each, and the status with which the response ends.
LARGE_OUTPUTS = {
    "50 MB": (50, MIB, "incomplete"),
    "200 MB": (200, MIB, "incomplete"),
    "500 MB": (500, MIB, "incomplete"),
    "one delta of 64 MB": (1, 64 * MIB, "failed"),
    "a million deltas": (1_000_000, 8, "incomplete"),
}
ORDINARY_RESPONSES = 100
MAX_GROWTH_BYTES = 512 * MIB
LEASE_S = 5.0


@contextmanager
def sampled_memory(stack: Stack, names: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """Yield the largest memory of each part in bytes, with its subprocesses, since the start of the block."""
    maxima = dict.fromkeys(names, 0)
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(0.1):
            for name in names:
                maxima[name] = max(maxima[name], resident_bytes(stack.children[name].pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield maxima
    finally:
        is_over.set()
        thread.join()


def resident_bytes(pid: int) -> int:
    parent = psutil.Process(pid)
    return sum(process.memory_info().rss for process in (parent, *parent.children(recursive=True)))


@pytest.mark.long
def test_large_outputs_end_truthfully_and_delay_no_other_response(
    stack: Stack, models: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ("api", "worker", "sweeper")
    stack.up(
        "valkey", "worker-2", *parts, WORKER_SLOTS="50", LEASE_S=str(LEASE_S), RENEW_EVERY_S="1", SWEEP_EVERY_S="0.5"
    )
    with stack.client(max_retries=5) as client:
        warm_id = client.responses.create(model="scripted", input=models.script(tokens=3), background=True).id
        until(lambda: client.responses.retrieve(warm_id).status == "completed")
        resting_bytes = {name: resident_bytes(stack.children[name].pid) for name in parts}
        # Runs on the worker that is killed below.
        stack.stop("worker")
        lost_script = models.script(tag="lost", tokens=30, delay_s=1)
        lost_ids = [client.responses.create(model="scripted", input=lost_script, background=True).id for _ in range(5)]
        until(lambda: models.stats("lost")["open"] == len(lost_ids))
        stack.start("worker", WORKER_SLOTS="50", LEASE_S=str(LEASE_S), RENEW_EVERY_S="1")
        with sampled_memory(stack, parts) as maxima:
            started_at = time.monotonic()
            large_ids = {
                name: client.responses.create(
                    model="scripted", input=models.script(tag=name, tokens=tokens, padding=padding), background=True
                ).id
                for name, (tokens, padding, _) in LARGE_OUTPUTS.items()
            }
            ordinary_script = models.script(tag="ordinary", tokens=10, delay_s=0.05)
            ordinary_ids = [
                client.responses.create(model="scripted", input=ordinary_script, background=True).id
                for _ in range(ORDINARY_RESPONSES)
            ]
            stack.kill("worker-2")
            lost_at = time.monotonic()
            recovered_query = "select 1 from attempts where outcome = 'lost' and response_id = any (%s)"
            until(lambda: len(stack.sql(recovered_query, lost_ids)) == len(lost_ids), timeout_s=6 * LEASE_S)
            recovery_s = time.monotonic() - lost_at
            until(stack.all_ended, timeout_s=300)
            duration_s = time.monotonic() - started_at
        statuses = {name: client.responses.retrieve(response_id).status for name, response_id in large_ids.items()}
        others = [client.responses.retrieve(response_id).status for response_id in (*ordinary_ids, *lost_ids)]
    growth_mb = {name: round((maxima[name] - resting_bytes[name]) / MIB) for name in parts}
    with capsys.disabled():
        print(
            f"\n{statuses}; all ended in {duration_s:.0f} s, recovery in {recovery_s:.1f} s, growth in MiB: {growth_mb}"
        )

    assert statuses == {name: status for name, (_, _, status) in LARGE_OUTPUTS.items()}
    assert others == ["completed"] * len(others)
    assert recovery_s < 3 * LEASE_S
    assert all(maxima[name] - resting_bytes[name] < MAX_GROWTH_BYTES for name in parts)
