"""A load of clients that create background responses and poll them until they have ended."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import openai

from tests.harness.waiting import until
from tests.stock.deployment import StockStack

# The first 16 clients exceed the model's `concurrency` of 12, the last 8 the project's `running` limit of 4.
CLIENT_MODELS = ("narrow",) * 16 + ("scripted",) * 8
POLL_INTERVAL_S = 0.1
# The model server takes 1 s for a response, so that both queues fill even on a busy machine.
TOKENS, DELAY_S = 5, 0.25
MAX_DURATION_S = 20


@dataclass
class Outcome:
    """The results that the clients observed.

    Args:
        errors: number of error replies, by call and status.
    """

    created_count: int = 0
    completed_count: int = 0
    errors: Counter[str] = field(default_factory=Counter)


def run(stack: StockStack, duration_s: float, *, completion_goal: int = 0) -> Outcome:
    """Run all clients, each with one response at a time.

    The load ends after `duration_s`, but not before `completion_goal` responses have completed; on a machine that is
    too slow for the goal, it ends after `MAX_DURATION_S`.
    """
    started_at = time.monotonic()
    outcomes = [Outcome() for _ in CLIENT_MODELS]

    def is_finished() -> bool:
        elapsed_s = time.monotonic() - started_at
        completed_count = sum(outcome.completed_count for outcome in outcomes)
        return elapsed_s > duration_s and (completed_count >= completion_goal or elapsed_s > MAX_DURATION_S)

    with stack.client() as client, ThreadPoolExecutor(len(CLIENT_MODELS)) as threads:
        loops = [
            threads.submit(_run_client, client, stack, model, is_finished, outcome)
            for model, outcome in zip(CLIENT_MODELS, outcomes, strict=True)
        ]
    for loop in loops:
        loop.result()
    return Outcome(
        sum(outcome.created_count for outcome in outcomes),
        sum(outcome.completed_count for outcome in outcomes),
        sum((outcome.errors for outcome in outcomes), Counter()),
    )


def _run_client(
    client: openai.OpenAI, stack: StockStack, model: str, is_finished: Callable[[], bool], outcome: Outcome
) -> None:
    script = stack.models.script(tokens=TOKENS, delay_s=DELAY_S)

    def should_stop_polling(response_id: str) -> bool:
        try:
            status = client.responses.retrieve(response_id).status
        except openai.APIStatusError as error:
            outcome.errors[f"poll {error.status_code}"] += 1
            return False
        outcome.completed_count += status == "completed"
        return status not in {"queued", "in_progress"} or is_finished()

    while not is_finished():
        try:
            response = client.responses.create(model=model, input=script, background=True)
        except openai.APIStatusError as error:
            outcome.errors[f"create {error.status_code}"] += 1
            continue
        outcome.created_count += 1
        until(lambda: should_stop_polling(response.id), timeout_s=60, first_pause_s=POLL_INTERVAL_S)
