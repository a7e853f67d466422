"""Ten of the largest requests at once are accepted in bounded memory, and delay small requests only briefly."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.test_large_outputs import sample_memory
from tests.e2e.faults.test_large_bodies import create_response, large_text
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

MIB = 1024 * 1024
LARGE_REQUESTS = 10
SMALL_REQUESTS = 100
MAX_MEMORY_BYTES = 2048 * MIB  # of a process: about six times the 31 MB of each request, and the process itself
MAX_SMALL_WAIT_S = 5.0


@pytest.mark.long
def test_ten_of_the_largest_requests_are_accepted_beside_small_ones(stack: Stack, models: ModelServer) -> None:
    stack.up()
    texts = [large_text(seed) for seed in range(LARGE_REQUESTS)]
    with (
        stack.client(timeout=120) as client,
        sample_memory(stack, ("api", "worker")) as max_bytes,
        ThreadPoolExecutor(LARGE_REQUESTS + 4) as threads,
    ):
        large_creates = [threads.submit(create_response, client, instructions=text) for text in texts]
        small_creates = [threads.submit(create_response, client) for _ in range(SMALL_REQUESTS)]
        response_ids = [future.result() for future in [*large_creates, *small_creates]]
        until(stack.all_ended, timeout_s=120)

    assert stack.sql("select status, failures, count(*) from responses group by 1, 2") == [
        ("completed", 0, len(response_ids))
    ]
    ((max_wait_s,),) = stack.sql(
        "select max(extract(epoch from started_at - created_at)) from responses where id = any (%s)",
        response_ids[LARGE_REQUESTS:],
    )
    assert max_wait_s < MAX_SMALL_WAIT_S
    assert max(max_bytes.values()) < MAX_MEMORY_BYTES
