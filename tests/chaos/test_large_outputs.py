"""Responses with outputs of any size end truthfully, in bounded memory, and delay no other responses."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psutil
import pytest

from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

MIB = 1024 * 1024


class LargeOutput(NamedTuple):
    """The number of deltas, the characters of each delta, and the status with which the response ends."""

    delta_count: int
    delta_characters: int
    status: str


LARGE_OUTPUTS = {
    "50 MB": LargeOutput(50, MIB, "incomplete"),
    "200 MB": LargeOutput(200, MIB, "incomplete"),
    "500 MB": LargeOutput(500, MIB, "incomplete"),
    "one delta of 64 MB": LargeOutput(1, 64 * MIB, "failed"),
    "a million deltas": LargeOutput(1_000_000, 8, "incomplete"),
}
ORDINARY_COUNT = 100
MAX_GROWTH_BYTES = 512 * MIB
LEASE_S = 5.0


@contextmanager
def sample_memory(stack: Stack, names: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """Yield the largest memory of each part in bytes, with its subprocesses, since the start of the block."""
    max_bytes = dict.fromkeys(names, 0)
    stopped = threading.Event()

    def sample() -> None:
        while not stopped.wait(0.1):
            for name in names:
                max_bytes[name] = max(max_bytes[name], resident_bytes(stack.children[name].pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield max_bytes
    finally:
        stopped.set()
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
        # Only `worker-2`, which is killed below, runs the responses of `lost_script`.
        stack.stop("worker")
        lost_script = models.script(tag="lost", tokens=30, delay_s=1)
        lost_ids = [client.responses.create(model="scripted", input=lost_script, background=True).id for _ in range(5)]
        until(lambda: models.stats("lost")["open"] == len(lost_ids))
        stack.start("worker", WORKER_SLOTS="50", LEASE_S=str(LEASE_S), RENEW_EVERY_S="1")
        with sample_memory(stack, parts) as max_bytes:
            started_at = time.monotonic()
            large_ids = {
                name: client.responses.create(
                    model="scripted",
                    input=models.script(tag=name, tokens=output.delta_count, padding=output.delta_characters),
                    background=True,
                ).id
                for name, output in LARGE_OUTPUTS.items()
            }
            ordinary_script = models.script(tag="ordinary", tokens=10, delay_s=0.05)
            ordinary_ids = [
                client.responses.create(model="scripted", input=ordinary_script, background=True).id
                for _ in range(ORDINARY_COUNT)
            ]
            stack.kill("worker-2")
            lost_at = time.monotonic()
            lost_query = "select 1 from attempts where outcome = 'lost' and response_id = any (%s)"
            until(lambda: len(stack.sql(lost_query, lost_ids)) == len(lost_ids), timeout_s=6 * LEASE_S)
            recovery_s = time.monotonic() - lost_at
            until(stack.all_ended, timeout_s=300)
            duration_s = time.monotonic() - started_at
        statuses = {name: client.responses.retrieve(response_id).status for name, response_id in large_ids.items()}
        other_statuses = [client.responses.retrieve(response_id).status for response_id in (*ordinary_ids, *lost_ids)]
    growth_mib = {name: round((max_bytes[name] - resting_bytes[name]) / MIB) for name in parts}
    with capsys.disabled():
        print(
            f"\n{statuses}; all ended in {duration_s:.0f} s, recovery in {recovery_s:.1f} s, growth in MiB: {growth_mib}"
        )

    assert statuses == {name: output.status for name, output in LARGE_OUTPUTS.items()}
    assert set(other_statuses) == {"completed"}
    assert recovery_s < 3 * LEASE_S
    assert all(max_bytes[name] - resting_bytes[name] < MAX_GROWTH_BYTES for name in parts)
