"""Runs clients that create background responses and poll each response until it has ended."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import openai

from tests.harness.waiting import until
from tests.stock.deployment import StockStack

# 16 clients of `narrow` exceed its `concurrency` of 12; 8 clients of `scripted` exceed its `running` limit of 4.
CLIENT_MODELS = ("narrow",) * 16 + ("scripted",) * 8
POLL_INTERVAL_S = 0.1
# The model server takes about 1 s for a response, so that both queues fill even on a busy machine.
TOKEN_COUNT, TOKEN_DELAY_S = 5, 0.25
MAX_DURATION_S = 20


@dataclass
class LoadResult:
    """The responses and errors that the clients received.

    Args:
        errors: number of error replies, by call and status.
    """

    created_count: int = 0
    completed_count: int = 0
    errors: Counter[str] = field(default_factory=Counter)


def run(stack: StockStack, duration_s: float, *, completion_goal: int = 0) -> LoadResult:
    """Run all clients, each with one response at a time.

    The load ends after `duration_s`, but not before `completion_goal` responses have completed; on a machine that is
    too slow for the goal, it ends after `MAX_DURATION_S`.
    """
    started_at = time.monotonic()
    results = [LoadResult() for _ in CLIENT_MODELS]

    def is_finished() -> bool:
        elapsed_s = time.monotonic() - started_at
        completed_count = sum(result.completed_count for result in results)
        return elapsed_s > duration_s and (completed_count >= completion_goal or elapsed_s > MAX_DURATION_S)

    with stack.client() as client, ThreadPoolExecutor(len(CLIENT_MODELS)) as threads:
        client_runs = [
            threads.submit(_run_client, client, stack, model, is_finished, result)
            for model, result in zip(CLIENT_MODELS, results, strict=True)
        ]
    for client_run in client_runs:
        client_run.result()
    return LoadResult(
        sum(result.created_count for result in results),
        sum(result.completed_count for result in results),
        sum((result.errors for result in results), Counter()),
    )


def _run_client(
    client: openai.OpenAI, stack: StockStack, model: str, is_finished: Callable[[], bool], result: LoadResult
) -> None:
    script = stack.models.script(tokens=TOKEN_COUNT, delay_s=TOKEN_DELAY_S)

    def poll_once(response_id: str) -> bool:
        """Poll a response and record the result; return whether to stop polling the response."""
        try:
            status = client.responses.retrieve(response_id).status
        except openai.APIStatusError as error:
            result.errors[f"poll {error.status_code}"] += 1
            return False
        result.completed_count += status == "completed"
        return status not in {"queued", "in_progress"} or is_finished()

    while not is_finished():
        try:
            response = client.responses.create(model=model, input=script, background=True)
        except openai.APIStatusError as error:
            result.errors[f"create {error.status_code}"] += 1
            continue
        result.created_count += 1
        until(lambda: poll_once(response.id), timeout_s=60, first_pause_s=POLL_INTERVAL_S)
